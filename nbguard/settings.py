"""The configuration: TOML to frozen dataclasses. Unknown keys are fatal, with their line and a hint."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import TypeVar

from nbguard.errors import BadConfiguration

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes, in bytes unless named otherwise."""

    stream_over_bytes: int = 8_000_000
    slow_over_bytes: int = 20_000_000
    refuse_over_bytes: int = 512_000_000
    slow_interval_seconds: float = 600.0
    reserve_bytes: int = 256_000_000
    reserve_percent: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """How often, in seconds."""

    sweep_seconds: float = 240.0
    guard_seconds: float = 20.0
    heartbeat_seconds: float = 10.0
    pack_seconds: float = 900.0
    maintenance_seconds: float = 21_600.0
    mass_deletion_hold_seconds: float = 86_400.0
    poll_seconds: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """When the packer runs: so many drafts, or so many bytes, or the oldest so old (Intervals.pack_seconds)."""

    drafts: int = 64
    bytes: int = 256_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything a user can set. ``roots`` are absolute; ``ignore`` are gitignore patterns relative to a root."""

    roots: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    archive: str | None = None
    emergency: str | None = None
    limits: Limits = field(default_factory=Limits)
    intervals: Intervals = field(default_factory=Intervals)
    packing: Packing = field(default_factory=Packing)


_Numbers = TypeVar("_Numbers", Limits, Intervals, Packing)


def load_settings(path: str) -> Settings | None:
    """Settings from a file; None when there is no such file. Raises BadConfiguration, never guesses."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadConfiguration(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    return parse_settings(raw, path)


def parse_settings(raw: bytes, path: str) -> Settings:
    """Settings from TOML bytes; ``path`` is for messages and for relative roots. Raises BadConfiguration."""
    try:
        text = raw.decode("utf-8")
        table = tomllib.loads(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadConfiguration(f"{path}: {error}", hint="run `nbguard config validate` after mending it") from error
    return _Reader(text, path).settings(table)


class _Reader:
    """Turns one parsed TOML table into Settings, naming the line of whatever is wrong."""

    def __init__(self, text: str, path: str) -> None:
        self._lines = text.splitlines()
        self._path = path

    def settings(self, table: dict[str, object]) -> Settings:
        known = {item.name for item in fields(Settings)} | {"schema"}
        self._only(table, known)
        if "schema" not in table:
            raise BadConfiguration(f"{self._path}: no schema", hint=f"add the line `schema = {SCHEMA}` at the top")
        if table["schema"] != SCHEMA:
            raise self._wrong("schema", f"is {table['schema']!r}, this nbguard reads {SCHEMA}")
        return Settings(
            roots=tuple(self._folder(item) for item in self._strings(table, "roots")),
            ignore=self._patterns(table),
            archive=self._optional_folder(table, "archive"),
            emergency=self._optional_folder(table, "emergency"),
            limits=self._numbers(table, "limits", Limits()),
            intervals=self._numbers(table, "intervals", Intervals()),
            packing=self._numbers(table, "packing", Packing()),
        )

    def _line(self, key: str) -> str:
        for number, line in enumerate(self._lines, 1):
            if line.split("#")[0].split("=")[0].strip().strip('"[]') == key:
                return f"{self._path}:{number}"
        return self._path

    def _wrong(self, key: str, what: str, hint: str = "") -> BadConfiguration:
        return BadConfiguration(f"{self._line(key)}: {key} {what}", hint=hint or "see docs/configuration.md")

    def _only(self, table: dict[str, object], known: set[str]) -> None:
        for key in table:
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(sorted(known))}"
                raise self._wrong(key, "is not a known key", hint)

    def _strings(self, table: dict[str, object], key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self._wrong(key, "must be a list of strings", f'for example: {key} = ["~/work"]')
        return tuple(str(item) for item in value)

    def _patterns(self, table: dict[str, object]) -> tuple[str, ...]:
        patterns = self._strings(table, "ignore")
        if patterns:
            import pathspec

            try:
                pathspec.GitIgnoreSpec.from_lines(patterns)
            except ValueError as error:
                raise self._wrong("ignore", f"has a bad pattern: {error}", "patterns are as in .gitignore") from error
        return patterns

    def _folder(self, value: str) -> str:
        expanded = os.path.expanduser(value)
        if not os.path.isabs(expanded):
            raise self._wrong("roots", f"holds {value!r}, which is not absolute", "write it from / or ~")
        return os.path.normpath(expanded)

    def _optional_folder(self, table: dict[str, object], key: str) -> str | None:
        value = table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or not os.path.isabs(os.path.expanduser(value)):
            raise self._wrong(key, "must be an absolute path")
        return os.path.normpath(os.path.expanduser(value))

    def _numbers(self, table: dict[str, object], key: str, default: _Numbers) -> _Numbers:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, f"must be a table: [{key}]")
        known = {item.name: getattr(default, item.name) for item in fields(default)}
        self._only(value, set(known))
        for name, number in value.items():
            whole = isinstance(known[name], int)
            if isinstance(number, bool) or not isinstance(number, int if whole else (int, float)) or number <= 0:
                raise self._wrong(name, f"must be a {'whole ' if whole else ''}number above 0")
        return replace(default, **value)


def minimal_configuration(roots: tuple[str, ...], ignore: tuple[str, ...] = ()) -> bytes:
    """The text of a configuration with nothing but roots (and ignore patterns); parse_settings reads it back."""
    lines = [f"schema = {SCHEMA}", "", "# Folders whose notebooks are kept.", "roots = ["]
    lines += [f"  {_quoted(root)}," for root in roots]
    lines.append("]")
    if ignore:
        lines += ["", "# Patterns as in .gitignore, relative to a root.", "ignore = ["]
        lines += [f"  {_quoted(pattern)}," for pattern in ignore]
        lines.append("]")
    return ("\n".join(lines) + "\n").encode("utf-8")


def _quoted(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadConfiguration(
            f"{text!r} is not UTF-8, and TOML cannot hold it", hint="watch the folder above it"
        ) from None
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 0x20 or ord(c) == 0x7F else "\\" + c if c in '"\\' else c for c in text
    )
    return f'"{escaped}"'
