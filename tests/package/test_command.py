"""`nbguard package` as a process, over a real archive: what is asked for, what is broken, and what interrupts it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import pytest

from nbguard.cli.context import Context
from tests.archive.mounts import needs_mounts, remount, small_disk
from tests.helpers import REPOSITORY, Answer, nbguard, notebook_bytes, poll
from tests.package.conftest import manifest_of, run_restore
from tests.package.test_secrets import cell, every_byte, link, session


@dataclass
class Desk:
    """A folder of notebooks in a fresh home, and a folder to write packages in."""

    work: Path
    out: Path
    nbguard_home: Path

    def save(self, name: str, *sources: str) -> Path:
        path = self.work / name
        path.write_bytes(notebook_bytes(*sources))
        assert nbguard("snapshot", str(path)).code == 0
        return path

    def pack(self) -> None:
        assert nbguard("run", "--once", "--watch", str(self.work)).code == 0
        assert os.listdir(self.nbguard_home / "spool" / "new") == []

    def package(self, *arguments: str) -> Answer:
        return nbguard("package", *arguments, cwd=self.out)

    def inside(self, name: str) -> str:
        return f"notebooks{self.work}/{name}"


@pytest.fixture
def desk(home: Path, tmp_path: Path) -> Desk:
    (home / "work").mkdir()
    (tmp_path / "out").mkdir()
    return Desk(home / "work", tmp_path / "out", home / ".nbguard")


def only_zip(folder: Path) -> Path:
    (name,) = os.listdir(folder)
    assert name.endswith(".zip")
    return folder / name


def test_without_a_name_it_is_made_in_the_working_folder_of_every_notebook(desk: Desk) -> None:
    desk.save("a.ipynb", "one")
    desk.pack()
    desk.save("a.ipynb", "two")
    desk.save("b.ipynb", "b")
    answer = desk.package("--json")
    assert answer.code == 0, answer.talk
    made = only_zip(desk.out)
    assert made.name.startswith("nbguard-package-")
    found = answer.json
    assert found["written_to"] == str(made) and found["bytes"] == made.stat().st_size
    assert (found["notebooks"], found["versions"], found["sessions"], found["missing"]) == (2, 3, 0, [])
    assert {row["source"] for row in manifest_of(made)["versions"]} == {"archive", "spool"}
    said = run_restore(made, "--verify")
    assert said.code == 0 and f"{found['members'] - 1} files" in said.out


def test_a_selection_and_a_time(desk: Desk) -> None:
    path = desk.save("a.ipynb", "one")
    desk.save("b.ipynb", "SECRET")
    desk.save("a.ipynb", "two")
    answer = desk.package("a.ipynb", "--at", "~1", "-o", "p.zip")
    assert answer.code == 0 and answer.out == f"{desk.out / 'p.zip'}\n"
    with zipfile.ZipFile(desk.out / "p.zip") as package:
        assert package.read(desk.inside("a.ipynb")) == notebook_bytes("one")
        assert not any(b"SECRET" in package.read(name) or b"two" in package.read(name) for name in package.namelist())
    path.unlink()
    desk.pack()
    assert desk.package(str(path), "-o", "q.zip").code == 0
    assert manifest_of(desk.out / "q.zip")["notebooks"][0]["deleted"] is True
    with zipfile.ZipFile(desk.out / "q.zip") as package:
        assert package.read(desk.inside("a.ipynb")) == notebook_bytes("two")


def test_a_dry_run_names_what_would_be_packed_and_writes_nothing(desk: Desk) -> None:
    assert desk.package("--dry-run").code == 10  # and makes no archive
    path = desk.save("a.ipynb", "one")
    answer = desk.package("--dry-run", "--json")
    assert answer.code == 0 and answer.json["would_pack"] == [{"path": str(path)}] and answer.json["dry_run"] is True
    assert os.listdir(desk.out) == []


def test_before_the_first_version_it_is_an_empty_one(desk: Desk) -> None:
    answer = desk.package("--json")
    assert answer.code == 0 and answer.json["notebooks"] == 0, answer.talk
    assert run_restore(only_zip(desk.out), "--verify").code == 0
    assert (desk.nbguard_home / "archive.git").is_dir()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["no-such.ipynb"], 1, "no notebook matches"),
        (["a.ipynb", "--all"], 2, "--all takes no notebooks"),
        (["a.ipynb", "--at", "whenever"], 2, "for example"),
        (["--at", "~1"], 2, "needs a time"),
        (["a.ipynb", "--at", "~7"], 1, "there is no ~7"),
        (["-o", "there.zip"], 1, "exists already"),
        (["-o", "no/such/folder/p.zip"], 1, "there is no folder"),
        (["-o", "."], 1, "exists already"),
    ],
)
def test_what_cannot_be_done_writes_nothing(desk: Desk, arguments: list[str], code: int, says: str) -> None:
    desk.save("a.ipynb", "a")
    (desk.out / "there.zip").write_bytes(b"mine")
    answer = desk.package(*arguments)
    assert answer.code == code and says in answer.talk, answer.talk
    assert os.listdir(desk.out) == ["there.zip"] and (desk.out / "there.zip").read_bytes() == b"mine"


def test_without_catalog_and_with_a_broken_pack_what_is_left_is_packed(desk: Desk) -> None:
    desk.save("a.ipynb", "lost " + "x" * 4000)
    desk.save("b.ipynb", "b")
    desk.pack()
    desk.save("b.ipynb", "b, spooled")
    assert nbguard("list").code == 0
    lost = next(row["id"] for row in nbguard("log", "a.ipynb", "--json").json)
    spoil(desk, f"main:notebooks{desk.work}/a.ipynb")
    (desk.nbguard_home / "state" / "catalog.sqlite").unlink()
    answer = desk.package("--json")
    assert answer.code == 3, answer.talk
    assert [(item["what"], item["id"]) for item in answer.json["missing"]] == [("version", lost)]
    made = only_zip(desk.out)
    assert run_restore(made, "--verify").code == 0
    with zipfile.ZipFile(made) as package:
        assert package.read(desk.inside("b.ipynb")) == notebook_bytes("b, spooled")
        assert "could not be read" in package.read("index.html").decode()
        assert f"{desk.work}/a.ipynb: git" in package.read("READ-ME-FIRST.txt").decode()
    assert json.loads(answer.talk)["code"] == "partly-done"


def spoil(desk: Desk, revision: str) -> None:
    """A few bits of one object in its pack."""
    archive = desk.nbguard_home / "archive.git"

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", f"--git-dir={archive}", *arguments], capture_output=True, text=True, check=True)
        return done.stdout

    oid = git("rev-parse", revision).strip()
    for pack in archive.glob("objects/pack/*.pack"):
        for line in git("verify-pack", "-v", str(pack)).splitlines():
            if line.startswith(oid):
                data = bytearray(pack.read_bytes())
                data[int(line.split()[4]) + 12] ^= 0xFF
                pack.chmod(0o600)
                pack.write_bytes(data)
                return
    raise AssertionError(f"{oid} is in no pack")


def test_when_a_commit_is_broken_every_other_version_is_packed(desk: Desk) -> None:
    for number in range(4):
        desk.save("a.ipynb", f"packed {number}")
        desk.pack()
    desk.save("a.ipynb", "spooled")
    spoil(desk, "main~2")
    (desk.nbguard_home / "state" / "catalog.sqlite").unlink()
    assert nbguard("log", "a.ipynb").code != 0
    answer = desk.package("--json")
    assert answer.code == 3 and "archive" in [item["what"] for item in answer.json["missing"]], answer.talk
    made = only_zip(desk.out)
    assert run_restore(made, "--verify").code == 0
    with zipfile.ZipFile(made) as package:
        kept = {package.read(name) for name in package.namelist() if name.startswith("versions/")}
    assert kept == {notebook_bytes(source) for source in ("packed 0", "packed 2", "packed 3", "spooled")}


@pytest.mark.parametrize("catalog", ["known", "gone"])
def test_when_the_archive_has_vanished_what_the_spool_holds_is_packed(desk: Desk, catalog: str) -> None:
    desk.save("a.ipynb", "packed")
    desk.pack()
    desk.save("a.ipynb", "spooled")
    shutil.rmtree(desk.nbguard_home / "archive.git")
    if catalog == "gone":
        (desk.nbguard_home / "state" / "catalog.sqlite").unlink()
    answer = desk.package()
    assert answer.code == 10 and "vanished" in answer.talk, answer.talk
    with zipfile.ZipFile(only_zip(desk.out)) as package:
        assert package.read(desk.inside("a.ipynb")) == notebook_bytes("spooled")
        assert "vanished" in package.read("READ-ME-FIRST.txt").decode()
    assert not (desk.nbguard_home / "archive.git").exists()


def test_when_nothing_is_left_there_is_no_package(desk: Desk) -> None:
    desk.save("a.ipynb", "packed")
    desk.pack()
    shutil.rmtree(desk.nbguard_home)
    (desk.nbguard_home / "state").mkdir(parents=True)
    (desk.nbguard_home / "state" / "archive-made").write_text("0" * 32 + "\n")
    assert desk.package().code == 10
    assert os.listdir(desk.out) == []


def test_what_was_executed_comes_with_its_notebook_and_with_no_other(desk: Desk, tmp_path: Path) -> None:
    """Through the real record log, packed into the archive and not, and the recorded outputs."""
    from nbguard import app_history
    from nbguard.executed import Run, RunOutputs

    mine, other = str(desk.save("mine.ipynb", "saved")), str(desk.save("SECRET-name.ipynb", "SECRET"))
    context = Context(home=str(desk.nbguard_home), config=None)
    log, now = app_history.record_log_of(context), datetime.now(UTC)
    log.append(
        [
            record
            for number, (path, word) in enumerate(((mine, "mine"), (other, "SECRET")), 1)
            for record in (
                replace(session(number), started_at=now, seen_at=now),
                replace(cell(number, 1, f"{word}_executed()\n%matplotlib inline\n!ls"), seen_at=now),
                replace(link(number, path), seen_at=now, kernel=f"kernel-{number}"),
            )
        ]
    )
    desk.pack()
    log.append(
        [
            replace(cell(1, 2, "mine_later()"), seen_at=now),
            *(
                Run(
                    id=word * 8,
                    kernel=f"kernel-{number}",
                    execution_count=1,
                    source=f"{word}_executed()\n%matplotlib inline\n!ls\n",
                    started_at=now,
                    ended_at=now,
                    status="ok",
                    path=path,
                    outputs=1,
                )
                for number, (path, word) in enumerate(((mine, "mine"), (other, "SECRET")), 1)
            ),
        ]
    )
    text = '[{{"output_type": "stream", "name": "stdout", "text": "{}_shown"}}]'
    outputs = [RunOutputs(run=word * 8, recorded_at=now, outputs=text.format(word)) for word in ("mine", "SECRET")]
    app_history.output_store_of(context).put(outputs)
    answer = desk.package("mine.ipynb", "--json", "-o", "p.zip")
    assert (answer.code, answer.json["sessions"], answer.json["missing"]) == (0, 1, []), answer.talk
    found = dict(every_byte(str(desk.out / "p.zip"), tmp_path / "unpacked", known=b"saved"))
    assert [name for name, data in found.items() if b"SECRET" in data] == []
    (py,) = [data for name, data in found.items() if name.startswith("executed/") and name.endswith(".py")]
    assert b"mine_executed()" in py and b"mine_later()" in py and b"# %matplotlib inline" in py
    for name in (
        f"rebuilt{mine.removesuffix('.ipynb')}.rebuilt.ipynb",
        f"rebuilt{mine.removesuffix('.ipynb')}.log.ipynb",
    ):
        notebook = nbformat.reads(found[name].decode(), as_version=4)  # type: ignore[no-untyped-call]  # it has no types
        nbformat.validate(notebook)
        sources = [one["source"] for one in notebook["cells"]]
        assert any("mine_later()" in source for source in sources)
        assert b"mine_shown" in found[name]
    log.append([replace(session(9), started_at=now, seen_at=now), replace(cell(9, 1, "console()"), seen_at=now)])
    assert "1 sessions belong to no notebook" in desk.package("-o", "r.zip").talk
    assert "belong to no notebook" not in desk.package("mine.ipynb", "-o", "s.zip").talk
    everything = desk.package("--all", "--json", "-o", "q.zip")
    assert (everything.json["sessions"], everything.json["notebooks"]) == (3, 2)


def test_nothing_of_the_state_is_in_it(desk: Desk) -> None:
    desk.save("a.ipynb", "a")
    state = desk.nbguard_home / "state"
    for name in ("nbguard.log", "kernel-key.json", "heartbeat.json"):
        (state / name).write_text("SECRET-OF-THE-STATE")
    (desk.nbguard_home / "config.toml").write_text('schema = 1\nroots = ["/SECRET-OF-THE-STATE"]\n')
    assert desk.package("--all").code == 0
    with zipfile.ZipFile(only_zip(desk.out)) as package:
        assert not any(b"SECRET-OF-THE-STATE" in package.read(name) for name in package.namelist())


def test_a_clone_of_the_bundle_is_an_archive(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = desk.save("a.ipynb", "one")
    desk.pack()
    desk.save("a.ipynb", "two")
    before = nbguard("log", str(path), "--json").json
    assert desk.package("a.ipynb", "-o", "p.zip").code == 0
    elsewhere = tmp_path / "elsewhere"
    assert run_restore(desk.out / "p.zip", "--to", tmp_path / "unpacked").code == 0
    bundle, archive = tmp_path / "unpacked/bundle/notebooks.bundle", elsewhere / "archive.git"
    subprocess.run(["git", "clone", "--bare", "--quiet", str(bundle), str(archive)], check=True)
    monkeypatch.setenv("NBGUARD_HOME", str(elsewhere))
    assert nbguard("log", str(path), "--json").json == before
    assert nbguard("show", str(path), "~1").out.encode() == notebook_bytes("one")


_AFTER_THE_WIPE = """
import builtins, os, sys
from nbguard.cli.context import Context
from nbguard import app_history, app_package
from nbguard.package.contents import Order

