"""Which names a cell binds and which it needs, read from its syntax; broken code is read as far as it goes."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import warnings
from dataclasses import dataclass
from functools import lru_cache

_MOST_CHARS = 200_000
_PYTHON_MAGICS = frozenset({"time", "timeit", "capture", "prun", "memit", "mprun", "debug"})
_MAGIC_LINE = re.compile(r"^(\s*)(?:[%!?].*|[^#'\"=]*\?\??\s*)$")
_ASSIGNED_MAGIC = re.compile(r"^(\s*)([\w., ]+?)\s*=\s*[%!].*$")
_CELL_MAGIC = re.compile(r"^\s*%%(\w+)(.*)$")
_BINDS = re.compile(
    r"^\s*(?:(?:async\s+)?def\s+(\w+)|class\s+(\w+)|import\s+(\w+)\s*$|import\s+[\w.]+\s+as\s+(\w+)"
    r"|from\s+[\w.]+\s+import\s+(\w+)|(\w+)\s*=[^=])",
    re.MULTILINE,
)
_WORD = re.compile(r"(?<![\w.])[A-Za-z_]\w*")
_BUILT_IN = (
    frozenset(dir(builtins))
    | frozenset(keyword.kwlist)
    | {"get_ipython", "display", "In", "Out", "_", "__", "___", "exit", "quit"}
)


@dataclass(frozen=True, slots=True)
class Names:
    """``bound`` stay after the cell ran; ``used`` must exist before it, or when what it defines is called."""

    bound: frozenset[str]
    used: frozenset[str]


@lru_cache(maxsize=8_192)
def names_of(source: str) -> Names:
    """The names of one code cell. Never raises; of code that cannot be parsed, what its lines look like."""
    if len(source) > _MOST_CHARS:
        return _looked_at(source[:_MOST_CHARS])
    python = _without_magics(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(python)
        return _read(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _looked_at(python)


def is_whole(source: str) -> bool:
    """Whether a code cell is Python that can be parsed, magics apart. Never raises."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(_without_magics(source[:_MOST_CHARS]))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _without_magics(source: str) -> str:
    """The cell as Python: magics, shell lines and questions become ``pass``, which binds and needs nothing."""
    lines = source.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    if cell_magic := _CELL_MAGIC.match(lines[first]):
        if cell_magic[1] not in _PYTHON_MAGICS:
            return ""
        lines = lines[first + 1 :]
    return "\n".join(_plain(line) for line in lines)


def _plain(line: str) -> str:
    if assigned := _ASSIGNED_MAGIC.match(line):
        return f"{assigned[1]}{assigned[2]} = None"
    if magic := _MAGIC_LINE.match(line):
        timed = re.match(r"^(\s*)%(?:time|timeit|prun)\s+((?!-)\S.*)$", line)
        return timed[1] + timed[2] if timed else f"{magic[1]}pass"
    return line


def _looked_at(source: str) -> Names:
    bound = {name for match in _BINDS.finditer(source) for name in match.groups() if name}
    return Names(frozenset(bound), frozenset(_WORD.findall(source)) - bound - _BUILT_IN)


def _read(tree: ast.Module) -> Names:
    reader = _Reader()
    reader.body(tree.body)
    needed = (reader.first_used | (reader.later_used - reader.bound)) - _BUILT_IN
    return Names(frozenset(reader.bound), frozenset(needed))


class _Reader:
    """Reads statements in order, so that ``x = 1; x`` needs nothing and ``x = x + 1`` needs x."""

    def __init__(self) -> None:
        self.bound: set[str] = set()
        self.first_used: set[str] = set()
        self.later_used: set[str] = set()

    def body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self._statement(statement)

    def _statement(self, statement: ast.stmt) -> None:
        bound: set[str] = set()
        for node in _here(statement):
            match node:
                case ast.Name(id=name, ctx=ast.Load()):
                    if name not in self.bound:
                        self.first_used.add(name)
                case ast.Name(id=name, ctx=ast.Store()) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    bound.add(name)
                case ast.Import() | ast.ImportFrom():
                    bound |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
                case ast.ExceptHandler(name=str(name)) | ast.MatchMapping(rest=str(name)):
                    bound.add(name)
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    bound.add(name)
                    self.later_used |= _free(node)
                case ast.Lambda():
                    self.later_used |= _free(node)
        if isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            if name not in self.bound:
                self.first_used.add(name)
        if isinstance(statement, ast.For | ast.While | ast.With | ast.If | ast.Try):
            # what a block binds, its later lines may use: order within a block is not followed
            self.first_used -= bound - self.bound
        self.bound |= bound


def _here(statement: ast.stmt) -> list[ast.AST]:
    """The nodes of a statement that run with it: not what lies in a function; comprehensions without their targets."""
    found: list[ast.AST] = []
    waiting: list[ast.AST] = [statement]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            inner = {
                name.id
                for part in ast.walk(node)
                for name in [part]
                if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
            found.extend(
                part
                for part in ast.walk(node)
                if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id not in inner
            )
            continue
        found.append(node)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting.extend([*node.decorator_list, *node.args.defaults, *(d for d in node.args.kw_defaults if d)])
        elif isinstance(node, ast.ClassDef):
            waiting.extend([*node.decorator_list, *node.bases, *(word.value for word in node.keywords)])
        elif isinstance(node, ast.Lambda):
            waiting.extend([*node.args.defaults, *(d for d in node.args.kw_defaults if d)])
        else:
            waiting.extend(ast.iter_child_nodes(node))
    return found


def _free(node: ast.AST) -> set[str]:
    """Names that a function, class or lambda takes from outside, read generously: all it loads and does not bind."""
    loads: set[str] = set()
    stores: set[str] = set()
    for part in ast.walk(node):
        match part:
            case ast.Name(id=name, ctx=ast.Load()):
                loads.add(name)
            case ast.Name(id=name):
                stores.add(name)
            case ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                stores.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                stores.add(name)
            case ast.Import() | ast.ImportFrom():
                stores |= {alias.asname or alias.name.split(".")[0] for alias in part.names}
            case _:
                pass
    return loads - stores
