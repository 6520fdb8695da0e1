"""Executed cells into the package: each session as .py and .ipynb, and the notebook rebuilt from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from nbguard.clock import iso
from nbguard.errors import NbguardError, said
from nbguard.package.contents import Missing
from nbguard.package.manifest import path_fields, readable
from nbguard.package.members import EXECUTED, REBUILT, stamp
from nbguard.package.sink import Sink
from nbguard.package.stories import Story
from nbguard.package.timeline_page import Event


@dataclass(frozen=True, slots=True)
class Written:
    """One session as files: py:percent and .ipynb."""

    py: bytes
    ipynb: bytes


@dataclass(frozen=True, slots=True)
class Base:
    """What a notebook is rebuilt from: its last good bytes."""

    data: bytes
    saved_at: datetime


@dataclass(frozen=True, slots=True)
class RebuiltPair:
    """Two results, always: the best guess, and everything in the order in which it ran (.ipynb files)."""

    notebook: bytes
    log: bytes


Export = Callable[[Story], Written]
"""A session as files. Raises NbguardError."""
Rebuild = Callable[[Base | None, Sequence[Story]], RebuiltPair]
"""A notebook from its last good version and its sessions. Raises NbguardError."""


class ExecutedPacking:
    """Puts sessions in. Methods raise OSError."""

    def __init__(self, sink: Sink, *, export: Export, rebuild: Rebuild, now: datetime) -> None:
        self._sink, self._export, self._rebuild, self._now = sink, export, rebuild, now
        self.sessions = 0

    def pack(self, path: str | None, stories: Sequence[Story]) -> list[Event]:
        """The sessions of one notebook; of none when ``path`` is None. Their rows for the timeline."""
        if not stories:
            return []
        names = self._sink.names
        folder = names.folder_for(EXECUTED, path) if path is not None else f"{EXECUTED}/unlinked"
        return [event for story in stories if (event := self._one(folder, story)) is not None]

    def rebuild(self, path: str, base: Base | None, stories: Sequence[Story]) -> list[tuple[str, str]]:
        """The rebuilt notebook and its log: (words, member) of each."""
        try:
            pair = self._rebuild(base, stories)
        except (NbguardError, ValueError, RecursionError) as error:
            self._missing("rebuilt notebook", error, path)
            return []
        given = []
        for words, suffix, data in (
            ("rebuilt from what was executed", ".rebuilt", pair.notebook),
            ("everything in the order in which it ran", ".log", pair.log),
        ):
            name = self._sink.names.file(REBUILT, path, suffix)
            self._sink.add_bytes(name, data, time=self._now, source="rebuilt", original_path=path)
            given.append((words, name))
        return given

    def _one(self, folder: str, story: Story) -> Event | None:
        try:
            written = self._export(story)
        except (NbguardError, ValueError, RecursionError) as error:
            self._missing("session", error, story.path, story.id, story.began_at)
            return None
        stem = f"{stamp(story.began_at)}-{story.id}"
        members = {kind: self._sink.names.inside(folder, stem, f".{kind}") for kind in ("py", "ipynb")}
        source = "history" if story.cells else "recorder"
        for kind, data in (("py", written.py), ("ipynb", written.ipynb)):
            self._sink.add_bytes(
                members[kind],
                data,
                time=story.began_at,
                source=f"{source} session {story.id}",
                original_path=story.database or None,
            )
        self._sink.sessions.add(_row(story, members))
        self.sessions += 1
        return Event(
            at=story.began_at,
            what=f"session {story.id}, {story.executions} cells executed",
            size="",
            remark="" if story.confidence == "exact" else f"link: {story.confidence}",
            links=(("py", members["py"]), ("ipynb", members["ipynb"])),
        )

    def _missing(
        self, what: str, error: Exception, path: str | None, identity: str | None = None, time: datetime | None = None
    ) -> None:
        self._sink.missing.append(Missing(what=what, reason=said(error), path=path, id=identity, time=time))


def _row(story: Story, members: dict[str, str]) -> dict[str, object]:
    return {
        "id": story.id,
        **(path_fields(story.path) if story.path is not None else {"path": None}),
        "began_at": iso(story.began_at),
        "confidence": story.confidence,
        "evidence": [readable(each) for each in story.evidence],
        "cells": len(story.cells),
        "recorded": len(story.runs),
        "members": list(members.values()),
    }
