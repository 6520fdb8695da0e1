"""Heartbeat out: the Healthchecks protocol, against a server that implements what its documentation says."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from nbguard.alert.ping import Ping
from tests.alert.servers import Web, free_port, http, raw_server

CHECK = "5bf66975-d4c7-4bf5-bcc8-b8d8a82ea278"
RUN = "2b5a9a5e-3b8f-4f0e-9d0c-6a1f3c1f6a10"


def ping(url: str, waited: list[float] | None = None, **options: float) -> Ping:
    pauses = waited if waited is not None else []
    return Ping(url, {}, wait=pauses.append, **options)


def test_each_signal_goes_where_the_protocol_wants_it_with_the_runs_id() -> None:
    with http(Web()) as web:
        check = ping(f"{web.url}/{CHECK}")
        heard = [
            check.start(RUN),
            check.success(RUN, "all is well\n"),
            check.fail(RUN, "the drill failed"),
            check.log(RUN, "a word"),
            check.exit_status(RUN, 20),
        ]
    assert all(pinged.is_heard for pinged in heard)
    asked = [(request.method, urlsplit(request.path).path, request.body) for request in web.requests]
    assert asked == [
        ("POST", f"/{CHECK}/start", b""),
        ("POST", f"/{CHECK}", b"all is well\n"),
        ("POST", f"/{CHECK}/fail", b"the drill failed"),
        ("POST", f"/{CHECK}/log", b"a word"),
        ("POST", f"/{CHECK}/20", b""),
    ]
    assert {parse_qs(urlsplit(request.path).query)["rid"][0] for request in web.requests} == {RUN}


def test_a_key_and_a_slug_with_a_query_keep_their_query() -> None:
    with http(Web()) as web:
        assert ping(f"{web.url}/key/my-notebooks?create=1").start(RUN).is_heard
    assert web.requests[0].path == f"/key/my-notebooks/start?create=1&rid={RUN}"


def test_a_body_is_cut_to_its_end_and_to_what_the_server_takes() -> None:
    with http(Web(answers=[(200, {"Ping-Body-Limit": "100"}, b"OK")])) as web:
        check = ping(f"{web.url}/{CHECK}")
        check.success(RUN, "x" * 50_000 + "the end")
        check.success(RUN, "x" * 50_000 + "the end")
    assert [len(request.body) for request in web.requests] == [10_000, 100]
    assert all(request.body.endswith(b"the end") for request in web.requests)


@pytest.mark.parametrize("status", [404, 409, 400])
def test_what_will_not_be_better_tomorrow_is_not_tried_again(status: int) -> None:
    with http(Web(answers=[(status, {}, b"no such check")])) as web:
        pinged = ping(f"{web.url}/{CHECK}").success(RUN)
    assert len(web.requests) == 1
    assert (pinged.is_heard, pinged.refused, pinged.answer) == (False, True, f"{status} no such check")


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_what_passes_is_tried_a_few_times(status: int) -> None:
    waited: list[float] = []
    with http(Web(answers=[(status, {}, b""), (status, {}, b""), (200, {}, b"OK")])) as web:
        assert ping(f"{web.url}/{CHECK}", waited).success(RUN).is_heard
    assert len(web.requests) == 3
    assert waited == [1.0, 3.0]
    with http(Web(answers=[(status, {}, b"")])) as web:
        pinged = ping(f"{web.url}/{CHECK}").success(RUN)
    assert len(web.requests) == 3
    assert (pinged.is_heard, pinged.refused, pinged.answer) == (False, False, str(status))


@pytest.mark.parametrize(("words", "refused"), [(b"OK (not found)", True), (b"OK (rate limited)", False)])
def test_an_ok_that_is_none_is_not_taken_for_one(words: bytes, refused: bool) -> None:
    with http(Web(answers=[(200, {}, words)])) as web:
        pinged = ping(f"{web.url}/{CHECK}").success(RUN)
    assert (pinged.is_heard, pinged.refused) == (False, refused)
    assert pinged.answer == words.decode()


def test_a_start_that_is_not_heard_keeps_the_job_waiting_once_and_not_for_long() -> None:
    with http(Web(answers=[(503, {}, b""), (200, {}, b"OK")])) as web:
        check = ping(f"{web.url}/{CHECK}")
        assert not check.start(RUN).is_heard
        assert check.success(RUN).is_heard
    assert [urlsplit(request.path).path for request in web.requests] == [f"/{CHECK}/start", f"/{CHECK}"]


def test_a_server_that_is_not_there_costs_nothing() -> None:
    began = time.monotonic()
    pinged = ping(f"http://127.0.0.1:{free_port()}/{CHECK}").success(RUN)
    assert time.monotonic() - began < 1
    assert (pinged.is_heard, pinged.refused, pinged.answer) == (False, False, "Connection refused")


def test_a_server_that_says_nothing_costs_the_deadline_at_most() -> None:
    asked = threading.Event()

    def talk(connection: socket.socket, over: threading.Event) -> None:
        asked.set()
        over.wait(10)

    with raw_server(talk) as port:
        began = time.monotonic()
        check = ping(f"http://127.0.0.1:{port}/{CHECK}", timeout_seconds=0.3, deadline_seconds=0.5)
        pinged = check.success(RUN)
        took = time.monotonic() - began
    assert asked.is_set()
    assert not pinged.is_heard
    assert "no answer" in pinged.answer
    assert took < 1.0


def test_a_server_that_answers_byte_by_byte_does_not_escape_the_deadline() -> None:
    dripped: list[int] = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        while not over.wait(0.05):
            connection.sendall(b"x")
            dripped.append(1)

    with raw_server(talk) as port:
        began = time.monotonic()
        check = ping(f"http://127.0.0.1:{port}/{CHECK}", timeout_seconds=0.3, deadline_seconds=0.5)
        assert check.success(RUN).answer == "no answer within 0.5 s"
        assert "still waits" in check.success(RUN).answer
        assert time.monotonic() - began < 1.9
    assert len(dripped) > 3


@pytest.mark.parametrize("garbage", [b"", b"\x00\xff\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nOK"])
def test_a_server_that_talks_nonsense_is_not_heard_and_raises_nothing(garbage: bytes) -> None:
    def talk(connection: socket.socket, over: threading.Event) -> None:
        connection.recv(5_000)
        connection.sendall(garbage)

    with raw_server(talk) as port:
        pinged = ping(f"http://127.0.0.1:{port}/{CHECK}", timeout_seconds=2).success(RUN)
    assert pinged.is_heard is garbage.endswith(b"OK")


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://h/x", "https://", "hc", "http://h:x/", "http://h/a b"])
def test_what_is_no_web_address_is_refused_and_not_repeated(url: str) -> None:
    pinged = ping(url).success(RUN)
    assert (pinged.is_heard, pinged.refused) == (False, True)
    assert pinged.answer == Ping("hush", {}).success(RUN).answer


def test_the_address_may_lie_in_a_file_of_ones_own_and_is_never_said(tmp_path: Path) -> None:
    secret = tmp_path / "ping"
    with http(Web(answers=[(503, {}, f"no {CHECK} today".encode())])) as web:
        secret.write_text(f"{web.url}/{CHECK}\n")
        secret.chmod(0o600)
        pinged = ping(f"file:{secret}").success(RUN)
        assert Ping("env:NONE", {}).success(RUN).refused
    assert pinged.answer == "503 no **** today"
