"""Whatever bytes a notebook holds, they are kept, judged without a crash, and given back byte for byte."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.archive.maintenance import Maintenance
from nbguard.model import DraftKind, Status, Trigger
from nbguard.notebook import looks_complete, measure
from tests.archive.rig import NO_RESERVE, Rig
from tests.helpers import notebook_bytes

WHOLE = notebook_bytes("x = 1", "print('é')", outputs=True)
DEEP = 100_000

CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "one byte": b"{",
    "half": WHOLE[: len(WHOLE) // 2],
    "zero-filled": WHOLE[:100] + bytes(4096),
    "byte order mark": b"\xef\xbb\xbf" + WHOLE,
    "utf-16": WHOLE.decode().encode("utf-16"),
    "utf-16 big-endian": WHOLE.decode().encode("utf-16-be"),
    "latin-1": WHOLE.decode().encode("latin-1"),
    "crlf": WHOLE.replace(b"\n", b"\r\n"),
    "lone carriage returns": WHOLE.replace(b"\n", b"\r"),
    "no last newline": WHOLE.rstrip(b"\n"),
    "NaN and infinities": b'{"cells": [], "metadata": {"a": NaN, "b": Infinity, "c": -Infinity}, "nbformat": 4}',
    "a list": b"[]",
    "null": b"null",
    "a number": b"4",
    "a string": b'"cells"',
    "cells are no list": b'{"cells": {}}',
    "cells are no objects": b'{"cells": [1, null, "x", []]}',
    "nbformat 2": b'{"worksheets": [{"cells": [{"cell_type": "code", "input": "x"}]}], "nbformat": 2}',
    "nbformat 3": b'{"worksheets": [{"cells": [{"cell_type": "code", "input": ["x", "y"]}]}], "nbformat": 3}',
    "nbformat 4.5": WHOLE,
    "nbformat of the future": b'{"cells": [], "nbformat": 99, "nbformat_minor": 99}',
    "duplicate ids": WHOLE.replace(b"cell-2", b"cell-1"),
    "duplicate keys": b'{"cells": [], "cells": [{"source": "x"}], "nbformat": 4}',
    "lone surrogates escaped": b'{"cells": [{"source": "\\ud800 \\udfff"}], "nbformat": 4}',
    "lone surrogates raw": b'{"cells": [{"source": "\xed\xa0\x80"}], "nbformat": 4}',
    "deep lists": b'{"cells": ' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep objects": b'{"cells": [], "metadata": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}",
    "a number of a million digits": b'{"cells": [], "metadata": ' + b"9" * 1_000_000 + b"}",
    "git conflict": WHOLE.replace(b'"x = 1"', b'"\n<<<<<<< HEAD\n"x = 1"\n=======\n"y"\n>>>>>>> other\n'),
    "looks like a draft": b'{"v":1,"id":"' + b"a" * 32 + b'"}\n' + WHOLE,
    "looks like a tree": b"tree " + b"0" * 40 + b"\nauthor x\n\nId: 1\n",
    "every byte": bytes(range(256)) * 40,
    "one long line": json.dumps(json.loads(WHOLE) | {"metadata": {"x": "y" * 300_000}}).encode(),
}


def test_every_kind_of_content_comes_back_byte_for_byte(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    kept = {rig.save("/w/n.ipynb", data).id: (name, data) for name, data in CONTENTS.items()}
    before = rig.answers()
    for identity, (name, data) in kept.items():
        assert rig.read(identity) == data, name
    rig.packer.pack()
    Maintenance(rig.archive, reserve=NO_RESERVE).run(full=True)
    rig.catalog.discard()
    assert rig.answers() == before
    library = rig.library()
    statuses = {}
    for identity, (name, data) in kept.items():
        version = library.version(identity)
        assert version is not None and library.read(version) == data, name
        statuses[name] = version.status
    library.close()
    assert statuses["nbformat 3"] is Status.OK and statuses["half"] is Status.DAMAGED
    rig.fsck()


@pytest.mark.parametrize("data", CONTENTS.values(), ids=CONTENTS)
def test_judging_never_crashes(data: bytes) -> None:
    found = measure(data)
    assert found is None or found.cells >= 0
    assert looks_complete(data) in (True, False)


@given(
    data=st.binary(max_size=200) | st.text(max_size=100).map(lambda t: json.dumps({"cells": [{"source": t}]}).encode())
)
def test_judging_never_crashes_on_anything(data: bytes) -> None:
    measure(data)
    looks_complete(data)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=st.lists(st.binary(max_size=300) | st.sampled_from(list(CONTENTS.values())[:8]), min_size=1, max_size=12)
)
def test_any_history_comes_back(tmp_path_factory: pytest.TempPathFactory, history: list[bytes]) -> None:
    rig = Rig(tmp_path_factory.mktemp("any"))
    kept = [(rig.save("/n.ipynb", data, trigger=Trigger.SNAPSHOT).id, data) for data in history]
    rig.packer.pack()
    library = rig.library()
    for identity, data in kept:
        version = library.version(identity)
        assert version is not None and library.read(version) == data
    library.close()
    rig.fsck()


def keep_stream(rig: Rig, path: Path, size: int) -> tuple[str, str]:
    """A file of so many bytes, kept without ever holding it; (id, sha256)."""
    chance = random.Random(size)
    digest = hashlib.sha256()
    with open(path, "wb") as file:
        left = size
        while left:
            piece = chance.randbytes(1 << 14) * 8
            piece = piece[: min(left, len(piece))]
            digest.update(piece)
            file.write(piece)
            left -= len(piece)
    draft = rig.spool.draft(
        kind=DraftKind.VERSION,
        path="/w/big.ipynb",
        moment=rig.spool.moment(),
        trigger=Trigger.WATCH,
        root="/w",
        size=size,
        sha256=digest.hexdigest(),
    )
    fd = os.open(path, os.O_RDONLY)
    try:
        kept = rig.spool.keep_stream(draft, fd)
    finally:
        os.close(fd)
    assert (kept.size, kept.sha256) == (size, digest.hexdigest())
    return kept.id, digest.hexdigest()


def check_stream(tmp_path: Path, size: int) -> None:
    rig = Rig(tmp_path / "home")
    identity, sha256 = keep_stream(rig, tmp_path / "big.ipynb", size)
    for _ in range(2):
        assert hashlib.sha256(rig.read(identity)).hexdigest() == sha256
        rig.packer.pack()
    assert rig.spool.drafts() == []
    rig.fsck()


def test_a_large_notebook_is_streamed_and_comes_back(tmp_path: Path) -> None:
    check_stream(tmp_path, 9_000_001)


@pytest.mark.long
def test_a_hundred_megabytes_are_streamed_and_come_back(tmp_path: Path) -> None:
    check_stream(tmp_path, 100_000_003)


def test_the_same_state_again_costs_no_second_blob(tmp_path: Path) -> None:
    """A, B, A: three versions and two blobs."""
    rig = Rig(tmp_path)
    kept = [rig.save("/n.ipynb", data).id for data in (b"A" * 500, b"B" * 500, b"A" * 500)]
    rig.packer.pack()
    objects = rig.git("cat-file", "--batch-all-objects", "--batch-check=%(objecttype)").split()
    assert objects.count(b"blob") == 2 and objects.count(b"commit") == 3
    assert [version.id for version in rig.log("/n.ipynb")] == kept[::-1]


def test_content_that_returns_after_a_deletion_is_a_new_version(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first = rig.save("/n.ipynb", WHOLE)
    rig.delete("/n.ipynb")
    rig.packer.pack()
    assert [entry.path for entry in rig.library().entries(deleted=True)] == ["/n.ipynb"]
    second = rig.save("/n.ipynb", WHOLE)
    rig.packer.pack()
    assert [version.status for version in rig.log("/n.ipynb")] == [Status.OK, Status.DELETED, Status.OK]
    assert rig.read(first.id) == rig.read(second.id) == WHOLE
    assert rig.library().entries(deleted=True) == []
