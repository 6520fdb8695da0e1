"""What tests share: waiting with a deadline, and notebooks to save."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TypeVar

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
    cells = [
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
