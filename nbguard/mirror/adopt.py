"""Taking over from a mirror: which host, and the note of where an archive came from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import from_iso, iso
from nbguard.durable import replace_durably
from nbguard.errors import Ambiguous, NothingMatched
from nbguard.mirror.layout import MirrorHeartbeat
from nbguard.mirror.reader import InMirror
from nbguard.mirror.there import HostRefs


@dataclass(frozen=True, slots=True, kw_only=True)
class AdoptedFrom:
    """Where an archive came from: whose namespace, which mirror (its address without secrets), when (UTC), and the
    tips that were taken over."""

    namespace: str
    mirror: str
    at: datetime
    main: str | None
    records: str | None


def choose_host(there: InMirror, wanted: str | None) -> HostRefs:
    """The host that is meant: the named one (whole, or as it begins), or the only one with anything kept.

    Raises NothingMatched, Ambiguous with every host in its hint.
    """
    kept = [host for host in there.hosts.values() if host.main or host.records]
    if not kept:
        hint = "see that it is the right one: `nbguard mirror list` where it was"
        if there.is_archive:
            hint = "it is an archive itself: copy it to where `nbguard config show` says that the archive is"
        raise NothingMatched("nobody mirrors to that place yet", hint=hint)
    fits = [host for host in kept if wanted is None or host.namespace.startswith(wanted.lower())]
    exact = [host for host in kept if host.namespace == wanted]
    if len(exact or fits) == 1:
        return (exact or fits)[0]
    lines = "\n".join(line_of(host.namespace, there.beats.get(host.namespace)) for host in fits or kept)
    if not fits:
        raise NothingMatched(f"no host {wanted!r} mirrors to that place", hint=f"there are:\n{lines}")
    raise Ambiguous(f"{len(fits)} hosts mirror to that place", hint=f"say which with --host:\n{lines}")


def line_of(namespace: str, beat: MirrorHeartbeat | None) -> str:
    """One host for people: its namespace, and when it was last heard of by its own clock."""
    return namespace if beat is None else f"{namespace}  (last heard of {beat.at:%Y-%m-%d %H:%M} UTC)"


def outermost(roots: Sequence[str]) -> tuple[str, ...]:
    """The folders that lie in no other of them, sorted: a command that kept one notebook had its folder as the root."""
    return tuple(
        root
        for root in sorted(set(roots))
        if not any(other != root and root.startswith(other.rstrip("/") + "/") for other in roots)
    )


def write_note(path: str, note: AdoptedFrom) -> None:
    """Remember it. Raises OSError."""
    fields = {
        "v": 1,
        "namespace": note.namespace,
        "mirror": note.mirror,
        "at": iso(note.at),
        "main": note.main,
        "records": note.records,
    }
    replace_durably(path, (json.dumps(fields, indent=1) + "\n").encode("ascii"))


def read_note(path: str) -> AdoptedFrom | None:
    """What is remembered; None where nothing is, or it cannot be understood."""
    try:
        with open(path, encoding="utf-8") as file:
            found = json.loads(file.read(65_536))
        return AdoptedFrom(
            namespace=str(found["namespace"]),
            mirror=str(found["mirror"]),
            at=from_iso(str(found["at"])),
            main=found["main"],
            records=found["records"],
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
