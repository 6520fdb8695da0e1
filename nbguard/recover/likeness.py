"""How like two cells' sources are, and which cells of a notebook are worth comparing at all."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache

_TOKEN = re.compile(r"\w+|[^\w\s]")
_MOST_CHARS = 12_000
_MOST_TOKENS = 1_200
_BY_CHARS = 240
_COMMON = 48
_VOTED = 6


@dataclass(frozen=True, slots=True)
class Tokens:
    """A source as tokens: in order, counted, and the characters in all of them."""

    order: tuple[str, ...]
    counts: Counter[str]
    chars: int


@lru_cache(maxsize=8_192)
def tokens(source: str) -> Tokens:
    """The source's words and signs; of a very long one, those of its head and its tail."""
    if len(source) > _MOST_CHARS:
        half = _MOST_CHARS // 2
        source = f"{source[:half]}\n{source[-half:]}"
    found = _TOKEN.findall(source)
    if len(found) > _MOST_TOKENS:
        found = found[: _MOST_TOKENS // 2] + found[-_MOST_TOKENS // 2 :]
    return Tokens(tuple(found), Counter(found), sum(map(len, found)))


def likeness(old: str, new: str, at_least: float = 0.0) -> float:
    """0 to 1: the share of characters, by whole tokens, that stay in order; 0 when that is under ``at_least``."""
    if old == new:
        return 1.0
    before, after = tokens(old), tokens(new)
    total = before.chars + after.chars
    if not total:
        return 1.0
    if len(old) + len(new) <= _BY_CHARS:
        return _by_chars(old, new, at_least)
    small, large = sorted((before.counts, after.counts), key=len)
    shared = sum(len(token) * min(count, large[token]) for token, count in small.items() if token in large)
    if 2 * shared / total < at_least:
        return 0.0
    matcher = SequenceMatcher(None, before.order, after.order, autojunk=False)
    kept = sum(
        len(before.order[at]) for start, _, size in matcher.get_matching_blocks() for at in range(start, start + size)
    )
    ratio = 2 * kept / total
    return ratio if ratio >= at_least else 0.0


def _by_chars(old: str, new: str, at_least: float) -> float:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    if matcher.real_quick_ratio() < at_least or matcher.quick_ratio() < at_least:
        return 0.0
    ratio = matcher.ratio()
    return ratio if ratio >= at_least else 0.0


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
