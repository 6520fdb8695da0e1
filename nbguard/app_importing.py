"""The composition root's page for the daemon's first import: first versions of notebooks that nobody has seen yet."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from nbguard.app import Store, first_import
from nbguard.clock import Clock
from nbguard.errors import NbguardError
from nbguard.heads import Heads
from nbguard.ports import Progress
from nbguard.problems import ProblemBoard

if TYPE_CHECKING:
    from nbguard.cli.context import Context
    from nbguard.watch.scope import Scope

_log = logging.getLogger(__name__)
_LOOK_FOR_UNSEEN_SECONDS = 60.0


class Importing:
    """The first import of ``scopes``, and whether what it could not do was done since. ``versions`` counts."""

    def __init__(
        self,
        context: Context,
        store: Store,
        heads: Heads,
        scopes: list[Scope],
        *,
        clock: Clock,
        board: ProblemBoard,
    ) -> None:
        self.versions = 0
        self._context = context
        self._store = store
        self._heads = heads
        self._scopes = scopes
        self._clock = clock
        self._board = board
        self._look_at: float | None = None

    def run(self, progress: Progress, meanwhile: Callable[[], None]) -> None:
        """Keep first versions; what fails is noted and found again by the sweep. ``meanwhile`` is done between."""

        def told(done: int, total: int) -> None:
            progress(done, total)
            meanwhile()

        try:
            report = first_import(self._context, self._store, self._heads).run(self._scopes, told)
        except NbguardError as error:
            _log.error("first import: %s", error.message)
            self._board.note_error(error, subject="import")
            self._look_at = self._clock.monotonic() + _LOOK_FOR_UNSEEN_SECONDS
            return
        self._look_at = None
        self._board.clear("import")
        self.versions += report.versions
        if report.versions:
            _log.info("kept %d first versions of %d notebooks", report.versions, report.notebooks)

    def look(self) -> None:
        """A first import that failed is no problem any more once the sweeps have kept everything."""
        now = self._clock.monotonic()
        if self._look_at is None or now < self._look_at:
            return
        self._look_at = now + _LOOK_FOR_UNSEEN_SECONDS
        if first_import(self._context, self._store, self._heads).is_done(self._scopes):
            self._look_at = None
            self._board.clear("import")
