"""What answers at a kernel's address may send anything, or nothing, and the recorder goes on."""

from __future__ import annotations

import hmac
import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import zmq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.flight.caps import Caps
from nbguard.flight.kernels import KernelToRecord
from tests.flight.rig import Recording, recording, resident_bytes
from tests.helpers import poll

KEY = b"a key"


class Publisher:
    """A PUB socket that says what it is told to, as a kernel would or not."""

    def __init__(self) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(zmq.PUB)
        self.socket.sndhwm = 100_000
        self.socket.linger = 0
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self._cells = 0

    def to_record(self, name: str = "k") -> KernelToRecord:
        return KernelToRecord(
            kernel=name, path="/desk/nb.ipynb", transport="tcp", ip="127.0.0.1", iopub_port=self.port, key=KEY
        )

    def say(self, kind: str, content: object, parent: str = "p", *, raw: bytes | None = None) -> None:
        header = json.dumps({"msg_type": kind, "session": "life"}).encode()
        cause = json.dumps({"msg_id": parent, "msg_type": "execute_request"}).encode()
        frames = [header, cause, b"{}", json.dumps(content).encode() if raw is None else raw]
        self.socket.send_multipart([b"topic", b"<IDS|MSG>", self._seal(frames), *frames])

    def cell(self, code: str, *texts: str) -> None:
        self._cells += 1
        parent = f"p{self._cells}"
        self.say("status", {"execution_state": "busy"}, parent)
        self.say("execute_input", {"code": code, "execution_count": self._cells}, parent)
        for text in texts:
            self.say("stream", {"name": "stdout", "text": text}, parent)
        self.say("status", {"execution_state": "idle"}, parent)

    def close(self) -> None:
        self.socket.close()
        self._context.term()

    @staticmethod
    def _seal(frames: list[bytes]) -> bytes:
        seal = hmac.new(KEY, digestmod="sha256")
        for frame in frames:
            seal.update(frame)
        return seal.hexdigest().encode()


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher()
    yield made
    made.close()


@pytest.fixture
def heard(publisher: Publisher) -> Iterator[Recording]:
    with recording(publisher.to_record(), caps=Caps(output_bytes=1_000_000)) as made:
        joined(publisher, made)
        yield made


def joined(publisher: Publisher, made: Recording) -> None:
    def is_heard() -> bool:
        publisher.cell("'joined'")
        made.recorder.step(0.1)
        return made.kept.named("'joined'") is not None

    poll(is_heard, 20)


def still_recording(publisher: Publisher, made: Recording) -> None:
    made.kept.runs.clear()
    publisher.cell("1 + 1", "two")
    assert made.kept.outputs(made.run_of("1 + 1"))[0]["text"] == "two"
    assert made.recorder.restarts == 0


def test_frames_that_are_no_message_are_passed_over(publisher: Publisher, heard: Recording) -> None:
    nonsense: list[list[bytes]] = [
        [b""],
        [b"<IDS|MSG>"],
        [b"<IDS|MSG>", b"", b"", b"", b""],
        [b"a", b"b", b"c", b"d", b"e", b"<IDS|MSG>", b"1", b"2", b"3", b"4", b"5"],
        [b"<IDS|MSG>", b"forged", b"{}", b"{}", b"{}", b"{}"],
        [b"<IDS|MSG>", b"", b"x" * 1_000_000, b"{}", b"{}", b"{}"],
        [b"x"] * 2000,
    ]
    for frames in nonsense:
        publisher.socket.send_multipart(frames)
    for kind in ("stream", "status", "execute_input", "display_data", "error", "update_display_data", "no_such"):
        for raw in (b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 50_000, b'{"text": 1e999, "code": NaN, "data": 4}'):
            publisher.say(kind, None, raw=raw)
    still_recording(publisher, heard)
    assert any("not signed" in problem.message for problem in heard.recorder.problems())


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["stream", "status", "execute_input", "display_data", "clear_output", "error", "x"]),
            st.dictionaries(
                st.sampled_from(["name", "text", "execution_state", "code", "data", "wait", "traceback", "transient"]),
                st.none() | st.text(max_size=4) | st.just("idle") | st.lists(st.text(max_size=3), max_size=2),
                max_size=4,
            ),
            st.sampled_from(["a", "b", ""]),
        ),
        max_size=20,
    )
)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_signed_nonsense_is_no_harm(
    publisher: Publisher, heard: Recording, messages: list[tuple[str, dict[str, Any], str]]
) -> None:
    for kind, content, parent in messages:
        publisher.say(kind, content, parent)
    still_recording(publisher, heard)


