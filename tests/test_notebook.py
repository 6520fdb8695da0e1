"""Measuring a notebook again and again finds what measuring it whole finds."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.model import Measure
from nbguard.notebook import Remeasuring, measure


def _notebook(*sources: object, **more: object) -> bytes:
    cells = [{"cell_type": "code", "id": str(number), "source": source} for number, source in enumerate(sources)]
    whole = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}
    return json.dumps(whole, indent=1, ensure_ascii=False).encode() + b"\n"


_PIECES = st.sampled_from(
    (
        *(b"\n  },\n  {\n", b"\n  }\n ],\n", b'{\n "cells": [\n  {\n', b"}]], [[{", b"}, {", b',"cells": []', b"\xff"),
        *(b'"a": 1', b"", b"}", b"]", b"{", b"[", b",", b'"', b"\\", b"\n", b'"source": "xyz"', b"nan", b"1"),
        b'"source": ["x", "yz"]',
    )
)


@given(pieces=st.lists(_PIECES, max_size=12), cut=st.integers(0, 400), seed=st.integers(0, 2**32))
def test_whatever_the_bytes_are(pieces: list[bytes], cut: int, seed: int) -> None:
    chance = random.Random(seed)
    remeasuring = Remeasuring()
    data = bytearray(_notebook("x = 1", ["y", "z"], ""))
    for piece in pieces:
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.choice((0, 0, 1, 5, 30))] = piece
        for state in (bytes(data), bytes(data[:cut]), b'{\n "cells": [\n  {\n' + piece + b"\n  }\n ],\n" + b'"m": 0}'):
            assert remeasuring.measure("nb", state) == measure(state)


@given(history=st.lists(st.lists(st.sampled_from(["", "a", "é" * 9, ["b\n", "c"], "}\n  },\n  {\n", 7]), max_size=6)))
def test_every_save_of_a_history(history: list[list[object]]) -> None:
    remeasuring = Remeasuring(most_bytes=300)
    for number, sources in enumerate(history):
        data = _notebook(*sources)
        assert remeasuring.measure(str(number % 2), data) == measure(data)


@pytest.mark.parametrize(
    "data",
    [
        b'{\n "cells": [\n  {\n   "source": "x"\n  }\n ],\n}\n',
        b'{\n "cells": [\n  {\n   "source": "x"\n  }\n ],\n "cells": []\n}\n',
        b'{\n "cells": [\n  {\n   "source": "x"}, {"source": "y"\n  }\n ],\n "nbformat": 4\n}\n',
        b'{\n "cells": [\n  {\n   "source": "x"}], "n": [{"source": "y"\n  }\n ],\n "nbformat": 4\n}\n',
        b'{\n "cells": [\n  {\n\n  }\n ],\n "nbformat": 4\n}\n',
        b'{\n "cells": [\n  {\n   "source": ' + b"[" * 5000 + b"]" * 5000 + b'\n  }\n ],\n "nbformat": 4\n}\n',
    ],
)
def test_what_only_looks_like_a_notebook(data: bytes) -> None:
    assert Remeasuring().measure("nb", data) == measure(data)


def test_cells_that_did_not_change_are_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    remeasuring = Remeasuring()
    sources = [f"x = {number}" for number in range(100)]
    assert remeasuring.measure("nb", _notebook(*sources)) == Measure(100, 590)
    parsed: list[str] = []
    loads = json.loads

    def heard(text: str) -> object:
        parsed.append(text)
        return loads(text)

    monkeypatch.setattr("nbguard.notebook.json.loads", heard)
    sources[50] = "changed"
    assert remeasuring.measure("nb", _notebook(*sources)) == Measure(100, 591)
    assert len(parsed) == 1
    assert "changed" in parsed[0]


def test_memory_is_bounded() -> None:
    remeasuring = Remeasuring(most_bytes=10_000)
    for number in range(50):
        remeasuring.measure(str(number), _notebook("x" * 1000))
    assert 0 < remeasuring._held <= 10_000
    assert remeasuring._held == sum(len(cell.text) for cells, _ in remeasuring._known.values() for cell in cells)
