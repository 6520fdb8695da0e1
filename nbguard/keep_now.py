"""Keeping one path now, in a command: the same way as in the daemon, without waiting for quiet."""

from __future__ import annotations

from collections.abc import Callable

from nbguard.capture.keep import LAST_ATTEMPT, Gone, Keeper, Kept, Refused, Skipped, Unchanged
from nbguard.errors import NothingMatched, PartlyDone
from nbguard.model import Moment, Trigger, Version

# A person waits: a save of a megabyte is over in a moment, one of 66 MB leaves its file torn for most of a second.
_PAUSES_SECONDS = (0.05, 0.1, 0.25, 0.6, 1.0, 2.0, 4.0)


class KeepNow:
    """The Keep port. ``version_of`` finds a version by id, folding what was just kept first.

    A torn file is looked at again for 8 s, then kept as it is; one that changes at every look is not.
    """

    def __init__(
        self, *, keeper: Keeper, version_of: Callable[[str], Version | None], wait: Callable[[float], None]
    ) -> None:
        self._keeper = keeper
        self._version_of = version_of
        self._wait = wait
        self._before = keeper.moment()

    def __call__(self, path: str, trigger: Trigger) -> Version:
        """Raises NothingMatched (no notebook), PartlyDone (there is one, and it cannot be kept), StorageTrouble."""
        # What we just wrote may be seen and kept by the daemon before us; to it, it is an echo of ours.
        moment = self._before if trigger is Trigger.RESTORE else None
        try:
            return self._keep(path, trigger, moment)
        finally:
            self._before = self._keeper.moment()

    def _keep(self, path: str, trigger: Trigger, moment: Moment | None) -> Version:
        for pause in (*_PAUSES_SECONDS, None):
            attempt = LAST_ATTEMPT if pause is None else 0
            outcome = self._keeper.keep(path, trigger, attempt=attempt, moment=moment)
            if isinstance(outcome, Kept):
                return self._version(outcome.draft.id, path)
            if isinstance(outcome, Unchanged):
                return self._version(outcome.head.version, path)
            if isinstance(outcome, Gone | Skipped):
                raise NothingMatched(f"there is no notebook at {path}", hint="name a file, or a folder that holds some")
            if isinstance(outcome, Refused):
                raise PartlyDone(f"{path} is not kept: {outcome.reason}", code=outcome.code)
            if pause is not None:
                self._wait(pause)
        raise PartlyDone(f"{path} is not kept: it does not hold still", hint="try again when it is not being written")

    def _version(self, identity: str, path: str) -> Version:
        found = self._version_of(identity)
        if found is None:
            raise PartlyDone(f"{path} is kept as {identity[:10]}, but the catalog does not show it yet")
        return found
