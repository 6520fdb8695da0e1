"""Giving one version back: plan, keep what is there, write, read back, keep the result."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from hashlib import sha256
from shlex import quote

from nbguard.errors import NbguardError, Refused, storage_trouble
from nbguard.model import Trigger, Version
from nbguard.ports import Keep, Library
from nbguard.recover.choose import pick_to_restore, pick_with_bytes
from nbguard.recover.folder import Folder
from nbguard.recover.journal import Journal
from nbguard.recover.naming import Found
from nbguard.recover.placing import digest_on_disk, place_new, refuse_to_replace, replace_kept
from nbguard.recover.when import When
from nbguard.recover.wording import shown

NAME_BYTES = 255
_COPIES = 1000
UNDO = "nbguard undo"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a restore will do. ``target`` may still be renamed (``-2``) while ``numbered``.

    Symlinks are believed down to ``trusted`` (the configured root that the notebook was kept under) and no further.
    """

    path: str
    version: Version
    target: str
    trusted: str
    in_place: bool
    numbered: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a restore did: ``sha256`` is of what was written, ``result`` the version it became; ``trouble`` why None."""

    plan: Plan
    written_to: str
    sha256: str
    before: Version | None = None
    result: Version | None = None
    trouble: str = ""

    @property
    def undo(self) -> str | None:
        """The command that reverses it."""
        return UNDO if self.plan.in_place else None


def plan_restore(
    found: Found,
    when: When | None,
    *,
    to: str | None,
    in_place: bool,
    cwd: str,
    zone: tzinfo,
    roots: Sequence[str] = (),
) -> Plan:
    """Decide what goes where; changes nothing. ``roots`` are the configured ones: a symlink that leads to one is the
    user's own. Raises NothingMatched, Refused, Ambiguous."""
    version = (
        pick_to_restore(found.versions, digest_on_disk(found.path), zone)
        if when is None
        else pick_with_bytes(found.versions, when, zone)
    )
    trusted, numbered = version.root if version.root in roots else "/", False
    if to is not None:
        target, trusted = _chosen(to, found.path, cwd), "/"
    elif in_place or not os.path.lexists(found.path):
        target = found.path
    else:
        target, numbered = os.path.join(os.path.dirname(found.path), beside(found.path, version, zone, 0)), True
    _refuse_early(target, trusted, in_place)
    return Plan(path=found.path, version=version, target=target, trusted=trusted, in_place=in_place, numbered=numbered)


def restore(
    plan: Plan,
    *,
    library: Library,
    keep: Keep,
    journal: Journal,
    now: Callable[[], datetime],
    zone: tzinfo,
    complete: Callable[[bytes], bytes] = bytes,
) -> Outcome:
    """Carry out a plan. Raises Refused, ArchiveTrouble, StorageTrouble; then nothing was replaced.

    ``complete`` makes what is written of the version's bytes: the very same, unless outputs are to be filled in.
    """
    data = complete(library.read(plan.version))
    digest = sha256(data).hexdigest()
    parent, name = os.path.split(plan.target)
    try:
        folder = Folder.reach(parent, trusted=plan.trusted, create=True)
    except PermissionError as error:
        if os.path.isdir(parent):
            raise storage_trouble(error, f"cannot reach {shown(parent)}") from error
        raise Refused(  # as on another machine, with another home
            f"{shown(parent)} is not on this machine, and may not be made here",
            hint="name a place with `--to`; `restore --all --at today --to DIR` brings everything back below a folder",
        ) from error
    except OSError as error:
        raise storage_trouble(error, f"cannot reach {shown(parent)}") from error
    before: Version | None = None
    with folder:
        if plan.in_place:

            def write_down(kept: Version | None) -> None:
                journal.begin(
                    at=now(),
                    path=plan.target,
                    trusted=plan.trusted,
                    version=plan.version.id,
                    sha256=digest,
                    before=kept.id if kept else None,
                    before_sha256=kept.sha256 if kept else None,
                )

            before = replace_kept(folder, name, data, keep, write_down)
        else:
            name = place_new(folder, lambda attempt: _name(plan, name, attempt, zone), data, _like(plan.path))
        folder.tidy(name)
    written_to = os.path.join(parent, name)
    result, trouble = keep_result(keep, written_to)
    return Outcome(plan=plan, written_to=written_to, sha256=digest, before=before, result=result, trouble=trouble)


def keep_result(keep: Keep, path: str) -> tuple[Version | None, str]:
    """The version that a written file became, or why there is none. Never raises NbguardError."""
    if not path.endswith(".ipynb"):
        return None, ""
    try:
        return keep(path, Trigger.RESTORE), ""
    except NbguardError as error:
        return None, error.message


def beside(path: str, version: Version, zone: tzinfo, attempt: int) -> str:
    """A name beside the notebook that says what it holds: ``eda.restored-20261121-093000.ipynb``, then ``…-2``."""
    number = f"-{attempt + 1}" if attempt else ""
    suffix = f".restored-{version.saved_at.astimezone(zone):%Y%m%d-%H%M%S}{number}.ipynb"
    stem = os.fsencode(os.path.basename(path).removesuffix(".ipynb"))
    room = NAME_BYTES - len(suffix)
    if len(stem) > room:
        while stem[room] & 0xC0 == 0x80:  # cut between characters, not inside one
            room -= 1
        stem = stem[:room]
    return os.fsdecode(stem) + suffix


def restore_command(path: str, version_id: str) -> str:
    """The words that put a version back in place."""
    return f"nbguard restore {quote(path)} --at {version_id[:12]} --in-place"


def _chosen(to: str, path: str, cwd: str) -> str:
    target = os.path.join(cwd, to)
    if os.path.isdir(target) or target.endswith("/"):
        target = os.path.join(target, os.path.basename(path))
    target = os.path.normpath(target)
    if os.path.lexists(target):
        raise Refused(
            f"{shown(target)} exists already", hint="nothing was overwritten; name a file that does not exist"
        )
    return target


def _refuse_early(target: str, trusted: str, in_place: bool) -> None:
    """Say before anything is done what would be refused halfway; the writing checks again."""
    try:
        with Folder.reach(os.path.dirname(target), trusted=trusted) as folder:
            status = folder.status(os.path.basename(target))
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_trouble(error, f"cannot reach {shown(os.path.dirname(target))}") from error
    if in_place and status is not None and (refusal := refuse_to_replace(target, status)):
        raise refusal


def _name(plan: Plan, name: str, attempt: int, zone: tzinfo) -> str | None:
    if plan.numbered:
        return beside(plan.path, plan.version, zone, attempt) if attempt < _COPIES else None
    return name if attempt == 0 else None


def _like(path: str) -> os.stat_result | None:
    """A copy of a private notebook is as private as the notebook is now."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return None if refuse_to_replace(path, status) else status
