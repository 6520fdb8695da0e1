"""Packs and their indexes: stock git finds every object in them, whole, and has nothing to complain about."""

from __future__ import annotations

import hashlib
import os
import random
import re
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.archive import pack_file
from nbguard.archive.pack_file import DEEPEST_CHAIN, Base, Kind, PackWriter, object_id
from tests.archive.rig import blob_id, fsck, git
from tests.helpers import notebook_bytes


@pytest.fixture
def repository(tmp_path: Path) -> str:
    folder = str(tmp_path / "r.git")
    git(folder, "init", "--bare", "-q", folder)
    return folder


def writer(repository: str) -> PackWriter:
    return PackWriter(os.path.join(repository, "objects", "pack"))


def cat(repository: str, oids: list[bytes]) -> list[bytes]:
    """The objects' bytes, as git sees them."""
    raw = git(repository, "cat-file", "--batch", data=b"".join(oid.hex().encode() + b"\n" for oid in oids))
    found, at = [], 0
    for _ in oids:
        end = raw.index(b"\n", at)
        _, kind, size = raw[at:end].split()
        assert kind == b"blob"
        found.append(raw[end + 1 : end + 1 + int(size)])
        at = end + 2 + int(size)
    return found


def states(seed: int, count: int) -> list[bytes]:
    """Successive states of one notebook."""
    chance = random.Random(seed)
    sources = [f"x{number} = {chance.random()}" for number in range(120)]
    found = []
    for number in range(count):
        sources[chance.randrange(len(sources))] = f"y = {number}; z = {chance.random()}"
        found.append(notebook_bytes(*sources, outputs=True))
    return found


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    blobs=st.lists(st.binary(max_size=400) | st.integers(0, 9).map(lambda n: b"line\n" * 50 + b"%d\n" % n), max_size=25)
)
def test_git_reads_whatever_was_packed(repository: str, blobs: list[bytes]) -> None:
    pack = writer(repository)
    base = None
    oids = []
    for data in blobs:
        oids.append(pack.add(Kind.BLOB, data, base))
        base = Base(oids[-1], data)
    path = pack.finish()
    assert [oid.hex().encode() for oid in oids] == [blob_id(data) for data in blobs]
    assert cat(repository, oids) == blobs
    if path is not None:  # an earlier example may have made the very same pack
        git(repository, "verify-pack", path)
    fsck(repository)


def test_a_long_history_is_deltas_in_chains_of_bounded_depth(repository: str) -> None:
    history = states(1, 2 * DEEPEST_CHAIN + 20)
    pack = writer(repository)
    base = None
    oids = []
    for data in history:
        oids.append(pack.add(Kind.BLOB, data, base))
        base = Base(oids[-1], data)
    size = pack.size
    path = str(pack.finish())
    assert cat(repository, oids) == history
    rows = [
        line.split() for line in git(repository, "verify-pack", "-v", path).splitlines() if line[40:46] == b" blob "
    ]
    depths = [int(row[5]) if len(row) > 5 else 0 for row in rows]
    assert len(depths) == len(history) and max(depths) == DEEPEST_CHAIN and depths.count(0) == 3
    assert size < sum(map(len, history)) / 20
    fsck(repository)


def test_the_same_bytes_are_stored_once_also_as_a_stream(repository: str) -> None:
    data = os.urandom(100_000)
    pack = writer(repository)
    first = pack.add(Kind.BLOB, data)
    size = pack.size
    assert pack.add(Kind.BLOB, data) == first
    assert pack.add_stream(Kind.BLOB, len(data), [data[:777], b"", data[777:]]) == first
    assert pack.size == size
    after = pack.add(Kind.BLOB, b"what comes after the one taken back")
    git(repository, "verify-pack", str(pack.finish()))
    assert cat(repository, [first, after]) == [data, b"what comes after the one taken back"]


