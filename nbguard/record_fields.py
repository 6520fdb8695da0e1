"""The fields of a record's line: to JSON and back, each checked on its way in, so that no record is half believed.

Reading raises ValueError, KeyError or TypeError.
"""

from __future__ import annotations

import os
import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import datetime

from nbguard.clock import from_iso, iso

_WORD = re.compile("[0-9A-Za-z._:-]{1,200}")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_MOST_NUMBER = 1 << 62
_OLDEST_YEAR, _LATEST_YEAR = 1000, 9999

Fields = Mapping[str, object]


def time_out(moment: datetime | None) -> str | None:
    """None also for a time that no clock has shown: databases hold those as well, and they do not come back."""
    return iso(moment) if moment is not None and _OLDEST_YEAR <= moment.year < _LATEST_YEAR else None


def text_out(key: str, text: str) -> dict[str, object]:
    """Escaped where JSON can say it: two lone surrogates side by side would come back as the character they spell."""
    if text.isascii() or not _PAIR.search(text):
        return {key: text}
    return {key: None, f"{key}_b64": b64encode(text.encode("utf-8", "surrogatepass")).decode("ascii")}


def path_out(key: str, path: str) -> dict[str, object]:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        try:
            return {key: None, f"{key}_b64": b64encode(os.fsencode(path)).decode("ascii")}
        except UnicodeEncodeError:
            pass  # no file is called so; as text then
    return {key: path}


def a_string(fields: Fields, key: str) -> str:
    found = fields[key]
    if not isinstance(found, str):
        raise ValueError(f"{key} is not text")
    return found


def a_word(fields: Fields, key: str) -> str:
    found = a_string(fields, key)
    if not _WORD.fullmatch(found):
        raise ValueError(f"{key} is not an id")
    return found


def word_or_none(fields: Fields, key: str) -> str | None:
    return None if fields.get(key) is None else a_word(fields, key)


def a_number(fields: Fields, key: str) -> int:
    found = fields[key]
    if not isinstance(found, int) or isinstance(found, bool) or abs(found) > _MOST_NUMBER:
        raise ValueError(f"{key} is not a number")
    return found


def number_or_none(fields: Fields, key: str) -> int | None:
    return None if fields.get(key) is None else a_number(fields, key)


def a_moment(fields: Fields, key: str) -> datetime:
    found = from_iso(a_string(fields, key))
    if not _OLDEST_YEAR <= found.year < _LATEST_YEAR:
        raise ValueError(f"{key} is not a time")
    return found


def moment_or_none(fields: Fields, key: str) -> datetime | None:
    return None if fields.get(key) is None else a_moment(fields, key)


def a_text(fields: Fields, key: str) -> str:
    found = text_or_none(fields, key)
    if found is None:
        raise ValueError(f"{key} is missing")
    return found


def text_or_none(fields: Fields, key: str) -> str | None:
    if isinstance(encoded := fields.get(f"{key}_b64"), str):
        return b64decode(encoded).decode("utf-8", "surrogatepass")
    return None if fields.get(key) is None else a_string(fields, key)


def a_path(fields: Fields, key: str) -> str:
    found = path_or_none(fields, key)
    if found is None:
        raise ValueError(f"{key} is missing")
    return found


def path_or_none(fields: Fields, key: str) -> str | None:
    if isinstance(encoded := fields.get(f"{key}_b64"), str):
        return os.fsdecode(b64decode(encoded))
    return None if fields.get(key) is None else a_string(fields, key)
