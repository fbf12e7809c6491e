"""CrewAI without telemetry, traces, version checks or files outside a temporary folder.

Set before it is imported, which happens here, once, with its own warnings left out.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from contextlib import suppress

_STORAGE = tempfile.TemporaryDirectory(prefix="crewai-")

os.environ.update(
    CREWAI_DISABLE_TELEMETRY="true",
    CREWAI_TRACING_ENABLED="false",
    CREWAI_DISABLE_VERSION_CHECK="true",
    CREWAI_TESTING="true",
    CREWAI_STORAGE_DIR=_STORAGE.name,
)

with warnings.catch_warnings(), suppress(ModuleNotFoundError):
    warnings.simplefilter("ignore")
    import crewai  # noqa: F401
