"""The configuration file, written: Settings to TOML, and small changes to a file that leave the rest as it stands."""

from __future__ import annotations

import re
import tomllib
from dataclasses import asdict, fields, replace

from nbguard.errors import BadConfiguration
from nbguard.settings import SCHEMA, Channel, Mirror, Settings
from nbguard.settings_reading import parse_settings


def as_table(settings: Settings) -> dict[str, object]:
    """Every setting, also those left at their defaults, as plain values."""
    table: dict[str, object] = {"schema": SCHEMA, "roots": list(settings.roots), "ignore": list(settings.ignore)}
    for name in ("archive", "emergency"):
        if (folder := getattr(settings, name)) is not None:
            table[name] = folder
    for name in ("limits", "intervals", "packing", "retention", "recorder", "alerts", "roll_call", "checks"):
        values = {item.name: getattr(getattr(settings, name), item.name) for item in fields(getattr(settings, name))}
        table[name] = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    for name in ("channels", "mirrors"):
        rows = [_without_nothing(asdict(item)) for item in getattr(settings, name)]
        if rows:
            table[name] = rows
    return table


def _without_nothing(row: dict[str, object]) -> dict[str, object]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in row.items() if value}


def as_toml(settings: Settings) -> str:
    """Every setting as TOML; parse_settings reads it back to the same. Raises BadConfiguration (path not UTF-8)."""
    top, tables = [], []
    for name, value in as_table(settings).items():
        if isinstance(value, dict):
            tables += ["", f"[{name}]", *(f"{key} = {_as_value(item)}" for key, item in value.items())]
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for row in value:
                tables += ["", f"[[{name}]]", *(f"{key} = {_as_value(item)}" for key, item in row.items())]
        else:
            top.append(f"{name} = {_as_value(value)}")
    return "\n".join([*top, *tables]) + "\n"


def _as_value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_as_value(item) for item in value)}]"
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


def with_channels(raw: bytes, path: str, added: tuple[Channel, ...]) -> bytes:
    """A configuration's bytes with more channels at its end, everything else left as it stands.

    Raises BadConfiguration when they cannot be added there safely; no message holds a URL.
    """
    before = parse_settings(raw, path)
    tables = "".join(
        "\n[[channels]]\n" + "".join(f"{key} = {_as_value(value)}\n" for key, value in row.items())
        for row in (_without_nothing(asdict(channel)) for channel in added)
    )
    wanted = replace(before, channels=(*before.channels, *added))
    return _appended(raw, path, tables, wanted, hint="add a table [[channels]] for each by hand")


def with_without_channels(raw: bytes, path: str) -> bytes:
    """A configuration's bytes in which it is on record that no channel is wanted. Raises BadConfiguration."""
    before = parse_settings(raw, path)
    if before.alerts.without_channels:
        return raw
    wanted = replace(before, alerts=replace(before.alerts, without_channels=True))
    hint = "set `without_channels = true` under [alerts] by hand"
    said = re.compile(rb"(?m)^([ \t]*without_channels[ \t]*=[ \t]*)false\b")
    if said.search(raw):
        return _checked(said.sub(rb"\1true", raw, count=1), path, wanted, hint)
    header = re.compile(rb"(?m)^[ \t]*\[[ \t]*alerts[ \t]*\][^\n]*$")
    if found := header.search(raw):
        changed = raw[: found.end()] + b"\nwithout_channels = true" + raw[found.end() :]
        return _checked(changed, path, wanted, hint)
    return _appended(raw, path, "\n[alerts]\nwithout_channels = true\n", wanted, hint)


def with_mirror(raw: bytes, path: str, added: Mirror) -> bytes:
    """A configuration's bytes with one more mirror at its end, everything else left as it stands.

    Raises BadConfiguration when it cannot be added there safely; no message holds its address.
    """
    before = parse_settings(raw, path)
    rows = "".join(f"{key} = {_as_value(value)}\n" for key, value in asdict(added).items())
    wanted = replace(before, mirrors=(*before.mirrors, added))
    return _appended(raw, path, f"\n[[mirrors]]\n{rows}", wanted, hint="add a table [[mirrors]] by hand")


def without_mirror(raw: bytes, path: str, name: str) -> bytes:
    """A configuration's bytes without the mirror of that name, everything else left as it stands.

    Raises BadConfiguration when it is written in a way that we had rather not touch.
    """
    before = parse_settings(raw, path)
    wanted = replace(before, mirrors=tuple(mirror for mirror in before.mirrors if mirror.name != name))
    hint = f"take the mirror {name} out of it by hand"
    row, gap = rb"[ \t]*(?:name|url)[ \t]*=[^\n]*(?:\n|\Z)", rb"[ \t]*\n(?![ \t]*[#\[])"
    table = re.compile(rb"(?m)^[ \t]*\[\[[ \t]*mirrors[ \t]*\]\][^\n]*\n(?:%b|%b)*" % (row, gap))
    for found in table.finditer(raw):
        changed = raw[: found.start()].rstrip(b"\n") + b"\n" + raw[found.end() :]
        try:
            return _checked(changed, path, wanted, hint)
        except BadConfiguration:
            continue
    raise BadConfiguration(f"{path} cannot be changed safely", hint=hint)


def _appended(raw: bytes, path: str, tables: str, wanted: Settings, hint: str) -> bytes:
    return _checked(raw.rstrip() + b"\n" + tables.encode("utf-8"), path, wanted, hint)


def _checked(changed: bytes, path: str, wanted: Settings, hint: str) -> bytes:
    """The bytes, if they say just what is wanted."""
    try:
        is_wanted = parse_settings(changed, path) == wanted
    except BadConfiguration as error:
        raise BadConfiguration(f"{path} cannot be changed ({error.message})", hint=hint) from error
    if not is_wanted:
        raise BadConfiguration(f"{path} cannot be changed safely", hint=hint)
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
