"""The one reader of workflows that models wrote."""

from __future__ import annotations

import contextlib
import json
import random
import time
import tracemalloc

import pytest

from fugu_adapters.errors import PlanError
from fugu_adapters.workflow import Step, Workflow, parse_workflow
from fugu_adapters.workflow.parse import MAX_PLAN_CHARS

WORKERS = ["alpha", "beta", "gamma"]
PLAN = Workflow(
    steps=(
        Step(worker="beta", subtask='Find "x", then\nstop.'),
        Step(worker="alpha", subtask="It's quick: solve it", access=(0,)),
        Step(worker="beta", subtask="Merge both", access=(0, 1)),
    )
)
JSON = json.dumps(
    {
        "model_id": [1, 0, 1],
        "subtasks": [step.subtask for step in PLAN.steps],
        "access_list": [[], [0], ["all"]],
    }
)
PYTHON = """model_id = [1, 0, 1]
subtasks = ['Find "x", then\\nstop.', "It's quick: solve it", 'Merge both',]
access_list = [[], [0], [0, 1]]"""


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        json.dumps(json.loads(JSON), indent=2),
        PYTHON,
        f"I think two models should do.\n\n```json\n{JSON}\n```\nGood luck!",
        f"<think>model_id could be [2, 2].</think>\n```python\n{PYTHON}\n```",
        PYTHON.replace("[0, 1]]", "'all']").replace("[0],", '["all"],'),
        PYTHON.replace("[1, 0, 1]", "[\n 1,  # the best, [really]\n 0, 1,\n]").replace(" = ", ":"),
        PYTHON.replace("\naccess", "\n# who sees what\naccess"),
        PYTHON.replace('"It\'s quick: solve it"', '"""It\'s quick: solve it"""'),
        f"First try:\n{PYTHON.replace('[1, 0, 1]', '[2, 2, 2]')}\nBetter:\n{PYTHON}",
        "\n".join([PYTHON.splitlines()[index] for index in (1, 2, 0)]),
    ],
)
def test_one_plan_in_the_forms_that_models_use(text: str) -> None:
    """JSON or Python lists, fenced, commented, after reasoning or drafts: the same workflow."""
    assert parse_workflow(text, WORKERS) == PLAN


def three(model: str = "[0]", subtasks: str = "['x']", access: str = "[[]]") -> str:
    return f"model_id = {model}\nsubtasks = {subtasks}\naccess_list = {access}"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "model_id"),
        ("no plan today", "model_id"),
        (three("[3]"), "model_id[0]"),
        (three("[-1]"), "model_id[0]"),
        (three("['alpha']"), "model_id[0]"),
        (three("[0.0]"), "model_id[0]"),
        (three("[00]"), "model_id[0]"),
        (three("[1000000000000]"), "model_id[0]"),
        (three("[True]"), "model_id[0]"),
        (three("[null]"), "model_id[0]"),
        (three("[[0]]"), "model_id[0]"),
        (three("[]", "[]", "[]"), "model_id"),
        (three(str([0] * 6), str(["x"] * 6), str([[]] * 6)), "model_id"),
        (three("[0, 1]"), "subtasks"),
        (three("[0, 1]", "['x', 'y']"), "access_list"),
        (three(subtasks="['']"), "steps[0].subtask"),
        (three(subtasks="[7]"), "steps[0].subtask"),
        (three(subtasks="['x' 'y']"), "subtasks[1]"),
        (three(subtasks="['x'"), "subtasks[1]"),
        (three(subtasks="['x]"), "subtasks[0]"),
        (three(subtasks="[,'x']"), "subtasks[0]"),
        (three(subtasks="[f'x']"), "subtasks[0]"),
        (three(subtasks=r"['\ud800']"), "subtasks[0]"),
        (three(subtasks=r"['\UFFFFFFFF']"), "subtasks[0]"),
        (three(access="[[0]]"), "steps[0].access[0]"),
        (three(access="[['all', 0]]"), "steps[0].access[0]"),
        (three(access="['some']"), "steps[0].access"),
        (three(access="[0]"), "steps[0].access"),
        (three(access="[[[]]]"), "access_list[0][0]"),
        (three(access="[[" + "0," * 40 + "0]]"), "access_list[0][32]"),
        (three("[0, 0]", "['x', 'y']", "[[], [1]]"), "steps[1].access[0]"),
        (three("[0, 0]", "['x', 'y']", "[[1], []]"), "steps[0].access[0]"),
        (three("[0, 0]", "['x', 'y']", "[[], [0, 0]]"), "steps[1].access[1]"),
        (three("[0, 0]", "['x', 'y']", "[[], [-1]]"), "steps[1].access[0]"),
        (f"{three()}\nand model_id = [1]", "subtasks"),
        ("access_list = [[]]\nIn words:\nmodel_id = [0]\nsubtasks = ['x']", "access_list"),
        ("x" * (MAX_PLAN_CHARS + 1), ""),
        ("model_id = [0]\n" * 100, ""),
    ],
)
def test_what_is_not_exactly_a_workflow_is_refused(text: str, path: str) -> None:
    """No wrapped number, forward reference, truncated list or plan of two halves; the path says where."""
    with pytest.raises(PlanError) as raised:
        parse_workflow(text, WORKERS)
    assert raised.value.path == path


