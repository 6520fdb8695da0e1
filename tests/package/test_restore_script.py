"""restore.py trusts nobody: every flipped bit is seen, and no hostile package writes where it should not."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import random
import stat
import sys
import warnings
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.package import restore
from nbguard.package.members import Names
from nbguard.package.restore_script import RESTORE
from nbguard.package.zip_writing import ZipWriting
from tests.helpers import notebook_bytes
from tests.library import START
from tests.package.conftest import Packing, restore_here, run_restore

A = "/home/ada/work/a.ipynb"
HOSTILE = [
    "../evil",
    "notebooks/../../evil",
    "notebooks/../evil.ipynb",
    "/tmp/evil",
    "//server/evil",
    "notebooks//evil",
    "notebooks/./evil",
    "notebooks/",
    "",
    ".bashrc",
    ".ssh/authorized_keys",
    "evil.ipynb",
    "elsewhere/evil.ipynb",
    "restore.py/evil",
    "C:/evil",
    "notebooks/C:evil",
    "notebooks\\evil",
    "notebooks/..\\evil",
    "notebooks/a\0.ipynb",
    "notebooks/a\n.ipynb",
    "notebooks/\x1b[2J.ipynb",
    "notebooks/\x9b31m.ipynb",
    "notebooks/\u202egpj.ipynb",
    "notebooks/" + "a" * 256,
    "notebooks/" + "é" * 128,
    "notebooks/" + "a/" * 3000 + "a",
    "notebooks/CON",
    "notebooks/con.ipynb",
    "notebooks/Aux.x/a.ipynb",
    "notebooks/COM1.ipynb",
    "notebooks/a. ",
    "notebooks/a.",
    "notebooks/.git/config",
    "notebooks/.GIT/hooks/x",
    "notebooks/a\udcff.ipynb",
]


def package_of(path: Path, files: dict[str, bytes], rows: Iterable[tuple[str, bytes]] | None = None) -> Path:
    """A zip of these files with a manifest that goes with them (or of these rows)."""
    members = [
        {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "time": "", "source": ""}
        for name, data in (files.items() if rows is None else rows)
    ]
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w") as opened:
        warnings.simplefilter("ignore")
        for name, data in files.items():
            opened.writestr(zipfile.ZipInfo(name), data)
        opened.writestr("MANIFEST.json", json.dumps({"members": members}))
    return path


def everything_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_it_needs_nothing_but_python_3_8() -> None:
    tree = ast.parse(RESTORE, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= sys.stdlib_module_names
    assert Path(restore.__file__).read_bytes() == RESTORE


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_neither_written_nor_unpacked(tmp_path: Path, name: str) -> None:
    assert restore.why_refused(name)
    target, evil = tmp_path / "deep" / "target", b"evil"
    if "\0" not in name and "\udcff" not in name and len(name) < 5000:
        package = package_of(tmp_path / "p.zip", {name: evil, "notebooks/good.ipynb": b"good"})
        said = restore_here(package, "--to", target)
        assert said.code == 1 and "Traceback" not in said.err
        assert restore_here(package, "--verify").code == 1
    # Only the manifest names it, or only the zip does.
    package = package_of(tmp_path / "q.zip", {"notebooks/good.ipynb": b"good"}, [(name, evil)])
    said = restore_here(package, "--to", target)
    assert said.code == 1 and "Traceback" not in said.err
    assert not [found for found in everything_below(tmp_path) if "evil" in found]
    assert not (target / "notebooks" / "good.ipynb").exists()


def test_a_member_that_is_no_plain_file_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    rows = {"notebooks/link": b"/etc/passwd", "notebooks/good.ipynb": b"good"}
    package_of(path, {}, rows.items())
    with zipfile.ZipFile(path, "a") as opened:
        for name, data in rows.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = (stat.S_IFLNK if "link" in name else stat.S_IFREG) << 16 | 0o777 << 16
            info.create_system = 3
            opened.writestr(info, data)
    said = restore_here(path, "--to", tmp_path / "target")
    assert said.code == 1 and "not a plain file" in said.out
    assert everything_below(tmp_path / "target/notebooks") == ["good.ipynb"]


@pytest.mark.parametrize("where", ["notebooks", "notebooks/home", "notebooks/home/a.ipynb"])
def test_no_symlink_in_the_target_is_followed(tmp_path: Path, where: str) -> None:
    package = package_of(tmp_path / "p.zip", {"notebooks/home/a.ipynb": b"a"})
    outside, target = tmp_path / "outside", tmp_path / "target"
    (outside / "home").mkdir(parents=True)
    (target / where).parent.mkdir(parents=True)
    (target / where).symlink_to(outside / "a.ipynb" if where.endswith("a.ipynb") else outside)
    said = restore_here(package, "--to", target)
    assert said.code == 1 and "notebooks/home/a.ipynb" in said.out
    assert everything_below(outside) == ["home"]


def test_nothing_is_overwritten_and_what_is_there_already_counts(tmp_path: Path) -> None:
    package = package_of(tmp_path / "p.zip", {"notebooks/a.ipynb": b"a", "notebooks/b.ipynb": b"b"})
    target = tmp_path / "target"
    (target / "notebooks").mkdir(parents=True)
    (target / "notebooks/a.ipynb").write_bytes(b"mine")
    (target / "notebooks/b.ipynb").write_bytes(b"b")
    said = restore_here(package, "--to", target)
    assert said.code == 1 and "notebooks/a.ipynb" in said.out and "notebooks/b.ipynb" not in said.out
    assert (target / "notebooks/a.ipynb").read_bytes() == b"mine"
    assert everything_below(target / "notebooks") == ["a.ipynb", "b.ipynb"]


def test_twins_in_one_zip_and_in_another_case_overwrite_nothing(tmp_path: Path) -> None:
    path = package_of(tmp_path / "p.zip", {"notebooks/a.ipynb": b"one"})
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as opened:
        warnings.simplefilter("ignore")
        opened.writestr("notebooks/a.ipynb", b"two")
    assert restore_here(path, "--verify").code == 1
    assert restore_here(path, "--to", tmp_path / "target").code == 1
    assert (tmp_path / "target/notebooks/a.ipynb").read_bytes() == b"one"


def test_a_bomb_is_stopped_at_the_size_that_the_manifest_says(tmp_path: Path) -> None:
    path = tmp_path / "p.zip"
    package_of(path, {}, [("notebooks/bomb.ipynb", b"small")])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr("notebooks/bomb.ipynb", bytes(300 << 20))
    # The header lies about the size: only reading tells.
    data = bytearray(path.read_bytes())
    at = data.rfind(b"PK\1\2", 0, data.rfind(b"notebooks/bomb.ipynb"))
    data[at + 24 : at + 28] = (5).to_bytes(4, "little")
    path.write_bytes(data)
    said = run_restore(path, "--to", tmp_path / "target")
    assert said.code == 1 and "notebooks/bomb.ipynb" in said.out
    assert not (tmp_path / "target/notebooks/bomb.ipynb").exists()


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"[]",
        b"{}",
        b'{"members": 3}',
        b'{"members": [3]}',
        b'{"members": [{"path": "notebooks/a", "size": -1, "sha256": ""}]}',
        b'{"members": [{"path": "notebooks/a", "size": true, "sha256": "' + b"0" * 64 + b'"}]}',
        b'{"members": [{"path": 3, "size": 1, "sha256": "' + b"0" * 64 + b'"}]}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_manifest_that_is_none_is_named(tmp_path: Path, manifest: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as opened:
        opened.writestr("MANIFEST.json", manifest)
        opened.writestr("notebooks/a", b"a")
    for action in (["--verify"], ["--list"], ["--to", str(tmp_path / "target")]):
        said = restore_here(tmp_path / "p.zip", *action)
        assert said.code == 1 and "MANIFEST.json" in said.out + said.err and "Traceback" not in said.err


@pytest.mark.parametrize("arguments", [["--verify", "--list"], ["--nonsense"], ["a", "b"], ["/nowhere/p.zip"]])
def test_it_ends_with_0_or_1_whatever_is_asked(arguments: list[str]) -> None:
    assert restore_here(*arguments).code == 1
    assert restore_here("--help").code == 0


@pytest.mark.parametrize("garbage", [b"", b"PK\3\4", b"PK\5\6" + b"\0" * 18, os.urandom(1000)])
def test_what_is_no_zip_is_said_so(tmp_path: Path, garbage: bytes) -> None:
    (tmp_path / "p.zip").write_bytes(garbage)
    said = restore_here(tmp_path / "p.zip", "--verify")
    assert said.code == 1 and "Traceback" not in said.err


def sample(packing: Packing) -> bytes:
    packing.library.add(A, notebook_bytes("a = 1", outputs=True))
    packing.library.add(A, notebook_bytes("a = 2"))
    packing.library.add("/home/ada/é.ipynb", notebook_bytes("b"))
    return Path(packing.build().written_to).read_bytes()


def flipped_bits(package: bytes, folder: Path, bits: Iterable[int]) -> None:
    """Each one is seen; where it changes what comes out of a member, that member is named."""
    path = folder / "flipped.zip"
    path.write_bytes(package)
    spans = []
    with zipfile.ZipFile(path) as opened:
        whole = {name: opened.read(name) for name in opened.namelist()}
        for info in opened.infolist():
            head = package[info.header_offset :]
            begin = (
                info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
            )
            spans.append((begin, begin + info.compress_size, info.filename))
    for bit in bits:
        byte = bit // 8
        data = bytearray(package)
        data[byte] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            _, wrong = restore.verify(restore.open_package(str(path)))
        except restore.Trouble:
            wrong = [("zip", "")]
        assert wrong, f"bit {bit} of {len(package) * 8}"
        for begin, end, name in spans:
            if begin <= byte < end and not comes_out(path, name, whole[name]):
                assert name in {named for named, _ in wrong}, (bit, name, wrong)


def comes_out(path: Path, name: str, data: bytes) -> bool:
    """Whether the member's bytes are as they were: deflate ends with bits that mean nothing."""
    try:
        with zipfile.ZipFile(path) as opened:
            return opened.read(name) == data
    except Exception:  # noqa: BLE001 - whatever a flipped bit makes of it
        return False


