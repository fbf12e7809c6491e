"""fugu.toml: what is accepted, and what errors say and keep to themselves."""

from __future__ import annotations

import pydantic
import pytest

from fugu_adapters.config import Config, Price, RoutingConfig, Worker, load_config, parse_config
from fugu_adapters.errors import ConfigError

SECRET = "sk-proj-A1b2C3d4E5f6G7h8"


def openai(**changes):
    return {"name": "a", "base_url": "https://api.example.com/v1", "model": "m", **changes}


def problem(worker=None, /, **tables):
    """The message for a configuration that is wrong."""
    data = {"worker": [worker]} if worker is not None else {}
    with pytest.raises(ConfigError) as caught:
        parse_config({**data, **tables}, source="fugu.toml")
    return str(caught.value)


def test_a_file_reads_as_written(tmp_path):
    """Every key of the documented file ends up in the record, paths relative to the file."""
    path = tmp_path / "fugu.toml"
    path.write_text(
        """
        [pool]
        exclude = ["tag:slow"]
        selector = "trained"
        [store]
        url = "runs.db"
        text = false
        [routing]
        sticky = false
        switch_gain = 0.1
        [[worker]]
        name = "sonnet"
        base_url = "https://api.example.com/v1/"
        model = "claude"
        api_key_env = "SOME_KEY"
        effort = "medium"
        context_window = 200000
        tags = ["eu", "slow"]
        price = { input = 3.0, output = 15.0, cached_input = 0.3, long_context_above = 200000, long_input = 6.0 }
        [[worker]]
        name = "tape"
        api = "replay"
        path = "outcomes.jsonl"
        """
    )
    config = load_config(path)
    sonnet, tape = config.worker
    assert config.pool.exclude == ("tag:slow",)
    assert config.pool.selector == tmp_path / "trained"
    assert (config.store.url, config.store.text) == ("runs.db", False)
    assert config.routing == RoutingConfig(sticky=False, switch_gain=0.1)
    assert sonnet.base_url == "https://api.example.com/v1"
    assert sonnet.labels == {"sonnet", "eu", "slow", "tag:eu", "tag:slow"}
    assert sonnet.price == Price(
        input=3, output=15, cached_input=0.3, long_context_above=200_000, long_input=6
    )
    assert tape.path == tmp_path / "outcomes.jsonl"


