"""One kernel's messages become runs, with their outputs as a notebook would hold them. Values in, values out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from nbguard.flight.caps import Ledger, Text
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.messages import (
    Clear,
    Content,
    Display,
    Failure,
    Input,
    JsonObject,
    LeftOut,
    Message,
    State,
    Stream,
)
from nbguard.flight.wire import Cut
from nbguard.model import Run

JOINED_LATE = "joined while it ran: its code and earlier outputs were not seen"
NO_CODE = "its code was not published (a silent request)"
KERNEL_RESTARTED = "the kernel was restarted while it ran"
KERNEL_ENDED = "the kernel ended while it ran"
NOT_RECORDED_ANY_MORE = "recording ended while it ran"
END_NOT_SEEN = "its end was not seen"
STILL_RUNNING = "still running when this was written"
_CAME_LATER = "came after the cell had ended"
_REMEMBERED_RUNS = 8
_REMEMBERED_BYTES = 500_000
_REMEMBERED_ENDS = 256
_FIRST_CHECKPOINT_SECONDS = 5.0
_SMALL_BYTES = 100_000
_SMALL_EVERY_SECONDS = 60.0
_LONGEST_SECONDS = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A run as it is now, and its outputs as the JSON text of an nbformat list; a later one of the same id counts."""

    run: Run
    outputs: str


@dataclass(slots=True)
class _Output:
    """One output: a stream's text, or an nbformat output as it stands."""

    value: JsonObject
    size: int
    text: Text | None = None
    display_id: str | None = None

    def as_json(self) -> JsonObject:
        return self.value if self.text is None else {**self.value, "text": str(self.text)}


@dataclass(slots=True)
class _Open:
    """A run that may still grow."""

    id: str
    started_at: datetime
    ended_at: datetime | None = None
    source: str = ""
    count: int | None = None
    has_code: bool = False
    status: str = "unfinished"
    failed: bool = False
    outputs: list[_Output] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clears: bool = False
    changed_at: datetime | None = None
    checkpoints: int = 0

    @property
    def size(self) -> int:
        return sum(output.size for output in self.outputs)

    def note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)


