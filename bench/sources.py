"""Which saves are measured: made from a seed, or real ones from a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import workload


@dataclass(frozen=True, slots=True)
class Sources:
    """All modes; ``real`` is a folder of histories, None for the generator. ``share`` makes every count smaller."""

    real: Path | None = None
    share: float = 1.0

    def count(self, full: int, least: int = 2) -> int:
        """So many of ``full``, at least ``least``."""
        return max(least, round(full * self.share))

    def one(self) -> Iterator[tuple[str, bytes]]:
        """(a): one notebook, 1,000 saves of about 350 kB."""
        count = self.count(1000, 24)
        contents = workload.one_real_notebook(self.real) if self.real else workload.one_notebook(count)
        return (("eda.ipynb", content) for content in itertools.islice(contents, count))

    def many(self) -> Iterator[tuple[str, bytes]]:
        """(c): 50 notebooks, 100 saves each, in turn."""
        if self.real:
            return itertools.islice(workload.many_real_notebooks(self.real), self.count(5000, 40))
        return workload.many_notebooks(self.count(50, 4), self.count(100, 10))

    def ordinary(self) -> Iterator[tuple[str, bytes]]:
        """(b): 1,000 ordinary notebooks."""
        return workload.real_import(self.real) if self.real else workload.ordinary_import(self.count(1000))

    def small(self) -> Iterator[tuple[str, bytes]]:
        """(d): 10,000 small notebooks."""
        return workload.small_import(self.count(10_000))
