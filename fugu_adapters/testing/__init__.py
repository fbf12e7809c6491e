"""Test doubles for code that uses this package: endpoints that misbehave on purpose."""
