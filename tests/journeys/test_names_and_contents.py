"""Names that tools trip over and bytes that are hardly notebooks: kept, listed, and given back exactly as they were."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, guarding, path_of, sha256

NAMES = [
    b"with space.ipynb",
    b"new\nline.ipynb",
    b"tab\there.ipynb",
    b"quotes'\"`$(id)`.ipynb",
    b"-rf.ipynb",
    b"--help.ipynb",
    b":(top)x.ipynb",
    b":!x.ipynb",
    b"*?[a].ipynb",
    b"back\\slash.ipynb",
    b"latin-\xe9\xff.ipynb",
    b"\xf0\x9f\x93\x93 caf\xc3\xa9.ipynb",
    b"cafe\xcc\x81.ipynb",
    b"x" * 249 + b".ipynb",
    b"\xff" * 249 + b".ipynb",
    b"Case.ipynb",
    b"case.ipynb",
    b"CASE.ipynb",
    b"con.ipynb",
    b"percent%41%2e.ipynb",
    b"~tilde.ipynb",
    b"#hash#.ipynb",
    b"trailing. /a.ipynb",
    b"git~1/a.ipynb",
    b"GIT~2/a.ipynb",
    b"a.git/a.ipynb",
    b"x.ipynb/inside.ipynb",
    b"HEAD/refs/heads/main.ipynb",
    b"\xe2\x80\x8b/zero-width.ipynb",
    b"deep/" * 60 + b"a.ipynb",
]
# In folders that are skipped: kept when they are named.
HIDDEN = [
    b".git/a.ipynb",
    b".GIT/a.ipynb",
    b".git\xe2\x80\x8c/a.ipynb",
    b".gitmodules/a.ipynb",
    b".gitattributes/b/a.ipynb",
    b".hidden.ipynb",
    b"node_modules/a.ipynb",
]
GOOD = json.loads(notebook_bytes("x = 1"))
CONTENTS = {
    "empty": b"",
    "half": notebook_bytes("x = 1")[:200],
    "zeros": bytes(5000),
    "bom": b"\xef\xbb\xbf" + notebook_bytes("x = 1"),
    "utf-16": notebook_bytes("x = 1").decode().encode("utf-16"),
    "latin-1": notebook_bytes("x = 'é'").decode().encode("latin-1"),
    "crlf": notebook_bytes("x = 1", "y").replace(b"\n", b"\r\n"),
    "no final newline": notebook_bytes("x = 1").rstrip(),
    "one line": json.dumps(GOOD).encode(),
    "nan": json.dumps({**GOOD, "metadata": {"a": float("nan"), "b": float("inf")}}, indent=1).encode(),
    "list": b"[]",
    "object": b"{}",
    "null": b"null",
    "nbformat 2": b'{"nbformat": 2, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": []}]}',
    "nbformat 3": b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "worksheets": [{"cells": ['
    b'{"cell_type": "code", "input": ["1"], "outputs": []}]}]}',
    "nbformat 9": json.dumps({**GOOD, "nbformat": 9}).encode(),
    "duplicate ids": notebook_bytes("a", "b").replace(b"cell-2", b"cell-1"),
    "duplicate keys": b'{"cells": [], "cells": [], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
    "lone surrogate": json.dumps({**GOOD, "metadata": {"s": "\ud83d"}}, indent=1).encode(),
    "raw surrogate": b'{\n "cells": [],\n "metadata": {"s": "\xed\xa0\xbd"},\n "nbformat": 4\n}\n',
    "deep": b'{"cells": ' + b"[" * 100_000 + b"]" * 100_000 + b', "nbformat": 4}',
    "deep and indented": b'{\n "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"\n}\n",
    "large number": b'{"cells": [], "nbformat": ' + b"9" * 10_000 + b"}",
    "conflict": b"<<<<<<< HEAD\n" + notebook_bytes("x") + b"=======\n>>>>>>> b\n",
    "cells of another kind": b'{"cells": [1, null, "x", {"source": 5}], "nbformat": 4, "metadata": {}}',
}


@dataclass
class Shelf:
    """A daemon over a folder that was full of all this when it started."""

    guard: Guarded
    root: Path
    names: dict[bytes, bytes]
    hidden: dict[bytes, bytes]


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Generator[Shelf]:
    base = tmp_path_factory.mktemp("shelf")
    root = base / "work"
    names = {name: notebook_bytes(f"of = {name!r}") for name in NAMES}
    hidden = {name: notebook_bytes(f"hidden = {name!r}") for name in HIDDEN}
    for name, data in {**names, **hidden}.items():
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)
    (root / "contents").mkdir()
    for title, data in CONTENTS.items():
        (root / "contents" / f"{title}.ipynb").write_bytes(data)
    with guarding(base, root, tables={"packing": {"drafts": 5}}) as guard:
        yield Shelf(guard, root, names, hidden)


def _named(shelf: Shelf, name: bytes) -> Path:
    return shelf.root / os.fsdecode(name)


def test_every_name_is_listed_exactly_and_its_changes_are_kept_under_it(shelf: Shelf) -> None:
    rows = {path_of(row): row for row in shelf.guard.list()}
    root = os.fsencode(shelf.root)
    for name, data in shelf.names.items():
        assert rows[os.path.join(root, name)]["sha256"] == sha256(data)
    for name in shelf.hidden:
        assert os.path.join(root, name) not in rows
    for name in shelf.names:
        shelf.names[name] = notebook_bytes(f"of = {name!r}", "changed = 1")
        _named(shelf, name).write_bytes(shelf.names[name])

    def all_are_kept() -> bool:
        found = {path_of(row): row["sha256"] for row in shelf.guard.list()}
        return all(found[os.path.join(root, name)] == sha256(data) for name, data in shelf.names.items())

    poll(all_are_kept, 30, every=0.3)
    assert {row["status"] for row in shelf.guard.list() if b"/contents/" not in path_of(row)} == {"ok"}


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_finds_its_notebook_and_the_exact_bytes(shelf: Shelf, name: bytes) -> None:
    path = _named(shelf, name)
    assert shelf.guard.show(path) == path.read_bytes()


def test_a_notebook_named_like_an_option_is_found_from_its_own_folder(shelf: Shelf) -> None:
    answer = shelf.guard.nbguard("log", "--json", "--", "--help.ipynb", cwd=shelf.root)
    assert answer.code == 0, answer.talk
    assert [row["path"] for row in answer.json] == [str(shelf.root / "--help.ipynb")] * len(answer.json)


def test_what_lies_in_skipped_folders_is_kept_when_it_is_named(shelf: Shelf) -> None:
    paths = [_named(shelf, name) for name in shelf.hidden]
    answer = shelf.guard.nbguard("snapshot", "--json", *map(str, paths))
    assert answer.code == 0, answer.talk
    assert {path_of(row): row["sha256"] for row in answer.json} == {
        os.fsencode(path): sha256(path.read_bytes()) for path in paths
    }
    for path in paths:
        assert shelf.guard.show(path) == path.read_bytes()


def test_all_of_it_comes_back_with_one_command_under_its_own_name(shelf: Shelf, tmp_path: Path) -> None:
    to = tmp_path / "back"
    now = datetime.now(UTC).isoformat()
    answer = shelf.guard.nbguard("restore", "--all", "--at", now, "--to", str(to), "--json")
    assert answer.code == 0, answer.talk
    back = os.fsencode(to) + os.fsencode(shelf.root)
    for name, data in shelf.names.items():
        with open(os.path.join(back, name), "rb") as file:
            assert file.read() == data, name
    for title, data in CONTENTS.items():
        assert (Path(os.fsdecode(back)) / "contents" / f"{title}.ipynb").read_bytes() == data, title


def test_bytes_that_are_hardly_a_notebook_are_kept_and_given_back(shelf: Shelf) -> None:
    rows = {Path(row["path"]).stem: row for row in shelf.guard.list() if "/contents/" in row["path"]}
    assert {title: row["sha256"] for title, row in rows.items()} == {
        title: sha256(data) for title, data in CONTENTS.items()
    }
    for title in ("empty", "zeros", "bom", "raw surrogate", "deep"):
        assert shelf.guard.show(shelf.root / "contents" / f"{title}.ipynb") == CONTENTS[title]


def test_the_daemon_goes_on_and_calls_damaged_what_nbformat_cannot_read(shelf: Shelf) -> None:
    status = {Path(row["path"]).stem: row["status"] for row in shelf.guard.list() if "/contents/" in row["path"]}
    damaged = {title for title, found in status.items() if found == "damaged"}
    assert damaged >= {"empty", "half", "zeros", "bom", "utf-16", "latin-1", "list", "object", "null", "conflict"}
    assert not damaged & {"crlf", "no final newline", "one line", "nan", "nbformat 2", "nbformat 3", "duplicate ids"}
    assert shelf.guard.starts == 1
    path = shelf.root / "still.ipynb"
    path.write_bytes(notebook_bytes("alive"))
    shelf.guard.until_kept(path, path.read_bytes())
    assert "worker-failed" not in shelf.guard.codes()


def test_the_archive_is_sound_and_a_strict_mirror_takes_it(shelf: Shelf, tmp_path: Path) -> None:
    guard = shelf.guard
    assert guard.stop() == 0
    assert guard.nbguard("run", "--once").code in (0, 3)
    assert not guard.spooled()
    guard.fsck()
    mirror = tmp_path / "mirror.git"
    subprocess.run(["git", "init", "-q", "--bare", str(mirror)], check=True)
    subprocess.run(["git", "-C", str(mirror), "config", "transfer.fsckObjects", "true"], check=True)
    guard.git("push", "-q", str(mirror), "main")
    for name in NAMES[::8]:
        assert guard.show(_named(shelf, name)) == shelf.names[name]


@pytest.mark.long
def test_a_hundred_megabytes_are_kept_and_given_back(tmp_path: Path) -> None:
    path = tmp_path / "work" / "huge.ipynb"
    with guarding(tmp_path, path.parent) as guard:
        data = notebook_bytes("huge", os.urandom(50_000_000).hex())
        assert len(data) > 100_000_000
        path.write_bytes(data)
        guard.until_kept(path, data, 120)
        assert guard.log(path)[0]["cells"] == 2
        assert guard.show(path) == data
        assert guard.stop() == 0
        assert guard.nbguard("run", "--once").code == 0
        assert guard.show(path) == data
        guard.fsck()