class Tape:
    """What one kernel publishes, as runs. ``kernel`` may be replaced as its notebook moves or its session is learnt.

    ``ledger`` is shared by all tapes; ``new_id`` mints the ids of runs.
    """

    def __init__(self, kernel: KernelToRecord, ledger: Ledger, new_id: Callable[[], str]) -> None:
        self.kernel = kernel
        self._ledger = ledger
        self._new_id = new_id
        self._life = ""
        self._runs: dict[str, _Open] = {}
        self._ended: dict[str, str] = {}

    def hear(self, message: Message, now: datetime) -> list[Recorded]:
        """What is to be kept because of this message."""
        done: list[Recorded] = []
        if message.life and message.life != self._life:
            if self._life:
                done += self.end(now, KERNEL_RESTARTED)
            self._life = message.life
        if not message.is_execution or not message.parent:
            return done
        at = message.sent_at if message.sent_at is not None and message.sent_at <= now else now
        match message.content:
            case State("busy"):
                self._open(message.parent, at)
            case State("idle"):
                done += self._idle(message.parent, at)
            case State():
                pass
            case Input() as begun:
                run = self._open(message.parent, at)
                run.source, run.count, run.has_code = begun.code, begun.count, True
                run.changed_at = run.changed_at or at
            case content:
                run = self._run_of_output(message.parent, at)
                self._add(run, content)
                run.changed_at = run.changed_at or at
        return done

    def missed(self, note: str) -> None:
        """Messages were lost: runs that are open say so."""
        for run in self._runs.values():
            if run.ended_at is None:
                run.note(note)

    def so_far(self, now: datetime) -> list[Recorded]:
        """Runs that have changed and were not kept for a while; often at first, then ever more rarely."""
        due = []
        for run in self._runs.values():
            if run.changed_at is None or now - run.changed_at < timedelta(seconds=_pause(run)):
                continue
            run.checkpoints += 1
            due.append(self._recorded(run, STILL_RUNNING if run.ended_at is None else ""))
        return due

    def end(self, now: datetime, note: str) -> list[Recorded]:
        """The kernel, or the recording, is over."""
        done = []
        for run in self._runs.values():
            if run.ended_at is None and _is_worth_it(run):
                run.ended_at = now
                run.note(note)
                done.append(self._recorded(run))
            elif run.ended_at is not None and run.changed_at is not None:
                done.append(self._recorded(run))
        for parent in list(self._runs):
            self._forget(parent)
        self._ended.clear()
        return done

    # -- one run ---------------------------------------------------------------------------------------------------

    def _open(self, parent: str, at: datetime) -> _Open:
        run = self._runs.get(parent)
        if run is None:
            run = self._runs[parent] = _Open(id=self._new_id(), started_at=at)
        return run

    def _run_of_output(self, parent: str, at: datetime) -> _Open:
        run = self._runs.get(parent)
        if run is None:
            run = self._open(parent, at)
            ended = self._ended.get(parent)
            if ended is None:
                run.note(JOINED_LATE)
            else:
                run.note(f"{_CAME_LATER} (run {ended})")
                run.ended_at, run.status = at, "ok"
        return run

    def _idle(self, parent: str, at: datetime) -> list[Recorded]:
        run = self._runs.get(parent)
        if run is None or (run.ended_at is not None and END_NOT_SEEN not in run.notes):
            return []
        if not _is_worth_it(run):
            self._forget(parent)
            return []
        if END_NOT_SEEN in run.notes:
            run.notes.remove(END_NOT_SEEN)
        if not run.has_code and JOINED_LATE not in run.notes:
            run.note(NO_CODE)
        run.ended_at = max(at, run.started_at)
        run.status = "error" if run.failed else "ok"
        recorded = self._recorded(run)
        self._ledger.kept(len(recorded.outputs))
        done = [recorded, *self._end_earlier(run, at)]
        self._make_room()
        return done

    def _end_earlier(self, ended: _Open, at: datetime) -> list[Recorded]:
        """A kernel runs one cell after the other: when a later one has ended, an earlier one has too, unseen.

        Where it has subshells that is not so, and the earlier one's end puts it right when it comes.
        """
        done = []
        for parent, run in list(self._runs.items()):
            if run.ended_at is not None or run is ended or run.started_at >= ended.started_at:
                continue
            if not _is_worth_it(run):
                self._forget(parent)
                continue
            run.ended_at = at
            run.note(END_NOT_SEEN)
            done.append(self._recorded(run))
        return done

    def _recorded(self, run: _Open, *more: str) -> Recorded:
        run.changed_at = None
        outputs = as_json_text(output.as_json() for output in run.outputs)
        return Recorded(
            run=Run(
                id=run.id,
                kernel=self.kernel.kernel,
                execution_count=run.count,
                source=run.source,
                started_at=run.started_at,
                ended_at=run.ended_at,
                status=run.status,
                path=self.kernel.path,
                generation=self.kernel.generation,
                session=self.kernel.session,
                outputs=len(run.outputs),
                output_bytes=len(outputs) if run.outputs else 0,
                note="; ".join(text for text in (*run.notes, *more) if text),
            ),
            outputs=outputs if run.outputs else "",
        )

    def _make_room(self) -> None:
        """Ended runs are remembered for outputs that come late, as long as they are few and small."""
        over = [parent for parent, run in self._runs.items() if run.ended_at is not None]
        size = sum(self._runs[parent].size for parent in over)
        while over and (len(over) > _REMEMBERED_RUNS or size > _REMEMBERED_BYTES):
            parent = over.pop(0)
            size -= self._runs[parent].size
            if self._runs[parent].changed_at is None:
                self._forget(parent)

    def _forget(self, parent: str) -> None:
        run = self._runs.pop(parent)
        self._ledger.release(run.size)
        self._ended[parent] = run.id
        if len(self._ended) > _REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    # -- outputs ---------------------------------------------------------------------------------------------------

    def _add(self, run: _Open, content: Content) -> None:
        if isinstance(content, Clear):
            run.clears = content.wait
            if not content.wait:
                self._clear(run)
            return
        if isinstance(content, Display) and content.is_update:
            self._update(content)
            return
        if run.clears:
            run.clears = False
            self._clear(run)
        match content:
            case Stream():
                self._add_text(run, content)
            case Display():
                self._add_display(run, content)
            case Failure():
                run.failed = True
                self._add_failure(run, content)
            case LeftOut():
                self._leave_out(run, content)

    def _clear(self, run: _Open) -> None:
        self._ledger.release(run.size)
        run.outputs.clear()

    def _add_text(self, run: _Open, stream: Stream) -> None:
        text = stream.text
        room = self._ledger.room_for_text()
        if len(text) > room:
            text = text[:room]
            run.note(self._ledger.refusal(min(len(stream.text), self._ledger.caps.output_bytes)))
        last = run.outputs[-1] if run.outputs else None
        if last is None or last.text is None or last.value["name"] != stream.name:
            if not text and not stream.missing_bytes:
                return
            last = _Output({"output_type": "stream", "name": stream.name}, 0, Text(self._ledger.caps.output_bytes))
            run.outputs.append(last)
        assert last.text is not None
        last.text.add(text)
        last.text.lose(stream.missing_bytes + len(stream.text) - len(text))
        self._ledger.hold(last.text.size - last.size)
        last.size = last.text.size
        if last.text.missing:
            run.note(f"text was left out: over the cap of {self._ledger.caps.output_bytes} bytes, or too fast")

    def _add_display(self, run: _Open, display: Display) -> None:
        if refusal := self._ledger.refusal(display.size):
            run.note(refusal)
            self._leave_out(run, LeftOut(display.size, Cut.TOO_LONG))
            return
        kind: JsonObject = (
            {"output_type": "execute_result", "execution_count": display.count}
            if display.is_result
            else {"output_type": "display_data"}
        )
        value = {**kind, "data": display.data, "metadata": display.metadata}
        self._append(run, _Output(value, display.size, display_id=display.display_id))

    def _add_failure(self, run: _Open, failure: Failure) -> None:
        value: JsonObject = {
            "output_type": "error",
            "ename": failure.name,
            "evalue": failure.value,
            "traceback": list(failure.traceback),
        }
        size = sum(map(len, failure.traceback)) + len(failure.value)
        if refusal := self._ledger.refusal(size):
            run.note(refusal)
            value, size = {**value, "evalue": failure.value[:1000], "traceback": []}, 1000
        self._append(run, _Output(value, size))

    def _leave_out(self, run: _Open, left: LeftOut) -> None:
        """Say in its place that an output was there."""
        why = "too much came at once" if left.cut is Cut.TOO_MUCH else "over a cap"
        text = f"[nbguard: an output of {left.size} bytes was not recorded: {why}]"
        run.note(f"an output of {left.size} bytes was left out: {why}")
        value: JsonObject = {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}
        last = run.outputs[-1] if run.outputs else None
        if last is None or last.value != value:
            self._append(run, _Output(value, len(text)))

    def _append(self, run: _Open, output: _Output) -> None:
        self._ledger.hold(output.size)
        run.outputs.append(output)

    def _update(self, display: Display) -> None:
        """New content for displays of one id, wherever they stand (as long as they are remembered)."""
        if display.display_id is None or self._ledger.refusal(display.size):
            return
        for run in self._runs.values():
            for output in run.outputs:
                if output.display_id == display.display_id:
                    self._ledger.hold(display.size - output.size)
                    output.value = {**output.value, "data": display.data, "metadata": display.metadata}
                    output.size = display.size
                    run.changed_at = run.changed_at or run.ended_at or run.started_at


def as_json_text(outputs: Iterable[JsonObject]) -> str:
    """A list of outputs as JSON that UTF-8 can hold, whatever a kernel sent."""
    found = list(outputs)
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(found, separators=(",", ":"))
    return text


def with_note(recorded: Recorded, note: str) -> Recorded:
    """The same without its outputs, and the reason."""
    run = replace(recorded.run, outputs=0, output_bytes=0, note="; ".join(filter(None, (recorded.run.note, note))))
    return Recorded(run=run, outputs="")


def _is_worth_it(run: _Open) -> bool:
    return run.has_code or bool(run.outputs)


def _pause(run: _Open) -> float:
    """Seconds from a change to the next checkpoint: kept anew each time, so ever more rarely unless it is small."""
    longest = _SMALL_EVERY_SECONDS if run.size <= _SMALL_BYTES else _LONGEST_SECONDS
    return min(longest, _FIRST_CHECKPOINT_SECONDS * 2.0 ** min(run.checkpoints, 20))
