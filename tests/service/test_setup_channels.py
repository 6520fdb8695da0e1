"""`nbguard setup` and the people who are told: on a terminal a newcomer ends with two proven ways, told or asked."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nbguard.settings import Channel, Settings
from nbguard.settings_reading import load_settings
from tests.alert.servers import Mailbox, Web, free_port, http, smtp
from tests.helpers import REPOSITORY, nbguard, notebook_bytes

CODE = re.compile(r"nbguard ack ([0-9A-Z]{4}-[0-9A-Z]{4})")
READY = "nothing for later:"


@pytest.fixture
def work(home: Path) -> Path:
    folder = home / "work"
    folder.mkdir()
    (folder / "eda.ipynb").write_bytes(notebook_bytes("n = 1"))
    return folder


@pytest.fixture
def bell(home: Path) -> Path:
    """A program that keeps what it is told in `bell.told`."""
    program = home / "bell"
    program.write_text(f"#!/bin/sh\ncat >> {home}/bell.told\n")
    program.chmod(0o700)
    return program


def settings() -> Settings:
    found = load_settings(os.path.join(os.environ["NBGUARD_HOME"], "config.toml"))
    assert found is not None
    return found


class Terminal:
    """A person at a terminal, who waits for words and types."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._heard_until = 0
        self.seen = ""

    def wait_for(self, words: str, seconds: float = 30) -> str:
        """What was shown since the last wait, up to ``words``."""
        deadline = time.monotonic() + seconds
        while (at := self.seen.find(words, self._heard_until)) < 0:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self._fd], [], [], left)[0], f"no {words!r} in:\n{self.seen}"
            self.seen += os.read(self._fd, 4096).decode()
        heard = self.seen[self._heard_until : at]
        self._heard_until = at + len(words)
        return heard

    def type(self, line: str) -> None:
        os.write(self._fd, f"{line}\n".encode())


@contextmanager
def setup_on_a_terminal(work: Path, *more: str) -> Generator[tuple[Terminal, subprocess.Popen[bytes]]]:
    terminal, inside = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-m", "nbguard", "setup", "--no-service", "--watch", str(work), *more],
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "TERM": "dumb", "COLUMNS": "200"},
        start_new_session=True,
    )
    os.close(inside)
    person = Terminal(terminal)
    try:
        person.wait_for("[recorder] in")
        person.type("n")
        yield person, child
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        os.close(terminal)


def states() -> dict[str, str]:
    return {report["name"]: report["state"] for report in nbguard("alert", "list", "--json").json}


def test_a_newcomer_reaches_two_proven_channels_in_a_minute(work: Path, home: Path, bell: Path) -> None:
    began = time.monotonic()
    with smtp(Mailbox()) as mailbox, setup_on_a_terminal(work) as (person, child):
        person.wait_for(READY)
        person.type(f"mailto://127.0.0.1:{mailbox.port}/?from=nbguard@example.org&to=Ada.L@example.org")
        person.wait_for("a code was sent (250 2.0.0 queued as 4711)")
        (mail,) = mailbox.mails
        code = CODE.search(mail.get_content())
        assert code is not None
        person.wait_for(READY)
        person.type(code[1].lower())
        person.wait_for("thank you: ada.l reads mail")
        person.wait_for(READY)
        person.type(f"command:{bell}")
        person.wait_for("a code was sent")
        code = CODE.search((home / "bell.told").read_text())
        assert code is not None
        person.wait_for(READY)
        person.type(code[1])
        person.wait_for("two ways are proven")
        assert child.wait(30) == 0
    assert time.monotonic() - began < 60
    assert [channel.name for channel in settings().channels] == ["mail", "command"]
    assert states() == {"mail": "live", "command": "live"}
    mode = os.stat(os.path.join(os.environ["NBGUARD_HOME"], "config.toml")).st_mode
    assert mode & 0o777 == 0o600


