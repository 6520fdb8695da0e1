"""Machines with one mirror: a code of one is answered on another, and nobody is asked twice."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alert.roll_call import SharedCall, SharedCode
from nbguard.alert.shared_json import answers_in, answers_text, roll_call_text, roll_calls_in
from nbguard.alerting import ChannelState
from nbguard.app_elsewhere import exchange
from nbguard.cli.context import Context
from nbguard.mirror.reader import Mirrored
from tests.helpers import Answer, nbguard, notebook_bytes

CODE = re.compile(r"nbguard ack ([0-9A-Z]{4}-[0-9A-Z]{4})")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)

_words = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,20}", fullmatch=True)
_times = st.none() | st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))
_hours = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(minute=0, second=0, microsecond=0)
)
_calls = st.lists(
    st.builds(
        SharedCall,
        human=_words,
        channel=_words,
        state=st.sampled_from(ChannelState),
        asked_at=_times,
        answered_at=_times,
        codes=st.lists(st.builds(SharedCode, salt=_words, sha256=_words, expires_at=_hours), max_size=2).map(tuple),
    ),
    max_size=4,
).map(tuple)


@given(calls=_calls)
def test_a_roll_call_reads_back_to_the_same(calls: tuple[SharedCall, ...]) -> None:
    assert roll_calls_in(roll_call_text(calls)) == calls


@given(
    data=st.binary(max_size=60)
    | st.builds(
        lambda value: repr(value).replace("'", '"').encode(),
        st.dictionaries(
            st.sampled_from(["v", "humans", "codes"]),
            st.just(1)
            | st.lists(
                st.text()
                | st.integers()
                | st.dictionaries(st.sampled_from(["human", "channel", "state", "codes"]), st.text() | st.integers())
            ),
        ),
    )
)
def test_no_bytes_in_a_mirror_do_any_harm(data: bytes) -> None:
    roll_calls_in(data)
    answers_in(data)


def test_answers_are_codes_and_only_the_last_of_many_count() -> None:
    assert answers_in(answers_text(["k7q2-9xpm", "no such code", "AAAAAAAA"])) == ("K7Q29XPM", "AAAAAAAA")
    assert len(answers_in(answers_text(["AAAAAAAA"] * 9_999))) == 50


def test_the_end_of_a_code_does_not_make_a_roll_call_another_one() -> None:
    texts = set()
    for second in range(0, 50, 7):
        code = SharedCode(salt="aa", sha256="bb", expires_at=NOON.replace(second=second))
        call = SharedCall(
            human="ada", channel="mail", state=ChannelState.DUE, asked_at=NOON, answered_at=None, codes=(code,)
        )
        texts.add(roll_call_text([call]))
    assert len(texts) == 1


@pytest.fixture
def on(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run a command as one of several machines."""

    def run(machine: str, *arguments: str) -> Answer:
        monkeypatch.setenv("NBGUARD_HOME", str(home / machine))
        return nbguard(*arguments)

    return run


@pytest.fixture
def bell(home: Path) -> Path:
    program = home / "bell"
    program.write_text('#!/bin/sh\ncat >> "$NBGUARD_HOME.told"\n')
    program.chmod(0o700)
    return program


def state_of(answer: Answer) -> str:
    (report,) = answer.json
    return str(report["state"])


def test_a_code_of_one_machine_is_answered_on_another(on: Callable[..., Answer], home: Path, bell: Path) -> None:
    mirror = str(home / "mirror.git")
    for machine in ("desk", "laptop"):
        work = home / f"{machine}-work"
        work.mkdir()
        (work / "a.ipynb").write_bytes(notebook_bytes(machine))
        asked = ["setup", "--yes", "--no-service", "--watch", str(work)]
        answer = on(machine, *asked, *(["--notify", f"command:{bell}"] if machine == "desk" else []))
        assert answer.code == 0, answer.talk
    assert on("desk", "run", "--once").code == 0
    assert on("desk", "mirror", "add", mirror, "--yes").code == 0
    assert on("desk", "mirror", "sync").code == 0
    found = CODE.search((home / "desk.told").read_text())
    assert found is not None
    assert on("laptop", "ack", "AAAA-AAAA", "--mirror", mirror).code == 1
    there = on("laptop", "ack", found[1].lower(), "--mirror", mirror, "--json")
    assert there.code == 0, there.talk
    assert (there.json["channel"], there.json["accepted"]) == ("command", True)
    assert state_of(on("desk", "alert", "list", "--json")) == "unproven"
    on("desk", "check", "--no-send")
    assert state_of(on("desk", "alert", "list", "--json")) == "unproven"
    on("desk", "check")
    assert state_of(on("desk", "alert", "list", "--json")) == "live"
    fetched: list[int] = []
    fetch = Mirrored.files

    def spy(self: Mirrored, wanted: Mapping[str, tuple[str, str]]) -> dict[str, bytes]:
        fetched.append(len(wanted))
        return fetch(self, wanted)

    with pytest.MonkeyPatch.context() as spied:
        spied.setattr(Mirrored, "files", spy)
        exchange(Context.from_environment(None))
    assert fetched == [0], "what has not changed is not fetched again"
    told = subprocess.run(
        f"git -C {mirror} for-each-ref --format='%(refname)' | grep roll-call$ | head -1"
        f" | xargs -I REF git -C {mirror} show REF:roll-call.json",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert '"channel": "command"' in told
    assert found[1].replace("-", "") not in told.replace("-", "")
    assert str(bell) not in told
