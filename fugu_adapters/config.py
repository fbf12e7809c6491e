"""``fugu.toml``: its schema, and reading it with errors that name file, key and remedy."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from fugu_adapters.errors import ConfigError

__all__ = [
    "Api",
    "Config",
    "PoolConfig",
    "Price",
    "RoutingConfig",
    "StoreConfig",
    "Worker",
    "load_config",
    "parse_config",
]

Api = Literal["openai", "responses", "anthropic", "embedded", "langchain", "callable", "host", "replay"]  # fmt: skip
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+/-]{0,99}$")]
Dollars = Annotated[float, Field(ge=0, le=10_000, allow_inf_nan=False)]
# Upper case only: a key that was pasted where its variable's name belongs does not look like this.
Variable = Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,99}$")]

_FREE_APIS = ("embedded", "replay")
_MAY_HOLD_SECRETS = frozenset({"base_url", "api_key_env", "url"})


if TYPE_CHECKING:
    _Meta = type
else:

    class _Meta(type(BaseModel)):
        """Makes mistakes in code our own errors too. Files are validated whole and do not pass here."""

        def __call__(cls, *args: Any, **data: Any) -> Any:
            try:
                return super().__call__(*args, **data)
            except ValidationError as error:
                told = [f"{cls.__name__}: {_explain(each, {}, cls)}" for each in error.errors()]
                raise ConfigError("\n".join(told)) from None


class _Strict(BaseModel, metaclass=_Meta):
    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, hide_input_in_errors=True
    )


class Price(_Strict):
    """List price in US dollars per million tokens.

    Attributes:
        input: prompt tokens.
        output: reply tokens, hidden reasoning included.
        cached_input: prompt tokens read from the cache; the input price where not given.
        long_context_above: prompt tokens from which the long prices hold for the whole call.
        long_input: input price above that.
        long_output: output price above that.
    """

    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    long_context_above: PositiveInt | None = None
    long_input: Dollars | None = None
    long_output: Dollars | None = None

    @model_validator(mode="after")
    def _check_tier(self) -> Price:
        if self.long_context_above is None and (self.long_input, self.long_output) != (None, None):
            raise ValueError("long prices need long_context_above, the tokens they start at")
        return self

    def cost(self, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0) -> float:
        """Dollars for a call with these token counts."""
        price_in, price_out = self.input, self.output
        if self.long_context_above is not None and input_tokens > self.long_context_above:
            price_in = price_in if self.long_input is None else self.long_input
            price_out = price_out if self.long_output is None else self.long_output
        price_cached = price_in if self.cached_input is None else self.cached_input
        fresh = max(0, input_tokens - cached_input_tokens)
        total = fresh * price_in + cached_input_tokens * price_cached + output_tokens * price_out
        return total / 1_000_000


class Worker(_Strict):
    """One worker of a pool, as configured.

    Attributes:
        name: what decisions and traces call it.
        api: how it is reached; a ``host`` worker is run by the host framework, and only chosen here.
        model: the model's id at its endpoint, or the embedded model's name.
        base_url: the endpoint (``openai``, ``responses`` and ``anthropic``).
        api_key_env: the environment variable that holds the key; keys are never written down.
        provider: who serves it, for opt-outs such as ``provider:openai``.
        effort: reasoning effort that this worker is always asked with.
        mode: how an embedded worker works: plain, few-shot or program-aided.
        path: recorded outcomes (``replay``) or a GGUF file (``embedded``).
        call: the coroutine function behind a ``callable`` worker.
        runnable: the chat model behind a ``langchain`` worker.
        context_window: tokens that prompt and reply may have together; ``None`` is unknown.
        max_output_tokens: the longest reply that the endpoint allows; ``None`` is unknown.
        tools: whether it can call functions; ``None`` is unknown.
        images: whether it reads images; ``None`` is unknown.
        json_schema: whether it can be held to a JSON schema; ``None`` is unknown.
        reasoning: whether it thinks before it answers; ``None`` is unknown.
        tags: free words for opt-outs.
        price: list price; ``None`` is unknown.
        profile: name of its learned profile, where it differs from ``model``.
        description: what it is for, in a sentence or two; what it is chosen by where nothing was measured.
        concurrency: calls to its endpoint at a time.
    """

    name: Name
    api: Api = "openai"
    model: str | None = None
    base_url: str | None = None
    api_key_env: Variable | None = None
    provider: str | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    mode: Literal["plain", "few-shot", "calculator", "python"] | None = None
    path: Path | None = None
    call: Callable[..., Awaitable[Any]] | None = Field(default=None, exclude=True, repr=False)
    runnable: Any = Field(default=None, exclude=True, repr=False)
    context_window: PositiveInt | None = None
    max_output_tokens: PositiveInt | None = None
    tools: bool | None = None
    images: bool | None = None
    json_schema: bool | None = None
    reasoning: bool | None = None
    tags: frozenset[str] = frozenset()
    price: Price | None = None
    profile: str | None = None
    description: Annotated[str, Field(min_length=1, max_length=2_000)] | None = None
    concurrency: PositiveInt = 16

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            parts = urlsplit(url)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known or not url.isprintable() or " " in url:
            raise ValueError("expected an address such as https://host:port/v1")
        if "@" in parts.netloc or "?" in url or "#" in url:
            raise ValueError(
                "keys do not belong in the address; name their variable in api_key_env"
            )
        return url.rstrip("/")

    @model_validator(mode="after")
    def _check_kind(self) -> Worker:
        needs = {
            "openai": ("base_url", "model"),
            "responses": ("base_url", "model"),
            "anthropic": ("base_url", "model"),
            "embedded": ("model",),
            "langchain": ("runnable",),
            "callable": ("call",),
            "host": (),
            "replay": ("path",),
        }[self.api]
        missing = [key for key in needs if getattr(self, key) is None]
        if missing:
            raise ValueError(f"a worker with api = {self.api!r} needs {' and '.join(missing)}")
        return self

    @property
    def endpoint(self) -> str:
        """What health and concurrency are kept by: workers of one server or model share it."""
        if self.api == "embedded":
            return f"embedded:{self.path or self.model}"
        return self.base_url or f"{self.api}:{self.name}"

    @property
    def known_price(self) -> Price | None:
        """The configured price; zero for workers that run in this process."""
        if self.price is None and self.api in _FREE_APIS:
            return Price(input=0, output=0)
        return self.price

    @property
    def profile_name(self) -> str:
        """The name its learned profile is looked up by."""
        if self.profile is not None:
            return self.profile
        base = self.model or self.name
        if self.api == "embedded":
            return f"{base}@{self.mode or 'plain'}"
        return f"{base}@{self.effort}" if self.effort else base

    @property
    def labels(self) -> frozenset[str]:
        """Words by which an opt-out may name this worker."""
        tagged = {f"tag:{tag}" for tag in self.tags}
        served = {f"provider:{self.provider}"} if self.provider else set()
        return frozenset({self.name, *self.tags, *tagged, *served})


class PoolConfig(_Strict):
    """The ``[pool]`` table.

    Attributes:
        exclude: workers to leave out, by name, ``provider:NAME`` or tag.
        selector: folder of a selector trained on the user's own outcomes; the shipped one otherwise.
        coordinator: file of a coordinator trained on the user's own recorded answers; the shipped one otherwise.
        run_programs: whether programs that workers write may be run, in a child process without files or
            network, so that `fugu-trinity` can compare them.
    """

    exclude: tuple[str, ...] = ()
    selector: Path | None = None
    coordinator: Path | None = None
    run_programs: bool = False


class RoutingConfig(_Strict):
    """The ``[routing]`` table: how the turns of a conversation hang together.

    Attributes:
        sticky: whether the worker of the turn before stays unless a switch pays.
        switch_gain: expected score that a better worker has to add before it takes over.
        cache_ttl_s: seconds after a turn for which its worker has the prompt cached.
        follow_ups: whether "go ahead" and the like are routed by the task that they belong to.
        sessions: turns that are remembered, over all conversations; the oldest are forgotten first.
        session_ttl_s: seconds after which a turn is forgotten.
        description_encoder: compares requests with workers' descriptions; the selector's where not given.
    """

    sticky: bool = True
    switch_gain: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.02
    cache_ttl_s: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 300.0
    follow_ups: bool = True
    sessions: Annotated[int, Field(ge=0, le=1_000_000)] = 4_096
    session_ttl_s: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 21_600.0
    description_encoder: Literal["static-1", "use-m3"] | None = None


class ConductorConfig(_Strict):
    """The ``[conductor]`` table: how ``fugu-ultra`` comes to its workflows.

    Attributes:
        weights: folder of a conductor trained on the user's own recorded answers; the shipped one otherwise.
        worker: a worker that writes the workflows in natural language, in place of the learned policy.
        samples: workflows that it writes for a request; the one that is worth most is carried out.
        rounds: workflows after one another at most; a later one sees the answer of the one before.
        replan: whether each answer is looked at before the next is asked for, and what would change nothing
            is left out; ``false`` asks all at once, which is faster and dearer.
    """

    weights: Path | None = None
    worker: str | None = None
    samples: Annotated[int, Field(ge=1, le=8)] = 1
    rounds: Annotated[int, Field(ge=1, le=3)] = 1
    replan: bool = True


class StoreConfig(_Strict):
    """The ``[store]`` table.

    Attributes:
        url: SQLAlchemy URL; a SQLite file in the user's data folder where not given.
        text: whether prompts and answers are kept; otherwise only lengths and costs are.
    """

    url: str | None = None
    text: bool = True


class Config(_Strict):
    """The whole of ``fugu.toml``."""

    pool: PoolConfig = PoolConfig()
    store: StoreConfig = StoreConfig()
    routing: RoutingConfig = RoutingConfig()
    conductor: ConductorConfig = ConductorConfig()
    worker: tuple[Worker, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Config:
        names = [worker.name for worker in self.worker]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"worker names must differ; used more than once: {', '.join(twice)}")
        return self


def load_config(path: str | Path) -> Config:
    """Read and validate a ``fugu.toml``. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: where the file is missing, is not TOML, or does not validate.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; `fugu init` writes one") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({type(error).__name__})") from None
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    return parse_config(data, source=str(path), folder=path.parent)


