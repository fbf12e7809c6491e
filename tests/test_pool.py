"""The pool: who is in it, and who may be asked what."""

from __future__ import annotations

import pytest

from fugu_adapters.config import Price, StoreConfig, Worker
from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.pool import Pool
from fugu_adapters.types import Request
from fugu_adapters.workers.local_models import MODELS

TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}


def worker(name, **changes):
    return Worker(name=name, base_url="http://127.0.0.1:9/v1", model=name, **changes)


def ask(content="hello", **changes):
    return Request(messages=({"role": "user", "content": content},), **changes)


def able(pool, request, exclude=()):
    """Names of the workers that may be asked."""
    return [name for name, why in pool.eligibility(request, exclude).items() if why is None]


def test_a_pool_is_a_read_only_collection_by_name():
    """Workers keep their order and are found by name; nothing can be assigned."""
    pool = Pool([worker("b"), worker("a")])
    assert [w.name for w in pool] == ["b", "a"] == [w.name for w in pool.workers]
    assert pool["a"].name == "a"
    assert ("a" in pool, "c" in pool, len(pool)) == (True, False, 2)
    assert repr(pool) == "Pool(b, a)"
    with pytest.raises(AttributeError):
        pool.workers = ()
    with pytest.raises(AttributeError):
        pool.extra = 1


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Pool([]), "Pool.embedded()"),
        (lambda: Pool([worker("a"), worker("a")]), "used more than once: a"),
        (lambda: Pool([worker("a")], exclude=["a"]), "leaves no worker"),
        (lambda: Pool([worker("abc")], exclude=["abd"]), "did you mean 'abc'"),
        (lambda: Pool([worker("abc")])["abd"], "no worker 'abd'; did you mean 'abc'"),
        (lambda: Pool([worker("a")]).without("a"), "at least one worker"),
        (lambda: Pool([worker("a")]).without("zzz"), "names no worker; known: a"),
        (lambda: Pool.from_dict({}), "at least one worker"),
        (lambda: Pool.from_dict({"workers": []}), "did you mean 'worker'"),
        (lambda: Pool.load("/nowhere/fugu.toml"), "/nowhere/fugu.toml: no such file"),
        (lambda: Pool.from_env({}), "OPENAI_API_KEY"),
    ],
)
def test_a_pool_that_cannot_work_is_refused_with_a_remedy(make, said):
    """Configuration mistakes show when the pool is made, not when it is used."""
    with pytest.raises(ConfigError) as caught:
        make()
    assert said in str(caught.value)


def test_a_file_gives_the_whole_pool(tmp_path):
    """Workers, opt-outs, selector and store come from fugu.toml."""
    path = tmp_path / "fugu.toml"
    path.write_text(
        '[pool]\nexclude = ["b"]\nselector = "mine"\n[store]\ntext = false\n'
        '[[worker]]\nname = "a"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
        '[[worker]]\nname = "b"\nbase_url = "http://127.0.0.1:9/v1"\nmodel = "m"\n'
    )
    pool = Pool.load(path)
    assert pool.selector == tmp_path / "mine"
    assert pool.store == StoreConfig(text=False)
    assert pool.eligibility(ask()) == {"a": None, "b": "is opted out by the pool (b)"}


def test_a_pool_from_the_environment_names_variables_only():
    """The key itself is never read into the pool."""
    pool = Pool.from_env({"OPENAI_API_KEY": "sk-secret"})
    assert {w.api_key_env for w in pool} == {"OPENAI_API_KEY"}
    assert "sk-secret" not in repr(pool.workers)


def test_gaps_are_filled_from_the_catalogue_and_configured_values_win():
    """A hosted model's price and abilities are known; what the operator wrote is kept."""
    mine = Price(input=1, output=2)
    pool = Pool(
        [
            Worker(name="a", base_url="https://api.openai.com/v1", model="gpt-5.2"),
            Worker(
                name="b",
                base_url="https://api.openai.com/v1",
                model="gpt-5.2",
                price=mine,
                tools=False,
                context_window=1_000,
            ),
            worker("c"),
        ]
    )
    assert pool["a"].provider == "openai"
    assert pool["a"].price.output == 14
    assert pool["a"].context_window == 400_000
    assert (pool["b"].price, pool["b"].tools, pool["b"].context_window) == (mine, False, 1_000)
    assert (pool["c"].price, pool["c"].tools, pool["c"].provider) == (None, None, None)


@pytest.mark.parametrize("label", ["b", "provider:x", "tag:eu", "eu"])
def test_a_request_opts_out_by_name_provider_or_tag(label):
    """Each kind of label leaves out its workers and only those."""
    pool = Pool([worker("a"), worker("b", provider="x", tags={"eu"})])
    assert able(pool, ask(), {label}) == ["a"]
    assert able(pool, ask(), label) == ["a"]
    assert pool.eligibility(ask(), [label])["b"] == f"is opted out by the request ({label})"
    assert list(pool.without(label)) == [pool["a"]]