def test_one_flipped_bit_anywhere_is_seen_and_in_a_file_it_is_named(packing: Packing, tmp_path: Path) -> None:
    package = sample(packing)
    chosen = random.Random(3)
    directory = package.rindex(b"PK\1\2", 0, package.index(b"PK\1\2") + 10)
    bits = [chosen.randrange(len(package) * 8) for _ in range(250)]
    bits += [chosen.randrange(directory * 8, len(package) * 8) for _ in range(250)]
    flipped_bits(package, tmp_path, bits)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_every_single_bit_of_a_package_is_guarded(packing: Packing, tmp_path: Path) -> None:
    package = sample(packing)
    flipped_bits(package, tmp_path, range(0, len(package) * 8, 3))


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_a_zip_of_more_than_65535_files_and_of_more_than_4_gigabytes(tmp_path: Path) -> None:
    path = str(tmp_path / "p.zip")
    writing = ZipWriting(path)
    rows = []
    size = (4 << 30) + 12345
    chunk = os.urandom(1 << 10) * 1024
    chunks = (chunk[: min(len(chunk), size - at)] for at in range(0, size, len(chunk)))
    large = writing.add("versions/large.ipynb", chunks, size=size, time=START, source="", packed=True)
    rows.append(large)
    rows += [
        writing.add(f"versions/{number}.ipynb", [b"{}"], size=2, time=START, source="") for number in range(66_000)
    ]
    manifest = {"members": [{"path": row.path, "size": row.size, "sha256": row.sha256} for row in rows]}
    writing.add("MANIFEST.json", [json.dumps(manifest).encode()], size=0, time=START, source="")
    writing.finish()
    assert large.size == size
    said = run_restore(path, "--verify", seconds=600)
    assert (said.code, said.out) == (0, "66001 files are as they were written\n"), said
    os.unlink(path)


