"""When a file system will be full, told from remembered samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from nbguard.health.remembered import Sample

KEPT_SAMPLES = 100
_LARGE_SHARE = 0.2


def remember(samples: Sequence[Sample], fresh: Sample, *, window_seconds: float) -> tuple[Sample, ...]:
    """The samples with a fresh one, oldest first; those of a future (the clock was set) or too long ago are dropped."""
    kept = [each for each in samples if 0 <= fresh.at - each.at <= window_seconds]
    return (*kept[-(KEPT_SAMPLES - 1) :], fresh)


def seconds_left(
    samples: Sequence[tuple[float, float]], *, floor: float, total: float, least_seconds: float
) -> float | None:
    """Seconds until the last of (second, free) reaches ``floor``; None when it does not, or cannot be told.

    The slower of two paces counts, the mean and the middle one between looks: one large file that was just written is
    no trend. While more than a fifth of the ``total`` is free, nobody needs to hear of it.
    """
    if len(samples) < 3:
        return None
    (began, at_first), (ended, at_last) = samples[0], samples[-1]
    if ended - began < least_seconds or (total > 0 and at_last - floor > _LARGE_SHARE * total):
        return None
    steps = [(a[1] - b[1]) / (b[0] - a[0]) for a, b in pairwise(samples) if b[0] > a[0]]
    pace = min((at_first - at_last) / (ended - began), _median(steps))
    return max(0.0, at_last - floor) / pace if pace > 0 else None


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