def test_a_flood_is_dropped_in_part_and_said_and_memory_stays(publisher: Publisher, heard: Recording) -> None:
    pid = heard.recorder.receiver_pid
    assert pid is not None
    before, peak = resident_bytes(pid), 0
    for number in range(60):
        publisher.say("execute_input", {"code": f"flood {number}", "execution_count": number}, f"f{number}")
        for _ in range(4):
            publisher.say("stream", {"name": "stdout", "text": "x" * 500_000}, f"f{number}")
        publisher.say("status", {"execution_state": "idle"}, f"f{number}")
        peak = max(peak, resident_bytes(pid))
        heard.recorder.step(0.01)
    last = heard.run_of("flood 59")
    assert {f"flood {number}" for number in range(60)} <= {run.source for run in heard.kept.runs.values()}
    assert "left out" in last.note
    assert peak - before < 200_000_000
    still_recording(publisher, heard)


def test_a_daemon_that_does_not_listen_costs_the_receiver_bounded_memory(
    publisher: Publisher, heard: Recording
) -> None:
    pid = heard.recorder.receiver_pid
    assert pid is not None
    before = resident_bytes(pid)
    for number in range(100):
        publisher.cell(f"unheard {number}", "x" * 400_000)
    poll(lambda: resident_bytes(pid) > before + 5_000_000, 10)  # it drains, though nobody takes it
    assert resident_bytes(pid) - before < 100_000_000
    heard.run_of("unheard 99")
    runs = [run for run in heard.kept.runs.values() if run.source.startswith("unheard")]
    assert len(runs) == 100
    assert all(run.note or run.output_bytes > 400_000 for run in runs)
    assert any("dropped" in run.note for run in runs)
    still_recording(publisher, heard)


def test_what_is_no_zeromq_or_nothing_at_all_is_waited_for() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        dead = KernelToRecord(kernel="a", path="/a", transport="tcp", ip="127.0.0.1", iopub_port=port, key=KEY)
        gone = KernelToRecord(kernel="b", path="/b", transport="tcp", ip="127.0.0.1", iopub_port=1, key=KEY)
        odd = KernelToRecord(kernel="c", path="/c", transport="nonsense", ip="\udcff", iopub_port=-1, key=KEY)
        curve = KernelToRecord(
            kernel="d", path="/d", transport="tcp", ip="127.0.0.1", iopub_port=2, key=KEY, curve_public=b"no key"
        )
        publisher = Publisher()
        with recording(dead, gone, odd, curve, publisher.to_record()) as made:
            made.recorder.step(0.5)
            taken, _ = listening.accept()
            taken.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 100)
            joined(publisher, made)
            taken.close()
            still_recording(publisher, made)
            refused = [
                problem.message for problem in made.recorder.problems() if "cannot be recorded" in problem.message
            ]
            assert len(refused) == 2
        publisher.close()


def test_a_receiver_that_is_killed_is_started_again_and_the_gap_is_said(publisher: Publisher, heard: Recording) -> None:
    publisher.say("execute_input", {"code": "before it", "execution_count": 1}, "before")
    publisher.say("execute_input", {"code": "long", "execution_count": 2}, "long")
    publisher.say("status", {"execution_state": "idle"}, "before")
    heard.run_of("before it")
    first = heard.recorder.receiver_pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    heard.until(lambda: heard.recorder.receiver_pid not in (None, first), 20)
    heard.kept.runs.clear()
    joined(publisher, heard)
    long = heard.kept.named("long")
    assert long is not None
    assert long.status == "unfinished"
    assert "started again" in long.note
    assert any(problem.code == "recorder-dropped" for problem in heard.recorder.problems())


def test_what_cannot_be_kept_waits_and_is_a_problem_until_it_is(publisher: Publisher, heard: Recording) -> None:
    heard.kept.is_full = True
    publisher.cell("while it was full", "kept")
    heard.until(lambda: any(problem.code == "no-space" for problem in heard.recorder.problems()))
    assert heard.kept.named("while it was full") is None
    publisher.cell("soon after", "kept as well")
    heard.recorder.step(0.1)
    heard.kept.is_full = False
    run = heard.run_of("while it was full")
    assert heard.kept.outputs(run)[0]["text"] == "kept"
    heard.run_of("soon after")
    assert not heard.recorder.problems()
