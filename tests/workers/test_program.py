"""Running what models write: right answers from honest programs, nothing from the others."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import time
from pathlib import Path

import pytest

from fugu_adapters.errors import ConfigError, InputError
from fugu_adapters.workers import program, program_child
from fugu_adapters.workers.program import evaluate_expression, run_program

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="rlimits are POSIX")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4", 14),
        ("(1 + 2) / 4", 0.75),
        ("-7 // 2", -4),
        ("17 % 5", 2),
        ("2 ** 10", 1024),
        ("1.5 * 4", 6.0),
        (" 42\n", 42),
        ("+5 - -5", 10),
    ],
)
def test_arithmetic_is_exact(text, value):
    """Numbers and operators give Python's value."""
    assert evaluate_expression(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x + 1",
        "__import__('os')",
        "'a' * 9",
        "True + 1",
        "1j * 1j",
        "(1).__class__",
        "[1][0]",
        "1 if 2 else 3",
        "2 << 3",
        "1; 2",
        "1 / 0",
        "5 % 0",
        "9 ** 9 ** 9",
        "(-8) ** 0.5",
        "1e308 * 10",
        "1e999",
        "10 ** -400 ** 3",
        "9" * 5_000,
        "(" * 20_000 + "1" + ")" * 20_000,
        "-" * 200 + "1",
        " * ".join(["9" * 1_000] * 9),
    ],
)
def test_anything_else_is_refused_at_once(text):
    """Names, calls, huge numbers and deep nesting are input errors, never a hang."""
    began = time.perf_counter()
    with pytest.raises(InputError):
        evaluate_expression(text)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("print(2 + 2)", "4"),
        ("x = 6\nx * 7", "42"),
        ("answer = 'strawberry'.count('r')", "3"),
        ("1 + 1\nprint('printed')\n5", "printed"),
        ("import math\nmath.sqrt(16)", "4.0"),
        ("from math import gcd as g\ng(12, 18)", "6"),
        ("def f():\n    import math\n    return math.floor(2.5)\nf()", "2"),
        (
            "from datetime import date, timedelta\ndate(2024, 2, 28) + timedelta(days=2)",
            "2024-03-01",
        ),
        ("import datetime\ndatetime.datetime(2020, 1, 1).strftime('%A')", "Wednesday"),
        ("from datetime import datetime\ndatetime.strptime('2020-01-05', '%Y-%m-%d').day", "5"),
        ("from collections import Counter\nCounter('hello').most_common(1)", "[('l', 2)]"),
        ("import re\nre.findall('a+', 'aabaa')", "['aa', 'aa']"),
        ("sum(i * i for i in range(4))", "14"),
        ("'-'.join(c for c in 'abc' if c != 'b')", "a-c"),
        ("sorted(['b', 'A'], key=lambda s: s.lower())", "['A', 'b']"),
        ("def f(n):\n    return 1 if n < 2 else n * f(n - 1)\nprint(f(10))", "3628800"),
        ("d = {}\nfor c in 'hello':\n    d[c] = d.get(c, 0) + 1\nmax(d, key=d.get)", "l"),
        ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    print('caught')", "caught"),
        ("f'{3.14159:.2f}'", "3.14"),
        ("print('a', 'b', sep='-', end='')", "a-b"),
        ("print('naïve ☃')", "naïve ☃"),
        ("def f():\n    pass", ""),
        ("None", ""),
    ],
)
async def test_honest_programs_give_their_result(source, output):
    """Prints count; without any, the value that the program ends in."""
    result = await run_program(source)
    assert (result.output, result.error) == (output, None)


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import sys\nsys.exit()",
        "import subprocess",
        "from os import path",
        "from datetime import sys",
        "import collections\ncollections.abc",
        "__import__('os').system('true')",
        "open('/etc/passwd').read()",
        "open('/tmp/x', 'w')",
        "().__class__.__bases__[0].__subclasses__()",
        "(lambda: 0).__globals__",
        "print.__self__",
        "'{0.__class__}'.format(3)",
        "'{x.__class__}'.format_map({'x': 3})",
        "f'{(3).__class__}'",
        "getattr(3, '__class__')",
        "type(3).mro()",
        "eval('1')",
        "exec('x = 1')",
        "compile('1', '', 'eval')",
        "globals()",
        "vars()",
        "dir()",
        "input()",
        "breakpoint()",
        "class A: pass",
        "x = [c for c in ().__class__.__mro__]",
        "import re\nre.compile",
        "import math\nmath.__loader__",
        "with open('/etc/passwd') as f: print(f)",
    ],
)
async def test_ways_out_are_closed(source):
    """Imports, files, underscored attributes and format tricks end in an error without output."""
    result = await run_program(source)
    assert result.error is not None
    assert result.output == ""


