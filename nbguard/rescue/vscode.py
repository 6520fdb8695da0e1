"""VS Code and its kin: the local history of every file, and unsaved editors that are backed up for the next start.

Layout as VS Code writes it: `User/History/HASH/entries.json` with a resource URI and entries (id, timestamp in
milliseconds), the content in `HASH/ID`; `Backups/HASH/SCHEME/ID` with a first line of URI and metadata.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote_to_bytes, urlsplit

from nbguard.executed import Confidence
from nbguard.names import is_notebook_name
from nbguard.rescue.findings import Finding, Look, SourceName, Unavailable, Wanted
from nbguard.rescue.matching import fit, fits_name
from nbguard.rescue.reading import at_seconds, bytes_finding, file_finding, read_regular, reason, written_at

_MOST_LIST_BYTES = 8_000_000
_EDITORS = ("Code", "Code - Insiders", "Code - OSS", "VSCodium", "VSCodium - Insiders", "Cursor", "Windsurf")
_SERVERS = (".vscode-server", ".vscode-server-insiders", ".vscodium-server", ".vscode-remote", ".cursor-server")
_FLATPAKS = (("com.visualstudio.code", "Code"), ("com.vscodium.codium", "VSCodium"))


@dataclass(frozen=True, slots=True)
class VSCode:
    """Folders that hold ``User/History`` and ``Backups``."""

    folders: tuple[str, ...]

    @property
    def name(self) -> SourceName:
        return SourceName.VSCODE

    def look(self, wanted: Wanted) -> Look:
        """Every state that an editor has kept of the notebook."""
        found: list[Finding] = []
        unavailable: list[Unavailable] = []
        for folder in self.folders:
            for states in (self._history, self._backups):
                try:
                    found += states(folder, wanted, unavailable)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except OSError as error:
                    unavailable.append(Unavailable(self.name, reason(error)))
        return Look(tuple(found), tuple(unavailable))

    def _history(self, folder: str, wanted: Wanted, unavailable: list[Unavailable]) -> Iterator[Finding]:
        top = os.path.join(folder, "User", "History")
        for name in sorted(os.listdir(top)):
            listing = os.path.join(top, name, "entries.json")
            try:
                resource, entries = _entries(read_regular(listing, _MOST_LIST_BYTES))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                unavailable.append(Unavailable(self.name, reason(error)))
                continue
            except (ValueError, RecursionError):
                unavailable.append(Unavailable(self.name, f"{listing}: not the list it should be"))
                continue
            confidence = _fits(wanted, resource)
            if resource is None or confidence is None:
                continue
            for identity, time in entries:
                yield from self._state(os.path.join(top, name, identity), resource, confidence, time, unavailable)

    def _state(
        self,
        path: str,
        notebook: str,
        confidence: Confidence,
        time: datetime | None,
        unavailable: list[Unavailable],
    ) -> Iterator[Finding]:
        from dataclasses import replace

        try:
            finding = file_finding(self.name, path, notebook, confidence)
        except OSError as error:
            unavailable.append(Unavailable(self.name, reason(error)))
            return
        if finding is not None:
            yield replace(finding, time=time or finding.time)

    def _backups(self, folder: str, wanted: Wanted, unavailable: list[Unavailable]) -> Iterator[Finding]:
        for below, _, names in os.walk(os.path.join(folder, "Backups")):
            for name in sorted(names):
                path = os.path.join(below, name)
                try:
                    first, newline, data = read_regular(path).partition(b"\n")
                    time = written_at(os.stat(path))
                except OSError as error:
                    unavailable.append(Unavailable(self.name, reason(error)))
                    continue
                notebook = path_of(first.split(b" ", 1)[0].decode("utf-8", "surrogateescape"))
                confidence = _fits(wanted, notebook)
                if newline and data and notebook and confidence is not None:
                    note = "not saved yet in the editor"
                    yield bytes_finding(self.name, path, notebook, confidence, data=data, time=time, note=note)


def vscode_folders(home: str, config_home: str, data_home: str) -> tuple[str, ...]:
    """Where editors of this family keep what they keep; most of these are not there."""
    places = [os.path.join(config_home, editor) for editor in _EDITORS]
    places += [os.path.join(home, "Library", "Application Support", editor) for editor in _EDITORS]
    places += [os.path.join(home, server, "data") for server in _SERVERS]
    places.append(os.path.join(data_home, "code-server"))
    places += [os.path.join(home, ".var", "app", app, "config", editor) for app, editor in _FLATPAKS]
    return tuple(dict.fromkeys(places))


def path_of(resource: str) -> str | None:
    """The path in a resource URI (``file:///…``, ``vscode-remote://…``); None when there is none."""
    try:
        parts = urlsplit(resource)
    except ValueError:
        return None
    path = os.fsdecode(unquote_to_bytes(parts.path.encode("utf-8", "surrogateescape")))
    return os.path.normpath(path) if parts.scheme and path.startswith("/") and "\0" not in path else None


def _fits(wanted: Wanted, notebook: str | None) -> Confidence | None:
    if notebook is None:
        return None
    name = os.path.basename(notebook)
    return fit(wanted, notebook) if is_notebook_name(name) and fits_name(wanted, name) else None


def _entries(raw: bytes) -> tuple[str | None, list[tuple[str, datetime | None]]]:
    """The path, and (file's name, time) of each state. Raises ValueError, RecursionError."""
    listing = json.loads(raw)
    if not isinstance(listing, dict) or not isinstance(listing.get("resource"), str):
        raise ValueError("no resource")
    entries: list[tuple[str, datetime | None]] = []
    given = listing.get("entries")
    for entry in given if isinstance(given, list) else []:
        if not isinstance(entry, dict):
            continue
        identity, stamp = entry.get("id"), entry.get("timestamp")
        if isinstance(identity, str) and identity not in ("", ".", "..") and not set(identity) & {"/", "\0"}:
            time = at_seconds(stamp / 1000) if isinstance(stamp, int | float) else None
            entries.append((identity, time))
    return path_of(listing["resource"]), entries
