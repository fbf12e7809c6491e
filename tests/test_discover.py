"""Finding workers in the environment, and writing them down."""

from __future__ import annotations

import tomllib

import pytest

from fugu_adapters.config import Price, Worker, parse_config
from fugu_adapters.discover import init_toml, workers_from_env
from fugu_adapters.errors import ConfigError

KEYS = {
    "OPENAI_API_KEY": "openai",
    "ANTHROPIC_API_KEY": "anthropic",
    "GEMINI_API_KEY": "google",
    "GOOGLE_API_KEY": "google",
    "OPENROUTER_API_KEY": "openrouter",
}
OLLAMA = "http://127.0.0.1:11434/v1"


def nothing(url):
    return []


class Probe:
    """Servers that list models, and a record of who was asked."""

    def __init__(self, **servers):
        self.servers, self.asked = servers, []

    def __call__(self, url):
        self.asked.append(url)
        return self.servers.get(url.split(":")[2].split("/")[0], [])


def server(port, *models):
    return Probe(**{str(port): list(models)})


@pytest.mark.parametrize(("variable", "provider"), KEYS.items())
def test_each_key_gives_a_spread_of_current_models(variable, provider):
    """Three models, dear to cheap, that call tools and whose price and window are known."""
    workers = workers_from_env({variable: "secret"})
    costs = [worker.price.cost(3_000, 1_000) for worker in workers]
    assert len(workers) == 3
    assert {(w.provider, w.api_key_env) for w in workers} == {(provider, variable)}
    assert costs == sorted(costs, reverse=True)
    assert costs[0] > 2 * costs[-1]
    assert all(w.tools and w.context_window >= 100_000 for w in workers)
    assert all(w.price.output <= 60 for w in workers)
    assert not [w for w in workers if "preview" in w.model or ":" in w.model]
    assert "secret" not in repr(workers)


def test_a_reseller_gives_three_vendors():
    """Different makers err differently, which is what a pool is for."""
    workers = workers_from_env({"OPENROUTER_API_KEY": "k"})
    assert len({w.model.split("/")[0] for w in workers}) == 3


def test_names_stay_different_over_all_keys():
    """The same model from two providers gets two names."""
    workers = workers_from_env(dict.fromkeys(KEYS, "k"))
    names = [worker.name for worker in workers]
    assert len(names) == len(set(names)) == 12


def test_an_empty_key_is_no_key():
    """A variable that is set to nothing counts as not set."""
    assert len(workers_from_env({"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "k"})) == 3


@pytest.mark.parametrize("probe", [None, nothing])
def test_nothing_found_lists_where_it_looked_and_what_to_do(probe):
    """The error names every variable and the way without any."""
    with pytest.raises(ConfigError) as caught:
        workers_from_env({}, probe=probe)
    said = str(caught.value)
    for name in (*KEYS, "FUGU_LOCAL_URL", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        assert name in said
    assert "fugu pull" in said
    assert "Pool.embedded()" in said


def test_well_known_ports_are_tried_only_when_asked():
    """Without a probe nothing is connected to; with one, this machine's usual servers are."""
    probe = server(11434, "llama3:8b", "nomic-embed-text", "qwen/qwen3")
    first, second = workers_from_env({}, probe=probe)
    assert len(probe.asked) == 4
    assert all(url.startswith("http://127.0.0.1:") for url in probe.asked)
    assert (first.name, first.model, first.base_url) == ("llama3-8b", "llama3:8b", OLLAMA)
    assert (second.name, second.model) == ("qwen3", "qwen/qwen3")
    assert (first.price, first.tags) == (Price(input=0, output=0), {"local"})
    assert first.api_key_env is None


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("127.0.0.1", OLLAMA),
        ("0.0.0.0:11434", OLLAMA),
        ("gpu.lan:9000", "http://gpu.lan:9000/v1"),
        ("https://gpu.lan", "https://gpu.lan:11434/v1"),
        ("[::1]:11434", "http://[::1]:11434/v1"),
    ],
)
def test_ollamas_variable_is_read_as_ollama_does(value, url):
    """Scheme, port and path may be missing."""
    (worker,) = workers_from_env({"OLLAMA_HOST": value, "FUGU_LOCAL_MODEL": "m"})
    assert worker.base_url == url


def test_a_given_address_is_the_only_one_asked():
    """With an address no other port is touched, and somebody else's machine has no known price."""
    probe = server(9000, "m")
    (worker,) = workers_from_env({"FUGU_LOCAL_URL": "http://gpu.lan:9000/v1/"}, probe=probe)
    assert probe.asked == ["http://gpu.lan:9000/v1"]
    assert (worker.price, worker.tags) == (None, frozenset())


def test_a_server_behind_openais_variable_gets_openais_key():
    """The key belongs to the address, so OpenAI itself is not asked with it."""
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://gpu.lan:9000/v1"}
    (worker,) = workers_from_env(env, probe=server(9000, "m"))
    assert (worker.base_url, worker.api_key_env) == ("http://gpu.lan:9000/v1", "OPENAI_API_KEY")


def test_openais_own_address_is_openai():
    """Setting the default address changes nothing."""
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://api.openai.com/v1"}
    assert workers_from_env(env) == workers_from_env({"OPENAI_API_KEY": "k"})


def test_models_may_be_named_where_nobody_can_be_asked():
    """Without a probe the models of a server come from a variable, or the error says so."""
    env = {"FUGU_LOCAL_URL": "http://gpu.lan:9000/v1"}
    workers = workers_from_env({**env, "FUGU_LOCAL_MODEL": "a, b"})
    assert [worker.model for worker in workers] == ["a", "b"]
    with pytest.raises(ConfigError, match="FUGU_LOCAL_MODEL"):
        workers_from_env(env)


def test_a_broken_address_is_told_by_its_variable():
    """The error says which variable to mend."""
    with pytest.raises(ConfigError, match="OLLAMA_HOST"):
        workers_from_env({"OLLAMA_HOST": "host:port", "FUGU_LOCAL_MODEL": "m"})


def test_what_is_written_reads_back_the_same():
    """Discovered workers survive the file, and no key is in it."""
    env = dict.fromkeys(KEYS, "sk-secret")
    workers = workers_from_env(env, probe=server(8080, "gemma"))
    text = init_toml(workers)
    assert parse_config(tomllib.loads(text)).worker == tuple(workers)
    assert "sk-secret" not in text
    assert "api_key_env" in text.split("[[worker]]")[0]  # the header explains it


def test_awkward_strings_are_escaped():
    """Quotes, control characters and other scripts read back as they were."""
    worker = Worker(
        name="a",
        api="embedded",
        model='m"\\\n\t\x7f\x01 猫',
        mode="few-shot",
        path="weights/x.gguf",
        tags={"b", 'a"'},
        effort="high",
        tools=False,
        price=Price(input=1e-05, output=0.5),
        concurrency=2,
    )
    assert parse_config(tomllib.loads(init_toml([worker]))).worker == (worker,)


@pytest.mark.parametrize(
    "extra", [{"api": "callable", "call": print}, {"api": "langchain", "runnable": 1}]
)
def test_python_objects_cannot_be_written(extra):
    """A worker that lives in code is refused with where it belongs."""
    with pytest.raises(ConfigError, match="keep it in code"):
        init_toml([Worker(name="a", **extra)])