def test_a_package_that_was_zipped_anew_is_as_good(packing: Packing, tmp_path: Path) -> None:
    sample(packing)
    unpacked = tmp_path / "unpacked"
    assert run_restore(packing.folder / "p.zip", "--to", unpacked).code == 0
    with zipfile.ZipFile(tmp_path / "again.zip", "w") as again:
        for path in unpacked.rglob("*"):
            if path.is_file():
                again.write(path, path.relative_to(unpacked))
    said = run_restore(tmp_path / "again.zip", "--verify")
    assert said.code == 0, said
    (unpacked / "notebooks/home/ada/work/a.ipynb").write_bytes(b"changed")
    said = run_restore(unpacked, "--verify")
    assert said.code == 1 and "notebooks/home/ada/work/a.ipynb" in said.out


part = st.text(st.characters(codec=None, exclude_characters="/\0"), min_size=1, max_size=300).filter(
    lambda text: _encodable(text) and text not in (".", "..")
)


def _encodable(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


@given(st.lists(st.lists(part, min_size=1, max_size=6), min_size=1, max_size=8))
def test_every_path_gets_a_name_of_its_own_that_may_be_unpacked(paths: list[list[str]]) -> None:
    from nbguard.archive.names import escape_component

    names = Names(escape_component)
    given_names = []
    for parts in paths * 2:
        path = "/" + "/".join(os.fsdecode(os.fsencode(part)) for part in parts)
        folder = names.folder_for("versions", path)
        given_names += [
            names.file("notebooks", path),
            names.file("rebuilt", path, ".rebuilt"),
            names.inside(folder, "20261121T093000Z-7f3a9c1b", ".ipynb"),
        ]
    assert [name for name in given_names if restore.why_refused(name)] == []
    folded = [name.casefold() for name in given_names]
    assert len(set(folded)) == len(folded)
    # No file lies where another name needs a folder.
    folders = {folder for name in folded for folder in _above(name)}
    assert not folders & set(folded)


def _above(name: str) -> list[str]:
    parts = name.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]