def test_what_is_wrong_is_said_and_asked_again_and_the_rest_may_wait(work: Path, bell: Path) -> None:
    port = free_port()
    with setup_on_a_terminal(work, "--notify", f"command:{bell}") as (person, child):
        for typed, words in {
            "nonsense": "that is no code of a message from here",
            "AAAA-AAAA": "that is no code of a message from here",
            "mailto://u:hush@h?from=a@b.c&to=a@b.c,d@e.f": "2 recipients in one URL",
            "syslog://": "no way to a human",
            f"command:{bell}": "that channel is there already",
            f"json://127.0.0.1:{port}/hush": "NOT sent",
            "again": "json: NOT sent",
        }.items():
            person.wait_for(READY)
            person.type(typed)
            person.wait_for(words)
        person.wait_for(READY)
        person.type("")
        assert child.wait(30) == 3
        person.wait_for("no code has come back yet")
    assert states() == {"command": "unproven", "json": "unproven"}


def test_doing_without_is_a_choice_on_record_that_is_not_asked_again(work: Path) -> None:
    with setup_on_a_terminal(work) as (person, child):
        person.wait_for(READY)
        person.type("without")
        person.wait_for("on record")
        assert child.wait(30) == 0
    assert settings().alerts.without_channels
    again = nbguard("setup", "--yes", "--no-service", "--watch", str(work))
    assert again.code == 0
    assert "only `nbguard status` says" in nbguard("alert", "list").talk


def test_told_everything_it_writes_sends_and_says_how_to_answer(
    work: Path, home: Path, bell: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGNAME", "tester")
    secret = home / "mail"
    with smtp(Mailbox()) as mailbox:
        secret.write_text(f"mailto://127.0.0.1:{mailbox.port}/?from=n@example.org&to=bob@example.org")
        secret.chmod(0o600)
        asked = ("setup", "--yes", "--no-service", "--watch", str(work), "--notify", f"file:{secret}")
        answer = nbguard(*asked, "--notify", f"command:{bell}")
        again = nbguard(*asked)
    assert answer.code == 0, answer.talk
    assert "nbguard ack CODE" in answer.talk
    assert settings().channels == (
        Channel(name="mail", human="bob", url=f"file:{secret}"),
        Channel(name="command", human="tester", command=(str(bell),)),
    )
    assert again.code == 0, again.talk
    assert len(mailbox.mails) == 1
    code = CODE.search((home / "bell.told").read_text())
    assert code is not None
    assert nbguard("ack", code[1]).code == 0
    assert states() == {"mail": "unproven", "command": "live"}


def test_a_channel_that_cannot_be_one_stops_setup_before_anything_is_written(work: Path) -> None:
    answer = nbguard("setup", "--yes", "--no-service", "--watch", str(work), "--notify", "syslog://hush")
    assert answer.code == 2
    assert "no way to a human" in answer.talk
    assert "hush" not in answer.talk
    assert not os.path.exists(os.environ["NBGUARD_HOME"])


def test_a_channel_that_does_not_take_its_code_is_kept_and_said(work: Path) -> None:
    with http(Web(answers=[(500, {}, b"")])) as web:
        url = web.url.replace("http", "json") + "/hush"
        answer = nbguard("setup", "--yes", "--no-service", "--watch", str(work), "--notify", url)
    assert answer.code == 3
    assert "not done: alerts by json" in answer.talk
    assert "hush" not in answer.talk
    assert web.requests
    assert settings().channels[0].url == url
    assert len(nbguard("list", "--json").json) == 1


def test_a_dry_run_says_where_alerts_would_go(work: Path, bell: Path) -> None:
    answer = nbguard("setup", "--yes", "--dry-run", "--watch", str(work), "--notify", "json://u:hush@h/hush")
    assert answer.code == 0
    assert "would send alerts to" in answer.talk
    assert "json://h/****" in answer.talk
    assert "hush" not in answer.talk
    assert not os.path.exists(os.environ["NBGUARD_HOME"])
