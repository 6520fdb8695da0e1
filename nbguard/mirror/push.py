"""Bringing one mirror up to date: what is there is looked at first, and nothing of anybody else's is ever moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from nbguard.clock import Clock
from nbguard.errors import ArchiveTrouble
from nbguard.mirror.backoff import HEARTBEAT_SECONDS, next_step
from nbguard.mirror.child import MirrorTrouble
from nbguard.mirror.layout import (
    HEARTBEAT_FILE,
    HOSTS,
    MARK,
    MARK_FILE,
    ROLL_CALL_FILE,
    Namespace,
    check_mark,
    mark_text,
)
from nbguard.mirror.objects import SmallCommit, small_commit
from nbguard.mirror.remote import PUSH_SECONDS, SMALL_SECONDS, Remote, Wish
from nbguard.mirror.standing import MirrorState, with_written
from nbguard.mirror.there import heartbeat_in
from nbguard.ports import Progress

_MARK_AT = datetime.fromisoformat("2026-01-01T00:00:00+00:00")
_CLOCK_SLACK = timedelta(minutes=2)
_README = b"""This repository is a mirror of nbguard archives: every kept version of
every notebook of one or more machines.

`nbguard adopt ADDRESS-OF-THIS-REPOSITORY` on a new machine brings them back. Without nbguard:
    git branch -r                                      which machines: origin/hosts/MACHINE/main
    git ls-tree -r --name-only origin/hosts/MACHINE/main
    git show origin/hosts/MACHINE/main:notebooks/home/ada/eda.ipynb > eda.ipynb

Do not commit here.
"""


class MirrorForeign(ArchiveTrouble):
    """Something in our namespace is not ours: nothing is overwritten, and nothing pushed. ``what`` says it shortly."""

    code = "mirror-foreign"

    def __init__(self, what: str) -> None:
        super().__init__(
            what,
            hint="if another machine works with a copy of this state folder, remove `install-id` from the state folder "
            "of one of both; if this archive was brought back from an older copy, `nbguard adopt` has what it lacks",
        )
        self.what = what


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """What a mirror is to hold of us. ``beat`` makes the text of a new heartbeat, given the tips that it is pushed
    with; ``roll_call`` is the text of roll-call.json, None for none; ``boot_at`` when this machine was started. Without
    an archive there are no tips, and what a mirror holds is no stranger's: the heartbeat alone is pushed."""

    namespace: Namespace
    install: str
    boot: str
    boot_at: datetime
    main: str | None
    records: str | None
    beat: Callable[[str | None, str | None], bytes]
    roll_call: bytes | None = None
    has_archive: bool = True


def mark_commit() -> SmallCommit:
    """The same one, whoever makes it."""
    return small_commit({MARK_FILE: mark_text(), "README": _README}, "This is a mirror of nbguard archives", _MARK_AT)


