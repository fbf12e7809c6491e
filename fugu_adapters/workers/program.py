"""Running the small programs that program-aided workers write.

An arithmetic expression is evaluated here, by a walk over its syntax tree. Anything more is
interpreted by asteval in a child process of its own (``program_child.py``), which is killed when its
time is up. This keeps a model's slips from doing harm; it is no boundary against an attacker who can
escape both asteval and the limits of the process, so the text of strangers belongs in a container.
"""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import json
import math
import operator
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from fugu_adapters.errors import ConfigError, InputError

__all__ = ["ProgramResult", "evaluate_expression", "run_program"]

Number: TypeAlias = int | float

_MAX_SOURCE = 20_000  # characters of one program
_MAX_EXPRESSION = 1_000  # characters
_MAX_OUTPUT = 4_000  # characters that a program may print
_MEMORY_BYTES = 512 * 1024 * 1024
_MAX_BITS = 4_096  # of any intermediate integer: about 1,200 digits
_MAX_DEPTH = 50
_SPAWN_S = 5.0  # for the interpreter to start on a busy machine, beside the program's own time

_BINARY: dict[type[ast.operator], Callable[[Number, Number], Number]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProgramResult:
    """What a program did.

    Attributes:
        output: what it printed, or the value that it ends in where it printed nothing.
        error: why it failed, ``None`` where it ran to its end.
    """

    output: str
    error: str | None = None


def evaluate_expression(text: str) -> Number:
    """The value of an arithmetic expression: numbers, ``+ - * / // % **`` and parentheses.

    Raises:
        InputError: where it holds anything else, divides by zero, or grows beyond bounds.
    """
    if len(text) > _MAX_EXPRESSION:
        raise InputError(f"expected an expression of at most {_MAX_EXPRESSION} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval")
        return _value(tree.body, depth=0)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"not an arithmetic expression: {text!r:.80}") from error
    except (ArithmeticError, TypeError) as error:
        raise InputError(f"cannot be computed: {text!r:.80} ({error})") from error


def _value(node: ast.expr, *, depth: int) -> Number:
    if depth > _MAX_DEPTH:
        raise ValueError("nested too deep")
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return _bounded(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand, depth=depth + 1)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left = _value(node.left, depth=depth + 1)
        right = _value(node.right, depth=depth + 1)
        if isinstance(node.op, ast.Pow):
            _check_power(left, right)
        return _bounded(_BINARY[type(node.op)](left, right))
    raise ValueError("not arithmetic")


def _check_power(base: Number, exponent: Number) -> None:
    """Refuse a power before computing it, since the computing is what hurts."""
    bits = base.bit_length() if isinstance(base, int) else 1
    if abs(exponent) * max(bits, 1) > _MAX_BITS:
        raise OverflowError("the power is too large")


def _bounded(value: Number) -> Number:
    if isinstance(value, complex) or not abs(value) < math.inf:
        raise ArithmeticError("not a finite real number")
    if isinstance(value, int) and value.bit_length() > _MAX_BITS:
        raise OverflowError("the number is too large")
    return value


async def run_program(source: str, *, seconds: float = 5.0) -> ProgramResult:
    """Run a short Python program in a child process without import, files or network.

    The usual pure names of ``math``, ``datetime``, ``re`` and the like can be imported. As in an
    interactive session, the value of a last expression (or assignment) counts where nothing was printed.

    Args:
        source: the program.
        seconds: CPU time, and wall-clock time beyond the start of the interpreter.

    Raises:
        ConfigError: where asteval is not installed.
    """
    if len(source) > _MAX_SOURCE:
        return ProgramResult(output="", error=f"program longer than {_MAX_SOURCE} characters")
    job = {
        "source": source,
        "seconds": seconds,
        "memory": _MEMORY_BYTES,
        "output": _MAX_OUTPUT,
        "packages": _packages(),
    }
    child = Path(__file__).with_name("program_child.py")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-S", "-B", "-X", "utf8", str(child)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={key: os.environ[key] for key in ("SYSTEMROOT",) if key in os.environ},
        cwd=os.sep,
    )
    try:
        async with asyncio.timeout(seconds + _SPAWN_S):
            body = await _exchange(process, json.dumps(job).encode())
            await process.wait()
    except TimeoutError:
        return ProgramResult(output="", error=f"stopped after {seconds:g} s")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return _outcome(body, seconds)


def _packages() -> str:
    """The folder that asteval is imported from; the child sees no other."""
    spec = importlib.util.find_spec("asteval")
    if spec is None or spec.origin is None:
        raise ConfigError("running programs needs asteval: pip install 'fugu-adapters[embedded]'")
    return str(Path(spec.origin).parent.parent)


async def _exchange(process: asyncio.subprocess.Process, job: bytes) -> bytes:
    """Send the job and read a bounded answer."""
    if process.stdin is None or process.stdout is None:
        raise ConfigError("the child process has no pipes")
    process.stdin.write(job)
    process.stdin.close()
    body = b""
    while piece := await process.stdout.read(65_536):
        body += piece[: 8 * _MAX_OUTPUT - len(body)]  # read on, or the child would wait forever
    return body


def _outcome(body: bytes, seconds: float) -> ProgramResult:
    try:
        answer = json.loads(body)
        return ProgramResult(output=str(answer["output"]), error=answer["error"])
    except (ValueError, KeyError, TypeError):  # killed by a limit, mid-word or before
        return ProgramResult(output="", error=f"stopped: over its {seconds:g} s or its memory")
