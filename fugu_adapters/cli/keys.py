"""``fugu keys``: keys of the one API, with budgets and opt-outs."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fugu_adapters.cli.common import (
    ConfigOption,
    JsonOption,
    find_pool,
    money,
    note,
    print_json,
    stdout,
)
from fugu_adapters.errors import InputError

if TYPE_CHECKING:
    from fugu_adapters.store import Store

__all__ = ["keys"]

keys = typer.Typer(
    help="Keys of `fugu serve`: who may use it, for how many dollars, with which workers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(help="What people call the key.")]
BudgetOption = Annotated[
    float | None, typer.Option(help="Dollars that it may spend in all.", min=0, show_default=False)
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude", "-x", help="A worker, provider:NAME or tag that is not asked for it."
    ),
]


@keys.command()
def add(
    name: NameArgument,
    budget: BudgetOption = None,
    exclude: ExcludeOption = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and print it. It is shown this once; only its digest is kept."""
    from fugu_adapters.serve.access import digest_of, new_key
    from fugu_adapters.store import KeyRecord

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,99}", name):
        raise InputError(f"name: expected letters, digits and ._@-, got {name!r:.40}")
    key = new_key()
    _store(config).add_key(
        KeyRecord(
            name=name,
            digest=digest_of(key),
            budget_usd=budget,
            exclude=tuple(exclude or ()),
            created_at=datetime.now(UTC),
        )
    )
    print(key)
    note("keep it: it is not shown again")


@keys.command("list")
def list_(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the keys and what they have spent."""
    from rich.table import Table

    found = _store(config).list_keys()
    if as_json:
        fields = ("name", "budget_usd", "spent_usd", "exclude", "revoked")
        plain = [{field: getattr(key, field) for field in fields} for key in found]
        print_json({"keys": [{**key, "exclude": list(key["exclude"])} for key in plain]})
        return
    table = Table("name", "spent", "budget", "not asked", "made", "")
    for key in found:
        table.add_row(
            key.name,
            money(key.spent_usd),
            "-" if key.budget_usd is None else money(key.budget_usd),
            ", ".join(key.exclude) or "-",
            f"{key.created_at:%Y-%m-%d}",
            "revoked" if key.revoked else "",
        )
    stdout().print(table)


@keys.command("set")
def set_(
    name: NameArgument,
    budget: BudgetOption = None,
    exclude: ExcludeOption = None,
    config: ConfigOption = None,
) -> None:
    """Change a key's budget or opt-outs; what is not given stays."""
    values: dict[str, Any] = {}
    if budget is not None:
        values["budget_usd"] = budget
    if exclude is not None:
        values["exclude"] = list(exclude)
    if not values:
        raise InputError("nothing to change: give --budget or --exclude")
    _store(config).change_key(name, **values)


@keys.command()
def revoke(name: NameArgument, config: ConfigOption = None) -> None:
    """Take a key back; a running server knows it after a few seconds."""
    _store(config).change_key(name, revoked=True)


def _store(config: Any) -> Store:
    from fugu_adapters.store import Store

    return Store.from_config(find_pool(config)[0].store)
