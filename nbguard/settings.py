"""The configuration: TOML to frozen dataclasses. Unknown keys are fatal, with their line and a hint."""

from __future__ import annotations

import math
import os
import re
import tomllib
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

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
class Retention:
    """How long recorded outputs are kept, and how many bytes of them. Code is kept for ever."""

    outputs_days: float = 90.0
    outputs_bytes: int = 2_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The flight recorder: ``exclude`` are gitignore patterns relative to a root, caps are in bytes."""

    enabled: bool = True
    other_kernels: bool = False
    exclude: tuple[str, ...] = ()
    output_bytes: int = 8_000_000
    day_bytes: int = 250_000_000


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
    retention: Retention = field(default_factory=Retention)
    recorder: Recording = field(default_factory=Recording)


_Numbers = TypeVar("_Numbers", Limits, Intervals, Packing, Retention, Recording)


def load_settings(path: str) -> Settings | None:
    """Settings from a file; None when there is no such file. Raises BadConfiguration, never guesses."""
    try:
        with open(path, "rb") as file:
            raw = file.read()
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
        known = {item.name: getattr(default, item.name) for item in fields(default)}
        self._only(value, set(known), key)
        numbers: dict[str, Any] = {}  # each of its field's own type, as checked here
        for name, number in value.items():
            whole = isinstance(known[name], int)
            right = isinstance(number, int if whole else (int, float)) and not isinstance(number, bool)
            if not right or not math.isfinite(number) or number <= 0:
                raise self._wrong(name, f"must be a {'whole ' if whole else ''}number above 0", section=key)
            numbers[name] = int(number) if whole else float(number)
        return replace(default, **numbers)


def as_table(settings: Settings) -> dict[str, object]:
    """Every setting, also those left at their defaults, as plain values."""
    table: dict[str, object] = {"schema": SCHEMA, "roots": list(settings.roots), "ignore": list(settings.ignore)}
    for name in ("archive", "emergency"):
        if (folder := getattr(settings, name)) is not None:
            table[name] = folder
    for name in ("limits", "intervals", "packing", "retention", "recorder"):
        values = {item.name: getattr(getattr(settings, name), item.name) for item in fields(getattr(settings, name))}
        table[name] = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    return table


def as_toml(settings: Settings) -> str:
    """Every setting as TOML; parse_settings reads it back to the same. Raises BadConfiguration (path not UTF-8)."""
    top, tables = [], []
    for name, value in as_table(settings).items():
        if isinstance(value, dict):
            tables += ["", f"[{name}]", *(f"{key} = {_as_value(item)}" for key, item in value.items())]
        else:
            top.append(f"{name} = {_as_value(value)}")
    return "\n".join([*top, *tables]) + "\n"


def _as_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_quoted(item) for item in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def with_roots(raw: bytes, path: str, added: tuple[str, ...]) -> bytes:
    """A configuration's bytes with more roots in it, everything else (comments too) left as it stands.

    Raises BadConfiguration when the file cannot be read, or is laid out so that we had rather not touch it.
    """
    before = parse_settings(raw, path)
    new = tuple(root for root in dict.fromkeys(added) if root not in before.roots)
    if not new:
        return raw
    text = raw.decode("utf-8")
    lines = "".join(f"\n  {_quoted(root)}," for root in new)
    header = re.search(r"(?m)^\s*\[", text)
    top = text[: header.start()] if header else text
    found = re.search(r"""(?m)^[ \t]*(["']?)roots\1[ \t]*=[ \t]*\[""", text)
    if found is None:
        after = top.rstrip()
        changed = f"{after}\n\nroots = [{lines}\n]\n{text[len(after) :]}"
    else:
        changed = text[: found.end()] + lines + text[found.end() :]
    result = changed.encode("utf-8")
    hint = f"add them by hand to `roots`: {', '.join(new)}"
    try:
        after_all = parse_settings(result, path)
    except BadConfiguration as error:
        raise BadConfiguration(f"{path}: cannot add folders to it ({error.message})", hint=hint) from error
    if after_all != replace(before, roots=after_all.roots) or set(after_all.roots) != {*before.roots, *new}:
        raise BadConfiguration(f"{path}: cannot add folders to it safely", hint=hint)
    return result


def with_recorder(raw: bytes, path: str, *, enabled: bool) -> bytes:
    """A configuration's bytes with the recorder switched on or off, where nothing is said of it yet.

    Raises BadConfiguration when something is: then it is for its owner to change.
    """
    before = parse_settings(raw, path)
    word = "true" if enabled else "false"
    changed = raw.rstrip() + f"\n\n[recorder]\nenabled = {word}\n".encode()
    hint = f"set `enabled = {word}` under [recorder] by hand"
    try:
        after = parse_settings(changed, path)
    except BadConfiguration as error:
        raise BadConfiguration(f"{path}: the recorder cannot be switched in it", hint=hint) from error
    if after != replace(before, recorder=replace(before.recorder, enabled=enabled)):
        raise BadConfiguration(f"{path}: the recorder cannot be switched in it safely", hint=hint)
    return changed


def says_of_recorder(raw: bytes) -> bool:
    """Whether a configuration (one that can be read) has a [recorder] table."""
    return "recorder" in tomllib.loads(raw.decode("utf-8"))


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