app_package.preload()
context = Context(home=os.environ["NBGUARD_HOME"], config=None)
import shutil
from nbguard.model import *
from nbguard.executed import *
from datetime import UTC, datetime
now = datetime.now(UTC)
g, path = "ab" * 16, sys.argv[2]
app_history.record_log_of(context).append([
    HistorySession(generation=g, session=1, started_at=now, ended_at=None, seen_at=now),
    ExecutedCell(generation=g, session=1, line=1, source="executed()", seen_at=now),
    Link(generation=g, session=1, path=path, frontend=Frontend.NOTEBOOK, confidence=Confidence.EXACT,
         evidence=("x",), seen_at=now),
    Run(id="r" * 32, kernel="k", execution_count=1, source="executed()", started_at=now, ended_at=None, status="ok",
        path=path, generation=g, session=1),
])
shown = '[{"output_type": "stream", "name": "stdout", "text": "shown"}]'
app_history.output_store_of(context).put([RunOutputs(run="r" * 32, recorded_at=now, outputs=shown)])
shutil.rmtree(os.environ["HOME"])
os.chdir("/")
for name in ("HOME", "NBGUARD_HOME"):
    del os.environ[name]

class Gone:
    def find_spec(self, name, path=None, target=None):
        raise ImportError(f"{name} was wiped")

