"""Heads are found by path, by file and by bytes, also where many share them."""

from __future__ import annotations

from nbguard.heads import Heads
from nbguard.model import Head, Moment, Signature, Status


def _head(path: str, sha256: str | None, inode: int) -> Head:
    return Head(
        path=path,
        notebook=path,
        version=path,
        sha256=sha256,
        signature=None if sha256 is None else Signature(1, inode, 1, 1, 1),
        moment=Moment(1, 1, 1),
        status=Status.OK,
    )


def _paths(heads: list[Head]) -> list[str]:
    return sorted(head.path for head in heads)


def test_several_with_the_same_bytes_and_file() -> None:
    heads = Heads([_head("a", "x", 1), _head("b", "x", 1), _head("c", "x", 2)])
    assert _paths(heads.with_sha256("x")) == ["a", "b", "c"]
    assert _paths(heads.with_file(1, 1)) == ["a", "b"]
    heads.drop("a")
    assert _paths(heads.with_file(1, 1)) == ["b"]
    heads.drop("b")
    assert heads.with_file(1, 1) == []
    assert _paths(heads.with_sha256("x")) == ["c"]
    heads.put(_head("c", "x", 2))
    assert _paths(heads.with_sha256("x")) == ["c"]
    heads.put(_head("c", "y", 3))
    assert heads.with_sha256("x") == [] == heads.with_file(1, 2)
    assert _paths(heads.with_file(1, 3)) == ["c"]


def test_a_deleted_one_is_known_by_its_path_alone() -> None:
    heads = Heads([_head("a", "x", 1)])
    heads.put(_head("a", None, 1))
    assert heads.get("a") is not None
    assert heads.alive() == [] == heads.with_sha256("x") == heads.with_file(1, 1)
    assert len(heads) == 1


def test_one_path_is_one_however_many_letters_it_has() -> None:
    heads = Heads([_head("/h/a.ipynb", "x", 1), _head("/h/" + "b" * 200, "y", 2)])
    assert _paths(heads.with_sha256("x", most=20)) == _paths(heads.with_sha256("x")) == ["/h/a.ipynb"]
    assert _paths(heads.with_sha256("y", most=1)) == ["/h/" + "b" * 200]
    heads.put(_head("/h/c.ipynb", "x", 3))
    assert heads.with_sha256("x", most=1) == []