class Push:
    """One try at one mirror. ``written`` are the commits that we put anywhere, ``read_small`` gives a small file at the
    tip of a branch there, ``remember`` keeps the state durably."""

    def __init__(
        self,
        remote: Remote,
        ours: Ours,
        state: MirrorState,
        *,
        written: frozenset[str],
        clock: Clock,
        read_small: Callable[[str, str], bytes],
        remember: Callable[[MirrorState], None],
        progress: Progress | None = None,
    ) -> None:
        self._remote = remote
        self._ours = ours
        self.state = state
        self._written = written
        self._clock = clock
        self._read_small = read_small
        self._remember = remember
        self._progress = progress
        self._there: dict[str, str] = {}
        self._beat_at: datetime | None = None

    def run(self) -> bool:
        """Push all that is missing; whether there was anything but the heartbeat.

        Raises MirrorForeign, NewerMirror, MirrorTrouble, Stopped, OSError. What arrived until then stays there.
        """
        ours, there = self._ours, self._ask_for_refs()
        self._there = there
        space = ours.namespace
        self._check_mark(there)
        self._refuse_another(there.get(space.heartbeat))
        counts = {ref: self._missing(ref, tip) for ref, tip in self._tips().items()} if ours.has_archive else {}
        self.state = replace(self.state, main=there.get(space.main), records=there.get(space.records))
        if self.state.chained:
            self._fetch_parents()
        todo, done = sum(counts.values()), 0
        for ref, count in counts.items():
            left = count
            while left:
                step = min(left, self.state.step_commits)
                left -= step
                done += step
                self._push_step(
                    ref, left, step, is_last=done == todo, progress=self._progress if step == todo else None
                )
                if self._progress is not None and step != todo:
                    self._progress(done, todo)
        if not todo:
            self._send(self._small_wishes(), SMALL_SECONDS)
        else:
            self._check_arrived()
        return todo > 0

    def _ask_for_refs(self) -> dict[str, str]:
        """Ours alone: a mirror may hold a thousand machines."""
        return self._remote.refs(MARK, f"{HOSTS}{self._ours.namespace.name}/*")

    def _tips(self) -> dict[str, str | None]:
        return {self._ours.namespace.main: self._ours.main, self._ours.namespace.records: self._ours.records}

    def _check_mark(self, there: Mapping[str, str]) -> None:
        found = there.get(MARK)
        if found not in (None, mark_commit().oid):
            check_mark(self._read_small(MARK, MARK_FILE))

    def _refuse_another(self, found: str | None) -> None:
        """Raises MirrorForeign when the heartbeat in our place is not one that we wrote.

        What we wrote is remembered. Where that memory was lost, it is ours if it came from this boot, or from before
        it: while this machine ran, nobody else can have been us.
        """
        if found is None or found in self._written:
            return
        ours = self._ours
        if self._written:
            raise MirrorForeign("another machine writes heartbeats in the name of this one")
        try:
            beat = heartbeat_in(self._read_small(ours.namespace.heartbeat, HEARTBEAT_FILE))
        except ArchiveTrouble as trouble:
            if trouble.code == "mirror-newer":
                raise
            raise MirrorForeign("what stands in the place of our heartbeat is none") from trouble
        if beat.install != ours.install:
            raise MirrorForeign("another installation writes heartbeats in the place of ours")
        if beat.boot != ours.boot and beat.at > ours.boot_at + _CLOCK_SLACK:
            raise MirrorForeign("another machine writes heartbeats in the name of this one")

    def _missing(self, ref: str, tip: str | None) -> int:
        """How many commits a branch there lacks. Raises MirrorForeign when it holds what we do not."""
        found = self._there.get(ref)
        name = ref.rpartition("/")[2]
        if found == tip:
            return 0
        if tip is None or (found is not None and not (self._remote.knows(found) and self._remote.contains(found, tip))):
            raise MirrorForeign(f"its branch {name} holds what this archive does not")
        return self._remote.count(tip, found)

    def _push_step(self, ref: str, left: int, step: int, *, is_last: bool, progress: Progress | None) -> None:
        """Push so many commits of a branch; git's own progress is told where they are all."""
        tip = self._tips()[ref]
        began = self._clock.monotonic()
        wishes = [Wish(f"{tip}~{left}" if left else str(tip), ref)]
        if not left:
            is_main = ref == self._ours.namespace.main
            self.state = replace(self.state, main=tip) if is_main else replace(self.state, records=tip)
        if is_last or self._beat_at is None or self._is_old(self._beat_at):
            wishes += self._small_wishes()
        self._send(wishes, PUSH_SECONDS, progress)
        self.state = replace(self.state, step_commits=max(next_step(step, self._clock.monotonic() - began), 1))
        if left:
            self._remember(self.state)

    def _is_old(self, beat_at: datetime) -> bool:
        return not timedelta(0) <= self._clock.now() - beat_at < timedelta(seconds=HEARTBEAT_SECONDS)

    def _small_wishes(self) -> list[Wish]:
        """The heartbeat, the roll call where it changed, and the mark where there is none."""
        ours, now = self._ours, self._clock.now()
        space, wishes = ours.namespace, []
        if self._there.get(MARK) is None:
            wishes.append(self._wish(mark_commit(), MARK))
        text = ours.beat(self.state.main, self.state.records)
        parent = self._there.get(space.heartbeat) if self.state.chained else None
        wishes.append(self._wish(small_commit({HEARTBEAT_FILE: text}, "Heartbeat", now, parent), space.heartbeat))
        if ours.roll_call is not None:
            # Of one time, so that the same roll call is the same commit.
            parent = self._there.get(space.roll_call) if self.state.chained else None
            called = small_commit({ROLL_CALL_FILE: ours.roll_call}, "Roll call", _MARK_AT, parent)
            if not self._has_roll_call(called, parent):
                wishes.append(self._wish(called, space.roll_call))
        self._remember(self.state)  # before it is there: an answer that is lost on the way must not make us strangers
        self._beat_at = now
        return wishes

    def _has_roll_call(self, called: SmallCommit, parent: str | None) -> bool:
        return self._there.get(self._ours.namespace.roll_call) == called.oid or (
            parent is not None
            and self._read_small(self._ours.namespace.roll_call, ROLL_CALL_FILE) == self._ours.roll_call
        )

    def _wish(self, commit: SmallCommit, ref: str) -> Wish:
        self._remote.add(commit)
        if ref == self._ours.namespace.heartbeat:
            self.state = with_written(self.state, commit.oid)
        return Wish(commit.oid, ref, instead_of=self._there.get(ref, ""))

    def _send(self, wishes: list[Wish], seconds: float, progress: Progress | None = None) -> None:
        refused = self._remote.push(wishes, seconds=seconds, progress=progress)
        for wish in wishes:
            if wish.ref not in refused and "~" not in wish.commit:
                self._there[wish.ref] = wish.commit
        space = self._ours.namespace
        refused.pop(MARK, None)  # another one made it at the same time; or only its owner may
        for ref in (space.main, space.records):
            if ref in refused:
                raise _not_taken(ref, refused[ref])
        if not refused:
            return
        if any("stale info" in why for why in refused.values()):
            raise MirrorForeign("another machine writes heartbeats in the name of this one")
        if self.state.chained:
            raise MirrorTrouble(
                f"it takes no heartbeat: {'; '.join(refused.values())}", hint="see what its hooks allow"
            )
        # Its owner allows no branch to be replaced: then heartbeats follow one another.
        self.state = replace(self.state, chained=True)
        self._remember(self.state)
        self._fetch_parents()
        self._send(self._small_wishes(), SMALL_SECONDS)

    def _fetch_parents(self) -> None:
        """What a new heartbeat follows must be at hand to be pushed."""
        space = self._ours.namespace
        refs = [ref for ref in (space.heartbeat, space.roll_call) if ref in self._there]
        wanted = [f"+{ref}:{ref}" for ref in refs]
        if refs and (why := self._remote.fetch_into(self._remote.scratch, wanted, shallow=True)):
            raise MirrorTrouble(f"it cannot be read: {why}", hint="it is tried again by itself")

    def _check_arrived(self) -> None:
        there = self._ask_for_refs()
        for ref, tip in self._tips().items():
            if tip is not None and there.get(ref) != tip:
                raise MirrorTrouble(
                    f"its branch {ref.rpartition('/')[2]} is not where it was put", hint="it is tried again by itself"
                )
        self._there = there


def _not_taken(ref: str, why: str) -> ArchiveTrouble:
    name = ref.rpartition("/")[2]
    if any(word in why for word in ("fetch first", "non-fast-forward", "stale info", "needs force")):
        return MirrorForeign(f"its branch {name} holds what this archive does not")
    return MirrorTrouble(f"it does not take the branch {name}: {why}", hint="see what its owner or its hooks allow")