def test_the_pools_own_opt_outs_hold_for_every_request():
    """A request can leave out more, never fewer."""
    pool = Pool([worker("a"), worker("b"), worker("c", tags={"slow"})], exclude=["slow"])
    assert able(pool, ask()) == ["a", "b"]
    assert able(pool, ask(), {"b"}) == ["a"]
    assert able(pool.without("b"), ask()) == ["a"]
    assert [w.name for w in pool.without("c")] == ["a", "b"]


@pytest.mark.parametrize("label", ["provider:y", "tag:e", "B"])
def test_an_opt_out_that_names_nothing_is_an_error(label):
    """A misspelt opt-out must not send the request to the one it was meant to avoid."""
    pool = Pool([worker("a"), worker("b", provider="x", tags={"eu"})])
    with pytest.raises(InputError, match=f"exclude: '{label}' names no worker"):
        pool.eligibility(ask(), {label})


NEEDS = [
    ("tools", ask(tools=(TOOL,)), "call tools"),
    (
        "tools",
        Request(messages=({"role": "tool", "tool_call_id": "c", "content": "x"},)),
        "call tools",
    ),
    ("images", ask([IMAGE]), "read images"),
    ("json_schema", ask(response_format={"type": "json_schema"}), "be held to a JSON schema"),
]


@pytest.mark.parametrize(("need", "request_", "words"), NEEDS)
def test_only_capable_workers_are_asked(need, request_, words):
    """A worker that lacks an ability, or is not known to have one that another has, is passed over."""
    pool = Pool([worker("no", **{need: False}), worker("unknown"), worker("yes", **{need: True})])
    assert pool.eligibility(request_) == {
        "no": f"cannot {words}",
        "unknown": f"is not known to {words}, and yes is",
        "yes": None,
    }
    assert able(pool, ask()) == ["no", "unknown", "yes"]


@pytest.mark.parametrize(("need", "request_", "words"), NEEDS)
def test_unknown_ability_is_tried_where_nobody_is_known_to_have_it(need, request_, words):
    """Not knowing is no reason to refuse when there is no better choice."""
    pool = Pool([worker("no", **{need: False}), worker("unknown"), worker("yes", **{need: True})])
    assert able(pool, request_, {"yes"}) == ["unknown"]
    assert able(pool.without("yes"), request_) == ["unknown"]


def test_being_known_for_one_need_is_not_enough_for_two():
    """Who is preferred over doubtful workers has to have all that is needed."""
    request = ask([IMAGE], tools=(TOOL,))
    pool = Pool([worker("a", tools=True), worker("b", images=True), worker("c")])
    assert able(pool, request) == ["a", "b", "c"]
    both = Pool([*pool, worker("d", tools=True, images=True)])
    assert able(both, request) == ["d"]


def test_tools_that_may_not_be_called_are_no_need():
    """``tool_choice="none"`` asks for text only."""
    pool = Pool([worker("no", tools=False)])
    assert able(pool, ask(tools=(TOOL,), tool_choice="none")) == ["no"]


def test_a_prompt_has_to_fit_with_its_reply():
    """Prompt and wanted reply together stay within a known window."""
    pool = Pool(
        [
            worker("small", context_window=500),
            worker("short", context_window=500, max_output_tokens=50),
            worker("large", context_window=100_000),
            worker("unknown"),
        ]
    )
    prompt = "word " * 180  # 900 bytes: about 308 tokens
    assert able(pool, ask(prompt)) == ["small", "short", "large", "unknown"]
    reasons = pool.eligibility(ask(prompt, max_output_tokens=300))
    assert reasons["small"].startswith("has a window of 500 tokens; the request needs about 308")
    assert [name for name, why in reasons.items() if why is None] == ["short", "large", "unknown"]


def test_nobody_left_says_why_for_each():
    """The error lists every worker with its reason and what to change."""
    pool = Pool([worker("a", tools=False), worker("b", context_window=10), worker("c", tags={"x"})])
    with pytest.raises(InputError) as caught:
        pool.eligibility(ask(tools=(TOOL,)), {"x"})
    said = str(caught.value)
    assert "a cannot call tools" in said
    assert "b has a window of 10 tokens" in said
    assert "c is opted out by the request (x)" in said
    assert "fugu.toml" in said


def test_workers_that_cannot_be_reached_from_here_are_left_out():
    """Without its key a worker is not asked, and does not keep a doubtful one from being tried."""
    pool = Pool([worker("a", tools=True), worker("b")])
    reasons = pool.eligibility(ask(tools=(TOOL,)), unready={"a": "needs the variable K"})
    assert reasons == {"a": "needs the variable K", "b": None}


def test_the_embedded_pool_holds_the_models_that_are_here(monkeypatch, tmp_path):
    """Workers follow the weights on disk; without any the error says how to get them."""
    monkeypatch.setenv("FUGU_WEIGHTS_DIR", str(tmp_path))
    with pytest.raises(ConfigError, match="fugu pull"):
        Pool.embedded()
    model = next(iter(MODELS.values()))
    with (tmp_path / model.file).open("wb") as file:
        file.truncate(model.size)  # no disk is used
    pool = Pool.embedded()
    assert {w.model for w in pool} == {model.name}
    assert all(w.known_price.cost(1_000, 1_000) == 0 for w in pool)
