"""The child process of ``program.py``: one small program, interpreted by asteval, then gone.

Run as a script by an isolated interpreter (``-I -S -B``, empty environment) that knows neither this
package nor the installed ones; the job arrives as JSON on stdin. Three walls stand between a model's
text and the machine: asteval interprets it without import, files or underscored attributes; the
process may open no file, socket or process; and time, memory and output are bounded.
"""

from __future__ import annotations

import ast
import importlib
import json
import math
import sys
import types
from typing import Any

__all__ = ["main"]

# What programs may "import". Functions only: a module object would lead to the modules it imported.
_NAMES = {
    "calendar": ("day_name", "isleap", "monthrange"),
    "collections": ("Counter", "OrderedDict", "defaultdict", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta"),
    "itertools": ("chain", "combinations", "permutations", "product", "zip_longest"),
    "math": tuple(name for name in dir(math) if not name.startswith("_")),
    "re": ("findall", "fullmatch", "match", "search", "split", "sub"),
    "string": ("ascii_letters", "ascii_lowercase", "ascii_uppercase", "digits", "punctuation"),
}

_LATE = (
    "_strptime",
    "heapq",
)  # the standard library loads these on first use: too late once locked


class _Output:
    """Where the program prints to: it stops the program once the bound is reached."""

    def __init__(self, limit: int) -> None:
        self.text = ""
        self._limit = limit

    def write(self, text: str) -> None:
        self.text = (self.text + text)[: self._limit]
        if self.full:
            raise RuntimeError

    @property
    def full(self) -> bool:
        """Whether the bound is reached."""
        return len(self.text) == self._limit

    def flush(self) -> None:
        """Nothing is held back."""


def _namespaces() -> dict[str, Any]:
    """The importable names, as plain namespaces. Imported before files are locked away."""
    spaces = {}
    for name, members in _NAMES.items():
        module = importlib.import_module(name)
        spaces[name] = types.SimpleNamespace(**{key: getattr(module, key) for key in members})
    for name in _LATE:
        importlib.import_module(name)
    return spaces


def _lock(job: dict[str, Any]) -> None:
    """Bound CPU and memory; allow no more files, sockets or processes. No-op without rlimits."""
    try:
        import resource
    except ImportError:  # Windows: the wall clock of the parent and asteval remain
        return
    seconds = math.ceil(job["seconds"])
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: job["memory"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,
    }
    if hasattr(resource, "RLIMIT_NPROC"):
        bounds[resource.RLIMIT_NPROC] = 0
    for kind, bound in bounds.items():
        try:
            resource.setrlimit(kind, (bound, bound))
        except (OSError, ValueError):  # macOS refuses some; the others still hold
            continue


class _Rewrite(ast.NodeTransformer):
    """What asteval lacks: imports become assignments, generators become lists."""

    def visit_Import(self, node: ast.Import) -> list[ast.stmt]:
        return [
            self._assign(alias, ast.Name(_hidden(alias.name), ast.Load())) for alias in node.names
        ]

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt]:
        space = ast.Name(_hidden(node.module or ""), ast.Load())
        return [
            self._assign(alias, ast.Attribute(space, alias.name, ast.Load()))
            for alias in node.names
        ]

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.ListComp:
        self.generic_visit(node)
        return ast.ListComp(node.elt, node.generators)

    @staticmethod
    def _assign(alias: ast.alias, value: ast.expr) -> ast.stmt:
        return ast.Assign([ast.Name(alias.asname or alias.name, ast.Store())], value)


def _hidden(module: str) -> str:
    """The name that a module's namespace is kept under, whatever the program rebinds."""
    if module not in _NAMES:
        raise ImportError(f"{module} is not available")
    return f"module_{module}"


def _interpret(job: dict[str, Any], interpreter: Any, spaces: dict[str, Any]) -> str | None:
    """Run the program. Its value, where it ends in an expression or assignment, else ``None``."""
    module = ast.fix_missing_locations(_Rewrite().visit(ast.parse(job["source"])))
    interpreter.symtable.update(spaces)
    interpreter.symtable.update({_hidden(name): space for name, space in spaces.items()})
    value = None
    for statement in module.body:
        value = interpreter.run(statement, expr=ast.unparse(statement))
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = interpreter.symtable.get(statement.targets[0].id)
        elif not isinstance(statement, ast.Expr):
            value = None
    return None if value is None else str(value)


def main() -> None:
    """Read one job from stdin and write its outcome to stdout, both as JSON."""
    job = json.load(sys.stdin)
    sys.modules["numpy"] = None  # type: ignore[assignment]  # asteval works without; half the start
    sys.path.append(job["packages"])
    import asteval

    sys.path.remove(job["packages"])
    spaces = _namespaces()
    output = _Output(job["output"])
    interpreter = asteval.Interpreter(
        use_numpy=False, writer=output, err_writer=output, config={"with": False}
    )
    for name in ("open", "dir"):
        interpreter.symtable.pop(name, None)
    _lock(job)
    error = value = None
    try:
        value = _interpret(job, interpreter, spaces)
    except Exception as failure:
        told = f"over {job['output']} characters of output" if output.full else str(failure)[:300]
        error = f"{type(failure).__name__}: {told}"
    text = output.text if output.text.strip() or value is None else value[: job["output"]]
    sys.stdout.write(json.dumps({"output": text.strip(), "error": error}))


if __name__ == "__main__":
    main()
