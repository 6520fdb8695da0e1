"""A commit's message: a subject for people, and trailers from which the catalog is rebuilt.

One block of trailers per version; a block starts with ``Id``. Ordinary commits carry one, an import many. Paths stand
as they do in the tree, escaped, so that a message is always clean UTF-8 without control characters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from nbguard.archive.names import TREE, disk_path, tree_path
from nbguard.clock import from_iso, iso
from nbguard.errors import ArchiveTrouble
from nbguard.model import DraftKind, Moment, Signature, Status, Trigger, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A human's word on a version: ``accept`` or ``pin``."""

    id: str
    kind: DraftKind
    about: str
    moment: Moment
    decided_at: datetime
    commit: str | None = None


def subject_of(version: Version) -> str:
    """For people reading `git log`, e.g. ``eda.ipynb: 12 cells, 34567 bytes``."""
    name = tree_path(version.path).rpartition("/")[2]
    if version.status is Status.DELETED:
        return f"{name}: deleted"
    size = f"{version.cells} cells, {version.size} bytes" if version.cells is not None else f"{version.size} bytes"
    remark = "" if version.status is Status.OK else f" ({version.status})"
    moved = f", was {tree_path(version.renamed_from)[len(TREE) :]}" if version.renamed_from else ""
    return f"{name}: {size}{remark}{moved}"


def trailers_of(version: Version) -> str:
    """The block of one version, ending with a newline."""
    signature = version.signature
    optional = {
        "Previous": version.previous,
        "Renamed-From": version.renamed_from and tree_path(version.renamed_from),
        "Sha256": version.sha256,
        "Cells": version.cells,
        "Chars": version.source_chars,
        "Stat": signature
        and f"{signature.device} {signature.inode} {signature.size} {signature.mtime_ns} {signature.ctime_ns}",
        "Tip": None if version.tip else "no",
    }
    lines = [
        f"Id: {version.id}",
        f"Notebook: {version.notebook}",
        f"Path: {tree_path(version.path)}",
        f"Seq: {version.moment}",
        f"Observed-At: {iso(version.saved_at)}",
        f"Boot: {version.boot}",
        f"Bytes: {version.size}",
        f"Status: {version.status}",
        f"Trigger: {version.trigger}",
        f"Root: {tree_path(version.root)}",
        f"Install: {version.install}",
        *(f"{key}: {value}" for key, value in optional.items() if value is not None),
    ]
    return "\n".join(lines) + "\n"


def decision_message(decision: Decision) -> str:
    """The whole message of a commit that changes no file."""
    return (
        f"{decision.kind} version {decision.about[:10]}\n\n"
        f"Id: {decision.id}\nKind: {decision.kind}\nAbout: {decision.about}\n"
        f"Seq: {decision.moment}\nObserved-At: {iso(decision.decided_at)}\n"
    )


def records_in(message: str, commit: str) -> Iterator[Version | Decision]:
    """Every version and decision a commit speaks of. Raises ArchiveTrouble when a block is not readable."""
    for block in _blocks(message):
        try:
            yield _decision(block, commit) if "Kind" in block else _version(block, commit)
        except (KeyError, ValueError) as error:
            raise ArchiveTrouble(
                f"commit {commit[:12]} has trailers that are not readable: {error!r}", hint="see `nbguard doctor`"
            ) from error


def _blocks(message: str) -> Iterator[dict[str, str]]:
    block: dict[str, str] = {}
    for line in message.split("\n")[1:]:
        key, separator, value = line.partition(": ")
        if not separator:
            continue
        if key == "Id" and block:
            yield block
            block = {}
        if key == "Id" or block:
            block[key] = value
    if block:
        yield block


def _decision(block: dict[str, str], commit: str) -> Decision:
    return Decision(
        id=block["Id"],
        kind=DraftKind(block["Kind"]),
        about=block["About"],
        moment=Moment.parse(block["Seq"]),
        decided_at=from_iso(block["Observed-At"]),
        commit=commit,
    )


def _version(block: dict[str, str], commit: str) -> Version:
    stat = block.get("Stat")
    return Version(
        id=block["Id"],
        notebook=block["Notebook"],
        path=disk_path(block["Path"]),
        moment=Moment.parse(block["Seq"]),
        saved_at=from_iso(block["Observed-At"]),
        size=int(block["Bytes"]),
        sha256=block.get("Sha256"),
        cells=_number(block.get("Cells")),
        source_chars=_number(block.get("Chars")),
        status=Status(block["Status"]),
        trigger=Trigger(block["Trigger"]),
        tip=block.get("Tip") != "no",
        root=disk_path(block["Root"]) if block["Root"] != TREE else "/",
        install=block["Install"],
        boot=block["Boot"],
        previous=block.get("Previous"),
        renamed_from=disk_path(block["Renamed-From"]) if "Renamed-From" in block else None,
        signature=Signature(*map(int, stat.split())) if stat else None,
        commit=commit,
    )


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)
