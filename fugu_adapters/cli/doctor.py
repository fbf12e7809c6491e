"""``fugu doctor``: what is here, what is missing, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from fugu_adapters.cli.common import ConfigOption, JsonOption, find_pool, print_json, stdout
from fugu_adapters.errors import FuguError

if TYPE_CHECKING:
    from fugu_adapters.config import Worker
    from fugu_adapters.pool import Pool

__all__ = ["Check", "doctor"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """One thing that was looked at.

    Attributes:
        name: what.
        state: ``ok``, ``note`` (fine unless you want it) or ``fail``.
        found: what is there.
        remedy: what to do, ``""`` where nothing.
    """

    name: str
    state: Literal["ok", "note", "fail"]
    found: str
    remedy: str = ""


def doctor(
    config: ConfigOption = None,
    connect: Annotated[
        bool, typer.Option(help="Ask the pool's endpoints for their models (no tokens are used).")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Check versions, weights, keys, endpoints and the run database; say what to do.

    Exit code 1 where something would keep `fugu ask` from working.
    """
    from fugu_adapters.types import to_plain

    checks = [*_check_packages(), _check_selector(), *_check_weights(), _check_store()]
    try:
        pool, source = find_pool(config)
    except FuguError as error:
        checks.append(Check(name="pool", state="fail", found="none", remedy=str(error)))
    else:
        checks.append(Check(name="pool", state="ok", found=f"{len(pool)} workers from {source}"))
        checks += [*_check_learned(pool), *_check_workers(pool, connect=connect)]
    if as_json:
        print_json(to_plain(checks))
    else:
        _print_checks(checks)
    if any(check.state == "fail" for check in checks):
        raise typer.Exit(1)


def _check_packages() -> Iterator[Check]:
    yield Check(name="python", state="ok", found=f"{platform.python_version()} at {sys.executable}")
    yield Check(name="fugu-adapters", state="ok", found=version("fugu-adapters"))
    for package, extra in (("xllamacpp", "embedded"), ("langchain-core", "langchain")):
        try:
            yield Check(name=package, state="ok", found=version(package))
        except PackageNotFoundError:
            yield Check(
                name=package,
                state="note",
                found="not installed",
                remedy=f"pip install 'fugu-adapters[{extra}]' if you want it",
            )


def _check_selector() -> Check:
    from fugu_adapters.encoders import load_encoder
    from fugu_adapters.policies.weights import default_bundle

    try:
        bundle = default_bundle()
        load_encoder(bundle.encoder).encode(["probe"])
    except FuguError as error:
        return Check(
            name="selector",
            state="fail",
            found="does not load",
            remedy=f"{error}; install the package again",
        )
    found = f"{len(bundle.profiles)} profiles, {len(bundle.labels)} clusters, digest verified"
    return Check(name="selector", state="ok", found=found)


def _check_learned(pool: Pool) -> Iterator[Check]:
    """The pool's own selector, coordinator and conductor, or those that ship."""
    from fugu_adapters.policies.conductor_weights import load_conductor
    from fugu_adapters.policies.coordinator import load_coordinators
    from fugu_adapters.policies.weights import load_bundle

    try:
        load_coordinators(pool.coordinator)
        found = str(pool.coordinator or "as shipped")
        yield Check(name="coordinator", state="ok", found=found)
    except FuguError as error:
        yield Check(name="coordinator", state="fail", found="does not load", remedy=str(error))
    weights = pool.conductor.weights
    try:
        load_conductor(weights)
        yield Check(name="conductor", state="ok", found=str(weights or "as shipped"))
    except FuguError as error:
        yield Check(name="conductor", state="fail", found="does not load", remedy=str(error))
    if pool.selector is None:
        return
    try:
        bundle = load_bundle(pool.selector)
        found = f"{len(bundle.profiles)} profiles, {pool.selector}"
        yield Check(name="own selector", state="ok", found=found)
    except FuguError as error:
        yield Check(name="own selector", state="fail", found="does not load", remedy=str(error))


def _check_weights() -> Iterator[Check]:
    from fugu_adapters.workers import local_models

    for model in local_models.MODELS.values():
        if local_models.locate(model.name) is None:
            remedy = f"fugu pull {model.name} ({model.size / 1e6:,.0f} MB) if you want it"
            yield Check(name=model.name, state="note", found="not fetched", remedy=remedy)
            continue
        try:
            path = local_models.verify(model.name)
        except FuguError as error:
            yield Check(name=model.name, state="fail", found="corrupt", remedy=str(error))
        else:
            yield Check(name=model.name, state="ok", found=f"{path}, digest verified")


def _check_store() -> Check:
    from fugu_adapters.store import Store

    store = Store()
    try:
        store.open()
    except FuguError as error:
        return Check(name="runs", state="fail", found="cannot be written", remedy=str(error))
    finally:
        store.close()
    return Check(name="runs", state="ok", found="database can be written")


def _check_workers(pool: Pool, *, connect: bool) -> Iterator[Check]:
    from fugu_adapters.workers import why_not_ready

    usable = 0
    for worker in pool:
        lacking = why_not_ready(worker)
        if lacking is not None:
            yield Check(name=worker.name, state="note", found="not ready", remedy=lacking)
            continue
        check = _check_endpoint(worker) if connect and worker.base_url else None
        usable += check is None or check.state == "ok"
        yield check or Check(name=worker.name, state="ok", found="ready")
    if not usable:
        yield Check(
            name="workers", state="fail", found="none can be asked", remedy="see the lines above"
        )


def _check_endpoint(worker: Worker) -> Check:
    """Whether the endpoint answers, takes the key, and has the model."""
    from fugu_adapters.cli.init import fetch_models
    from fugu_adapters.engine.providers import auth_headers

    try:
        headers = auth_headers(worker, os.environ)
        models = asyncio.run(fetch_models(worker.base_url or "", headers, seconds=10.0))
    except FuguError as error:
        return Check(
            name=worker.name,
            state="fail",
            found=f"{worker.base_url} does not answer as it should",
            remedy=str(error),
        )
    if models and not any(worker.model in (model, model.split("/")[-1]) for model in models):
        return Check(
            name=worker.name,
            state="note",
            found=f"{worker.base_url} does not list {worker.model!r}",
            remedy=f"it lists {', '.join(models[:5])}{', ...' if len(models) > 5 else ''}",
        )
    return Check(name=worker.name, state="ok", found=f"{worker.base_url} answers")


def _print_checks(checks: list[Check]) -> None:
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "note": "yellow", "fail": "bold red"}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        told = f"{check.found}: {check.remedy}" if check.remedy else check.found
        table.add_row(Text(check.state, styles[check.state]), Text(check.name), Text(told))
    stdout().print(table)
