"""Trees: after any puts and removes, git sees what a plain dictionary holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.archive.pack_file import Kind, PackWriter
from nbguard.archive.trees import Tree
from tests.archive.rig import fsck, git, ls_tree

# Around "a" sorts "a-b", "a.b", "a/", "a0": git sorts a folder as if its name ended with a slash.
_NAME = st.sampled_from(["a", "a-b", "a.b", "a0", "a b", "ab", "b", "é", "~"])
_PATH = st.lists(_NAME, min_size=1, max_size=4).map(tuple)
_STEP = st.tuples(st.booleans(), _PATH, st.integers(0, 3), st.booleans())


@pytest.fixture
def repository(tmp_path: Path) -> str:
    folder = str(tmp_path / "r.git")
    git(folder, "init", "--bare", "-q", folder)
    return folder


def raw_tree(repository: str, oid: bytes) -> bytes:
    return git(repository, "cat-file", "tree", oid.hex())


def put(model: dict[tuple[str, ...], bytes], path: tuple[str, ...], blob: bytes) -> None:
    """A file in the way of a folder gives way, as does a folder in the way of a file."""
    for known in list(model):
        if known[: len(path)] == path or path[: len(known)] == known:
            del model[known]
    model[path] = blob


def raw(path: tuple[str, ...]) -> list[bytes]:
    return [part.encode() for part in path]


def seen(repository: str, tree: bytes) -> dict[bytes, bytes]:
    return ls_tree(repository, tree.hex())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(_STEP, max_size=25))
def test_any_puts_and_removes_leave_what_a_dictionary_would_hold(
    repository: str, steps: list[tuple[bool, tuple[str, ...], int, bool]]
) -> None:
    model: dict[tuple[str, ...], bytes] = {}
    pack = PackWriter(os.path.join(repository, "objects", "pack"))
    tree = Tree(lambda oid: raw_tree(repository, oid))
    for is_put, path, content, is_written in steps:
        if is_put:
            blob = pack.add(Kind.BLOB, b"%d" % content)
            tree.put(raw(path), blob)
            put(model, path, blob)
        else:
            tree.remove(raw(path))
            model.pop(path, None)
        if is_written:
            tree.write(pack)
    oid = tree.write(pack)
    pack.finish()
    assert seen(repository, oid) == {"/".join(path).encode(): blob.hex().encode() for path, blob in model.items()}
    git(repository, "update-ref", "refs/t", git(repository, "commit-tree", "-m", "x", oid.hex()).decode().strip())
    fsck(repository)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.lists(_PATH, max_size=12), steps=st.lists(st.tuples(st.booleans(), _PATH), min_size=1, max_size=6))
def test_a_tree_that_is_read_back_is_changed_in_the_same_way(
    repository: str, first: list[tuple[str, ...]], steps: list[tuple[bool, tuple[str, ...]]]
) -> None:
    model: dict[tuple[str, ...], bytes] = {}
    folder = os.path.join(repository, "objects", "pack")
    pack = PackWriter(folder)
    blob = pack.add(Kind.BLOB, b"first")
    tree = Tree(lambda oid: raw_tree(repository, oid))
    for path in first:
        tree.put(raw(path), blob)
        put(model, path, blob)
    oid = tree.write(pack)
    pack.finish()
    pack = PackWriter(folder)
    again = Tree(lambda oid: raw_tree(repository, oid), oid)
    other = pack.add(Kind.BLOB, b"second")
    for is_put, path in steps:
        if is_put:
            again.put(raw(path), other)
            put(model, path, other)
        else:
            again.remove(raw(path))
            model.pop(path, None)
    oid = again.write(pack)
    pack.finish()
    assert seen(repository, oid) == {"/".join(path).encode(): found.hex().encode() for path, found in model.items()}


def test_what_somebody_else_committed_keeps_its_mode(repository: str) -> None:
    """A link, a script and a submodule in the tree of a foreign commit are not turned into plain files."""
    blob = git(repository, "hash-object", "-w", "--stdin", data=b"target").strip()
    commit = b"1" * 40
    listing = b"120000 blob %s\tlink\n100755 blob %s\tscript\n160000 commit %s\tmodule\n" % (blob, blob, commit)
    oid = bytes.fromhex(git(repository, "mktree", "--missing", data=listing).decode().strip())
    pack = PackWriter(os.path.join(repository, "objects", "pack"))
    tree = Tree(lambda oid: raw_tree(repository, oid), oid)
    tree.put([b"n.ipynb"], pack.add(Kind.BLOB, b"n"))
    oid = tree.write(pack)
    pack.finish()
    rows = {row.split(b"\t")[1]: row.split()[0] for row in git(repository, "ls-tree", oid.hex()).splitlines()}
    assert rows == {b"link": b"120000", b"script": b"100755", b"module": b"160000", b"n.ipynb": b"100644"}


def test_a_copy_is_changed_apart(repository: str) -> None:
    pack = PackWriter(os.path.join(repository, "objects", "pack"))
    tree = Tree(lambda oid: raw_tree(repository, oid))
    blob = pack.add(Kind.BLOB, b"1")
    tree.put([b"a", b"b"], blob)
    twin = tree.copy()
    twin.put([b"a", b"c"], blob)
    twin.remove([b"a", b"b"])
    first, second = tree.write(pack), twin.write(pack)
    pack.finish()
    assert list(seen(repository, first)) == [b"a/b"]
    assert list(seen(repository, second)) == [b"a/c"]


def test_the_deepest_path_a_file_system_allows_is_stored(repository: str) -> None:
    """PATH_MAX is 4,096 bytes: two thousand folders in each other."""
    deep = [b"d"] * 2000
    pack = PackWriter(os.path.join(repository, "objects", "pack"))
    tree = Tree(lambda oid: raw_tree(repository, oid))
    blob = pack.add(Kind.BLOB, b"1")
    tree.put([*deep, b"n.ipynb"], blob)
    tree.put([b"d", b"other.ipynb"], blob)
    twin = tree.copy()
    first = tree.write(pack)
    twin.remove([*deep, b"n.ipynb"])
    second = twin.write(pack)
    pack.finish()
    assert blob.hex() in git(repository, "rev-parse", f"{first.hex()}:{'d/' * 2000}n.ipynb").decode()
    assert list(seen(repository, second)) == [b"d/other.ipynb"]
