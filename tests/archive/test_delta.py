"""Deltas: whatever the two states of a notebook are, the newer comes back byte for byte."""

from __future__ import annotations

import random
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nbguard.archive.delta import make_delta
from tests.archive.reference import apply_delta
from tests.helpers import notebook_bytes

_LINES = st.lists(
    st.sampled_from(
        [b"a\n", b"b", b"\r", b"\r\n", b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\n", b' "source": [\n', b"},\n"]
    )
    | st.binary(max_size=20),
    max_size=60,
).map(b"".join)
_ANY = st.binary(max_size=300) | _LINES


@given(old=_ANY, new=_ANY)
@example(old=b"", new=b"")
@example(old=b"", new=b"x" * 1000)
@example(old=b"x" * 1000, new=b"")
@example(old=b"x" * 70_000, new=b"x" * 70_001)
@example(old=b"\r" * 500 + b"end", new=b"\r\n" * 500 + b"end")
def test_any_two_states_make_a_delta_that_gives_the_newer_one(old: bytes, new: bytes) -> None:
    assert apply_delta(old, make_delta(old, new)) == new


@given(old=_LINES, seed=st.integers(0, 2**32), edits=st.integers(0, 8))
def test_edits_cuts_and_moved_lines_come_back(old: bytes, seed: int, edits: int) -> None:
    chance = random.Random(seed)
    base = old * 20
    new = bytearray(base)
    for _ in range(edits):
        at, end = sorted((chance.randrange(len(new) + 1), chance.randrange(len(new) + 1)))
        piece = bytes(new[at:end])
        new[at:end] = chance.choice([b"", piece[::-1], piece + piece, chance.randbytes(5), b"inserted\n"])[:5000]
    assert apply_delta(base, make_delta(base, bytes(new))) == bytes(new)


def test_a_changed_cell_costs_about_its_own_size() -> None:
    sources = [f"x{number} = {number} * 2\nprint(x{number})" for number in range(400)]
    old = notebook_bytes(*sources, outputs=True)
    sources[200] = "y = 1\nprint(y)"
    new = notebook_bytes(*sources, outputs=True)
    assert len(make_delta(old, new)) < 400 < len(new) / 50


def test_equal_states_are_one_copy() -> None:
    data = notebook_bytes(*["print(1)"] * 500)
    assert len(make_delta(data, data)) < 16


@pytest.mark.parametrize("size", [0xFFFF, 0x10000, 0x10001, 0xFFFFFF, 0x1000000, 0x1000001, 0x2000003])
def test_copies_around_the_limits_of_the_format_come_back(size: int) -> None:
    old = random.Random(size).randbytes(1000) * (size // 1000) + b"z" * (size % 1000)
    new = b"front" + old + b"back"
    assert apply_delta(old, make_delta(old, new)) == new


def test_a_hundred_thousand_equal_lines_take_no_time() -> None:
    """A column of zeros in an output: looking for the next place of a line must not walk through all of them."""
    old = b"".join(b"0.0000000,\n" if number % 3 else b"%d,\n" % number for number in range(60_000))
    new = b"".join(b"0.0000000,\n" if number % 2 else b"x%d,\n" % number for number in range(60_000))
    began = time.process_time()
    delta = make_delta(old, new)
    assert time.process_time() - began < 2.0
    assert apply_delta(old, delta) == new


def test_no_two_states_take_long() -> None:
    chance = random.Random(1)
    lines = [b"%x\n" % chance.getrandbits(chance.randrange(40, 600)) for _ in range(20_000)]
    old = b"".join(lines)
    chance.shuffle(lines)
    shuffled = b"".join(lines)
    for before, after in ((old, shuffled), (b"\n" * 2_000_000, b"x\n" * 1_000_000), (old, chance.randbytes(len(old)))):
        began = time.process_time()
        delta = make_delta(before, after)
        assert time.process_time() - began < 10
        assert apply_delta(before, delta) == after


def test_a_cell_that_moved_far_is_copied() -> None:
    chance = random.Random(2)
    cells = [b"".join(b"%x\n" % chance.getrandbits(300) for _ in range(60)) for _ in range(40)]
    old = b"".join(cells)
    cells.insert(35, cells.pop(3))
    assert len(make_delta(old, b"".join(cells))) < 2000