def test_an_absolute_path_stays_and_a_home_is_expanded(tmp_path, monkeypatch):
    """Only relative paths are taken from the file's folder."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    path = tmp_path / "fugu.toml"
    path.write_text(
        '[[worker]]\nname="a"\napi="replay"\npath="/data/a.jsonl"\n'
        '[[worker]]\nname="b"\napi="replay"\npath="~/b.jsonl"\n'
    )
    first, second = load_config(path).worker
    assert str(first.path) == "/data/a.jsonl"
    assert second.path == tmp_path / "home" / "b.jsonl"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no such file; `fugu init` writes one"),
        (b"[pool\n", "not valid TOML"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_an_unreadable_file_is_named_with_its_trouble(tmp_path, content, said):
    """A missing, broken or undecodable file is one error that names it."""
    path = tmp_path / "fugu.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"worker": [openai(modle="x")]}, "worker 'a': modle: unknown key; did you mean 'mode"),
        ({"worker": [{"name": "a"}]}, "needs base_url and model"),
        ({"worker": [{"name": "a", "api": "replay"}]}, "needs path"),
        ({"worker": [openai(api="opnai")]}, "worker 'a': api: "),
        ({"worker": [openai(context_window=0)]}, "worker 'a': context_window: "),
        ({"worker": [openai(name="a b")]}, "worker 'a b': name: "),
        ({"worker": [openai(), openai()]}, "used more than once: a"),
        ({"worker": [openai(price={"input": -1, "output": 1})]}, "worker 'a': price.input: "),
        ({"worker": [openai(price={"inptu": 1, "output": 1})]}, "did you mean 'input'"),
        (
            {"worker": [openai(price={"input": 1, "output": 1, "long_input": 2})]},
            "long prices need long_context_above",
        ),
        ({"worker": ["a"]}, "worker 1: "),
        ({"worker": [{"api": "openai"}]}, "worker 1: name: "),
        ({"worker": 3}, "worker: "),
        ({"wroker": []}, "wroker: unknown key; did you mean 'worker'"),
        ({"pool": {"zzz": 1}}, "pool.zzz: unknown key; known keys: exclude, selector"),
        ({"store": {"text": "perhaps"}}, "store.text: "),
        ({"routing": {"stikcy": 1}}, "routing.stikcy: unknown key; did you mean 'sticky'"),
        ({"routing": {"switch_gain": 2}}, "routing.switch_gain: "),
        ({"routing": {"session_ttl_s": float("inf")}}, "routing.session_ttl_s: "),
    ],
)
def test_each_mistake_names_file_key_and_remedy(tables, said):
    """A wrong key or value is located as in the file, with what to write instead."""
    message = problem(**tables)
    assert message.startswith("fugu.toml: ")
    assert said in message


def test_all_mistakes_are_told_at_once():
    """One run of the program shows every line to mend."""
    message = problem(openai(modle="x", context_window=-1, tgas=[]))
    assert len(message.splitlines()) == 3


@pytest.mark.parametrize(
    "worker",
    [
        openai(api_key=SECRET),
        openai(api_key_env=SECRET),
        openai(api_key_env="AIzaSyA1b2C3d4"),
        openai(base_url=f"https://user:{SECRET}@api.example.com/v1"),
        openai(base_url=f"https://api.example.com/v1?key={SECRET}"),
        openai(base_url=f"https://api.example.com/v1#{SECRET}"),
        openai(base_url=f"postgres://u:{SECRET}@host/db"),
        openai(headers={"Authorization": SECRET}),
    ],
)
def test_a_misplaced_secret_is_refused_and_not_repeated(worker):
    """Keys in the wrong place are an error, and the error does not show them."""
    message = problem(worker)
    assert "worker 'a': " in message
    assert SECRET not in message
    assert "AIzaSy" not in message


def test_a_store_url_is_not_repeated():
    """A database password does not reach an error message."""
    assert SECRET not in problem(store={"url": [SECRET], "txt": True})


def test_a_worker_made_in_code_hides_what_it_refuses():
    """A worker made in code raises our own error, which does not show its arguments either."""
    with pytest.raises(ConfigError, match="Worker: base_url: ") as caught:
        Worker(name="a", base_url=f"https://u:{SECRET}@h/v1", model="m")
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    ["api.example.com", "ftp://x/v1", "https://", "https:///v1", "http://h:99999", "http://h /v1"],
)
def test_an_address_has_to_be_one(url):
    """Only a complete http or https address is taken."""
    assert "worker 'a': base_url: expected an address" in problem(openai(base_url=url))


def test_cost_counts_cached_and_long_context_tokens():
    """Cached tokens have their price, and above the bound the long prices hold for the whole call."""
    price = Price(
        input=2, output=10, cached_input=0.5, long_context_above=100, long_input=4, long_output=20
    )
    assert price.cost(100, 10) == pytest.approx((100 * 2 + 10 * 10) / 1e6)
    assert price.cost(101, 10) == pytest.approx((101 * 4 + 10 * 20) / 1e6)
    assert price.cost(100, 0, 60) == pytest.approx((40 * 2 + 60 * 0.5) / 1e6)
    assert Price(input=2, output=0).cost(100, 0, 60) == pytest.approx(200 / 1e6)


def test_only_workers_in_this_process_are_free():
    """An unknown price is unknown: zero only where no endpoint could bill."""
    hosted = Worker(**openai())
    local = Worker(name="l", api="embedded", model="tiny")
    assert hosted.known_price is None
    assert local.known_price == Price(input=0, output=0)


@pytest.mark.parametrize(
    ("worker", "profile"),
    [
        (Worker(**openai()), "m"),
        (Worker(**openai(effort="high")), "m@high"),
        (Worker(**openai(profile="mine", effort="high")), "mine"),
        (Worker(name="e", api="embedded", model="tiny"), "tiny@plain"),
        (Worker(name="e", api="embedded", model="tiny", mode="python"), "tiny@python"),
    ],
)
def test_a_profile_is_the_model_and_how_it_is_asked(worker, profile):
    """Learned profiles follow the model and its setting, not the name a user gave it."""
    assert worker.profile_name == profile


def test_workers_of_one_server_share_its_endpoint():
    """Health and concurrency are kept by server, whatever the model."""
    first, second = Worker(**openai()), Worker(**openai(name="b", model="n"))
    assert first.endpoint == second.endpoint
    tapes = [Worker(name=n, api="replay", path=f"{n}.jsonl") for n in "ab"]
    assert tapes[0].endpoint != tapes[1].endpoint


def test_a_configuration_cannot_be_changed():
    """Records are frozen."""
    with pytest.raises(pydantic.ValidationError):
        Config().pool = None
