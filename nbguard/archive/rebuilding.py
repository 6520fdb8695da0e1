"""A vanished or broken archive is made anew: from the best copy there is, and from what of the broken one can be read.

The copy gives the history up to some commit. Every version that the catalog knows beyond it is read from the broken
archive, compared with its SHA-256, and put back into the spool under its own id, from where it is packed again. Only
then is the broken archive moved aside, whole, and the new one put in its place. What nobody has is named.
"""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from nbguard.archive.catalog import Catalog
from nbguard.archive.giving_back import Salvage
from nbguard.archive.incoming import Incoming, move_aside
from nbguard.archive.repository import MAIN, RECORDS, Archive
from nbguard.archive.spool import Spool
from nbguard.errors import ArchiveTrouble, NoArchive
from nbguard.git import GitFolder
from nbguard.model import Version

BRANCHES = {"main": MAIN, "records": RECORDS}
CAREFUL = ("transfer.fsckObjects=true", "fetch.unpackLimit=1", "core.fsync=all", "maintenance.auto=false")
_MOST_TIPS = 200


@dataclass(frozen=True, slots=True)
class Source:
    """A copy of the archive: its name for people, and ``fetch``, which brings its branches into the bare repository of
    that path as ``<prefix>main`` and ``<prefix>records`` (those it has). Raises ArchiveTrouble."""

    name: str
    fetch: Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A commit that a mirror is known to hold: a new archive must go on from it, or they part for ever."""

    name: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """What was done: the copy that was used, where the broken archive lies now (None: there was none), how many
    versions came back through the spool, and which nobody has any more."""

    source: str
    aside: str | None
    back: int
    lost: tuple[Version, ...]


def broken(archive: Archive) -> str:
    """What is wrong with the objects of an archive, as git says it; empty when all of them are sound. Slow."""
    try:
        archive.git.ask("fsck", "--full", "--no-dangling", "--no-progress", timeout_seconds=7200.0)
    except ArchiveTrouble as trouble:
        return trouble.message
    return ""


def rebuild(
    archive: Archive,
    *,
    spool: Spool,
    catalog: Catalog,
    records: str,
    sources: Sequence[Source],
    mirrored: Sequence[Mirrored] = (),
) -> Rebuilt:
    """Make the archive anew; ``records`` is the folder of the record log. Use it where nothing else packs.

    Raises NoArchive, or ArchiveTrouble, where no copy answers that goes on from what is ``mirrored``, StorageTrouble,
    Busy; then what was there still is, and what was put into the spool meanwhile is only there twice.
    """
    is_there = os.path.lexists(archive.folder)
    with Incoming(archive) as incoming:
        source = _take_best(incoming, sources, _own_copies(archive) if is_there else ())
        if source is None:  # then an empty one would take its place
            raise _no_copy(archive, is_there=is_there)
        incoming.check()
        _check_goes_on(incoming, mirrored)
        with Salvage(archive, incoming, catalog, spool) as salvage:
            back, lost = salvage.versions()
            salvage.records(records)
        aside = move_aside(archive, "broken") if is_there else None
        incoming.put()
    return Rebuilt(source=source.name, aside=aside, back=back, lost=tuple(lost))


def _check_goes_on(incoming: Incoming, mirrored: Sequence[Mirrored]) -> None:
    tip = incoming.git.tip(MAIN)
    for one in mirrored:
        try:
            incoming.git.ask("merge-base", "--is-ancestor", one.commit, tip or "")
        except ArchiveTrouble as trouble:
            raise ArchiveTrouble(
                f"the archive must be made anew, and the mirror {one.name}, which holds more of it than is left here, "
                "does not answer",
                hint=f"connect it; to go on without what is there: nbguard mirror remove {one.name}. What is kept "
                "meanwhile lies in the spool",
            ) from trouble


def _no_copy(archive: Archive, *, is_there: bool) -> NoArchive | ArchiveTrouble:
    if is_there:
        return ArchiveTrouble(
            f"the archive {archive.folder} is damaged, and neither it nor any copy gives a sound history",
            hint="check the disk, and git (`nbguard doctor`); a mirror mends it; nothing is let go from the spool",
        )
    return NoArchive(
        f"the archive {archive.folder} has vanished, and no copy of it answers",
        hint="bring it back, or a mirror of it; what was kept since lies in the spool and is not lost",
    )


def _take_best(incoming: Incoming, sources: Sequence[Source], own: Iterable[Source]) -> Source | None:
    """Fetch from each, and from the first of our ``own`` that is sound; let the branches of the one with the longest
    history stand. None when none answers."""
    best: tuple[int, Source, str] | None = None
    for number, source in enumerate(itertools.chain(sources, own)):
        prefix = f"refs/copies/{number}/"
        try:
            source.fetch(incoming.folder, prefix)
            tips = [tip for name in BRANCHES if (tip := incoming.git.tip(prefix + name)) is not None]
            length = int(incoming.git.ask("rev-list", "--count", *tips)) if tips else 0
        except ArchiveTrouble:
            continue
        if length and (best is None or length > best[0]):
            best = (length, source, prefix)
        if number >= len(sources):
            break
    if best is not None:
        for name, ref in BRANCHES.items():
            if (tip := incoming.git.tip(best[2] + name)) is not None:
                incoming.git.run("update-ref", ref, tip)
    for line in incoming.git.ask("for-each-ref", "--format=%(refname)", "refs/copies/").decode().split():
        incoming.git.run("update-ref", "-d", line)
    return best[1] if best is not None else None


def _own_copies(archive: Archive) -> Iterator[Source]:
    """The broken archive itself, at tips from before the damage: what was verified last, then further and further back
    in what the branch named."""
    tips = list(dict.fromkeys([*_tips_named(archive), archive.verified_tip() or ""]))
    tips = [tip for tip in tips if tip]
    step = at = 0
    while at < len(tips):
        yield Source("what is sound of the broken archive", _fetching(archive, tips[at]))
        step = max(1, 2 * step)
        at += step


def _tips_named(archive: Archive) -> list[str]:
    """What main named, the newest first (git's own log of it)."""
    tips = [archive.git.tip(MAIN) or ""]
    try:
        with open(os.path.join(archive.folder, "logs", MAIN), encoding="utf-8", errors="replace") as file:
            lines = file.readlines()[-_MOST_TIPS:]
    except OSError:
        return tips
    return tips + [line.split()[1] for line in reversed(lines) if len(line.split()) > 2]


def _fetching(archive: Archive, tip: str) -> Callable[[str, str], None]:
    def fetch(into: str, prefix: str) -> None:
        _pull(archive, into, tip, f"{prefix}main")
        if (records := archive.git.tip(RECORDS)) is not None:
            try:
                _pull(archive, into, records, f"{prefix}records")
            except ArchiveTrouble:
                return  # executed cells are damaged: those that can be read are salvaged one by one

    return fetch


def _pull(archive: Archive, into: str, tip: str, ref: str) -> None:
    """A commit and all it needs, each object checked on the way: a damaged one ends it. Raises ArchiveTrouble."""
    words = [*archive.git.command()[:3], "-c", "uploadpack.allowAnySHA1InWant=true", "upload-pack"]
    GitFolder(into, CAREFUL).ask(
        *("fetch", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--quiet"),
        *(f"--upload-pack={shlex.join(words)}", archive.folder, f"+{tip}:{ref}"),
        timeout_seconds=7200.0,
    )