sys.meta_path[:] = [Gone()]
real = builtins.open
def refusing(path, *arguments, **more):
    assert not str(path).endswith(".py"), path
    return real(path, *arguments, **more)
builtins.open = refusing

quietly = lambda done, total: None
store, missing = app_package.package_store(context, quietly)
executed, _ = app_package.package_executed(context, quietly)
parts = app_package.parts_of(store, executed=executed, outputs=app_package.package_outputs(context))
order = Order(notebooks=app_package.everything_in(parts.library), unsaved=True, everything=True)
report = app_package.build_package(parts, order, sys.argv[1], quietly)
assert not missing and not report.missing, (missing, report.missing)
"""


def test_after_a_wiped_home_nothing_is_imported_and_no_folder_of_it_is_needed(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive lies elsewhere here; how it survives is the refuge's matter."""
    monkeypatch.setenv("NBGUARD_HOME", str(tmp_path / "refuge"))
    path = desk.work / "a.ipynb"
    path.write_bytes(notebook_bytes("a = 1"))
    assert nbguard("run", "--once", "--watch", str(desk.work)).code == 0
    path.write_bytes(notebook_bytes("a = 2"))
    assert nbguard("snapshot", str(path)).code == 0
    done = subprocess.run(
        [sys.executable, "-c", _AFTER_THE_WIPE, str(desk.out / "p.zip"), str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 0, done.stderr
    assert run_restore(desk.out / "p.zip", "--verify").code == 0
    manifest = manifest_of(desk.out / "p.zip")
    assert (len(manifest["versions"]), len(manifest["sessions"])) == (2, 1)
    with zipfile.ZipFile(desk.out / "p.zip") as package:
        rebuilt = [package.read(name) for name in package.namelist() if name.startswith("rebuilt/")]
    assert len(rebuilt) == 2 and all(b"executed()" in data and b"shown" in data for data in rebuilt)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_one_leaves_no_package_and_the_next_tidies_up(desk: Desk, number: signal.Signals) -> None:
    import random

    noise = random.Random(1)
    for count in range(4):
        (desk.work / f"{count}.ipynb").write_bytes(notebook_bytes(noise.randbytes(2_500_000).hex()))
    assert nbguard("snapshot", str(desk.work)).code == 0
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background of a shell it is ignored
    try:
        child = subprocess.Popen(
            [sys.executable, "-m", "nbguard", "package", "-o", "p.zip"],
            cwd=desk.out,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stderr=subprocess.DEVNULL,
        )
    finally:
        signal.signal(signal.SIGINT, before)
    poll(lambda: [path for path in desk.out.glob(".nbguard-package-*/package") if path.stat().st_size > 500_000], 30)
    child.send_signal(number)
    assert child.wait(30) != 0
    assert not list(desk.out.glob("*.zip"))
    left = list(desk.out.glob(".nbguard-package-*"))
    assert bool(left) is (number is signal.SIGKILL)
    assert desk.package("-o", "p.zip").code == 0
    assert os.listdir(desk.out) == ["p.zip"]
    assert run_restore(desk.out / "p.zip", "--verify").code == 0


@pytest.mark.root
@needs_mounts()
def test_from_a_disk_that_takes_nothing_any_more(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with small_disk(tmp_path / "disk", size="8m", inodes=2000) as disk:
        monkeypatch.setenv("NBGUARD_HOME", str(disk / "nbguard"))
        desk.nbguard_home = disk / "nbguard"
        desk.save("a.ipynb", "packed")
        desk.pack()
        desk.save("a.ipynb", "spooled")
        remount(disk, "ro")
        try:
            answer = desk.package("--json")
        finally:
            remount(disk, "rw")
    assert answer.code == 0, answer.talk
    assert (answer.json["versions"], answer.json["missing"]) == (2, [])
    assert run_restore(only_zip(desk.out), "--verify").code == 0


def test_without_a_spool_that_can_be_read_the_archive_is_packed(desk: Desk) -> None:
    desk.save("a.ipynb", "packed")
    desk.pack()
    shutil.rmtree(desk.nbguard_home / "spool" / "new")
    (desk.nbguard_home / "spool" / "new").write_bytes(b"a file in its place")
    answer = desk.package("--json")
    assert answer.code == 3 and answer.json["versions"] == 1, answer.talk
    assert {item["what"] for item in answer.json["missing"]} >= {"spool"}


@pytest.mark.root
@needs_mounts()
def test_a_full_disk_is_said_and_leaves_nothing(desk: Desk, tmp_path: Path) -> None:
    import random

    desk.save("a.ipynb", random.Random(1).randbytes(4_000_000).hex())
    with small_disk(tmp_path / "small", size="4m") as disk:
        answer = desk.package("--json", "-o", str(disk / "p.zip"))
        assert answer.code == 1 and json.loads(answer.talk)["code"] == "no-space", answer.talk
        assert os.listdir(disk) == []
