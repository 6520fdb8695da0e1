"""When a file system will be full, told from remembered samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence

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

    The slower of two paces counts, that of the whole time and that of its last third: one large file that was just
    written is no trend. While more than a fifth of the ``total`` is free, nobody needs to hear of it.
    """
    if len(samples) < 3:
        return None
    (began, at_first), (ended, at_last) = samples[0], samples[-1]
    if ended - began < least_seconds or (total > 0 and at_last - floor > _LARGE_SHARE * total):
        return None
    third = next((each for each in samples if each[0] >= ended - (ended - began) / 3), samples[0])
    if third[0] == ended:
        third = samples[-2]
    paces = [(at_first - at_last) / (ended - began), (third[1] - at_last) / max(1e-9, ended - third[0])]
    pace = min(paces)
    return max(0.0, at_last - floor) / pace if pace > 0 else None