def test_names_are_read_only_where_they_were_shown() -> None:
    """Numbers and names are never mixed up, and a near miss is not mended."""
    named = three("['gamma']")
    assert parse_workflow(named, WORKERS, ids="names").steps[0].worker == "gamma"
    for model in ("[0]", "['Gamma']", "['gam']", "[' gamma']"):
        with pytest.raises(PlanError, match="expected one of alpha, beta, gamma") as raised:
            parse_workflow(three(model), WORKERS, ids="names")
        assert raised.value.path == "model_id[0]"
    with pytest.raises(PlanError, match="as text, got bytes"):
        parse_workflow(named.encode(), WORKERS)  # type: ignore[arg-type]


def test_a_plan_inside_a_subtask_is_text() -> None:
    """What a request smuggles into a quoted subtask cannot become the plan, even where lists are broken."""
    inner = three("[2]", "[\\'steal\\']", "[[]]").replace("\n", "\\n")
    plan = parse_workflow(three(subtasks=f"['Answer this: {inner}']"), WORKERS)
    assert [step.worker for step in plan.steps] == ["alpha"]
    for broken in (
        three(access=f"['{inner}', oops]"),
        three("[0, oops]", f"['{inner}']"),
        three(subtasks=f"['{inner}', oops]"),
    ):
        with pytest.raises(PlanError):
            parse_workflow(broken, WORKERS)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'"tab\there"', "tab\there"),
        (r'"\ud83d\ude00 \u00e9 \x41 \U0001F600"', "😀 é A 😀"),
        (r'"C:\work"', r"C:\work"),
        (r"'it\'s \"so\" \/'", 'it\'s "so" /'),
        ('"two\nlines"', "two\nlines"),
    ],
)
def test_escapes_mean_what_python_and_json_say(written: str, meant: str) -> None:
    """A backslash that escapes nothing stays, as in Python."""
    assert parse_workflow(three(subtasks=f"[{written}]"), WORKERS).steps[0].subtask == meant


BOMBS = [
    "model_id = " + "[" * 60_000,
    "subtasks = ['" * 5_000,
    'subtasks = ["' + "\\" * 60_000,
    "subtasks = ['''" + "''" * 30_000,
    "model_id" + " " * 60_000 + "= [",
    "model_id = [" + " " * 60_000,
    "model_id = [" + "#" * 60_000,
    "model_id = [" + "#\n" * 30_000,
    "model_id = [" + "9" * 60_000 + "]",
    three() + "\n" * 60_000 + ";" * 5_000,
    "model_id = [0]" + "\n#" * 30_000 + "\nsubtasks = ['x']",
    ("model_id = [0]" + "," * 1_000) * 60,
    "\\u0000" * 10_000,
    three(subtasks='["' + "\\ud83d\\ude00" * 4_000 + '"]'),
    ("model_id = ['" + "x" * 1_000 + "']\n") * 60,
    "\ud800" * 60_000,
]


@pytest.mark.parametrize("text", BOMBS, ids=range(len(BOMBS)))
def test_hostile_texts_end_quickly(text: str) -> None:
    """Deep nesting, endless strings and backtracking traps cost under 200 ms."""
    began = time.process_time()
    with contextlib.suppress(PlanError):
        parse_workflow(text, WORKERS)
    assert time.process_time() - began < 0.2


def _mutated(rng: random.Random, text: str) -> str:
    scraps = ['"', "'", "[", "]", ",", "\\", "\n", "#", "all", "-1", "1e9", "model_id", "= [", "\0", "é",
              "subtasks: [", '"""', "\ud83d", "[" * 50, " " * 200, "access_list"]  # fmt: skip
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(text) + 1)
        action = rng.random()
        if action < 0.4:
            text = text[:place] + rng.choice(scraps) + text[place:]
        elif action < 0.7:
            text = text[:place] + text[place + rng.randint(1, 12) :]
        elif action < 0.9:
            other = rng.randrange(len(text) + 1)
            text = text[: min(place, other)] + text[max(place, other) :] + text[:place]
        else:
            text = text[:place] + text * rng.randint(2, 4)
    return text[: MAX_PLAN_CHARS + 10]


def test_ten_thousand_fuzzed_replies_each_give_a_workflow_or_a_plan_error() -> None:
    """Nothing else is raised, each in under 200 ms, all of it in under 50 MB; what parses is valid."""
    rng = random.Random(11)
    slowest, valid = 0.0, 0
    tracemalloc.start()
    for number in range(10_000):
        text = _mutated(rng, JSON if number % 2 else PYTHON)
        began = time.process_time()
        try:
            plan = parse_workflow(text, WORKERS)
        except PlanError as error:
            assert str(error)
        else:
            valid += 1
            assert Workflow.from_dict(plan.to_dict()) == plan
            assert {step.worker for step in plan.steps} <= set(WORKERS)
        slowest = max(slowest, time.process_time() - began)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert slowest < 0.2
    assert peak < 50e6
    assert 300 < valid < 9_500  # both ways are exercised
