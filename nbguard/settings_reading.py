"""The configuration file, read: TOML to Settings. Unknown keys are fatal, with their line and a hint."""

from __future__ import annotations

import math
import os
import re
import tomllib
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from nbguard.durable import read_plain
from nbguard.errors import BadConfiguration
from nbguard.settings import (
    SCHEMA,
    Alerts,
    Channel,
    Checks,
    Intervals,
    Limits,
    Mirror,
    Packing,
    Recording,
    Retention,
    RollCall,
    Settings,
)

_Numbers = TypeVar("_Numbers", Limits, Intervals, Packing, Retention, Recording, Alerts, RollCall, Checks)
_MOST_BYTES = 4_000_000
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def load_settings(path: str) -> Settings | None:
    """Settings from a file; None when there is no such file. Raises BadConfiguration, never guesses."""
    try:
        raw = read_plain(path, _MOST_BYTES)
    except FileNotFoundError:
        if os.path.islink(path):
            hint = "mount what it points to, or remove the link"
            raise BadConfiguration(f"{path} is a link to nothing", hint=hint) from None
        return None
    except OSError as error:
        raise BadConfiguration(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error
    return parse_settings(raw, path)


def parse_settings(raw: bytes, path: str) -> Settings:
    """Settings from TOML bytes; ``path`` is for messages. Raises BadConfiguration with file, line and hint."""
    hint = "run `nbguard config validate` after mending it"
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadConfiguration(f"{path}:{line}: the file is not UTF-8", hint=hint) from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"\(at line (\d+), column \d+\)$", str(error))
        line = int(found[1]) if found else text.count("\n") + 1
        raise BadConfiguration(f"{path}:{line}: {str(error).split(' (at ')[0]}", hint=hint) from error
    except RecursionError as error:
        raise BadConfiguration(f"{path}: nested too deeply", hint=hint) from error
    return _Reader(text, path).settings(table)