def parse_config(
    data: Mapping[str, Any], *, source: str = "<dict>", folder: Path | None = None
) -> Config:
    """Validate the content of a ``fugu.toml``.

    Args:
        data: the parsed tables.
        source: what error messages call it.
        folder: what relative paths are relative to.

    Raises:
        ConfigError: listing every wrong key with what was expected.
    """
    try:
        config = Config.model_validate(dict(data))
    except ValidationError as error:
        lines = [f"{source}: {_explain(problem, data)}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None
    return config if folder is None else _resolve(config, folder)


def _resolve(config: Config, folder: Path) -> Config:
    workers = tuple(
        w if w.path is None else w.model_copy(update={"path": folder / w.path.expanduser()})
        for w in config.worker
    )
    own = {name: getattr(config.pool, name) for name in ("selector", "coordinator")}
    named = {name: folder / path.expanduser() for name, path in own.items() if path is not None}
    pool, conductor = config.pool.model_copy(update=named), config.conductor
    if conductor.weights is not None:
        weights = folder / conductor.weights.expanduser()
        conductor = conductor.model_copy(update={"weights": weights})
    return config.model_copy(update={"worker": workers, "pool": pool, "conductor": conductor})


_TABLES: dict[str, type[BaseModel]] = {
    "pool": PoolConfig,
    "store": StoreConfig,
    "routing": RoutingConfig,
    "conductor": ConductorConfig,
    "worker": Worker,
    "price": Price,
}


def _explain(problem: Any, data: Mapping[str, Any], root: type[BaseModel] | None = None) -> str:
    """One line for one validation problem: the key as written in the file, and the remedy."""
    where = _dotted(problem["loc"], data)
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        table = [part for part in problem["loc"][:-1] if isinstance(part, str)]
        known = list((_TABLES[table[-1]] if table else root or Config).model_fields)
        near = [repr(name) for name in difflib.get_close_matches(key, known, n=2, cutoff=0.6)]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known keys: {', '.join(known)}"
        return f"{where}: unknown key; {hint}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["loc"] and problem["loc"][-1] == "api_key_env":
        message = "expected the name of an environment variable, such as OPENAI_API_KEY, not a key"
    secret = not _MAY_HOLD_SECRETS.isdisjoint(problem["loc"])
    given = None if secret else problem.get("input")
    shown = f", got {given!r:.60}" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {message}{shown}" if where else message


def _dotted(loc: tuple[int | str, ...], data: Mapping[str, Any]) -> str:
    """``("worker", 1, "price", "input")`` as ``worker 'sonnet': price.input``."""
    if len(loc) >= 2 and loc[0] == "worker" and isinstance(loc[1], int):
        entries = data.get("worker")
        entry = entries[loc[1]] if isinstance(entries, list | tuple) else None
        name = entry.get("name") if isinstance(entry, Mapping) else None
        label = f"worker {name!r}" if isinstance(name, str) else f"worker {loc[1] + 1}"
        rest = ".".join(str(part) for part in loc[2:])
        return f"{label}: {rest}" if rest else label
    return ".".join(str(part) for part in loc)
