"""The catalog is disposable: deleted, broken or of another time, the same answers come back, also under many hands."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from nbguard.archive import catalog_file
from nbguard.archive.catalog import Catalog
from nbguard.archive.catalog_file import CatalogBroken, CatalogFile
from nbguard.archive.rows import SCHEMA_VERSION
from nbguard.errors import Busy, StorageTrouble
from nbguard.model import DraftKind, Status, Trigger
from tests.archive.rig import Rig
from tests.helpers import notebook_bytes


def eventful(base: Path) -> Rig:
    """Packed and spooled: renames, a return after a deletion, a late draft, an emptied one accepted, pins."""
    rig = Rig(base)
    full = notebook_bytes(*[f"x = {number}" for number in range(10)])
    rig.save("/w/a.ipynb", full)
    late = rig.draft("/w/a.ipynb", b"late")
    rig.save("/w/b.ipynb", full + b"\n")
    rig.save("/w/c.ipynb", full, renamed_from="/w/a.ipynb")
    emptied = rig.save("/w/c.ipynb", notebook_bytes())
    rig.save("/w/b.ipynb", b"damaged")
    rig.save("/w/b.ipynb", full, tip=False, trigger=Trigger.IMPORT)
    rig.packer.pack()
    rig.delete("/w/b.ipynb")
    rig.decide(DraftKind.ACCEPT, emptied.id)
    rig.spool.keep(late, b"late")
    rig.save("/w/b.ipynb", full + b"\n\n")
    pinned = rig.save("/w/d.ipynb", full, renamed_from="/w/c.ipynb")
    rig.decide(DraftKind.PIN, pinned.id)
    rig.save("/w/d.ipynb", full, trigger=Trigger.WATCH)
    rig.save("/w/d.ipynb", notebook_bytes("y = 1"))
    return rig


def garbage(path: str) -> None:
    with open(path, "wb") as file:
        file.write(os.urandom(50_000))


def empty(path: str) -> None:
    with open(path, "wb"):
        pass


def other_schema(path: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE versions (what TEXT)")
    db.close()


def other_time(path: str) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 7}")
    db.close()


def remove_main(path: str) -> None:
    os.unlink(path)


def remove_all(path: str) -> None:
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(path + suffix):
            os.unlink(path + suffix)


def replaced(make: Callable[[str], None]) -> Callable[[str], None]:
    def replace(path: str) -> None:
        remove_all(path)
        make(path)

    return replace


HARMS = {
    "removed": remove_all,
    "removed without its log": remove_main,
    "garbage": replaced(garbage),
    "garbage written into it": garbage,
    "emptied": empty,
    "of another schema": replaced(other_schema),
    "of another time": other_time,
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
@pytest.mark.parametrize("is_open", [True, False], ids=["while it is open", "while nobody looks"])
def test_the_answers_are_the_same_after_it_was(tmp_path: Path, harm: Callable[[str], None], is_open: bool) -> None:
    rig = eventful(tmp_path)
    before = rig.answers()
    other = Catalog(rig.places.catalog)
    assert other.count() > 5
    if not is_open:
        other.close()
        rig.close()
    harm(rig.places.catalog)
    if is_open:
        assert rig.answers() == before
        other.close()
    rig.crash()
    assert rig.answers() == before
    rig.packer.pack()
    assert rig.answers() == before
    rig.fsck()


def test_it_is_removed_between_any_two_steps_of_work(tmp_path: Path) -> None:
    rig, twin = Rig(tmp_path / "one"), Rig(tmp_path / "two")
    for number in range(12):
        for each in (rig, twin):
            each.save(f"/w/{number % 3}.ipynb", notebook_bytes(f"x = {number}"))
            if number % 4 == 3:
                each.packer.pack()
            if number % 5 == 2:
                each.folder.catch_up()
        remove_all(rig.places.catalog)
    assert len(rig.log("/w/0.ipynb")) == len(twin.log("/w/0.ipynb")) == 4
    rig.packer.pack()
    rig.fsck()


def test_it_is_removed_in_the_middle_of_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = eventful(tmp_path)
    before = rig.answers()
    whole = rig.archive.note_verified
    fired = []

    def note(tip: str) -> None:
        whole(tip)
        remove_all(rig.places.catalog)
        fired.append(tip)

    monkeypatch.setattr(rig.archive, "note_verified", note)
    rig.packer.pack()
    assert fired and rig.spool.drafts() == []
    assert rig.answers() == before


def test_what_is_broken_is_thrown_away_and_said_so(tmp_path: Path) -> None:
    rig = eventful(tmp_path)
    before = rig.answers()
    rig.catalog._rows("PRAGMA wal_checkpoint(TRUNCATE)")
    size = os.path.getsize(rig.places.catalog)
    with open(rig.places.catalog, "r+b") as file:
        file.seek(4096)
        file.write(os.urandom(size - 4096))
    rig.crash()
    with pytest.raises(CatalogBroken, match="built anew"):
        rig.catalog.heads()
    assert rig.answers() == before


def test_a_full_disk_is_not_mistaken_for_a_broken_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = eventful(tmp_path)
    rig.folder.catch_up()
    count = rig.catalog.count()
    rig.catalog._rows("PRAGMA max_page_count = 1")
    rig.save("/w/x.ipynb", notebook_bytes(*["long " * 2000] * 50))
    for _ in range(300):
        rig.save("/w/" + "x" * 200 + ".ipynb", os.urandom(8))
    with pytest.raises(StorageTrouble) as caught:
        rig.folder.catch_up()
    assert caught.value.code == "no-space"
    rig.catalog._rows("PRAGMA max_page_count = 1000000")
    rig.folder.catch_up()
    assert rig.catalog.count() == count + 301


def test_no_room_for_the_shared_memory_is_no_failing_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "catalog.sqlite").mkdir()  # SQLite cannot open that
    monkeypatch.setattr(catalog_file, "free_space", lambda path: (0, 10**9, 1))
    with pytest.raises(StorageTrouble) as caught:
        CatalogFile(str(tmp_path / "catalog.sqlite"))._rows("SELECT 1")
    assert caught.value.code == "no-space"


def test_somebody_who_holds_it_for_too_long_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = eventful(tmp_path)
    rig.folder.catch_up()
    rig.save("/w/x.ipynb", b"1")
    other = sqlite3.connect(rig.places.catalog, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    rig.catalog._rows("PRAGMA busy_timeout = 1")
    with pytest.raises(Busy):
        rig.folder.catch_up()
    other.execute("ROLLBACK")
    other.close()
    rig.folder.catch_up()


_READER = """
import sys
from tests.archive.rig import Rig
rig = Rig(sys.argv[1])
for number in range(12):
    rig.save(f"/cli/{sys.argv[2]}.ipynb", b"%d" % number)
    assert rig.log(f"/cli/{sys.argv[2]}.ipynb")[0].size
    if number == 7 and sys.argv[2] == "1":
        import os
        os.unlink(rig.places.catalog)