class _Reader:
    """Turns one parsed TOML table into Settings, naming the line of whatever is wrong."""

    def __init__(self, text: str, path: str) -> None:
        self._lines = text.split("\n")
        self._path = path

    def settings(self, table: dict[str, object]) -> Settings:
        known = {item.name for item in fields(Settings)} | {"schema"}
        self._only(table, known, "")
        if "schema" not in table:
            raise BadConfiguration(f"{self._path}:1: no schema", hint=f"add the line `schema = {SCHEMA}` at the top")
        if table["schema"] != SCHEMA or isinstance(table["schema"], bool):
            raise self._wrong("schema", f"is {table['schema']!r}, this nbguard reads {SCHEMA}")
        return Settings(
            roots=tuple(dict.fromkeys(self._folder(item) for item in self._strings(table, "roots"))),
            ignore=self._patterns(table, "ignore"),
            archive=self._optional_folder(table, "archive"),
            emergency=self._optional_folder(table, "emergency"),
            limits=self._numbers(table, "limits", Limits()),
            intervals=self._numbers(table, "intervals", Intervals()),
            packing=self._numbers(table, "packing", Packing()),
            retention=self._numbers(table, "retention", Retention()),
            recorder=self._recorder(table),
            channels=self._channels(table),
            alerts=self._alerts(table),
            roll_call=self._with_pauses(table, "roll_call", RollCall(), "remind_seconds"),
            checks=self._numbers(table, "checks", Checks()),
            mirrors=self._mirrors(table),
        )

    def _line(self, key: str, section: str) -> str:
        """Where ``key`` stands, counting only lines under the header of its section ("" is the top)."""
        inside, header = "", re.compile(r"\s*\[+\s*([^\]]*?)\s*\]")
        named = re.compile(rf"""\s*(["']?){re.escape(key)}\1\s*[.=]""")
        for number, line in enumerate(self._lines, 1):
            if found := header.match(line):
                inside = found[1].strip("\"'")
                if not section and inside.split(".")[0].strip("\"' ") == key:
                    return f"{self._path}:{number}"
            elif inside == section and named.match(line):
                return f"{self._path}:{number}"
        return self._path if not section else self._line(section, "")

    def _wrong(self, key: str, what: str, hint: str = "", section: str = "") -> BadConfiguration:
        hint = hint or "docs/configuration.md lists every key"
        return BadConfiguration(f"{self._line(key, section)}: {key} {what}", hint=hint)

    def _only(self, table: dict[str, object], known: set[str], section: str) -> None:
        for key in table:
            if key not in known:
                from difflib import get_close_matches

                near = get_close_matches(key, known, n=1)
                hint = f"did you mean `{near[0]}`?" if near else f"known keys: {', '.join(sorted(known))}"
                raise self._wrong(key, "is not a known key", hint, section)

    def _strings(self, table: dict[str, object], key: str, section: str = "") -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
            raise self._wrong(key, "must be a list of strings", f'for example: {key} = ["~/work"]', section)
        return tuple(str(item) for item in value)

    def _recorder(self, table: dict[str, object]) -> Recording:
        value = table.get("recorder", {})
        if not isinstance(value, dict):
            raise self._wrong("recorder", "must be a table: [recorder]")
        rest = dict(value)
        switches = {}
        for name in ("enabled", "other_kernels"):
            if not isinstance(found := rest.pop(name, getattr(Recording(), name)), bool):
                raise self._wrong(name, "must be true or false", section="recorder")
            switches[name] = found
        exclude = self._patterns(rest, "exclude", "recorder")
        rest.pop("exclude", None)
        known = {item.name for item in fields(Recording)}
        self._only(rest, known, "recorder")
        numbers = self._numbers({"recorder": rest}, "recorder", Recording())
        return replace(numbers, exclude=exclude, **switches)

    def _patterns(self, table: dict[str, object], key: str, section: str = "") -> tuple[str, ...]:
        patterns = self._strings(table, key, section)
        if patterns:
            import pathspec

            try:
                pathspec.GitIgnoreSpec.from_lines(patterns)
            except ValueError as error:
                raise self._wrong(
                    key, f"has a bad pattern: {error}", "patterns are as in .gitignore", section
                ) from error
        return patterns

    def _folder(self, value: str) -> str:
        expanded = os.path.expanduser(value)
        if not os.path.isabs(expanded) or "\0" in expanded:
            raise self._wrong("roots", f"holds {value!r}, which is not an absolute path", "write it from / or ~")
        return os.path.normpath(expanded)

    def _optional_folder(self, table: dict[str, object], key: str) -> str | None:
        value = table.get(key)
        if value is None:
            return None
        if not isinstance(value, str) or "\0" in value or not os.path.isabs(os.path.expanduser(value)):
            raise self._wrong(key, "must be an absolute path", f'for example: {key} = "~/kept"')
        return os.path.normpath(os.path.expanduser(value))

    def _numbers(self, table: dict[str, object], key: str, default: _Numbers) -> _Numbers:
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, f"must be a table: [{key}]")
        every = {item.name: getattr(default, item.name) for item in fields(default)}
        known = {name: number for name, number in every.items() if _is_number(number)}
        self._only(value, set(known), key)
        numbers: dict[str, Any] = {}  # each of its field's own type, as checked here
        for name, number in value.items():
            whole = isinstance(known[name], int)
            right = isinstance(number, int if whole else (int, float)) and not isinstance(number, bool)
            if not right or not math.isfinite(number) or number <= 0:
                raise self._wrong(name, f"must be a {'whole ' if whole else ''}number above 0", section=key)
            numbers[name] = int(number) if whole else float(number)
        return replace(default, **numbers)

    def _alerts(self, table: dict[str, object]) -> Alerts:
        value = table.get("alerts", {})
        if not isinstance(value, dict):
            raise self._wrong("alerts", "must be a table: [alerts]")
        rest = dict(value)
        if not isinstance(without := rest.pop("without_channels", False), bool):
            raise self._wrong("without_channels", "must be true or false", section="alerts")
        if not isinstance(ping := rest.pop("ping_url", ""), str):
            raise self._wrong("ping_url", "must be a string", section="alerts")
        made = self._with_pauses({"alerts": rest}, "alerts", Alerts(), "repeat_seconds")
        return replace(made, without_channels=without, ping_url=ping)

    def _with_pauses(self, table: dict[str, object], key: str, default: _Numbers, pauses: str) -> _Numbers:
        """A table of numbers, one of which is a list of seconds that grow."""
        value = table.get(key, {})
        if not isinstance(value, dict):
            raise self._wrong(key, f"must be a table: [{key}]")
        rest = dict(value)
        given = rest.pop(pauses, None)
        made = self._numbers({key: rest}, key, default)
        if given is None:
            return made
        right = isinstance(given, list) and given and all(_is_number(item) and item >= 0 for item in given)
        if not right or list(given) != sorted(set(given)):
            raise self._wrong(pauses, "must be a list of seconds that grow", "for example: [0, 1800, 86400]", key)
        changed: dict[str, Any] = {pauses: tuple(float(item) for item in given)}
        return replace(made, **changed)

    def _channels(self, table: dict[str, object]) -> tuple[Channel, ...]:
        channels = []
        for item in self._tables(table, "channels", {"name", "human", "url", "command"}):
            url, command = item.get("url", ""), item.get("command", [])
            if not isinstance(url, str) or not isinstance(command, list) or bool(url) == bool(command):
                raise self._wrong("channels", "needs either a url or a command", section="channels")
            words = self._strings(item, "command", "channels")
            name, human = (self._name(item, key, "channels") for key in ("name", "human"))
            channels.append(Channel(name=name, human=human, url=url, command=words))
        self._no_name_twice("channels", [channel.name for channel in channels])
        return tuple(channels)

    def _mirrors(self, table: dict[str, object]) -> tuple[Mirror, ...]:
        mirrors = []
        for item in self._tables(table, "mirrors", {"name", "url"}):
            url = item.get("url")
            if not isinstance(url, str) or not url or not url.isprintable() or url.startswith("-"):
                raise self._wrong("url", "must be a git remote", "for example: /media/disk/nbguard.git", "mirrors")
            mirrors.append(Mirror(name=self._name(item, "name", "mirrors"), url=url))
        self._no_name_twice("mirrors", [mirror.name for mirror in mirrors])
        return tuple(mirrors)

    def _tables(self, table: dict[str, object], key: str, known: set[str]) -> list[dict[str, object]]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self._wrong(key, f"must be tables: [[{key}]]")
        for item in value:
            self._only(item, known, key)
        return value

    def _name(self, item: dict[str, object], key: str, section: str) -> str:
        value = item.get(key)
        if not isinstance(value, str) or not _NAME.fullmatch(value):
            hint = f'each of [[{section}]] needs one, for example: {key} = "ada"'
            raise self._wrong(key, "must be lower-case letters, digits, dots and dashes", hint, section)
        return value

    def _no_name_twice(self, section: str, names: Sequence[str]) -> None:
        for name in names:
            if names.count(name) > 1:
                raise self._wrong("name", f"{name!r} stands there twice", "names are unique", section)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
