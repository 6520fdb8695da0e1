"""Rules about where things are kept: archive, proofs that were tried, and room on the disks. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alerting import Weighed, Weight
from nbguard.health.facts import Allowances, Facts, Proof, SpaceFacts
from nbguard.health.weighing import STORAGE_CODES, spell, weighed

_OURS = frozenset({"archive", "spool", "state"})
_KEEPING = frozenset({Proof.CANARY, Proof.EMERGENCY, Proof.ARCHIVE_DISK, Proof.STATE_DISK})


def archive(facts: Facts) -> Iterator[Weighed]:
    """It was made here and is not there; or git's own locks were left in it."""
    found = facts.archive
    if found.trouble is not None:
        yield Weighed(problem=found.trouble, weight=Weight.WARNING)
    if found.present:
        if found.stale_locks:
            message = f"{', '.join(found.stale_locks)} was left behind, and nobody works in the archive"
            hint = "the daemon takes it away when it packs next; end and start it again if it does not"
            yield weighed(facts, "stale-lock", message, hint)
    elif found.made:
        message = "the archive was made here, and is not there any more"
        hint = "find out where it went before anything else; new versions wait in the spool meanwhile"
        yield weighed(facts, "archive-missing", message, hint, Weight.STALL)
    elif facts.configured:
        message, hint = "there is no archive yet", "`nbguard setup` or `nbguard run` makes it"
        yield weighed(facts, "archive-missing", message, hint, Weight.ADVICE)


def proofs(facts: Facts) -> Iterator[Weighed]:
    """Proofs that were tried and failed. Where neither spool nor emergency place takes a canary, nothing can be kept;
    a tip that cannot be read stops packing; anything else that cannot be read is a version that is not protected."""
    failed = {each.proof for each in facts.failed}
    nothing_is_kept = {Proof.CANARY, Proof.EMERGENCY} <= failed
    for each in facts.failed:
        if each.proof is Proof.EMERGENCY and Proof.CANARY not in failed:
            weight = Weight.WARNING
        elif each.proof in (Proof.CANARY, Proof.EMERGENCY):
            weight = Weight.STALL if nothing_is_kept else Weight.WARNING
        elif each.proof in _KEEPING or each.problem.code in STORAGE_CODES:
            weight = Weight.WARNING
        else:
            weight = Weight.STALL if each.proof is Proof.TIP else Weight.GAP
        yield Weighed(problem=each.problem, weight=weight)


def room(facts: Facts, allowed: Allowances) -> Iterator[Weighed]:
    """Disks that are full for us, and those that will be within a day."""
    for disk in facts.space:
        yield from _bytes(facts, allowed, disk)
        yield from _inodes(facts, allowed, disk)


def _bytes(facts: Facts, allowed: Allowances, disk: SpaceFacts) -> Iterator[Weighed]:
    where, free = _where(disk), f"{disk.free_bytes / 1e6:,.0f} MB"
    hint = "free some space; nbguard stops short of filling your disk"
    if disk.free_bytes <= disk.reserve_bytes:
        yield weighed(facts, "no-space", f"{where} is full: {free} are free", hint, subject=disk.path)
    elif disk.full_in_seconds is not None and disk.full_in_seconds <= allowed.forecast_seconds:
        message = f"{where} will be full in {spell(disk.full_in_seconds)} if it goes on like this: {free} are free"
        yield weighed(facts, "no-space", message, hint, subject=disk.path)


def _inodes(facts: Facts, allowed: Allowances, disk: SpaceFacts) -> Iterator[Weighed]:
    where, hint = _where(disk), "delete some files: the file system has too few inodes left"
    if disk.free_inodes < 1:
        yield weighed(facts, "no-inodes", f"{where} has no inodes left", hint, subject=disk.path)
    elif disk.no_inodes_in_seconds is not None and disk.no_inodes_in_seconds <= allowed.forecast_seconds:
        soon = spell(disk.no_inodes_in_seconds)
        message = f"{where} will have no inodes left in {soon}: {disk.free_inodes:,} are free"
        yield weighed(facts, "no-inodes", message, hint, subject=disk.path)


def _where(disk: SpaceFacts) -> str:
    ours = [role for role in disk.roles if role in _OURS]
    return f"the file system of {' and '.join(ours) if ours else 'your notebooks'}"


def unseen(facts: Facts) -> Iterator[Weighed]:
    """What did not answer in time, or could not be looked at."""
    for each in facts.unseen:
        message = f"it could not be looked at: {each.reason}"
        hint = "see whether the disk or the network mount behind it answers"
        yield weighed(facts, "not-looked-at", message, hint, subject=each.what)
