"""``fugu trace`` of a workflow."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from fugu_adapters import Fugu, Pool
from fugu_adapters.cli.app import app
from fugu_adapters.testing import ScriptedWorker
from fugu_adapters.workflow import Step, Workflow


def test_a_trace_shows_who_did_which_step_seeing_what() -> None:
    """For people, a line for each step and the step of each call; as JSON, everything."""
    a, b = ScriptedWorker("a", "first [draft]"), ScriptedWorker("b", "second")
    plan = Workflow(
        steps=(
            Step(worker="a", subtask="Draft it."),
            Step(worker="b", subtask="Correct it.", access=(0,)),
        )
    )
    with Fugu(Pool([a.worker, b.worker])) as fugu:
        fugu.run("x", workflow=plan)
    told = CliRunner().invoke(app, ["trace"])
    assert told.exit_code == 0
    assert "step 1: a: Draft it." in told.output
    assert "first [draft]" in told.output
    assert "step 2: b, sees 1: Correct it." in told.output
    assert "call 2 (step 2): b after" in told.output
    plain = json.loads(CliRunner().invoke(app, ["trace", "--json"]).output)
    assert [step["text"] for step in plain["steps"]] == ["first [draft]", "second"]
    assert [call["step"] for call in plain["attempts"]] == [0, 1]
