"""What tests share: waiting with a deadline, notebooks to save, the command line as a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

REPOSITORY = Path(__file__).resolve().parent.parent

_Answer = TypeVar("_Answer")


def poll(condition: Callable[[], _Answer], seconds: float = 10.0, *, every: float = 0.02) -> _Answer:
    """The first true answer of ``condition``; AssertionError when there is none within ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise AssertionError(f"not so within {seconds} s: {condition!r} still gives {answer!r}")
        time.sleep(every)


def notebook_bytes(*sources: str, outputs: bool = False) -> bytes:
    """A valid notebook (nbformat 4.5) with one code cell per source, laid out as Jupyter writes it."""
    cells: list[dict[str, object]] = [
        {
            "cell_type": "code",
            "execution_count": number if outputs else None,
            "id": f"cell-{number}",
            "metadata": {},
            "outputs": [{"name": "stdout", "output_type": "stream", "text": [source]}] if outputs else [],
            "source": source.splitlines(keepends=True),
        }
        for number, source in enumerate(sources, 1)
    ]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command said, and its exit code."""

    code: int
    out: str
    talk: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def nbguard(*arguments: str, cwd: Path | None = None, typed: str | None = None) -> Answer:
    """Run the command line in a process of its own, with this test's environment; no terminal, 60 s at most."""
    done = subprocess.run(
        [sys.executable, "-m", "nbguard", *arguments],
        input=typed or "",
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)
