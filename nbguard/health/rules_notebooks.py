"""Rules about notebooks: is each one kept as it is on disk, and are as many in sight as before. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nbguard.alerting import Weighed, Weight
from nbguard.health.facts import Allowances, Facts, RootFacts, Unprotected
from nbguard.health.weighing import MOST_LISTED, STORAGE_CODES, spell, weighed

FEW_NOTEBOOKS = 3


def not_kept(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Weighed]:
    """Bytes on disk that are neither in spool nor archive, after the time that a running daemon may take."""
    if facts.unread is not None:
        yield Weighed(problem=facts.unread, weight=Weight.GAP)
        return
    has_grace = running or is_between(facts, allowed)
    late = [each for each in facts.unprotected if not has_grace or each.waiting_seconds > _patience(each, allowed)]
    late.sort(key=lambda each: -each.waiting_seconds)
    for each in late[:MOST_LISTED]:
        yield _one_not_kept(facts, allowed, running, each)
    if len(late) > MOST_LISTED:
        more = len(late) - MOST_LISTED
        message = f"{more} more notebook{' is' if more == 1 else 's are'} not kept as on disk"
        yield weighed(facts, "not-kept", message, _keep_hint(running), Weight.GAP)


def is_between(facts: Facts, allowed: Allowances) -> bool:
    """Whether a daemon that is down may just be on its way back: an upgrade, a manager that starts it again, a machine
    that was started a moment ago. Whoever stopped it himself is told at once what is not kept."""
    daemon = facts.daemon
    if daemon.heartbeat is None or (daemon.heartbeat.stopped and facts.service is None and not daemon.is_excused):
        return False
    down = (daemon.awake_seconds or 0.0) if daemon.same_boot else daemon.up_seconds
    return daemon.is_excused or down <= allowed.heartbeat_seconds


def _one_not_kept(facts: Facts, allowed: Allowances, running: bool, late: Unprotected) -> Weighed:
    if late.size > allowed.refuse_over_bytes:
        message = f"at {late.size / 1e6:,.0f} MB it is over the limit and is not kept"
        hint = "raise limits.refuse_over_bytes, or clear its outputs"
        return weighed(facts, "too-large", message, hint, Weight.GAP, subject=late.path)
    extra = allowed.slow_interval_seconds if late.size > allowed.slow_over_bytes else 0.0
    beat = facts.daemon.heartbeat
    disk_refuses = beat is not None and any(problem.code in STORAGE_CODES for problem in beat.problems)
    stalls = running and (disk_refuses or late.waiting_seconds > allowed.stalled_seconds + extra)
    message = f"its bytes on disk are not kept, {spell(late.quiet_seconds)} after they changed"
    if late.is_hidden:
        message = "its bytes on disk are not those that were kept, though size and times are the same"
    return weighed(
        facts,
        "not-kept",
        message,
        _keep_hint(running),
        Weight.STALL if stalls else Weight.GAP,
        subject=late.path,
        seconds_ago=late.quiet_seconds,
    )


def roots(facts: Facts) -> Iterator[Weighed]:
    """Folders to watch that are not there, or cannot be read."""
    if facts.configured and not facts.roots:
        hint = "add folders: nbguard setup --watch DIR"
        yield weighed(facts, "coverage-fell", "no folder is watched", hint)
    for root in facts.roots:
        if root.trouble == "root-gone":
            message, hint = f"the folder is not there: {root.reason}", "mount it, or take it out of the configuration"
        elif root.trouble:
            message, hint = f"the folder cannot be read: {root.reason}", "give yourself read permission on it"
        else:
            continue
        is_shut = root.trouble == "root-unreadable"  # what is saved there goes unseen
        weight = Weight.GAP if is_shut else Weight.ADVICE if root.is_unmounted else Weight.WARNING
        yield weighed(facts, root.trouble, message, hint, weight, subject=root.path)
    for folder in facts.unreadable[:MOST_LISTED]:
        message = "it cannot be read: notebooks in it are not protected"
        hint = "give yourself read and search permission on it, or ignore it in the configuration"
        yield weighed(facts, "unreachable", message, hint, Weight.GAP, subject=folder)


def coverage(facts: Facts) -> Iterator[Weighed]:
    """None are in sight where there were some, or over half of them are gone, and no tombstone says that they were
    deleted."""
    for root in facts.roots:
        if has_fallen(root):
            message = f"{root.notebooks} of the {root.before} notebooks that were there are in sight"
            hint = "see whether the folder is what it was, and what `ignore` in the configuration leaves out"
            yield weighed(facts, "coverage-fell", message, hint, subject=root.path)


def has_fallen(root: RootFacts) -> bool:
    """Whether a root that can be read lost most of its notebooks, and not by deletions that were believed."""
    if root.trouble or root.is_unseen or root.before is None or root.before < 1:
        return False
    few = root.before < FEW_NOTEBOOKS
    if root.notebooks * 2 >= root.before or (few and root.notebooks):
        return False
    # A deletion that is believed leaves a tombstone: then no more are living than are in sight.
    return root.living is None or root.living > root.notebooks


def not_watched(facts: Facts, running: bool) -> Iterator[Weighed]:
    """Roots that were added to the configuration after the daemon read it."""
    beat = facts.daemon.heartbeat
    if beat is None or not running or not beat.roots:
        return
    watched = {root.path for root in beat.roots}
    for root in facts.roots:
        if root.path not in watched:
            message, hint = "the running daemon does not watch it yet", "end the daemon and start it again: nbguard run"
            yield weighed(facts, "coverage-fell", message, hint, subject=root.path)


def packer(facts: Facts, allowed: Allowances, running: bool) -> Iterator[Weighed]:
    """Versions that wait longer than packing takes."""
    oldest = facts.spool.oldest_seconds
    if running and oldest is not None and oldest > allowed.pack_seconds:
        waiting = "1 version waits" if facts.spool.drafts == 1 else f"{facts.spool.drafts:,} versions wait"
        message = f"{waiting} to be packed, the oldest for {spell(oldest)}"
        hint = "they are durable meanwhile; the daemon's log says why packing fails"
        yield weighed(facts, "packer-behind", message, hint, seconds_ago=oldest)


def emptied(facts: Facts) -> Iterator[Weighed]:
    """Notebooks that hold less than half of what they held."""
    for path in facts.emptied[:MOST_LISTED]:
        message = "it holds less than half of what it held"
        hint = "get it back with `nbguard restore`, or say that it was meant with `nbguard accept`"
        yield weighed(facts, "emptied", message, hint, Weight.ADVICE, subject=path)


def _patience(late: Unprotected, allowed: Allowances) -> float:
    if late.size > allowed.refuse_over_bytes:
        return 0.0  # waiting changes nothing
    slow = late.size > allowed.slow_over_bytes
    return allowed.quiet_seconds + (allowed.slow_interval_seconds if slow else 0.0)


def _keep_hint(running: bool) -> str:
    return "keep it now: nbguard snapshot" if running else "start the daemon (nbguard run), or: nbguard snapshot"
