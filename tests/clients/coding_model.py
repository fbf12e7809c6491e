"""A model that mends a file by script, with whatever tools a coding assistant offers: in all three dialects.

It looks at the file where the assistant wants that before an edit, edits it, runs it, and says what came out. It
thinks before each call, as models do that want their reasoning back. What it was offered and asked for, and what it
has back, goes into a log that the tests read.

    python coding_model.py PORT LOG FILE
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fugu_adapters import Fugu, Pool, Worker
from fugu_adapters.messages import text_of
from fugu_adapters.serve import serve
from fugu_adapters.types import Reply, Request, ToolCall, Usage

THOUGHT = "The sum is wrong, so the file comes first."
WRONG, RIGHT = "total = 40 - 2", "total = 40 + 2"


def moves(names: Sequence[str], file: str) -> list[tuple[str, dict[str, Any]]]:
    """The calls that do it, in the words of the assistant whose tools these are."""
    run = f"{sys.executable} {file}"
    if "Edit" in names:  # Claude Code
        edit = {"file_path": file, "old_string": WRONG, "new_string": RIGHT}
        return [
            ("Read", {"file_path": file}),
            ("Edit", edit),
            ("Bash", {"command": run, "description": "Run it"}),
        ]
    if "apply_patch" in names:  # Codex
        patch = f"*** Begin Patch\n*** Update File: {file}\n@@\n-{WRONG}\n+{RIGHT}\n*** End Patch"
        shell = next(name for name in ("exec_command", "shell_command", "shell") if name in names)
        return [("apply_patch", {"input": patch}), (shell, {"cmd": run, "command": run})]
    if "exec_command" in names:  # Codex with a model that it does not know
        patch = f"sed -i 's/{WRONG}/{RIGHT}/' {file}"
        return [("exec_command", {"cmd": patch}), ("exec_command", {"cmd": run})]
    if "edit" in names:  # opencode
        edit = {"filePath": file, "oldString": WRONG, "newString": RIGHT}
        return [
            ("read", {"filePath": file}),
            ("edit", edit),
            ("bash", {"command": run, "description": "Run it"}),
        ]
    return []


async def model(messages: list[Mapping[str, Any]], *, request: Request) -> Reply:
    """The next call, or what came of the last one."""
    names = [tool["function"]["name"] for tool in request.tools]
    last = max((i for i, m in enumerate(messages) if m["role"] == "user"), default=-1)
    results = [text_of(m) for m in messages[last + 1 :] if m["role"] == "tool"]
    thoughts = [m.get("reasoning_content") for m in messages if m.get("tool_calls")]
    with Path(sys.argv[2]).open("a", encoding="utf-8") as log:  # noqa: ASYNC230  a line of a test's log
        log.write(json.dumps({"tools": names, "results": results, "thoughts": thoughts}) + "\n")
    todo = moves(names, sys.argv[3])
    usage = Usage(input_tokens=100, output_tokens=20)
    if len(results) >= len(todo):
        said = f"It says: {results[-1]}" if results else "A small task"
        return Reply(text=said, usage=usage)
    name, arguments = todo[len(results)]
    call = ToolCall(id=f"call_{len(messages)}_{len(results)}", name=name, arguments=json.dumps(arguments))  # fmt: skip
    return Reply(text="On it.", reasoning=THOUGHT, tool_calls=(call,), usage=usage, finish_reason="tool_calls")  # fmt: skip


if __name__ == "__main__":
    worker = Worker(name="script", api="callable", call=model, tools=True, images=True)
    serve(Fugu(Pool([worker]), store=False), port=int(sys.argv[1]))
