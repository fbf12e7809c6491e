"""What the subcommands share: options, finding the pool, printing, exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fugu_adapters.errors import (
    ConfigError,
    FuguError,
    InputError,
    LimitExceeded,
    WorkerError,
)

if TYPE_CHECKING:
    from rich.console import Console

    from fugu_adapters.pool import Pool
    from fugu_adapters.settings_files import Change

__all__ = [
    "CONFIG_NAME",
    "ConfigOption",
    "EffortOption",
    "ExcludeOption",
    "JsonOption",
    "MaxCostOption",
    "QualityOption",
    "TextArgument",
    "bars",
    "exit_code",
    "find_pool",
    "money",
    "note",
    "print_json",
    "read_text",
    "report_error",
    "seconds",
    "split_names",
    "stdout",
    "write_shown",
]

CONFIG_NAME = "fugu.toml"

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="Pool to use. Default: $FUGU_CONFIG, ./fugu.toml, keys in the environment, "
        "local models; the first that there is.",
        show_default=False,
    ),
]
EffortOption = Annotated[
    str, typer.Option("--effort", "-e", help="low, medium, high or xhigh: cheap or thorough.")
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        "-x",
        help="Do not ask this worker, provider:NAME or tag. May be repeated.",
        show_default=False,
    ),
]
QualityOption = Annotated[
    float | None,
    typer.Option(
        "--quality",
        "-q",
        help="Least expected score relative to the best, above 0 to 1; in place of --effort's own.",
        show_default=False,
    ),
]
MaxCostOption = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        help="Leave out workers whose call is expected to cost more, in dollars.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
TextArgument = Annotated[
    list[str] | None,
    typer.Argument(help="The question; '-' or nothing reads standard input.", show_default=False),
]

_EXIT_CODES: tuple[tuple[type[FuguError], int], ...] = (
    (ConfigError, 3),
    (InputError, 4),
    (WorkerError, 5),
    (LimitExceeded, 6),
    (FuguError, 1),
)


def exit_code(error: FuguError) -> int:
    """3 configuration, 4 input, 5 workers, 6 a limit, 1 anything else of ours."""
    return next(code for kind, code in _EXIT_CODES if isinstance(error, kind))


def report_error(error: FuguError, *, as_json: bool) -> int:
    """Print an error on standard error and return the exit code."""
    code = exit_code(error)
    if as_json:
        body: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
        for field in ("worker", "attempts", "status", "cause_kind", "retry_after", "kind", "limit"):
            if hasattr(error, field):
                body[field] = getattr(error, field)
        print(json.dumps({"error": body}), file=sys.stderr)
    else:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return code


def find_pool(config: Path | None, env: Mapping[str, str] = os.environ) -> tuple[Pool, str]:
    """The pool to use and where it came from, in words.

    Raises:
        ConfigError: where a named file is wrong, or nothing is to be found at all.
    """
    from fugu_adapters.pool import Pool

    named = config or (Path(env["FUGU_CONFIG"]) if env.get("FUGU_CONFIG") else None)
    if named is not None:
        return Pool.load(named), str(named)
    here = Path(CONFIG_NAME)
    if here.is_file():
        return Pool.load(here), str(here)
    try:
        return Pool.from_env(env), "keys in the environment"
    except ConfigError as no_keys:
        try:
            return Pool.embedded(), "local models"
        except ConfigError as no_models:
            raise ConfigError(
                f"no pool: there is no {CONFIG_NAME} here; {no_keys}; {no_models}. "
                "Any of these gives one: `fugu pull` (local models, no key), a key variable, "
                "`fugu init`"
            ) from None


def read_text(words: list[str] | None) -> str:
    """The question from the arguments or standard input.

    Raises:
        InputError: where there is none.
    """
    if words and words != ["-"]:
        return " ".join(words)
    if sys.stdin.isatty() and not words:
        raise InputError('no question; pass it as an argument: fugu ask "..."')
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("standard input is not UTF-8 text") from None
    if not text.strip():
        raise InputError("standard input is empty; there is nothing to answer")
    return text


def print_json(value: Any) -> None:
    """One line of JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False))


def stdout() -> Console:
    """A console for tables."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=False)


def note(text: str) -> None:
    """A line beside the answer, on standard error, so that a pipe gets the answer alone."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(text, style="dim", markup=False)


def money(usd: float | None) -> str:
    """Dollars for people."""
    if usd is None:
        return "unknown"
    if usd == 0:
        return "free"
    return f"${usd:.6f}" if usd < 0.01 else f"${usd:.4f}"


def seconds(value: float | None) -> str:
    """Seconds for people."""
    return "?" if value is None else f"{value:.1f} s"


def write_shown(change: Change, *, yes: bool, dry_run: bool) -> bool:
    """Show a change of another program's settings, and write it unless that is not wanted; whether it was.

    Raises:
        InputError: nobody is there to be asked.
    """
    print(change.diff, end="")
    if dry_run:
        return False
    if not yes:
        if not sys.stdin.isatty():
            raise InputError("nobody to ask whether to write this; --yes writes it")
        typer.confirm(f"write {change.path}?", abort=True)
    change.apply()
    return True


def split_names(text: str) -> tuple[str, ...]:
    """Names separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


@contextmanager
def bars(*, hidden: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Progress bars on standard error: told what is being done, how much of it is, and of how much.

    What stands before a colon names a bar; what follows may change.
    """
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), disable=hidden) as progress:
        tasks: dict[str, Any] = {}

        def told(what: str, done: int, total: int) -> None:
            name = what.split(":")[0]
            if name not in tasks:
                tasks[name] = progress.add_task(what, total=total)
            progress.update(tasks[name], description=what, completed=done, total=total)

        yield told
