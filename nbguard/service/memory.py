"""What we remember of a service: that it is wanted, that we stopped it ourselves, and that lingering was our doing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.clock import Clock
from nbguard.durable import make_private_folder, replace_durably, unlink_quietly
from nbguard.errors import storage_trouble
from nbguard.places import Places, is_private
from nbguard.stops import RecordedStop, Why, forget_stop, record_stop

if TYPE_CHECKING:
    from collections.abc import Iterator

CHANNELS_SCRIPT = "alert-channels.sh"
_OURS = ("ALERT-", ".failed-", ".told", ".new-", CHANNELS_SCRIPT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """``last_resort`` is where the alert unit leaves its notes when the emergency place is gone."""

    places: Places
    last_resort: str
    clock: Clock
    boot: str

    @property
    def is_wanted(self) -> bool:
        """Whether a service was installed and not uninstalled since."""
        return os.path.lexists(self.places.service_marker)

    def want(self, manager: str) -> None:
        """From now on a service that does not run is a finding. Raises StorageTrouble."""
        try:
            self._note(self.places.service_marker, f"{manager}\n")
            forget_stop(self.places.stop)
        except OSError as error:
            raise storage_trouble(error, f"writing {self.places.service_marker}") from error

    def forget(self) -> list[str]:
        """No service is wanted any more; what the alert unit left goes too. Returns what could not be removed."""
        try:
            unlink_quietly(self.places.service_marker)
            for folder in (self.places.emergency, self.last_resort):
                _clear(folder)
            if is_private(self.last_resort) and not os.listdir(self.last_resort):
                os.rmdir(self.last_resort)
        except OSError as error:
            return [f"{error.filename}: {error.strerror}"]
        return []

    @contextmanager
    def upgrading(self) -> Iterator[None]:
        """The daemon is stopped and started by us within: no alarm. What cannot be written costs a false alarm only."""
        self._stop(Why.UPGRADE)
        yield
        try:
            forget_stop(self.places.stop)
        except OSError:
            pass

    def uninstalling(self) -> None:
        """The daemon is about to be stopped for good."""
        self._stop(Why.UNINSTALLED)

    # -- lingering ---------------------------------------------------------------------------------------------------

    @property
    def lingers_by_us(self) -> bool:
        """Whether it was nbguard that turned lingering on."""
        return os.path.exists(self._linger_note)

    def note_lingering(self) -> None:
        """Before it is turned on. Raises StorageTrouble."""
        try:
            self._note(self._linger_note, "turned on by nbguard service install\n")
        except OSError as error:
            raise storage_trouble(error, f"writing {self._linger_note}") from error

    def forget_lingering(self) -> None:
        """It is off again. Raises OSError."""
        unlink_quietly(self._linger_note)

    @property
    def _linger_note(self) -> str:
        return os.path.join(self.places.state, "linger-by-nbguard")

    def _stop(self, why: Why) -> None:
        stop = RecordedStop(why=why, at=self.clock.now(), boot=self.boot, boottime_ns=self.clock.boottime_ns())
        try:
            record_stop(self.places.stop, stop)
        except OSError:
            pass  # a full or read-only disk must not keep anybody from upgrading

    def _note(self, path: str, text: str) -> None:
        make_private_folder(os.path.dirname(path))
        replace_durably(path, text.encode("utf-8", "replace"))


def _clear(folder: str) -> None:
    """Remove what the alert unit left in a folder, if that is ours alone."""
    for name in _left_in(folder):
        unlink_quietly(os.path.join(folder, name))


def _left_in(folder: str) -> Sequence[str]:
    if not folder or not is_private(folder):
        return ()
    return [name for name in os.listdir(folder) if name.startswith(_OURS)]
