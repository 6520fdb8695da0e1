"""What is in a package: notebooks at their paths, every version, the manifest, the bundle; and what is not."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import zipfile
from base64 import b64decode
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.errors import ArchiveTrouble, Refused
from nbguard.model import Status, Version
from nbguard.package.contents import PackageReport
from tests.helpers import notebook_bytes
from tests.library import START
from tests.package.conftest import Packing, manifest_of, run_restore
from tests.package.test_secrets import cell, link, session

A, B = "/home/ada/work/a.ipynb", "/home/ada/work/b.ipynb"


def opened(report: PackageReport) -> zipfile.ZipFile:
    return zipfile.ZipFile(report.written_to)


def test_a_package_holds_notebooks_at_their_paths_and_every_version(packing: Packing) -> None:
    contents = [notebook_bytes(f"a = {number}") for number in range(3)]
    for content in contents:
        packing.library.add(A, content)
    packing.library.add(B, notebook_bytes("b"))
    report = packing.build()
    with opened(report) as package:
        names = package.namelist()
        assert package.read("notebooks/home/ada/work/a.ipynb") == contents[-1]
        assert package.read("notebooks/home/ada/work/b.ipynb") == notebook_bytes("b")
        kept = [package.read(name) for name in names if name.startswith("versions/home/ada/work/a.ipynb/")]
        assert kept == contents
        assert {"READ-ME-FIRST.txt", "MANIFEST.json", "restore.py"} <= set(names)
    assert (report.notebooks, report.versions, report.missing) == (2, 4, ())
    assert report.members == len(names)
    assert report.sha256 == hashlib.sha256(Path(report.written_to).read_bytes()).hexdigest()
    assert stat.S_IMODE(os.stat(report.written_to).st_mode) == 0o600
    assert os.listdir(packing.folder) == ["p.zip"]


def test_the_manifest_has_path_time_size_sha256_and_source_of_every_member(packing: Packing) -> None:
    strange = "/home/ada/b\udcff\nc.ipynb"
    packing.library.add(A, notebook_bytes("a"))
    version = packing.library.add(strange, notebook_bytes("strange"))
    report = packing.build()
    manifest = manifest_of(report.written_to)
    with opened(report) as package:
        rows = {row["path"]: row for row in manifest["members"]}
        assert set(rows) == set(package.namelist()) - {"MANIFEST.json"}
        for name, row in rows.items():
            data = package.read(name)
            assert (row["size"], row["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
            assert row["time"].endswith("Z") and row["source"]
    (found,) = [row for row in manifest["versions"] if row["id"] == version.id]
    assert found["path_b64"] and found["member"].isascii()
    assert os.fsdecode(b64decode(found["path_b64"])) == strange


def test_equal_bytes_are_there_once(packing: Packing) -> None:
    for source in ("one", "two", "one"):
        packing.library.add(A, notebook_bytes(source))
    report = packing.build()
    rows = manifest_of(report.written_to)["versions"]
    assert report.versions == len(rows) == 3
    assert rows[0]["member"] == rows[2]["member"] != rows[1]["member"]


def test_at_its_own_path_lies_the_last_good_state(packing: Packing) -> None:
    packing.library.add(A, notebook_bytes("good"))
    packing.library.add(A, b"{}", status=Status.DAMAGED)
    packing.library.delete(A)
    report = packing.build()
    with opened(report) as package:
        assert package.read("notebooks/home/ada/work/a.ipynb") == notebook_bytes("good")
    (row,) = manifest_of(report.written_to)["notebooks"]
    assert row["deleted"] is True


def test_as_of_a_time_what_came_later_is_left_out(packing: Packing) -> None:
    packing.library.add(A, notebook_bytes("early"), at=START)
    packing.library.add(A, notebook_bytes("later secret"), at=START + timedelta(hours=1))
    report = packing.build(at=START + timedelta(minutes=1))
    with opened(report) as package:
        assert package.read("notebooks/home/ada/work/a.ipynb") == notebook_bytes("early")
        assert not any(b"later secret" in package.read(name) for name in package.namelist())


def test_the_bundle_is_a_history_with_a_commit_for_each_version(packing: Packing, tmp_path: Path) -> None:
    packing.library.add(A, notebook_bytes("one"))
    packing.library.add(A, notebook_bytes("never the latest"), tip=False)
    packing.library.add(A, notebook_bytes("two"))
    packing.library.add(B, notebook_bytes("two"), renamed_from=A)
    packing.library.add("/home/ada/gone.ipynb", notebook_bytes("gone"))
    packing.library.delete("/home/ada/gone.ipynb")
    report = packing.build()
    with opened(report) as package:
        package.extract("bundle/notebooks.bundle", tmp_path)

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=True, cwd=tmp_path)
        return done.stdout

    git("clone", "--quiet", "bundle/notebooks.bundle", "clone")
    assert git("-C", "clone", "ls-files").split() == ["notebooks/home/ada/work/b.ipynb"]
    assert (tmp_path / "clone/notebooks/home/ada/work/b.ipynb").read_bytes() == notebook_bytes("two")
    log = git("-C", "clone", "log", "--format=%B")
    assert [log.count(f"Id: {version.id}\n") for version in packing.library.versions] == [1] * 6
    git("-C", "clone", "fsck", "--strict")


def test_what_cannot_be_read_is_named_and_the_rest_is_there(packing: Packing, monkeypatch: pytest.MonkeyPatch) -> None:
    first = packing.library.add(A, notebook_bytes("one"))
    last = packing.library.add(A, notebook_bytes("two"))
    packing.library.data[last.id] = b"rotten"
    real = packing.library.read

    def read(version: Version) -> bytes:
        if version.id == first.id:
            raise ArchiveTrouble("the disk is broken")
        return real(version)

    middle = packing.library.add(A, notebook_bytes("three"))
    monkeypatch.setattr(packing.library, "read", read)
    report = packing.build()
    assert [(missing.what, missing.id) for missing in report.missing] == [("version", first.id), ("version", last.id)]
    with opened(report) as package:
        assert package.read("notebooks/home/ada/work/a.ipynb") == notebook_bytes("three")
        words = package.read("READ-ME-FIRST.txt").decode()
    assert "NOT IN THIS PACKAGE" in words and "the disk is broken" in words
    assert [row["id"] for row in manifest_of(report.written_to)["missing"]] == [first.id, last.id]
    assert report.versions == 1 and middle.id in str(manifest_of(report.written_to)["notebooks"])


@pytest.mark.parametrize("kind", ["file", "folder", "broken symlink"])
def test_nothing_is_ever_overwritten(packing: Packing, kind: str) -> None:
    packing.library.add(A, notebook_bytes("a"))
    target = packing.folder / "p.zip"
    if kind == "file":
        target.write_bytes(b"mine")
    elif kind == "folder":
        target.mkdir()
    else:
        target.symlink_to("nowhere")
    before = os.lstat(target)
    with pytest.raises(Refused):
        packing.build()
    assert os.lstat(target).st_ino == before.st_ino
    assert os.listdir(packing.folder) == ["p.zip"]


def test_restore_py_verifies_lists_and_unpacks_it(packing: Packing, tmp_path: Path) -> None:
    packing.library.add(A, notebook_bytes("a"))
    package = packing.build().written_to
    assert run_restore(package, "--verify").code == 0
    assert "notebooks/home/ada/work/a.ipynb" in run_restore(package, "--list").out
    assert run_restore(package, "--to", tmp_path / "back").code == 0
    assert (tmp_path / "back/notebooks/home/ada/work/a.ipynb").read_bytes() == notebook_bytes("a")
    # Where it was unpacked, it checks itself; and so does the zip, run as it is, and a zip beside it.
    for said in (
        run_restore("--verify", script=tmp_path / "back/restore.py"),
        run_restore("--verify", script=package),
    ):
        assert (said.code, said.err) == (0, ""), said


def test_notebooks_of_any_name_come_back_by_the_manifest(packing: Packing, tmp_path: Path) -> None:
    names = [
        *("CON.ipynb", "con.ipynb", "Eda.ipynb", "eda.ipynb", "EDA.ipynb", "a\\b.ipynb", "C:x.ipynb", ".git/x.ipynb"),
        *("new\nline.ipynb", "\x1b[31m.ipynb", "\u202egpj.ipynb", "e\u0301.ipynb", "é.ipynb", "trailing. /x.ipynb"),
        *("\udcff.ipynb", "\udc80" * 200 + ".ipynb", "x" * 249 + ".ipynb", "é" * 124 + ".ipynb", "%41.ipynb"),
        *("noextension", "a.b.c.ipynb", "-dash.ipynb", "eda.ipynb~2", "eda/ipynb", "d/" * 900 + "deep.ipynb"),
    ]
    content = {f"/home/ada/{name}": notebook_bytes(f"number {number}") for number, name in enumerate(names)}
    for path, data in content.items():
        packing.library.add(path, data)
    report = packing.build()
    assert run_restore(report.written_to, "--to", tmp_path / "back").code == 0
    with opened(report) as package:
        package.extractall(tmp_path / "unzipped")
    rows = manifest_of(report.written_to)["notebooks"]
    found = {
        os.fsdecode(b64decode(row["path_b64"])) if "path_b64" in row else row["path"]: row["member"] for row in rows
    }
    assert found.keys() == content.keys()
    for path, member in found.items():
        assert (tmp_path / "back" / member).read_bytes() == content[path]
        assert (tmp_path / "unzipped" / member).read_bytes() == content[path]
    folded = [member.casefold() for member in found.values()]
    assert len(set(folded)) == len(folded)


def test_what_is_too_large_to_make_is_named_and_the_notebook_is_there_all_the_same(packing: Packing) -> None:
    path, small = "/home/ada/large.ipynb", "/home/ada/small.ipynb"
    output = {"output_type": "stream", "name": "stdout", "text": "x" * 9_000_000}
    code = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [output], "execution_count": 1}
    data = json.dumps({"cells": [code], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()
    packing.library.add(path, data)
    packing.library.add(small, notebook_bytes("x = 1"))
    packing.executed.records += [session(1), cell(1, 1, "never_saved"), link(1, path)]
    report = packing.build()
    assert report.missing == ()
    assert [(item.what, item.path) for item in report.not_made] == [
        ("page to read", path),
        ("rebuilt notebook with the saved one in it", path),
    ]
    manifest = manifest_of(report.written_to)
    assert manifest["missing"] == [] and [item["path"] for item in manifest["not_made"]] == [path, path]
    with zipfile.ZipFile(report.written_to) as package:
        assert package.read("notebooks/home/ada/large.ipynb") == data
        assert b"never_saved" in package.read("rebuilt/home/ada/large.rebuilt.ipynb")
        assert "pages/home/ada/small.ipynb.html" in package.namelist()
        words = package.read("READ-ME-FIRST.txt").decode()
        index = package.read("index.html").decode()
    assert "Nothing that was asked for is missing.\n\nNot made, because of its size" in words
    assert words.count("/home/ada/large.ipynb: the notebook has 9,000,") == 2 and words.endswith("\n")
    assert "no page to read; no rebuilt notebook with the saved one in it" in index