def test_a_stream_of_many_megabytes_and_an_empty_blob_come_back(repository: str) -> None:
    chunks = [random.Random(number).randbytes(1 << 20) for number in range(9)]
    data = b"".join(chunks)
    pack = writer(repository)
    oids = [
        pack.add_stream(Kind.BLOB, len(data), chunks),
        pack.add(Kind.BLOB, b""),
        pack.add_stream(Kind.BLOB, 1, [b"x"]),
    ]
    git(repository, "verify-pack", str(pack.finish()))
    assert cat(repository, oids) == [data, b"", b"x"]
    assert oids[0].hex().encode() == blob_id(data)


def test_a_delta_that_copies_over_sixteen_megabytes_is_read_by_git(repository: str) -> None:
    old = b"".join(b"line %d of a very long output\n" % number for number in range(700_000))
    new = old[:100] + b"changed" + old[100:]
    assert len(old) > 0x1000000
    pack = writer(repository)
    first = pack.add(Kind.BLOB, old)
    size = pack.size
    second = pack.add(Kind.BLOB, new, Base(first, old))
    assert pack.size - size < 1000
    pack.finish()
    assert cat(repository, [second]) == [new]


def test_a_stream_of_another_size_than_promised_is_refused(tmp_path: Path) -> None:
    pack = PackWriter(str(tmp_path))
    with pytest.raises(ValueError, match="3 bytes instead of 4"):
        pack.add_stream(Kind.BLOB, 4, [b"abc"])
    pack.abandon()
    assert os.listdir(tmp_path) == []


def test_a_taken_back_stream_leaves_a_sound_pack(repository: str) -> None:
    pack = writer(repository)
    before = pack.add(Kind.BLOB, b"before")
    with pytest.raises(ValueError, match="instead of"):
        pack.add_stream(Kind.BLOB, 10, [b"abc"])
    after = pack.add(Kind.BLOB, b"after")
    git(repository, "verify-pack", str(pack.finish()))
    assert cat(repository, [before, after]) == [b"before", b"after"]


def test_offsets_over_two_gigabytes_go_into_the_large_table(monkeypatch: pytest.MonkeyPatch, repository: str) -> None:
    """The same code with the border moved: git follows the large table wherever the first bit is set."""
    monkeypatch.setattr(pack_file, "_LARGE_OFFSET", 1 << 31)
    pack = writer(repository)
    oids = [pack.add(Kind.BLOB, os.urandom(500)) for _ in range(20)]
    rows = pack._rows
    far = {
        oid: (offset + (1 << 31) if number % 2 else offset, crc, depth)
        for number, (oid, (offset, crc, depth)) in enumerate(rows.items())
    }
    pack._rows = far
    index = pack._index(b"\0" * 20)
    count = len(oids)
    at = 8 + 1024 + count * 24
    offsets = struct.unpack(f">{count}I", index[at : at + 4 * count])
    large = struct.unpack(f">{count // 2}Q", index[at + 4 * count : at + 4 * count + 8 * (count // 2)])
    found = [large[o & 0x7FFFFFFF] if o >> 31 else o for o in offsets]
    assert found == [far[oid][0] for oid in sorted(far)]
    assert index[-20:] == hashlib.sha1(index[:-20]).digest()
    pack.abandon()


def test_names_of_objects_are_gits(repository: str) -> None:
    data = b"\r\n\0 anything"
    said = git(repository, "hash-object", "--stdin", data=data).strip()
    assert object_id(Kind.BLOB, data).hex().encode() == said == blob_id(data)


def test_nothing_is_seen_of_a_pack_before_it_is_finished(repository: str) -> None:
    pack = writer(repository)
    oid = pack.add(Kind.BLOB, b"x")
    names = os.listdir(os.path.join(repository, "objects", "pack"))
    assert [re.sub("[0-9a-f]{16}", "*", name) for name in names] == ["tmp_nbguard_*"]
    pack.finish()
    assert cat(repository, [oid]) == [b"x"]
    assert sorted(name.rpartition(".")[2] for name in os.listdir(os.path.join(repository, "objects", "pack"))) == [
        "idx",
        "pack",
    ]
