"""What the alert unit runs: a note outside HOME, few words, and nothing that somebody else prepared."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from nbguard.notices import as_problem, failed_units
from nbguard.service.templates import template
from nbguard.service.units import ALERT_SCRIPT, CHECK, DAEMON, LIGHT

SCRIPT = template("systemd", ALERT_SCRIPT)


class Desk:
    """An emergency place, a last resort that is not there, and the script."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        self.resort = folder / "resort"
        self.place.mkdir(mode=0o700)

    def alert(self, unit: str = LIGHT, *, result: str = "exit-code", status: str = "203") -> str:
        """What it says when ``unit`` failed."""
        done = subprocess.run(
            ["/bin/sh", "-c", SCRIPT, "nbguard-alert", unit, "0", str(self.place), str(self.resort)],
            env={"MONITOR_SERVICE_RESULT": result, "MONITOR_EXIT_STATUS": status},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 0, done
        assert done.stderr == ""
        return done.stdout

    def age(self, *names: str, minutes: float) -> None:
        for name in names:
            os.utime(self.place / name, (time.time() - 60 * minutes,) * 2)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.parametrize(
    ("result", "status", "words"),
    [
        ("exit-code", "203", "the program that it starts is gone"),
        ("exit-code", "78", "the configuration cannot be used"),
        ("timeout", "TERM", "it did not end in time"),
        ("signal", "SEGV", "signal, status SEGV"),
        ("exit-code", "70", "exit-code, status 70"),
    ],
)
def test_it_says_why_and_leaves_a_note_that_is_read_back(desk: Desk, result: str, status: str, words: str) -> None:
    said = desk.alert(result=result, status=status)
    assert said.startswith("<1>nbguard on "), "the journal's word for an alert"
    assert f"{LIGHT} failed: {words}" in said
    (failed,) = failed_units(str(desk.place), str(desk.resort))
    assert failed.unit == LIGHT
    assert failed.reason.startswith(words)
    assert as_problem(failed).code == "unit-failed"
    assert (desk.place / f"ALERT-{LIGHT}").stat().st_mode & 0o077 == 0
    assert not desk.resort.exists()


def test_it_tells_once_in_six_hours_for_a_unit_and_once_in_ten_minutes_for_all(desk: Desk) -> None:
    assert desk.alert()
    assert desk.alert() == ""
    assert desk.alert(CHECK) == "", "most likely of the same cause"
    assert {failed.unit for failed in failed_units(str(desk.place))} == {LIGHT, CHECK}, "noted all the same"
    desk.age(".told", minutes=11)
    assert desk.alert() == ""
    assert desk.alert(CHECK)
    desk.age(".told", f".told-{LIGHT}", minutes=361)
    assert desk.alert(), "and again, for as long as it lasts"


def test_a_note_says_since_when(desk: Desk) -> None:
    desk.alert()
    desk.age(f"ALERT-{LIGHT}", minutes=50)
    (before,) = failed_units(str(desk.place))
    desk.alert()
    assert failed_units(str(desk.place)) == (before,)
    desk.alert(status="70")
    (after,) = failed_units(str(desk.place))
    assert after.at > before.at
    assert after.reason == "exit-code, status 70"


def test_where_the_emergency_place_is_gone_it_is_made_anew_and_else_the_last_resort(desk: Desk) -> None:
    desk.place.rmdir()
    assert desk.alert()
    assert failed_units(str(desk.place))
    desk.place = desk.place.parent / "gone" / "place"
    assert desk.alert()
    (failed,) = failed_units(str(desk.resort))
    assert failed.path.startswith(str(desk.resort))
    assert desk.resort.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_not_ours_alone_is_neither_written_nor_run(desk: Desk, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "alert-channels.sh").write_text("echo evil")
    desk.place.rmdir()
    desk.place.symlink_to(elsewhere)
    assert "evil" not in desk.alert()
    assert [path.name for path in elsewhere.iterdir()] == ["alert-channels.sh"]
    assert failed_units(str(desk.resort))


def test_what_was_prepared_is_run_with_the_text(desk: Desk) -> None:
    told = desk.place / "told"
    (desk.place / "alert-channels.sh").write_text(f'printf "%s" "$1" >{told}; cat')
    said = desk.alert(DAEMON, status="78")
    assert told.read_text() == said.removeprefix("<1>").rstrip("\n")


def test_notes_of_no_unit_of_ours_and_in_folders_of_others_are_passed_over(desk: Desk) -> None:
    (desk.place / "ALERT-sshd.service").write_text("x")
    (desk.place / "ALERT-nbguard.service.bak").write_text("x")
    assert failed_units(str(desk.place), "", str(desk.resort)) == ()
    desk.alert()
    desk.place.chmod(0o755)
    assert failed_units(str(desk.place)) == ()
