"""Deflate: zlib and git read whatever was deflated, text is as small as before and drawings cost little time."""

from __future__ import annotations

import base64
import random
import zlib

from hypothesis import example, given
from hypothesis import strategies as st

from nbguard.archive.deflate import deflate

_LINE = (
    st.binary(max_size=40)
    | st.integers(1900, 6000).map(lambda size: b"A" * size)
    | st.integers(0, 99).map(lambda seed: base64.b64encode(random.Random(seed).randbytes(3000)))
    | st.integers(0, 99).map(
        lambda seed: b' "image/png": "' + base64.b64encode(random.Random(seed).randbytes(9000)) + b'",'
    )
)


@given(lines=st.lists(_LINE, max_size=8), ending=st.sampled_from([b"", b"\n"]))
@example(lines=[b"A" * 2000], ending=b"")
@example(lines=[b"A" * 1999, b"B" * 2001], ending=b"\n")
@example(lines=[b"", b"A" * 5000, b"A" * 5000, b""], ending=b"")
def test_whatever_the_bytes_are_they_come_back(lines: list[bytes], ending: bytes) -> None:
    data = b"\n".join(lines) + ending
    inflating = zlib.decompressobj()
    assert inflating.decompress(deflate(data)) == data
    assert inflating.eof and inflating.unused_data == b""


def test_text_between_drawings_is_as_small_as_alone() -> None:
    text = b"".join(b'    "epoch %d - loss: 0.1234",\n' % number for number in range(3000))
    drawing = b'   "image/png": "' + base64.b64encode(random.Random(1).randbytes(60_000)) + b'",\n'
    apart = len(zlib.compress(text, 1)) + len(drawing) * 0.77
    assert len(deflate(text + drawing + text)) < apart + len(zlib.compress(text, 1)) + 100
    assert len(deflate(text)) == len(zlib.compress(text, 1))
