"""The units that are written: systemd finds nothing to say about them, and reads the very words that were meant."""

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
from nbguard.service.units import (
    ALERT,
    CHECK,
    CHECK_TIMER,
    DAEMON,
    LIGHT,
    LIGHT_TIMER,
    SERVICES,
    UNITS,
    Filling,
    render,
    render_all,
)

PLACES = ("/var/tmp/nbguard-1-a%b", "/var/tmp/nbguard-1-alerts")


def filling(command: list[str], environment: dict[str, str] | None = None, *, light: float = 120.0) -> Filling:
    return Filling(
        command=command, environment=environment or {}, places=PLACES, light_seconds=light, full_seconds=900.0
    )


def unit(command: list[str], environment: dict[str, str] | None = None) -> str:
    return render(DAEMON, of(DAEMON), filling(command, environment))


def of(name: str) -> str:
    return template("systemd", name)


@pytest.mark.parametrize("name", UNITS)
def test_nothing_is_left_to_fill_in_and_nothing_asks_for_a_user_namespace(name: str) -> None:
    text = render_all(of, filling(["/usr/bin/nbguard"], {"NBGUARD_HOME": "/srv/kept"}))[name]
    assert not re.search(r"@[A-Z]+@", text)
    for option in ("PrivateUsers", "ProtectSystem", "ProtectHome", "PrivateTmp", "ReadWritePaths", "append:", "file:"):
        assert option not in re.sub(r"(?m)^#.*", "", text), "it would block /proc/PID/fd, or do nothing"
    if name in SERVICES:
        assert 'Environment="NBGUARD_HOME=/srv/kept"' in text
        assert "OnFailure=nbguard-alert@%n.service" in text, "one handler for all would not be told which unit failed"
    if name in (CHECK, LIGHT):
        assert "SuccessExitStatus=11 20 21 22" in text, "an answer is no failure of who gives it"
        assert "TimeoutStartSec=" in text, "a check that hangs has failed"


def test_the_checks_run_as_often_as_is_configured() -> None:
    texts = render_all(of, filling(["/usr/bin/nbguard"], light=4.0))
    assert "OnUnitActiveSec=4000ms" in texts[LIGHT_TIMER]
    assert "OnActiveSec=4000ms" in texts[LIGHT_TIMER]
    assert "AccuracySec=133ms" in texts[LIGHT_TIMER], "by default systemd may be a minute late"
    assert "OnUnitActiveSec=900000ms" in texts[CHECK_TIMER]
    assert "OnActiveSec=120000ms" in texts[CHECK_TIMER]
    assert "OnClockChange=yes" in texts[CHECK_TIMER]


def test_the_alert_unit_carries_its_script_and_names_no_file_of_home() -> None:
    text = render_all(of, filling(["/home/ada/venv/bin/python"]))[ALERT]
    assert "/home/ada" not in text
    assert text.count("\nExecStart=/bin/sh -c") == 1
    assert '"/var/tmp/nbguard-1-a%%b" "/var/tmp/nbguard-1-alerts"' in text


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


def test_systemd_itself_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    folder = tmp_path / "a folder with 100% $PATH"
    folder.mkdir()
    command = folder / "python"
    command.symlink_to(sys.executable)
    texts = render_all(of, filling([str(command), "-P", "-m", "nbguard"], {"XDG_DATA_HOME": "/srv/a b"}))
    paths = [tmp_path / name for name in texts]
    for path in paths:
        path.write_text(texts[path.name])
    assert _verified(*paths) == (0, ""), "an unknown key is only a warning: nothing may be said at all"
    for name, key in ((DAEMON, "WatchdogSec"), (LIGHT_TIMER, "AccuracySec")):
        path = tmp_path / name
        path.write_text(texts[name].replace(key, "Mistyped"))
        assert "Mistyped" in _verified(*paths)[1], "and it would have been seen"


def _verified(*paths: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["systemd-analyze", "verify", "--user", "--man=no", *map(str, paths)],
        env={"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": str(paths[0].parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def test_what_decides_where_files_are_is_carried_into_the_service_and_nothing_else() -> None:
    environment = {"NBGUARD_HOME": "/srv/kept", "IPYTHONDIR": "", "SECRET": "x", "PATH": "/odd", "JUPYTER_TOKEN": "t"}
    assert carried_environment(environment, "/usr/bin/git") == {"NBGUARD_HOME": "/srv/kept"}
    assert carried_environment({}, "/opt/conda/bin/git") == {"PATH": "/opt/conda/bin:/usr/local/bin:/usr/bin:/bin"}
