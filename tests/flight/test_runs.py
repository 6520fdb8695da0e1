"""What a kernel publishes becomes runs, whatever the order it comes in."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.flight import runs
from nbguard.flight.caps import Caps, Ledger, Spent, Text
from nbguard.flight.kernels import KernelToRecord, chosen
from nbguard.flight.messages import Clear, Content, Display, Failure, Input, LeftOut, Message, State, Stream
from nbguard.flight.runs import Recorded, Tape
from nbguard.flight.wire import Cut

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
KERNEL = KernelToRecord(kernel="k", path="/desk/nb.ipynb", transport="tcp", ip="127.0.0.1", iopub_port=1, key=b"secret")


class Said:
    """A tape, and messages said to it one second after the other."""

    def __init__(self, caps: Caps | None = None, *, spent: int = 0) -> None:
        self.ledger = Ledger(caps or Caps(), Spent(NOON.date(), spent))
        ids = itertools.count(1)
        self.tape = Tape(KERNEL, self.ledger, lambda: f"run{next(ids)}")
        self.now = NOON
        self.kept: dict[str, Recorded] = {}

    def say(self, *contents: Content, parent: str = "a", life: str = "life", execution: bool = True) -> Said:
        for content in contents:
            self.now += timedelta(seconds=1)
            message = Message(parent=parent, is_execution=execution, life=life, sent_at=self.now, content=content)
            self.keep(self.tape.hear(message, self.now))
        return self

    def keep(self, recorded: list[Recorded]) -> None:
        self.kept.update({one.run.id: one for one in recorded})

    def run(self, number: int = 1) -> Any:
        return self.kept[f"run{number}"].run

    def outputs(self, number: int = 1) -> Any:
        return json.loads(self.kept[f"run{number}"].outputs or "[]")


BUSY, IDLE = State("busy"), State("idle")


def code(text: str) -> Input:
    return Input(code=text, count=1)


def text(said: str, name: str = "stdout") -> Stream:
    return Stream(name=name, text=said)


def shown(said: str, display_id: str | None = None, *, is_update: bool = False, is_result: bool = False) -> Display:
    return Display(
        data={"text/plain": said},
        metadata={},
        size=len(said),
        display_id=display_id,
        is_update=is_update,
        is_result=is_result,
        count=1 if is_result else None,
    )


def test_a_cell_becomes_a_run_with_its_outputs() -> None:
    said = Said().say(BUSY, code("x"), text("a"), text("b"), text("c", "stderr"), shown("d", is_result=True), IDLE)
    run = said.run()
    assert (run.source, run.execution_count, run.status, run.path, run.note) == ("x", 1, "ok", "/desk/nb.ipynb", "")
    assert (run.started_at, run.ended_at) == (NOON + timedelta(seconds=1), NOON + timedelta(seconds=7))
    assert said.outputs() == [
        {"output_type": "stream", "name": "stdout", "text": "ab"},
        {"output_type": "stream", "name": "stderr", "text": "c"},
        {"output_type": "execute_result", "execution_count": 1, "data": {"text/plain": "d"}, "metadata": {}},
    ]
    assert run.outputs == 3
    assert run.output_bytes == len(said.kept["run1"].outputs)


def test_an_exception_makes_it_an_error() -> None:
    said = Said().say(BUSY, code("x"), Failure(name="E", value="v", traceback=("t",)), IDLE)
    assert said.run().status == "error"
    assert said.outputs() == [{"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["t"]}]


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ([text("a"), Clear(wait=False), text("b")], ["b"]),
        ([text("a"), Clear(wait=True)], ["a"]),
        ([text("a"), Clear(wait=True), text("b")], ["b"]),
        ([shown("a", "d"), text("b"), shown("c", "d", is_update=True)], ["c", "b"]),
        ([shown("a", "d"), shown("c", "other", is_update=True)], ["a"]),
    ],
)
def test_outputs_end_as_a_notebook_would_show_them(contents: list[Content], expected: list[str]) -> None:
    said = Said().say(BUSY, code("x"), *contents, IDLE)
    assert [one["text"] if "text" in one else one["data"]["text/plain"] for one in said.outputs()] == expected


def test_cells_that_are_interleaved_are_told_apart() -> None:
    said = Said()
    said.say(BUSY, code("one")).say(BUSY, code("two"), parent="b").say(text("1")).say(text("2"), parent="b")
    said.say(IDLE, parent="b").say(IDLE)
    assert [said.run(1).source, said.outputs(1)[0]["text"]] == ["one", "1"]
    assert [said.run(2).source, said.outputs(2)[0]["text"]] == ["two", "2"]


def test_what_is_no_execution_is_no_run() -> None:
    said = Said().say(BUSY, State("starting"), IDLE, execution=False).say(BUSY, IDLE, parent="")
    assert not said.kept


def test_a_silent_request_leaves_nothing_unless_it_says_something() -> None:
    assert not Said().say(BUSY, IDLE).kept
    said = Said().say(BUSY, text("a"), IDLE)
    assert (said.run().source, said.run().note) == ("", runs.NO_CODE)


def test_who_comes_in_the_middle_says_so() -> None:
    said = Said().say(text("a"), IDLE)
    assert (said.run().source, said.run().note) == ("", runs.JOINED_LATE)


def test_code_that_was_cut_says_so() -> None:
    said = Said().say(BUSY, Input(code="the beg", count=None, is_cut=True), IDLE)
    assert (said.run().source, said.run().note) == ("the beg", runs.CODE_CUT)


def test_a_restart_in_the_middle_ends_it_unfinished() -> None:
    said = Said().say(BUSY, code("x"), text("a")).say(BUSY, code("y"), IDLE, parent="b", life="another")
    assert (said.run(1).status, said.run(1).note) == ("unfinished", runs.KERNEL_RESTARTED)
    assert said.outputs(1)[0]["text"] == "a"
    assert said.run(2).status == "ok"


def test_a_kernel_that_ends_leaves_its_run_unfinished() -> None:
    said = Said().say(BUSY, code("x"), text("a"))
    said.keep(said.tape.end(said.now, runs.KERNEL_ENDED))
    assert (said.run().status, said.run().note) == ("unfinished", runs.KERNEL_ENDED)
    assert said.tape.end(said.now, "again") == []


def test_an_end_that_was_missed_is_taken_from_the_next_cell() -> None:
    said = Said().say(BUSY, code("x"), text("a"))
    said.tape.missed("some were missed")
    said.say(BUSY, code("y"), IDLE, parent="b")
    assert (said.run(1).status, said.run(1).note) == ("unfinished", f"some were missed; {runs.END_NOT_SEEN}")
    assert said.run(2).status == "ok"


def test_an_end_that_comes_after_a_later_cells_end_puts_it_right() -> None:
    said = Said().say(BUSY, code("x"), text("a")).say(BUSY, code("y"), IDLE, parent="b")
    assert (said.run(1).status, said.run(1).note) == ("unfinished", runs.END_NOT_SEEN)
    said.say(text("b"), IDLE)
    assert (said.run(1).status, said.run(1).note, said.outputs(1)[0]["text"]) == ("ok", "", "ab")


def test_an_output_after_the_end_joins_its_run() -> None:
    said = Said().say(BUSY, code("x"), text("a"), IDLE, text("b"))
    said.now += timedelta(seconds=10)
    said.keep(said.tape.so_far(said.now))
    assert said.outputs()[0]["text"] == "ab"
    assert said.run().status == "ok"


def test_an_output_long_after_the_end_is_a_run_of_its_own_that_names_the_other() -> None:
    said = Said().say(BUSY, code("x"), IDLE)
    for number in range(20):
        said.say(BUSY, code("y"), IDLE, parent=f"b{number}")
    said.say(text("late"))
    said.now += timedelta(seconds=10)
    said.keep(said.tape.so_far(said.now))
    assert "run1" in said.run(22).note
    assert said.outputs(22)[0]["text"] == "late"


def test_a_long_run_is_kept_from_time_to_time() -> None:
    said = Said().say(BUSY, code("x"))
    kept = []
    for _ in range(3600):
        said.say(text("."))
        kept += said.tape.so_far(said.now)
    assert 55 < len(kept) < 80
    assert kept[0].run.ended_at is None
    assert kept[0].run.note == runs.STILL_RUNNING
    said.say(IDLE)
    assert (said.run().note, len(said.outputs()[0]["text"])) == ("", 3600)


def test_a_long_run_of_large_outputs_is_kept_ever_more_rarely() -> None:
    said = Said().say(BUSY, code("x"), text("." * 200_000))
    kept = []
    for _ in range(3600):
        said.say(text("."))
        kept += said.tape.so_far(said.now)
    assert 5 < len(kept) < 12


# -- caps --------------------------------------------------------------------------------------------------------------


def test_an_output_over_the_cap_is_named_in_its_place() -> None:
    said = Said(Caps(output_bytes=10)).say(BUSY, code("x"), shown("y" * 11), shown("z"), IDLE)
    assert "11 bytes" in said.run().note
    assert "11 bytes" in said.outputs()[0]["data"]["text/plain"]
    assert said.outputs()[1]["data"]["text/plain"] == "z"


def test_of_a_long_text_head_and_tail_are_kept() -> None:
    said = Said(Caps(output_bytes=100)).say(BUSY, code("x"), *(text(f"{number:04}\n") for number in range(1000)), IDLE)
    (stream,) = said.outputs()
    assert stream["text"].startswith("0000\n0001\n")
    assert stream["text"].endswith("0998\n0999\n")
    assert len(stream["text"]) < 200
    assert "cap of 100" in said.run().note


def test_after_a_days_worth_only_code_is_recorded() -> None:
    said = Said(Caps(day_bytes=1000), spent=900).say(BUSY, code("x"), shown("y" * 200), text("t" * 200), IDLE)
    assert said.run().source == "x"
    assert "for one day" in said.run().note
    assert sum(map(len, map(str, said.outputs()))) < 500
    said.ledger.look(NOON + timedelta(days=1))
    said.say(BUSY, code("x"), shown("y" * 200), IDLE, parent="b")
    assert (said.run(2).note, said.run(2).outputs) == ("", 1)


def test_what_runs_at_the_same_time_is_bounded_and_let_go() -> None:
    said = Said(Caps(held_bytes=1000))
    said.say(BUSY, code("x"), shown("y" * 900)).say(BUSY, code("z"), shown("y" * 200), parent="b")
    said.say(IDLE).say(IDLE, parent="b")
    assert "run at the same time" in said.run(2).note
    for number in range(20):
        said.say(BUSY, code("y"), IDLE, parent=f"c{number}")
    assert said.ledger.refusal(1000) == ""


@given(st.lists(st.text(alphabet="ab\n", max_size=30), max_size=60), st.integers(2, 200))
def test_a_text_is_whole_or_its_head_and_its_tail(pieces: list[str], cap: int) -> None:
    found, whole = Text(cap), "".join(pieces)
    for piece in pieces:
        found.add(piece)
        assert found.size <= cap + 1
    if len(whole) <= cap:
        assert str(found) == whole
    else:
        head, tail = str(found).split(f"\n[... {found.missing} bytes were not recorded ...]\n")
        assert whole.startswith(head)
        assert whole.endswith(tail)
        assert len(head) + len(tail) + found.missing == len(whole)


# -- anything at all ---------------------------------------------------------------------------------------------------

_contents = st.one_of(
    st.sampled_from([BUSY, IDLE, State("starting"), Clear(wait=True), Clear(wait=False), LeftOut(7, Cut.TOO_MUCH)]),
    st.text(max_size=4).map(code),
    st.builds(Stream, name=st.sampled_from(["stdout", "stderr"]), text=st.text(max_size=9)),
    st.builds(shown, st.text(max_size=9), st.sampled_from([None, "d"]), is_update=st.booleans()),
    st.builds(Failure, name=st.just("E"), value=st.text(max_size=5), traceback=st.just(("t",))),
)
_said = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["l1", "l1", "l1", "l2"]), _contents), max_size=40)


@given(_said)
def test_whatever_is_said_every_code_is_recorded_and_nothing_stays_held(
    messages: list[tuple[str, str, Content]],
) -> None:
    said = Said(Caps(output_bytes=20, held_bytes=60, day_bytes=10_000))
    codes: dict[str, str] = {}
    for parent, life, content in messages:
        if isinstance(content, Input) and codes.setdefault(parent, content.code) is not content.code:
            continue  # a request is published once
        said.say(content, parent=parent, life=life)
    said.keep(said.tape.end(said.now, "over"))
    assert set(codes.values()) <= {one.run.source for one in said.kept.values()}
    assert all(one.run.ended_at is not None for one in said.kept.values())
    assert said.ledger.held == 0


def test_half_a_surrogate_pair_can_be_written() -> None:
    said = Said().say(BUSY, code("x"), shown("\ud83d"), IDLE)
    said.kept["run1"].outputs.encode("utf-8")


# -- which kernels -----------------------------------------------------------------------------------------------------


def _kernel(name: str, path: str | None, **more: Any) -> KernelToRecord:
    return KernelToRecord(kernel=name, path=path, transport="tcp", ip="*", iopub_port=1, key=b"k", **more)


@pytest.mark.parametrize(
    ("kernels", "others", "expected"),
    [
        ([_kernel("a", "/w/a.ipynb")], False, ["a"]),
        ([_kernel("a", "/elsewhere/a.ipynb")], False, []),
        ([_kernel("a", "/elsewhere/a.ipynb")], True, ["a"]),
        ([_kernel("a", None)], False, []),
        ([_kernel("a", None)], True, ["a"]),
        ([_kernel("a", "/w/a.ipynb", is_notebook=False)], False, []),
        ([_kernel("a", "/w/secret.ipynb")], True, []),
        ([_kernel("a", "/w/a.ipynb"), _kernel("a", "/w/secret.ipynb")], False, []),
        ([_kernel("a", "/w/a.ipynb"), _kernel("a", "/elsewhere/b.ipynb")], False, []),
        ([_kernel("a", "/w/a.ipynb"), _kernel("a", "/w/b.ipynb")], False, ["a"]),
    ],
)
def test_which_kernels_are_recorded(kernels: list[KernelToRecord], others: bool, expected: list[str]) -> None:
    found = chosen(
        kernels,
        is_watched=lambda path: path.startswith("/w/"),
        is_excluded=lambda path: "secret" in path,
        others=others,
    )
    assert [kernel.kernel for kernel in found] == expected


def test_keys_are_no_part_of_what_a_kernel_shows_of_itself() -> None:
    assert "secret" not in repr(KERNEL)


def test_addresses_are_as_jupyter_has_them() -> None:
    assert _kernel("a", None).address == "tcp://127.0.0.1:1"
    ipc = KernelToRecord(kernel="a", path=None, transport="ipc", ip="/run/k-ipc", iopub_port=2, key=b"")
    assert ipc.address == "ipc:///run/k-ipc-2"
