"""How like two cells' sources are, and which cells of a notebook are worth comparing at all."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST_CHARS = 12_000
_MOST_TOKENS = 1_200
_BY_CHARS = 400
_COMMON = 48
_VOTED = 6


@dataclass(frozen=True, slots=True)
class Tokens:
    """A source as tokens: in order, and counted."""

    order: tuple[str, ...]
    counts: Counter[str]


@lru_cache(maxsize=8_192)
def tokens(source: str) -> Tokens:
    """The source's words and signs; of a very long one, those of its head and its tail."""
    if len(source) > _MOST_CHARS:
        half = _MOST_CHARS // 2
        source = f"{source[:half]}\n{source[-half:]}"
    found = _TOKEN.findall(source)
    if len(found) > _MOST_TOKENS:
        found = found[: _MOST_TOKENS // 2] + found[-_MOST_TOKENS // 2 :]
    return Tokens(tuple(found), Counter(found))


def likeness(old: str, new: str, at_least: float = 0.0) -> float:
    """0 to 1: the share that stays in order, of characters in short texts, of tokens in longer ones; 0 when that is
    under ``at_least``."""
    if old == new:
        return 1.0
    if len(old) + len(new) <= _BY_CHARS:
        return _ratio(old, new, Counter(old), Counter(new), at_least)
    before, after = tokens(old), tokens(new)
    return _ratio(before.order, after.order, before.counts, after.counts, at_least)


def _ratio(
    one: Sequence[str], other: Sequence[str], in_one: Counter[str], in_other: Counter[str], at_least: float
) -> float:
    total = len(one) + len(other)
    if not total:
        return 1.0
    small, large = sorted((in_one, in_other), key=len)
    shared = sum(min(count, large[part]) for part, count in small.items() if part in large)
    if 2 * shared < at_least * total:  # what is shared in any order is at least what is shared in this one
        return 0.0
    ratio = 2 * common_in_order(one, other) / total
    return ratio if ratio >= at_least else 0.0


def common_in_order(one: Sequence[str], other: Sequence[str]) -> int:
    """The length of the longest common subsequence, by Hyyrö's bit-parallel counting: one step per part of ``other``.

    difflib, which one would use here, takes seconds for two texts of a thousand tokens that repeat.
    """
    masks: dict[str, int] = defaultdict(int)
    for place, part in enumerate(one):
        masks[part] |= 1 << place
    everything = (1 << len(one)) - 1
    open_places = everything
    for part in other:
        mask = masks.get(part)
        if mask is not None:
            matched = open_places & mask
            open_places = (open_places + matched | open_places - matched) & everything
    return len(one) - open_places.bit_count()


class TokenIndex:
    """Which of many texts share rare tokens with another one: a handful of candidates instead of all."""

    def __init__(self) -> None:
        self._holders: dict[str, set[int]] = defaultdict(set)

    def add(self, number: int, text: str) -> None:
        """``number`` holds ``text`` from now on."""
        for token in tokens(text).counts:
            self._holders[token].add(number)

    def remove(self, number: int, text: str) -> None:
        """``number`` holds ``text`` no longer."""
        for token in tokens(text).counts:
            self._holders[token].discard(number)

    def likeliest(self, text: str) -> Iterable[int]:
        """At most six numbers, those with the most characters in tokens that are not in too many texts."""
        votes: Counter[int] = Counter()
        for token in tokens(text).counts:
            holders = self._holders.get(token)
            if holders and len(holders) <= _COMMON:
                weight = len(token) / len(holders)
                for number in holders:
                    votes[number] += weight  # type: ignore[assignment] # Counter adds up floats just as well
        return (number for number, _ in sorted(votes.items(), key=lambda item: (-item[1], item[0]))[:_VOTED])
