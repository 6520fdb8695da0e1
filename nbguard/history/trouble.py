"""Why a history database cannot be read in its place."""

from __future__ import annotations

from nbguard.errors import NbguardError


class Unreadable(NbguardError):
    """There is a file, but no history database that can be read."""

    code = "history-unreadable"


class NeedsCopy(NbguardError):
    """Reading it in place would write beside it: a journal of a writer that died, a log without its index."""

    code = "history-needs-copy"
