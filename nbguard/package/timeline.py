"""The timeline as it grows: a section for each notebook, kept in a file until the page is put together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from nbguard.package.contents import Missing
from nbguard.package.timeline_page import CLOSING, Event, When, opening, section

_CHUNK = 1 << 20


class Timeline:
    """Sections in the order in which they come. Methods raise OSError."""

    def __init__(self, path: str, in_words: When) -> None:
        self._in_words = in_words
        self._unlinked: list[Event] = []
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._file = os.fdopen(fd, "w+b")

    def add(self, title: str, note: str, links: Iterable[tuple[str, str]], events: Iterable[Event]) -> None:
        """One notebook; the newest comes first."""
        newest_first = sorted(events, key=lambda event: event.at, reverse=True)
        self._file.write(section(title, note, links, newest_first, self._in_words).encode("utf-8", "replace"))

    def note_unlinked(self, events: Iterable[Event]) -> None:
        """Sessions that belong to no notebook: a section of their own, at the end."""
        self._unlinked += events

    @property
    def size(self) -> int:
        """About how many bytes the page will have."""
        return self._file.seek(0, os.SEEK_END)

    def page(self, made: str, counts: str, as_of: str, missing: Sequence[Missing]) -> Iterator[bytes]:
        """The whole page, piece by piece."""
        if self._unlinked:
            self.add("executed, and linked to no notebook", f"{len(self._unlinked)} sessions", (), self._unlinked)
        yield opening(made=made, counts=counts, as_of=as_of, missing=missing).encode("utf-8", "replace")
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            yield chunk
        yield CLOSING.encode("utf-8")

    def close(self) -> None:
        self._file.close()