@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "x = [0] * 10 ** 10",
        "s = [1]\nwhile True: s = s + s",
        "s = 'x'\nwhile True: s += s",
        "9 ** 9 ** 9",
        "pow(9, 9 ** 9)",
        "def f(n): return f(n + 1)\nf(0)",
        "sum(range(10 ** 12))",
        "'a'.rjust(10 ** 11)",
    ],
)
async def test_greedy_programs_are_stopped(source):
    """Loops, recursion, memory and huge numbers end within the time that was given."""
    began = time.monotonic()
    result = await run_program(source, seconds=0.5)
    assert result.error is not None
    assert time.monotonic() - began < 5


async def test_output_is_bounded():
    """A program that prints without end is cut off and counts as failed."""
    result = await run_program("while True: print('x' * 1000)")
    assert 0 < len(result.output) <= 4_000
    assert "output" in (result.error or "")


async def test_a_large_value_is_bounded():
    """The value that a program ends in is cut to the same length."""
    result = await run_program("list(range(100000))")
    assert len(result.output) <= 4_000


async def test_an_endless_source_is_refused():
    """A program beyond any reasonable length is not started."""
    result = await run_program("x = 1\n" * 10_000)
    assert "longer" in (result.error or "")


async def test_syntax_errors_are_named():
    """What is no Python is reported as such."""
    assert (await run_program("print((")).error.startswith("SyntaxError")


@pytest.mark.parametrize(
    ("source", "output", "error"),
    [
        ("import math as m\nprint(m.floor(2.5))", "2", None),
        ("from string import digits as d\nd[:3]", "012", None),
        ("x = sum(n for n in [1, 2])", "3", None),
        ("x = 1\nif x:\n    y = 2", "", None),
        ("import os", "", "ImportError: os is not available"),
        ("print('y' * 50)", "y" * 40, "RuntimeError: over 40 characters of output"),
    ],
)
def test_the_child_speaks_json(monkeypatch, source, output, error):
    """The script reads a job and writes its outcome; run here without its limits, to see inside."""
    packages = str(Path(pytest.importorskip("asteval").__file__).parent.parent)
    job = {"source": source, "seconds": 1, "memory": 2**29, "output": 40, "packages": packages}
    monkeypatch.setitem(sys.modules, "numpy", sys.modules.get("numpy"))  # it is taken out
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(program_child, "_lock", lambda job: None)
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(job)))
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    program_child.main()
    assert json.loads(sys.stdout.getvalue()) == {"output": output, "error": error}


@POSIX
async def test_the_child_can_open_nothing():
    """Even code outside the interpreter could open no file or socket: the limits say so."""
    source = "import re\nre.sub('(?u)x', 'y', 'x')"  # a harmless program, to see that it still runs
    assert (await run_program(source)).output == "y"
    probe = await _child_limits()
    assert probe == {"nofile": 0, "nproc": 0, "fsize": 0}


async def _child_limits():
    """The hard limits of a process that locked itself as the child does."""
    code = (
        "import json, resource, sys\n"
        f"sys.path.insert(0, {str(program.__file__.rsplit('/', 1)[0])!r})\n"
        "import program_child\n"
        "program_child._lock({'seconds': 1, 'memory': 2**29})\n"
        "names = ('NOFILE', 'NPROC', 'FSIZE')\n"
        "print(json.dumps({n.lower(): resource.getrlimit(getattr(resource, 'RLIMIT_' + n))[1] "
        "for n in names}))\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", "-B", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    return json.loads(out)


async def test_the_environment_is_not_inherited(monkeypatch):
    """The child starts isolated, with an empty environment and no site packages."""
    seen = {}
    start = asyncio.create_subprocess_exec

    async def spy(*command, **options):
        seen.update(options, command=command)
        return await start(*command, **options)

    monkeypatch.setenv("SECRET_KEY", "sk-1")
    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    assert (await run_program("1")).output == "1"
    assert set(seen["env"]) <= {"SYSTEMROOT"}
    assert {"-I", "-S", "-B"} <= set(seen["command"])


async def test_cancelling_kills_the_child(monkeypatch):
    """Cancellation passes through and leaves no process behind."""
    started = []
    start = asyncio.create_subprocess_exec

    async def spy(*command, **options):
        started.append(await start(*command, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spy)
    task = asyncio.create_task(run_program("while True: pass", seconds=30))
    while not started:  # noqa: ASYNC110 - a list, to see the process
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert started[0].returncode is not None


async def test_a_missing_interpreter_package_has_a_remedy(monkeypatch):
    """Without asteval the error names the extra."""
    monkeypatch.setattr(program.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"fugu-adapters\[embedded\]"):
        await run_program("1")
