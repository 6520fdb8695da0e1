"""What tests use instead of the disk and the machine's clocks: a store in memory, and time that is set by hand."""

from __future__ import annotations

import hashlib
import itertools
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from nbguard.errors import ChangedMeanwhile, StorageTrouble
from nbguard.model import Draft, DraftKind, Moment, Signature, Trigger

EPOCH = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


class HandClock:
    """All three clocks, moved by hand and together."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self.seconds += seconds

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.seconds)

    def boottime_ns(self) -> int:
        return int(self.seconds * 1e9)

    def monotonic(self) -> float:
        return self.seconds


@dataclass
class MemoryStore:
    """A DraftStore: what was kept, in order. ``trouble`` is raised instead of keeping, ``refused`` counts that."""

    drafts: list[Draft] = field(default_factory=list)
    data: dict[str, bytes] = field(default_factory=dict)
    trouble: StorageTrouble | None = None
    refused: int = 0
    clock: HandClock = field(default_factory=HandClock)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def moment(self) -> Moment:
        return Moment(1, self.clock.boottime_ns(), next(self._numbers))

    def keep(self, draft: Draft, data: bytes) -> Draft:
        if self.trouble is not None:
            self.refused += 1
            raise self.trouble
        assert draft.kind is not DraftKind.VERSION or draft.sha256 == hashlib.sha256(data).hexdigest()
        self.drafts.append(draft)
        self.data[draft.id] = data
        return draft

    def keep_stream(self, draft: Draft, fd: int) -> Draft:
        data = b""
        while chunk := os.pread(fd, 1 << 20, len(data)):
            data += chunk
        sha256 = hashlib.sha256(data).hexdigest()
        if draft.sha256 is not None and draft.sha256 != sha256:
            raise ChangedMeanwhile("it changed")
        return self.keep(replace(draft, size=len(data), sha256=sha256), data)

    def draft(
        self,
        *,
        kind: DraftKind,
        path: str,
        moment: Moment,
        trigger: Trigger,
        root: str,
        size: int = 0,
        sha256: str | None = None,
        signature: Signature | None = None,
        tip: bool = True,
        renamed_from: str | None = None,
        about: str | None = None,
        observed_at: datetime | None = None,
    ) -> Draft:
        return Draft(
            id=f"{next(self._numbers):032x}",
            kind=kind,
            path=path,
            moment=moment,
            boot="boot",
            observed_at=observed_at or self.clock.now(),
            trigger=trigger,
            root=root,
            install="install",
            size=size,
            sha256=sha256,
            signature=signature,
            tip=tip,
            renamed_from=renamed_from,
            about=about,
        )

    def of(self, path: str) -> list[bytes]:
        """The bytes of every version of ``path``, in the order they were kept."""
        return [self.data[d.id] for d in self.drafts if d.path == path and d.kind is DraftKind.VERSION]

    def tombstones(self) -> list[str]:
        """The paths recorded as deleted, in order."""
        return [d.path for d in self.drafts if d.kind is DraftKind.TOMBSTONE]

    def knows(self, path: str, sha256: str) -> bool:
        """Whether ``path`` has a version with these bytes."""
        return any(d.path == path and d.sha256 == sha256 for d in self.drafts)
