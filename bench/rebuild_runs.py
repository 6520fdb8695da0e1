"""Rebuilt notebooks executed from the top, beside the notebook that was lost."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.pairs import Pair, normal
from bench.rebuild_scores import NOW, as_found, guess
from bench.traces import Ran
from nbguard.recover.checking import Checked, CheckFailed, Limits, check
from nbguard.recover.chronology import chronological_log
from nbguard.recover.rebuild import rebuild

_ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
_LONGEST_SHARE_FAILING = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One notebook's run against the true one's: the share of true cells that are there with the same source and the
    same output, and how many more cells failed than in the true notebook (never under 0), and why each failed."""

    same: float
    extra_failing: int
    failing: int
    code_cells: int
    why: tuple[str, ...] = ()


class Skipped(Exception):
    """Why a pair says nothing when executed."""


def missing_imports(pair: Pair, python: str) -> list[str]:
    """Modules that the newer version imports and ``python`` does not have."""
    wanted = sorted({name for text in pair.new for name in _imports(text)})
    program = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])"
    answer = subprocess.run([python, "-c", program, *wanted], capture_output=True, text=True, check=True, timeout=60)
    return answer.stdout.split()


def runs(pair: Pair, ran: Sequence[Ran], kernel: str, limits: Limits) -> dict[str, Run]:
    """Every way of rebuilding, executed. Raises Skipped."""
    truth = pair.new_file.read_bytes()
    first = _run(truth, kernel, limits)
    code = [(identity, text) for identity, text in _code(truth) if text]
    if len(first.failing) > _LONGEST_SHARE_FAILING * max(len(code), 1):
        raise Skipped("more than half of the true notebook's cells fail here")
    if any(cell.why in ("timeout", "not run", "the kernel died") for cell in first.failing):
        raise Skipped("the true notebook takes too long here")
    second = _run(truth, kernel, limits)
    bad = {cell.id for cell in first.failing}
    wanted = Counter(
        (text, shown)
        for identity, text in code
        if identity not in bad and (shown := _shown(first, identity)) == _shown(second, identity)
    )
    if not wanted:
        raise Skipped("no cell of the true notebook gives the same output twice")
    found = as_found(ran)
    notebooks = {
        "every command": chronological_log(found, {}, now=NOW),
        "last version": pair.old_file.read_bytes(),
        "rebuilt": guess(pair, ran).notebook,
        "no archive": rebuild(None, found, now=NOW).notebook,
    }
    return {name: _compared(data, wanted, len(first.failing), kernel, limits) for name, data in notebooks.items()}


def _compared(notebook: bytes, wanted: Counter[tuple[str, str]], failing: int, kernel: str, limits: Limits) -> Run:
    checked = _run(notebook, kernel, limits)
    got = Counter((text, _shown(checked, identity)) for identity, text in _code(notebook))
    return Run(
        same=sum((wanted & got).values()) / sum(wanted.values()),
        extra_failing=max(len(checked.failing) - failing, 0),
        failing=len(checked.failing),
        code_cells=checked.code_cells,
        why=tuple(f"{cell.number}: {cell.why}" for cell in checked.failing),
    )


def _run(notebook: bytes, kernel: str, limits: Limits) -> Checked:
    try:
        return check(notebook, limits, kernel=kernel)
    except CheckFailed as error:
        raise Skipped(error.message) from error


def _code(notebook: bytes) -> list[tuple[str, str]]:
    """Id (as check() gives it) and source of each code cell."""
    return [
        (str(cell.get("id", number)), normal("".join(cell["source"])))
        for number, cell in enumerate(json.loads(notebook)["cells"], 1)
        if cell["cell_type"] == "code"
    ]


def _shown(checked: Checked, identity: str) -> str:
    """A cell's outputs as text to compare: streams joined, no counts, no addresses in memory."""
    parts: list[str] = []
    for output in checked.outputs.get(identity, []):
        kind = output["output_type"]
        if kind == "stream":
            parts.append(f"{output.get('name')}:{output.get('text')}")
        elif kind == "error":
            parts.append(f"error:{output.get('ename')}:{output.get('evalue')}")
        else:
            parts.append(json.dumps(output.get("data"), sort_keys=True))
    return _ADDRESS.sub("0x", "\n".join(parts))


def _imports(text: str) -> set[str]:
    plain = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(("%", "!")))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(plain)
    except (SyntaxError, ValueError):
        return set()
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found
