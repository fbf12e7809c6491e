"""The pool: one user's workers, and which of them may be asked a given request."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fugu_adapters.catalogue import complete
from fugu_adapters.config import (
    ConductorConfig,
    Config,
    RoutingConfig,
    StoreConfig,
    Worker,
    load_config,
    parse_config,
)
from fugu_adapters.errors import ConfigError, FuguError, InputError
from fugu_adapters.messages import estimate_tokens, has_images, wants_json_schema
from fugu_adapters.types import Request

__all__ = ["Pool"]

_NEEDS = {
    "tools": "call tools",
    "images": "read images",
    "json_schema": "be held to a JSON schema",
}


class Pool:
    """Named workers. Immutable: every change gives another pool.

    Prices, windows and capabilities that a worker leaves open are filled from the catalogue where its
    provider is known. What stays unknown is ``None``.

    Args:
        workers: at least one, with different names.
        exclude: labels of workers that are never asked: a name, ``provider:NAME``, ``tag:NAME`` or a tag.
        selector: folder of a selector trained on the user's own outcomes.
        coordinator: file of a coordinator trained on the user's own recorded answers.
        run_programs: whether programs that workers write may be run, in a child process without files or
            network, so that `fugu-trinity` can compare them.
        store: where runs are recorded.
        routing: how the turns of a conversation hang together.
        conductor: how ``fugu-ultra`` comes to its workflows.

    Raises:
        ConfigError: where there is no worker, a name is used twice, or ``exclude`` names nothing known
            or everybody, or programs are to be run without the library that does.
    """

    __slots__ = (
        "_conductor",
        "_coordinator",
        "_excluded",
        "_routing",
        "_run_programs",
        "_selector",
        "_store",
        "_workers",
    )

    def __init__(
        self,
        workers: Sequence[Worker],
        *,
        exclude: Iterable[str] = (),
        selector: Path | None = None,
        coordinator: Path | None = None,
        run_programs: bool = False,
        store: StoreConfig | None = None,
        routing: RoutingConfig | None = None,
        conductor: ConductorConfig | None = None,
    ) -> None:
        names = [worker.name for worker in workers]
        if not names:
            raise ConfigError(
                "a pool needs at least one worker; `fugu init` writes a fugu.toml, "
                "Pool.from_env() uses the keys that are set, Pool.embedded() needs none"
            )
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ConfigError(f"worker names must differ; used more than once: {', '.join(twice)}")
        self._workers = {worker.name: complete(worker) for worker in workers}
        self._selector = selector
        self._coordinator = coordinator
        self._conductor = conductor or ConductorConfig()
        if self._conductor.worker is not None and self._conductor.worker not in names:
            near = _nearest(self._conductor.worker, names)
            raise ConfigError(f"[conductor] worker: no worker {self._conductor.worker!r}; {near}")
        if run_programs and not _runs_programs():
            raise ConfigError("run_programs needs asteval: pip install 'fugu-adapters[embedded]'")
        self._run_programs = run_programs
        self._store = store or StoreConfig()
        self._routing = routing or RoutingConfig()
        self._excluded = self._opted_out(exclude, "[pool] exclude", ConfigError)
        if len(self._excluded) == len(names):
            raise ConfigError("[pool] exclude leaves no worker; shorten it or add workers")

    @classmethod
    def load(cls, path: str | Path) -> Pool:
        """The pool of a ``fugu.toml``.

        Raises:
            ConfigError: where the file is missing or wrong.
        """
        return cls._from_config(load_config(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Pool:
        """The pool of a dict with the content of a ``fugu.toml``.

        Raises:
            ConfigError: where it is wrong.
        """
        return cls._from_config(parse_config(data))

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> Pool:
        """Workers for the keys and servers that environment variables name; nothing is connected to.

        Raises:
            ConfigError: where none is named.
        """
        from fugu_adapters.discover import workers_from_env

        return cls(workers_from_env(os.environ if env is None else env))

    @classmethod
    def embedded(cls) -> Pool:
        """The small local models whose weights are here: no key and no network.

        Raises:
            ConfigError: where no weights are here; `fugu pull` fetches them.
        """
        from fugu_adapters.workers.embedded import embedded_workers

        workers = embedded_workers()
        if not workers:
            raise ConfigError("no local model's weights are here; `fugu pull` fetches them")
        return cls(workers, run_programs=_runs_programs())

    @classmethod
    def _from_config(cls, config: Config) -> Pool:
        return cls(
            config.worker,
            exclude=config.pool.exclude,
            selector=config.pool.selector,
            coordinator=config.pool.coordinator,
            conductor=config.conductor,
            run_programs=config.pool.run_programs,
            store=config.store,
            routing=config.routing,
        )

    @property
    def workers(self) -> tuple[Worker, ...]:
        """All workers in the order they were given, opted-out ones included."""
        return tuple(self._workers.values())

    @property
    def selector(self) -> Path | None:
        """Folder of the user's own selector; ``None`` for the shipped one."""
        return self._selector

    @property
    def coordinator(self) -> Path | None:
        """File of the user's own coordinator; ``None`` for the shipped one."""
        return self._coordinator

    @property
    def conductor(self) -> ConductorConfig:
        """How ``fugu-ultra`` comes to its workflows."""
        return self._conductor

    @property
    def run_programs(self) -> bool:
        """Whether programs that workers write may be run to compare them."""
        return self._run_programs

    @property
    def store(self) -> StoreConfig:
        """Where runs are recorded."""
        return self._store

    @property
    def routing(self) -> RoutingConfig:
        """How the turns of a conversation hang together."""
        return self._routing

    def __len__(self) -> int:
        return len(self._workers)

    def __iter__(self) -> Iterator[Worker]:
        return iter(self._workers.values())

    def __contains__(self, name: object) -> bool:
        return name in self._workers

    def __getitem__(self, name: str) -> Worker:
        try:
            return self._workers[name]
        except KeyError:
            raise ConfigError(f"no worker {name!r}; {_nearest(name, self._workers)}") from None

    def __repr__(self) -> str:
        return f"Pool({', '.join(self._workers)})"

    def without(self, *labels: str) -> Pool:
        """The pool without the workers that have one of these labels.

        Raises:
            ConfigError: where a label names nobody or nobody is left.
        """
        gone = self._opted_out(labels, "without", ConfigError)
        left = [worker for worker in self if worker.name not in gone]
        exclude = {label for name, label in self._excluded.items() if name not in gone}
        return self._of(left, exclude)

    def changed(self, change: Callable[[Worker], Worker]) -> Pool:
        """The pool with ``change(worker)`` in place of each worker; names stay what they are."""
        return self._of([change(worker) for worker in self], set(self._excluded.values()))

    def _of(self, workers: Sequence[Worker], exclude: Iterable[str]) -> Pool:
        conductor = self._conductor
        if conductor.worker not in {worker.name for worker in workers}:
            conductor = conductor.model_copy(update={"worker": None})
        return Pool(
            workers,
            exclude=exclude,
            selector=self._selector,
            coordinator=self._coordinator,
            conductor=conductor,
            run_programs=self._run_programs,
            store=self._store,
            routing=self._routing,
        )

    def eligibility(
        self,
        request: Request,
        exclude: Iterable[str] = (),
        unready: Mapping[str, str] | None = None,
    ) -> dict[str, str | None]:
        """For each worker, in the pool's order, why it may not be asked; ``None`` where it may.

        A worker that is *not known* to have a capability is passed over while another is known to
        have all that the request needs; otherwise it is tried. ``provider:NAME`` can only opt out
        workers whose provider is known.

        Args:
            request: what would be asked.
            exclude: labels to leave out for this request, on top of the pool's own.
            unready: workers that cannot be asked from here at all, each with what is missing.

        Raises:
            InputError: where nobody may be asked, with each one's reason, or where ``exclude`` names
                nothing known.
        """
        opted_out = self._opted_out(exclude, "exclude", InputError)
        prompt, needs = estimate_tokens(request), _needs(request)
        reasons: dict[str, str | None] = {}
        for worker in self:
            reasons[worker.name] = (
                (unready or {}).get(worker.name)
                or _opt_out_reason(self._excluded.get(worker.name), "by the pool")
                or _opt_out_reason(opted_out.get(worker.name), "by the request")
                or _too_long(worker, prompt, request.max_output_tokens)
                or _incapable(worker, needs)
            )
        able = [self._workers[name] for name, reason in reasons.items() if reason is None]
        sure = [worker for worker in able if _missing(worker, needs) is None]
        for worker in able if sure else ():
            doubt = _missing(worker, needs)
            if doubt is not None:
                reasons[worker.name] = f"is not known to {_NEEDS[doubt]}, and {sure[0].name} is"
        if not able:
            raise InputError(_nobody(reasons))
        return reasons

    def _opted_out(
        self, labels: Iterable[str], where: str, error: type[FuguError]
    ) -> dict[str, str]:
        """Names of the workers that have one of the labels, each with its label."""
        labels = [labels] if isinstance(labels, str) else sorted(labels)
        if not labels:
            return {}
        known = {label for worker in self for label in worker.labels}
        for label in labels:
            if label not in known:
                raise error(f"{where}: {label!r} names no worker; {_nearest(label, known)}")
        found = {worker.name: sorted(worker.labels & set(labels)) for worker in self}
        return {name: matched[0] for name, matched in found.items() if matched}


