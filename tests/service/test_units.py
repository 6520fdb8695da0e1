"""The unit that is written: systemd finds nothing to say about it, and reads the very words that were meant."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nbguard.errors import Refused
from nbguard.service.manager import carried_environment
from nbguard.service.templates import template
from nbguard.service.units import UNIT, render

TEMPLATE = template("systemd", UNIT)


def unit(command: list[str], environment: dict[str, str] | None = None) -> str:
    return render(TEMPLATE, command=command, environment=environment or {})


def test_nothing_is_left_to_fill_in_and_nothing_asks_for_a_user_namespace() -> None:
    text = unit(["/usr/bin/nbguard"], {"NBGUARD_HOME": "/srv/kept"})
    assert not re.search(r"@[A-Z]+@", text)
    assert 'Environment="NBGUARD_HOME=/srv/kept"' in text
    for option in ("PrivateUsers", "ProtectSystem", "ProtectHome", "PrivateTmp", "ReadWritePaths", "StandardOutput"):
        assert option not in re.sub(r"(?m)^#.*", "", text), "it would block /proc/PID/fd, or do nothing"


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("/opt/my python/bin/python", '"/opt/my python/bin/python"'),
        ("/a%h/$HOME", '"/a%%h/$HOME"'),
        ('/quo"te\\back', '"/quo\\"te\\\\back"'),
        ("/ünï", '"/ünï"'),
    ],
)
def test_words_of_the_command_are_read_back_as_they_are(word: str, written: str) -> None:
    assert f"ExecStart={written} run" in unit([word])


def test_dollars_are_doubled_in_arguments_alone() -> None:
    assert 'ExecStart="/b$c" "--config" "/d$$e" run' in unit(["/b$c", "--config", "/d$e"])


def test_dollars_in_the_environment_are_not_doubled() -> None:
    assert 'Environment="JUPYTER_DATA_DIR=/a$b%%c"' in unit(["/x"], {"JUPYTER_DATA_DIR": "/a$b%c"})


@pytest.mark.parametrize("word", ["/a\nExecStart=/bin/evil", "/tab\t", "/\udcff"])
def test_what_no_unit_can_hold_is_refused(word: str) -> None:
    with pytest.raises(Refused):
        unit([word])


def test_systemd_itself_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = tmp_path / "a folder with 100% $PATH"
    folder.mkdir()
    command = folder / "python"
    command.symlink_to(sys.executable)
    path = tmp_path / UNIT
    path.write_text(unit([str(command), "-P", "-m", "nbguard"], {"XDG_DATA_HOME": "/srv/a b"}))
    assert _verified(path) == (0, ""), "an unknown key is only a warning: nothing may be said at all"
    path.write_text(path.read_text().replace("WatchdogSec", "WatchdogSce"))
    assert "WatchdogSce" in _verified(path)[1], "and it would have been seen"


def _verified(path: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", str(path)],
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_what_decides_where_files_are_is_carried_into_the_service_and_nothing_else() -> None:
    environment = {"NBGUARD_HOME": "/srv/kept", "IPYTHONDIR": "", "SECRET": "x", "PATH": "/odd", "JUPYTER_TOKEN": "t"}
    assert carried_environment(environment, "/usr/bin/git") == {"NBGUARD_HOME": "/srv/kept"}
    assert carried_environment({}, "/opt/conda/bin/git") == {"PATH": "/opt/conda/bin:/usr/local/bin:/usr/bin:/bin"}
