"""Reversing the last restore in place."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo

from nbguard.errors import NothingMatched, Refused, storage_trouble
from nbguard.model import Trigger, Version
from nbguard.ports import Keep, Library
from nbguard.recover.folder import Folder
from nbguard.recover.journal import Journal, Restored
from nbguard.recover.placing import digest_on_disk, replace_kept
from nbguard.recover.restore import keep_result
from nbguard.recover.wording import local, shown


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPlan:
    """What undo will do. ``back_to`` is the version that comes back; None means the file is removed.

    ``changed_since`` says that the file is not what the restore wrote; then it is kept first.
    """

    entry: Restored
    back_to: Version | None
    on_disk: str | None
    changed_since: bool

    @property
    def nothing_to_do(self) -> bool:
        """The file is what it was before the restore already."""
        return self.on_disk == self.entry.before_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What undo did. ``kept`` is the state that it replaced or removed, kept first."""

    plan: UndoPlan
    kept: Version | None
    result: Version | None = None
    trouble: str = ""


def plan_undo(journal: Journal, library: Library, zone: tzinfo) -> UndoPlan:
    """Decide what to reverse; changes nothing. Raises NothingMatched, Refused."""
    last = journal.last()
    if last is None:
        raise NothingMatched("no restore in place to undo", hint="`nbguard log NOTEBOOK` lists what can be restored")
    entry, undone = last
    if undone:
        raise NothingMatched(
            f"the last restore in place ({shown(entry.path)}, {local(entry.at, zone)}) was undone already",
            hint="`nbguard log NOTEBOOK` lists what can be restored",
        )
    back_to = None
    if entry.before is not None:
        back_to = library.version(entry.before)
        if back_to is None:
            raise NothingMatched(
                f"version {entry.before[:12]}, which was there before the restore, is not in the archive",
                hint="`nbguard log NOTEBOOK` lists what can be restored",
            )
    on_disk = digest_on_disk(entry.path)
    changed = on_disk != entry.sha256
    if back_to is None and changed and os.path.lexists(entry.path):
        raise Refused(
            f"{shown(entry.path)} did not exist before the restore and was changed after it; it is not removed",
            hint="remove it yourself if you do not need it",
        )
    return UndoPlan(entry=entry, back_to=back_to, on_disk=on_disk, changed_since=changed)


def undo(plan: UndoPlan, *, library: Library, keep: Keep, journal: Journal, now: Callable[[], datetime]) -> Undone:
    """Carry out a plan. Raises Refused, ArchiveTrouble, StorageTrouble; then it can be tried again."""
    entry = plan.entry
    if plan.nothing_to_do:
        journal.undone(entry, now())
        return Undone(plan=plan, kept=None)
    folder, name = os.path.split(entry.path)
    try:
        with Folder.reach(folder, trusted=entry.trusted, create=plan.back_to is not None) as reached:
            if plan.back_to is None:
                kept: Version | None = _remove(reached, name, entry, keep)
            else:
                kept = replace_kept(reached, name, library.read(plan.back_to), keep, lambda _: None)
    except OSError as error:
        raise storage_trouble(error, f"cannot reach {shown(folder)}") from error
    journal.undone(entry, now())
    result, trouble = (None, "") if plan.back_to is None else keep_result(keep, entry.path)
    return Undone(plan=plan, kept=kept, result=result, trouble=trouble)


def _remove(folder: Folder, name: str, entry: Restored, keep: Keep) -> Version:
    kept = keep(entry.path, Trigger.SNAPSHOT)
    if kept.sha256 != entry.sha256 or digest_on_disk(entry.path) != entry.sha256:
        raise Refused(f"{shown(entry.path)} is being written to", hint="stop what writes it, then try again")
    folder.unlink(name)
    folder.sync()
    return kept
