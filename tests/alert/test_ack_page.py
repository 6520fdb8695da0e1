"""The page that takes a code: only from here, only by a form of its own, and only a POST changes anything."""

from __future__ import annotations

import http.client
import re
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from urllib.parse import quote, urlsplit

import pytest

from nbguard.alert.ack_page import AckPage, Heard


@contextmanager
def serving(typed: list[str], seconds: float = 20) -> Generator[tuple[AckPage, list[bool]]]:
    def answer(code: str) -> Heard:
        typed.append(code)
        return Heard(code == "K7Q2-9XPM", "thank you" if code == "K7Q2-9XPM" else "<no> such code")

    page, ended = AckPage(answer), []
    thread = threading.Thread(target=lambda: ended.append(page.serve(seconds)))
    thread.start()
    try:
        yield page, ended
    finally:
        page.is_answered = True
        try:
            socket.create_connection(("127.0.0.1", page.port), 1).close()  # wake it
        except OSError:
            pass
        thread.join(10)
        assert not thread.is_alive()


def ask(page: AckPage, method: str, path: str | None = None, body: str = "", **headers: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    connection.request(method, urlsplit(page.address).path if path is None else path, body, form)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert "script" not in text
    connection.close()
    return answer.status, text


def form_of(page: AckPage, code: str) -> str:
    token = re.search(r'name="token" value="([^"]+)"', ask(page, "GET")[1])
    assert token is not None
    return f"code={quote(code)}&token={token[1]}"


def test_a_code_typed_into_the_form_is_answered_and_the_page_is_gone() -> None:
    typed: list[str] = []
    with serving(typed) as (page, ended):
        status, text = ask(page, "POST", body=form_of(page, "wrong"), Origin=f"http://127.0.0.1:{page.port}")
        assert (status, ended) == (200, [])
        assert "&lt;no&gt; such code" in text
        status, text = ask(page, "POST", body=form_of(page, "K7Q2-9XPM"))
        assert status == 200
        assert "thank you" in text
        assert "<form" not in text
    assert typed == ["wrong", "K7Q2-9XPM"]
    assert ended == [True]


def test_looking_changes_nothing() -> None:
    typed: list[str] = []
    with serving(typed) as (page, _):
        path = urlsplit(page.address).path
        assert ask(page, "GET")[0] == 200
        assert ask(page, "GET", f"{path}?code=K7Q2-9XPM")[0] == 404
        assert ask(page, "HEAD")[0] == 501
        assert ask(page, "PUT", body="code=K7Q2-9XPM")[0] == 501
    assert typed == []


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"Host": "evil.example.org"}, 404),
        ({"Host": "evil.example.org:80"}, 404),
        ({"Origin": "http://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"path": "/"}, 404),
        ({"path": "/guessed"}, 404),
        ({"body": "code=K7Q2-9XPM"}, 403),
        ({"body": "code=K7Q2-9XPM&token=guessed"}, 403),
        ({"body": "\xff"}, 403),
        ({"body": "x" * 5_000}, 413),
        ({"body": "&".join("a=b" for _ in range(99))}, 403),
    ],
)
def test_a_form_that_is_not_from_here_is_refused(change: dict[str, str], status: int) -> None:
    typed: list[str] = []
    with serving(typed) as (page, _):
        body = change.pop("body", None) or form_of(page, "K7Q2-9XPM")
        assert ask(page, "POST", change.pop("path", None), body, **change)[0] == status
    assert typed == []


def test_who_says_nothing_does_not_keep_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nbguard.alert.ack_page._READ_SECONDS", 0.2)
    with serving([]) as (page, _), socket.create_connection(("127.0.0.1", page.port)):
        assert ask(page, "GET")[0] == 200


def test_it_listens_on_this_machine_alone_and_ends_by_itself() -> None:
    page = AckPage(lambda code: Heard(True, ""))
    assert page.address.startswith("http://127.0.0.1:")
    assert page.serve(0.05) is False
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", page.port), 1)
