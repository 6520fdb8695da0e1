"""`nbguard status` and `nbguard doctor`, as people and programs meet them: real processes, a real archive."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from nbguard.clock import SystemClock
from nbguard.durable import FileLock
from nbguard.health.heartbeat import write_heartbeat
from nbguard.model import Heartbeat, Problem, RootReport
from nbguard.places import Places, find_places
from nbguard.processes import boot_id
from tests.helpers import nbguard, notebook_bytes


@pytest.fixture
def work(home: Path) -> Path:
    folder = home / "work"
    folder.mkdir()
    (folder / "a.ipynb").write_bytes(notebook_bytes("a = 1"))
    return folder


@pytest.fixture
def places(work: Path) -> Places:
    """Set up, with one notebook kept."""
    assert nbguard("setup", "--yes", "--no-service", "--watch", str(work)).code == 0
    return find_places(home=os.environ["NBGUARD_HOME"])


def beat(places: Places, work: Path, *, problems: tuple[Problem, ...] = (), stopped: bool = False) -> None:
    """A heartbeat of this very process, which plays the daemon."""
    clock = SystemClock()
    now = clock.now()
    report = RootReport(path=str(work), mode="events", notebooks=1, watches=1, last_sweep_at=now)
    write_heartbeat(
        places.heartbeat,
        Heartbeat(
            pid=os.getpid(),
            boot=boot_id(),
            since=now,
            beat_at=now,
            beat_boottime_ns=clock.boottime_ns(),
            beat_monotonic=clock.monotonic(),
            version="0",
            roots=(report,),
            problems=problems,
            stopped=stopped,
        ),
    )


def test_before_any_setup_it_says_that_nothing_is_protected(home: Path) -> None:
    answer = nbguard("status")
    assert answer.code == 0
    assert answer.out.startswith("NOTHING IS PROTECTED")
    assert "nbguard setup" in answer.out


def test_looking_writes_nothing_into_a_home_without_nbguard(home: Path) -> None:
    nbguard("status")
    nbguard("doctor")
    assert [path for path in home.rglob("*") if path.is_file()] == []


def test_the_object_has_every_key_of_the_contract(places: Places, work: Path) -> None:
    with FileLock(places.daemon_lock):
        beat(places, work)
        answer = nbguard("status", "--json")
    status = answer.json
    assert answer.code == 0
    assert status["state"] == "ok"
    assert status["daemon"]["running"] is True
    assert status["daemon"]["pid"] == os.getpid()
    assert status["daemon"]["since"].endswith("Z")
    assert 0 <= status["daemon"]["heartbeat_age_seconds"] < 60
    assert status["roots"] == [str(work)]
    assert (status["notebooks"], status["protected"], status["oldest_unprotected_seconds"]) == (1, 1, None)
    assert set(status["spool"]) == {"drafts", "bytes", "oldest_seconds"}
    assert (status["channels"], status["mirrors"]) == ([], [])
    assert [each["code"] for each in status["problems"]] == ["no-channel", "no-mirror", "no-service"]
    assert set(status["proven"]) == {"canary_at", "drill_at", "full_check_at", "light_check_at"}


def test_a_problem_has_code_message_hint_since_and_subject(places: Places, work: Path) -> None:
    seen = Problem(code="watch-limit", message="m", hint="h", since=SystemClock().now(), subject=str(work))
    with FileLock(places.daemon_lock):
        beat(places, work, problems=(seen,))
        answer = nbguard("status", "--json")
    problem = answer.json["problems"][0]
    assert answer.json["state"] == "degraded"
    assert problem["since"].endswith("Z")
    assert {**problem, "since": ""} == {
        "code": "watch-limit",
        "message": "m",
        "hint": "h",
        "since": "",
        "subject": str(work),
    }


def test_a_change_after_the_daemon_was_stopped_is_a_gap(places: Places, work: Path) -> None:
    beat(places, work, stopped=True)
    assert nbguard("status").code == 0
    (work / "a.ipynb").write_bytes(notebook_bytes("a = 2"))
    answer = nbguard("status", "--json")
    assert answer.code == 22
    assert answer.json["protected"] == 0
    assert [each["code"] for each in answer.json["problems"]][:2] == ["not-kept", "daemon-down"]


def test_a_daemon_killed_just_now_is_not_running_and_not_yet_a_stall(places: Places, work: Path) -> None:
    beat(places, work)
    answer = nbguard("status", "--json")
    assert (answer.code, answer.json["state"], answer.json["daemon"]["running"]) == (0, "degraded", False)


def test_a_vanished_archive_is_a_stall_and_doctor_says_so_too(places: Places, work: Path) -> None:
    shutil.rmtree(places.archive)
    status, doctor = nbguard("status", "--json"), nbguard("doctor")
    assert (status.code, status.json["state"]) == (20, "stalled")
    assert "archive-missing" in [each["code"] for each in status.json["problems"]]
    assert doctor.code == 1
    assert "vanished" in doctor.out


def test_a_folder_name_that_is_not_utf_8_does_not_break_the_object(places: Places, work: Path) -> None:
    odd = os.fsencode(work) + b"/\xff\n\x1b[31m"
    os.mkdir(odd)
    with open(odd + b"/a.ipynb", "wb") as file:
        file.write(notebook_bytes("a = 1"))
    answer, text = nbguard("status", "--json"), nbguard("status")
    assert answer.code == 22
    assert answer.json["notebooks"] == 2
    assert "\x1b" not in text.out


def test_doctor_is_content_with_a_sound_machine(places: Places) -> None:
    answer = nbguard("doctor", "--json")
    assert answer.code == 0
    assert answer.json["well"] is True
    assert {"git", "python", "watching", "file-system", "space", "permissions", "clock", "archive", "catalog"} <= {
        finding["check"] for finding in answer.json["findings"]
    }


def test_doctor_names_what_others_can_read(places: Places) -> None:
    os.chmod(places.spool, 0o755)
    answer = nbguard("doctor")
    assert answer.code == 1
    assert f"chmod 0700 '{places.spool}'" in answer.out


def test_doctor_finds_a_broken_archive(places: Places) -> None:
    with open(os.path.join(places.archive, "refs/heads/main"), "w") as file:
        file.write("1" * 40 + "\n")
    answer = nbguard("doctor", "--json")
    assert answer.code == 1
    assert "archive" in [each["check"] for each in answer.json["findings"] if each["level"] == "wrong"]


def test_the_report_to_paste_names_no_notebook_and_no_folder(places: Places, work: Path) -> None:
    seen = Problem(
        code="emptied", message="m", hint="h", since=SystemClock().now(), subject=str(work / "secret plan.ipynb")
    )
    beat(places, work, problems=(seen,))
    report = nbguard("doctor", "--support").out
    assert "emptied" in report
    assert "secret" not in report
    assert str(work) not in report
    assert "~" in report


def test_a_configuration_that_cannot_be_used_is_a_problem_of_the_object(places: Places, work: Path) -> None:
    beat(places, work)
    with open(places.config, "a") as file:
        file.write("rootz = []\n")
    with FileLock(places.daemon_lock):
        answer, doctor = nbguard("status", "--json"), nbguard("doctor", "--json")
    assert (answer.code, answer.json["state"], answer.json["roots"]) == (78, "degraded", [str(work)])
    assert (answer.json["notebooks"], answer.json["protected"]) == (1, 1)
    assert [each["code"] for each in answer.json["problems"]] == ["config-invalid"]
    assert json.loads(answer.talk)["code"] == "config-invalid"
    wrong = [each["check"] for each in doctor.json["findings"] if each["level"] == "wrong"]
    assert (doctor.code, wrong) == (78, ["configuration"])


def test_a_path_is_not_said_twice_and_times_are_local(places: Places, work: Path) -> None:
    gone = Problem(
        code="root-gone", message=f"{work} is not there", hint="h", since=SystemClock().now(), subject=str(work)
    )
    beat(places, work, problems=(gone,))
    with FileLock(places.daemon_lock):
        lines = nbguard("status").out.splitlines()
    assert f"problem: root-gone: {work} is not there" in lines
    (running,) = [line for line in lines if "has been running since" in line]
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d \(process", running)


def test_unread_channels_are_not_called_a_gap_of_notebooks(places: Places, work: Path) -> None:
    with open(places.config, "a", encoding="utf-8") as file:
        file.write('\n[[channels]]\nname = "bell"\nhuman = "ada"\ncommand = ["/bin/true"]\n')
    beat(places, work)
    with FileLock(places.daemon_lock):
        answer = nbguard("status")
    assert answer.code == 21
    assert answer.out.splitlines()[0] == "protected, but nobody is known to hear of it when that ends"
    assert "1 notebook, all kept as they are on disk" in answer.out


def test_a_light_check_claims_nothing_about_notebooks(places: Places) -> None:
    lines = nbguard("check", "--light", "--no-send").out.splitlines()
    assert lines[1] == "  a light check looks at no notebook"


def test_where_nothing_was_set_up_nothing_is_missed(home: Path) -> None:
    os.makedirs(find_places(home=os.environ["NBGUARD_HOME"]).state, mode=0o700)
    answer = nbguard("check", "--no-send", "--json")
    assert [each["code"] for each in json.loads(answer.out)["problems"]] == ["daemon-down"]