"""


def test_a_recorder_a_packer_and_commands_write_at_once(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    commands = [
        subprocess.Popen(
            [sys.executable, "-c", _READER, str(tmp_path), str(number)],
            cwd=Path(__file__).parents[2],
            stderr=subprocess.PIPE,
        )
        for number in range(2)
    ]
    troubles: list[BaseException] = []
    done = threading.Event()

    def packing() -> None:
        own = Rig(tmp_path)
        try:
            while not done.wait(0.02):
                own.packer.pack()
        except BaseException as error:  # noqa: BLE001 - reported below
            troubles.append(error)
        finally:
            own.close()

    packer = threading.Thread(target=packing)
    packer.start()
    for number in range(60):
        rig.save(f"/w/{number % 4}.ipynb", notebook_bytes(f"x = {number}"))
        rig.folder.catch_up()
    said = [command.communicate(timeout=60)[1] for command in commands]
    done.set()
    packer.join(60)
    assert [command.returncode for command in commands] == [0, 0], said
    assert troubles == []
    rig.packer.pack()
    assert sum(entry.versions for entry in rig.library().entries(deleted=False)) == 60 + 24
    before = rig.answers()
    rig.catalog.discard()
    assert rig.answers() == before
    rig.fsck()


def test_two_processes_make_it_at_once(tmp_path: Path) -> None:
    script = "import sys; from nbguard.archive.catalog import Catalog; Catalog(sys.argv[1]).heads()"
    for number in range(3):
        children = [
            subprocess.Popen([sys.executable, "-c", script, str(tmp_path / f"{number}.sqlite")]) for _ in range(4)
        ]
        assert [child.wait(60) for child in children] == [0] * 4


def test_an_emptied_notebook_stays_emptied_until_it_is_accepted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    full = [f"x = {number}" for number in range(10)]
    rig.save("/n.ipynb", notebook_bytes(*full))
    for number in range(3):
        rig.clock.wall += timedelta(days=40)
        last = rig.save("/n.ipynb", notebook_bytes(f"y = {number}"))
    assert [version.status for version in rig.log("/n.ipynb")] == [Status.EMPTIED] * 3 + [Status.OK]
    rig.decide(DraftKind.ACCEPT, last.id)
    rig.save("/n.ipynb", notebook_bytes("y = 9"))
    statuses = [version.status for version in rig.log("/n.ipynb")]
    assert statuses == [Status.OK, Status.OK, Status.EMPTIED, Status.EMPTIED, Status.OK]
    rig.packer.pack()
    rig.catalog.discard()
    assert [version.status for version in rig.log("/n.ipynb")] == statuses


def test_a_word_taken_back_before_it_was_packed_leaves_no_trace(tmp_path: Path) -> None:
    """Its disk refused it after it was seen: nobody was told that it is durable."""
    rig = Rig(tmp_path)
    rig.save("/n.ipynb", notebook_bytes(*[f"x = {number}" for number in range(10)]))
    emptied = rig.save("/n.ipynb", notebook_bytes())
    rig.packer.pack()
    before = rig.answers()
    rig.decide(DraftKind.ACCEPT, emptied.id)
    rig.save("/n.ipynb", notebook_bytes("y = 1"))
    assert rig.answers() != before
    rig.spool.unlink(rig.spool.drafts())
    assert rig.answers() == before
