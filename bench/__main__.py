"""`python -m bench NAME`: one benchmark, `all` with a report, or `report`: of the newest run of each."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.asking import asking
from bench.cpu import cpu
from bench.facts import facts, has
from bench.idle import idle
from bench.imports import imports
from bench.latency import latency
from bench.measure import touch_memory
from bench.package import package
from bench.prompt import prompt
from bench.results import Result, append_json, as_text, newest, report
from bench.save import save
from bench.sources import Sources
from bench.stored import stored

Benchmark = Callable[[str, Sources, argparse.Namespace], Result]

BENCHMARKS: dict[str, Benchmark] = {
    "save": lambda work, sources, options: save(work, sources, options.rounds),
    "cpu": lambda work, sources, options: cpu(work, sources, options.rounds),
    "stored": lambda work, sources, options: stored(work, sources),
    "imports": lambda work, sources, options: imports(work, sources, options.rounds),
    "asking": lambda work, sources, options: asking(work, sources, options.rounds),
    "latency": lambda work, sources, options: latency(work, sources),
    "idle": lambda work, sources, options: idle(work, sources, options.seconds),
    "package": lambda work, sources, options: package(work, sources),
    "prompt": lambda work, sources, options: prompt(work, options.rounds),
}

_WORDS = (
    "What nbguard costs, side by side with the floor (what durability costs by itself) and with other tools on the",
    "same saves. Ratios are what counts: both sides were measured in one run, in rotation, and medians taken over the",
    "rounds. The saves are made from a seed by `bench/workload.py`: (a) one notebook saved 1,000 times, 350 kB on",
    "average; (a') the same saves two minutes apart; (b) 1,000 ordinary notebooks; (c) 50 notebooks saved 100 times",
    "each, in turn; (d) 10,000 small notebooks. `--real DIR` takes real histories instead (`NAME.ipynb/000.ipynb`,",
    "`001.ipynb`, …).",
)


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for; 0 when it ran, whatever it measured."""
    options = _parser().parse_args(arguments)
    if options.name == "report":
        results, known = newest(options.out, BENCHMARKS)
        text = report(results, known, "python -m bench NAME, then python -m bench report", _WORDS)
        Path(options.report or "docs/benchmarks.md").write_text(text, encoding="utf-8")
        return 0
    names = list(BENCHMARKS) if options.name == "all" else [options.name]
    sources = Sources(options.real, options.share)
    os.makedirs(options.work, exist_ok=True)
    known, results, began = facts(options.work), [], time.monotonic()
    touch_memory(options.touch)
    work = tempfile.mkdtemp(prefix="nbguard-bench-", dir=options.work)
    try:
        for name in names:
            result = BENCHMARKS[name](_fresh(work, name), sources, options)
            results.append(result)
            print(as_text(result), flush=True)
            append_json(options.out, result, known)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{time.monotonic() - began:.0f} s; also as JSON lines in {options.out}", file=sys.stderr)
    if options.report:
        asked = " ".join(["python -m bench", *(sys.argv[1:] if arguments is None else arguments)])
        Path(options.report).write_text(report(results, known, asked, _WORDS), encoding="utf-8")
    return 0


def _fresh(work: str, name: str) -> str:
    """A folder for one benchmark; nothing is removed before the end, and on ext4 each lies apart from the others.

    ext4 is slow to make files where many were removed in the last minutes, whoever removed them.
    """
    if has("chattr"):
        subprocess.run(["chattr", "+T", work], stderr=subprocess.DEVNULL, check=False)
    folder = os.path.join(work, name)
    os.makedirs(folder)
    return folder


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("name", choices=[*BENCHMARKS, "all", "report"])
    parser.add_argument("--rounds", type=int, default=5, help="medians are over so many rounds (5)")
    parser.add_argument("--seconds", type=float, default=300.0, help="how long idleness is watched (300)")
    parser.add_argument("--real", type=Path, metavar="DIR", help="real histories instead of the generator's")
    parser.add_argument("--touch", type=float, default=8.0, metavar="GB", help="memory touched before (8)")
    parser.add_argument("--share", type=float, default=1.0, help="this share of every count, to try it out (1)")
    parser.add_argument("--work", default="/var/tmp", help="where files are written; a disk, not memory (/var/tmp)")
    parser.add_argument("--out", default="bench-results", help="folder for the JSON lines (bench-results)")
    parser.add_argument("--report", metavar="FILE", help="write the report there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
