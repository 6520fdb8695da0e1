"""The daemon finds its archive gone or broken, makes it anew, and says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest

from nbguard.mirror.layout import namespace_of
from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import Guarded, Tables, guarding
from tests.mirror.places import git, make_mirror

TABLES: Tables = {
    "packing": {"drafts": 1},
    "intervals": {"pack_seconds": 0.5},
    "checks": {"down_seconds": 0.2},
}


@pytest.fixture(scope="module")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Generator[Guarded]:
    base = tmp_path_factory.mktemp("rebuilding")
    with guarding(base, base / "work", tables=TABLES) as guarded:
        yield guarded


def _save(guard: Guarded, name: str, *texts: str) -> Path:
    path = Path(guard.roots[0]) / name
    for text in texts:
        path.write_bytes(notebook_bytes(text))
        guard.until_kept(path, notebook_bytes(text))
    poll(lambda: not guard.spooled(), 60, every=0.1)
    return path


def _rebuilt(guard: Guarded) -> dict[str, str]:
    found = guard.until_code("archive-rebuilt", 60)
    assert isinstance(found, dict)
    return found


def test_a_vanished_archive_is_made_anew_from_the_mirror_under_the_running_daemon(
    guard: Guarded, tmp_path: Path
) -> None:
    path = _save(guard, "eda.ipynb", "one", "two", "three")
    mirror = make_mirror(tmp_path / "mirror.git")
    install = (guard.home / "state" / "install-id").read_text().strip()
    namespace = namespace_of("a-name-it-had-once", "ada", install)
    git(guard.archive, "push", "--quiet", str(mirror), f"refs/heads/main:refs/heads/hosts/{namespace}/main")
    config = guard.home / "config.toml"
    config.write_text(config.read_text() + f'\n[[mirrors]]\nname = "disk"\nurl = "{mirror}"\n')
    before = guard.log(path)
    shutil.rmtree(guard.home / "emergency" / "kept" / "archive.git")  # else that copy may be taken: it is longer
    shutil.rmtree(guard.archive)
    found = _rebuilt(guard)
    assert "had vanished" in found["message"] and "the mirror disk" in found["message"]
    assert guard.log(path) == before
    _save(guard, "eda.ipynb", "four")
    assert guard.show(path, "~1") == notebook_bytes("three")
    guard.fsck()
    guard.until_no_code("archive-missing")


@pytest.mark.long
def test_a_damaged_newest_pack_no_longer_stops_packing(guard: Guarded, tmp_path: Path) -> None:
    """What it held is read from the mirror where that has it; a mirror that is out of reach changes nothing else."""
    if not _mirrors(guard):  # the test above was run by another process, or not at all
        test_a_vanished_archive_is_made_anew_from_the_mirror_under_the_running_daemon(guard, tmp_path)
    shutil.rmtree(next(iter(_mirrors(guard))))
    (guard.home / "state" / "rebuilt.json").unlink()
    path = _save(guard, "eda.ipynb", "five", "six")
    packs = sorted((guard.archive / "objects" / "pack").glob("*.pack"), key=lambda pack: pack.stat().st_mtime_ns)
    data = bytearray(packs[-1].read_bytes())
    for at in range(12, len(data) - 20):
        data[at] ^= 0x5A
    packs[-1].chmod(0o600)
    packs[-1].write_bytes(data)
    path.write_bytes(notebook_bytes("seven"))
    poll((guard.home / "state" / "rebuilt.json").exists, 60, every=0.1)
    note = json.loads((guard.home / "state" / "rebuilt.json").read_text())
    assert note["reason"] == "was damaged" and note["lost"] >= 1, "what only that pack held is named"
    assert any("eda.ipynb" in named for named in note["named"])
    assert Path(note["aside"]).is_dir()
    guard.until_kept(path, notebook_bytes("seven"))
    poll(lambda: not guard.spooled(), 60, every=0.1)
    guard.fsck()
    assert "eda.ipynb" in _rebuilt(guard)["message"]


def _mirrors(guard: Guarded) -> list[Path]:
    lines = (guard.home / "config.toml").read_text().splitlines()
    return [Path(json.loads(line.partition(" = ")[2])) for line in lines if line.startswith("url = ")]
