"""One kernel's messages become runs, with their outputs as a notebook would hold them. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nbguard.executed import Run
from nbguard.flight.caps import Ledger
from nbguard.flight.kernels import KernelToRecord
from nbguard.flight.messages import (
    Content,
    Display,
    Input,
    Message,
    State,
)
from nbguard.flight.outputs import Shown

JOINED_LATE = "joined while it ran: its code and earlier outputs were not seen"
NO_CODE = "its code was not published (a silent request)"
KERNEL_RESTARTED = "the kernel was restarted while it ran"
KERNEL_ENDED = "the kernel ended while it ran"
NOT_RECORDED_ANY_MORE = "recording ended while it ran"
END_NOT_SEEN = "its end was not seen"
CODE_CUT = "its code was cut: over the cap for one output"
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
class _Open:
    """A run that may still grow."""

    id: str
    started_at: datetime
    shown: Shown
    ended_at: datetime | None = None
    source: str = ""
    count: int | None = None
    has_code: bool = False
    status: str = "unfinished"
    changed_at: datetime | None = None
    checkpoints: int = 0


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
                if begun.is_cut:
                    run.shown.note(CODE_CUT)
            case content:
                run = self._run_of_output(message.parent, at)
                self._add(run, content)
                run.changed_at = run.changed_at or at
        return done

    def missed(self, note: str) -> None:
        """Messages were lost: runs that are open say so."""
        for run in self._runs.values():
            if run.ended_at is None:
                run.shown.note(note)

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
                run.shown.note(note)
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
            run = self._runs[parent] = _Open(self._new_id(), at, Shown(self._ledger))
        return run

    def _run_of_output(self, parent: str, at: datetime) -> _Open:
        run = self._runs.get(parent)
        if run is None:
            run = self._open(parent, at)
            ended = self._ended.get(parent)
            if ended is None:
                run.shown.note(JOINED_LATE)
            else:
                run.shown.note(f"{_CAME_LATER} (run {ended})")
                run.ended_at, run.status = at, "ok"
        return run

    def _idle(self, parent: str, at: datetime) -> list[Recorded]:
        run = self._runs.get(parent)
        if run is None or (run.ended_at is not None and END_NOT_SEEN not in run.shown.notes):
            return []
        if not _is_worth_it(run):
            self._forget(parent)
            return []
        if END_NOT_SEEN in run.shown.notes:
            run.shown.notes.remove(END_NOT_SEEN)
        if not run.has_code and JOINED_LATE not in run.shown.notes:
            run.shown.note(NO_CODE)
        run.ended_at = max(at, run.started_at)
        run.status = "error" if run.shown.failed else "ok"
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
            run.shown.note(END_NOT_SEEN)
            done.append(self._recorded(run))
        return done

    def _recorded(self, run: _Open, *more: str) -> Recorded:
        run.changed_at = None
        outputs = run.shown.as_json_text()
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
                outputs=len(run.shown.outputs),
                output_bytes=len(outputs),
                note="; ".join(text for text in (*run.shown.notes, *more) if text),
            ),
            outputs=outputs,
        )

    def _make_room(self) -> None:
        """Ended runs are remembered for outputs that come late, as long as they are few and small."""
        over = [parent for parent, run in self._runs.items() if run.ended_at is not None]
        size = sum(self._runs[parent].shown.size for parent in over)
        while over and (len(over) > _REMEMBERED_RUNS or size > _REMEMBERED_BYTES):
            parent = over.pop(0)
            size -= self._runs[parent].shown.size
            if self._runs[parent].changed_at is None:
                self._forget(parent)

    def _forget(self, parent: str) -> None:
        run = self._runs.pop(parent)
        self._ledger.release(run.shown.size)
        self._ended[parent] = run.id
        if len(self._ended) > _REMEMBERED_ENDS:
            del self._ended[next(iter(self._ended))]

    def _add(self, run: _Open, content: Content) -> None:
        """An output of this run; an update is for displays wherever they stand, as long as they are remembered."""
        if not (isinstance(content, Display) and content.is_update):
            run.shown.add(content)
            return
        for one in self._runs.values():
            if one.shown.update(content):
                one.changed_at = one.changed_at or one.ended_at or one.started_at


def with_note(recorded: Recorded, note: str) -> Recorded:
    """The same without its outputs, and the reason."""
    run = replace(recorded.run, outputs=0, output_bytes=0, note="; ".join(filter(None, (recorded.run.note, note))))
    return Recorded(run=run, outputs="")


def _is_worth_it(run: _Open) -> bool:
    return run.has_code or bool(run.shown.outputs)


def _pause(run: _Open) -> float:
    """Seconds from a change to the next checkpoint: kept anew each time, so ever more rarely unless it is small."""
    longest = _SMALL_EVERY_SECONDS if run.shown.size <= _SMALL_BYTES else _LONGEST_SECONDS
    return min(longest, _FIRST_CHECKPOINT_SECONDS * 2.0 ** min(run.checkpoints, 20))
