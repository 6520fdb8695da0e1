"""nbguard is gone, git is there: the commands of the README beside the archive give the exact bytes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from tests.helpers import notebook_bytes, poll
from tests.journeys.guarded import guarding


def _shell(command: str, cwd: Path) -> bytes:
    """As in a terminal of a machine without nbguard and without a git configuration."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        ["sh", "-ec", command], cwd=cwd, env=environment, check=True, capture_output=True, timeout=60
    ).stdout


def test_the_commands_beside_the_archive_give_back_every_version_and_what_was_deleted(tmp_path: Path) -> None:
    path, gone = tmp_path / "work" / "my eda.ipynb", tmp_path / "work" / "gone.ipynb"
    saved = [notebook_bytes(f"x = {number}") for number in range(3)]
    with guarding(tmp_path, path.parent) as guard:
        gone.write_bytes(saved[0])
        guard.until_kept(gone, saved[0])
        for data in saved:
            path.write_bytes(data)
            guard.until_kept(path, data)
        gone.unlink()
        poll(lambda: guard.log(gone)[0]["status"] == "deleted", 20, every=0.2)
        assert guard.stop() == 0
        assert guard.nbguard("run", "--once").code == 0
        path.write_bytes(notebook_bytes("in the spool"))
        assert guard.nbguard("snapshot", str(path)).code == 0
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(guard.archive, elsewhere / "archive.git")
    shutil.copytree(guard.home / "spool", elsewhere / "spool")
    readme = (guard.home / "archive.git.README.txt").read_text().replace(str(guard.archive), "archive.git")
    commands = [line.strip() for line in readme.splitlines() if re.match(r" {4,}(git|tail) ", line)]
    assert len(commands) >= 6, readme
    list_, log, newest, older, deletions, deleted, spooled, *executed = commands
    assert [("records" in command) for command in executed] == [True, True]
    ours, his = f"notebooks{path}", f"notebooks{gone}"
    example = re.search(r"notebooks/\S+?\.ipynb", newest)
    assert example is not None

    def with_path(command: str, inside: str, commit: str = "") -> str:
        return command.replace(example[0], f"'{inside}'").replace("COMMIT", commit).replace("main:'", "'main:")

    assert _shell(list_, elsewhere).decode().splitlines() == [ours]
    commits = re.findall(r"^commit (\w+)$", _shell(with_path(log, ours), elsewhere).decode(), re.MULTILINE)
    assert len(commits) == 3
    _shell(with_path(newest, ours), elsewhere)
    assert (elsewhere / "eda.ipynb").read_bytes() == saved[2]
    for commit, data in zip(commits, reversed(saved), strict=True):
        _shell(with_path(older, ours, commit).replace(f"{commit}:'", f"'{commit}:"), elsewhere)
        assert (elsewhere / "eda.ipynb").read_bytes() == data
    assert his in _shell(deletions, elsewhere).decode()
    last = re.findall(r"^commit (\w+)$", _shell(deletions, elsewhere).decode(), re.MULTILINE)[0]
    _shell(with_path(deleted, his, last).replace(f"{last}^:'", f"'{last}^:"), elsewhere)
    assert (elsewhere / "eda.ipynb").read_bytes() == saved[0]
    (draft,) = (elsewhere / "spool" / "new").iterdir()
    _shell(spooled.replace("FILE", draft.name), elsewhere)
    assert (elsewhere / "eda.ipynb").read_bytes() == notebook_bytes("in the spool")
