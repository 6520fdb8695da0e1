"""How far each history database was read. A hint: without it everything is read again, and nothing is kept twice."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from nbguard.durable import replace_durably
from nbguard.history.generations import FileIdentity

_log = logging.getLogger(__name__)
_FORMAT = 1
_MOST_FILES = 500
START = -(1 << 62)


@dataclass(slots=True, kw_only=True)
class Position:
    """How far one file was read: new rows up to ``after`` (whose text is ``anchor``), older ones from ``back_from`` on
    up to ``back_until``. All are rowids."""

    after: int
    anchor: str
    outputs_after: int
    back_from: int = START
    back_until: int = START

    @property
    def is_behind(self) -> bool:
        return self.back_from < self.back_until


class Positions:
    """Positions by file, kept at ``path``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._of: dict[FileIdentity, Position] = _load(path)
        self._saved = self._text()

    def get(self, file: FileIdentity) -> Position | None:
        return self._of.get(file)

    def put(self, file: FileIdentity, position: Position) -> None:
        self._of.pop(file, None)  # the latest goes to the end, and the oldest are forgotten
        self._of[file] = position

    def save(self) -> None:
        """Write them if they changed; a disk that does not take them costs a second reading."""
        while len(self._of) > _MOST_FILES:
            del self._of[next(iter(self._of))]
        text = self._text()
        if text == self._saved:
            return
        try:
            replace_durably(self._path, text.encode("ascii"))
        except OSError as error:
            _log.warning("cannot note how far histories were read: %s", error)
            return
        self._saved = text

    def _text(self) -> str:
        rows = [{"device": file.device, "inode": file.inode, **asdict(position)} for file, position in self._of.items()]
        return json.dumps({"v": _FORMAT, "files": rows}, separators=(",", ":")) + "\n"


def _load(path: str) -> dict[FileIdentity, Position]:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(10_000_000))
        if found["v"] != _FORMAT:
            return {}
        return {FileIdentity(int(row["device"]), int(row["inode"])): _position(row) for row in found["files"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        _log.warning("how far histories were read is not readable (%s); they are read again", error)
        return {}


def _position(row: Mapping[str, object]) -> Position:
    numbers = {name: row[name] for name in ("after", "outputs_after", "back_from", "back_until")}
    if not all(type(number) is int for number in numbers.values()):
        raise ValueError("a position is no number")
    return Position(**{name: int(str(number)) for name, number in numbers.items()}, anchor=str(row["anchor"]))
