"""How workers are asked over HTTP: one module per wire format, and what they share."""
