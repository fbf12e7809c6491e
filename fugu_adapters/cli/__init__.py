"""The ``fugu`` command. Each subcommand lives in a file of its name and imports what it needs when run."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Entry point: run the command and turn our errors into a message and an exit code."""
    from fugu_adapters.cli.app import app
    from fugu_adapters.cli.common import report_error
    from fugu_adapters.errors import FuguError

    try:
        app()
    except FuguError as error:
        sys.exit(report_error(error, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        sys.stderr.close()
        sys.exit(141)