def _needs(request: Request) -> list[str]:
    """Capabilities that answering takes."""
    used = any(m.get("role") == "tool" or m.get("tool_calls") for m in request.messages)
    wanted = {
        "tools": used or (bool(request.tools) and request.tool_choice != "none"),
        "images": has_images(request),
        "json_schema": wants_json_schema(request),
    }
    return [need for need, is_wanted in wanted.items() if is_wanted]


def _opt_out_reason(label: str | None, by: str) -> str | None:
    return None if label is None else f"is opted out {by} ({label})"


def _too_long(worker: Worker, prompt: int, output: int | None) -> str | None:
    if worker.context_window is None:
        return None
    output = min(output or 1, worker.max_output_tokens or output or 1)
    if prompt + output <= worker.context_window:
        return None
    return (
        f"has a window of {worker.context_window:,} tokens; "
        f"the request needs about {prompt:,} and {output:,} for the reply"
    )


def _incapable(worker: Worker, needs: Iterable[str]) -> str | None:
    lacking = [_NEEDS[need] for need in needs if getattr(worker, need) is False]
    return f"cannot {' or '.join(lacking)}" if lacking else None


def _missing(worker: Worker, needs: Iterable[str]) -> str | None:
    """The first need that the worker is not known to meet."""
    return next((need for need in needs if getattr(worker, need) is not True), None)


def _runs_programs() -> bool:
    return importlib.util.find_spec("asteval") is not None


def _nearest(label: str, known: Iterable[str]) -> str:
    known = sorted(known)
    near = difflib.get_close_matches(label, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"


def _nobody(reasons: Mapping[str, str | None]) -> str:
    lines = [f"  {name} {reason}" for name, reason in reasons.items()]
    return "\n".join(
        [
            "no worker of the pool may be asked:",
            *lines,
            "add a worker that can (`fugu init`), set its capabilities in fugu.toml where they are "
            "unknown to us, or exclude fewer",
        ]
    )
