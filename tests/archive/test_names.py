"""Names: every path a disk can hold has a name in the archive that git and common disks accept, and comes back."""

from __future__ import annotations

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.archive.names import disk_path, escape_component, tree_path, unescape_component
from tests.archive.hostile import HOSTILE_NAMES

_COMPONENT = (
    st.binary(min_size=1, max_size=255)
    .map(lambda raw: raw.replace(b"/", b"%").replace(b"\0", b"~"))
    .filter(lambda raw: raw not in (b".", b".."))
)
_LIKELY = st.lists(
    st.sampled_from(
        [
            ".",
            " ",
            "git",
            ".git",
            "~1",
            "%",
            "%2E",
            "con",
            "CON",
            "nul",
            "\u200c",
            "\ufeff",
            "modules",
            "A",
            "é",
            "\udc80",
        ]
    ),
    min_size=1,
    max_size=5,
).map(lambda parts: os.fsencode("".join(parts)))


@given(components=st.lists(_COMPONENT | _LIKELY, min_size=1, max_size=6))
def test_any_path_comes_back_byte_for_byte(components: list[bytes]) -> None:
    path = os.fsdecode(b"/" + b"/".join(components))
    tree = tree_path(path)
    tree.encode("utf-8")
    assert disk_path(tree) == path


@given(first=_COMPONENT | _LIKELY, second=_COMPONENT | _LIKELY)
def test_no_two_names_become_one(first: bytes, second: bytes) -> None:
    if first != second:
        assert escape_component(os.fsdecode(first)) != escape_component(os.fsdecode(second))


@given(component=_COMPONENT | _LIKELY)
def test_an_escaped_name_has_nothing_a_common_disk_refuses(component: bytes) -> None:
    text = escape_component(os.fsdecode(component))
    assert not re.search(r'[\x00-\x1f\x7f\\:*?"<>|/]', text)
    assert not text.endswith((".", " "))
    stem = text.partition(".")[0].rstrip(" ").lower()
    assert stem not in {"con", "prn", "aux", "nul", "com1", "lpt9"}
    assert unescape_component(text) == os.fsdecode(component)


@pytest.mark.parametrize(
    "name",
    [
        "eda.ipynb",
        "Übung 1.ipynb",
        "-rf.ipynb",
        "(top).ipynb",
        "~x.ipynb",
        ".hidden",
        "conway.ipynb",
        "日本.ipynb",
        "gitlab",
        "git",
    ],
)
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert escape_component(name) == name


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_every_hostile_name_comes_back(name: bytes) -> None:
    path = os.fsdecode(b"/home/" + name)
    assert disk_path(tree_path(path)) == path


@pytest.mark.parametrize("tree", ["notebooks", "notebooks/", "elsewhere/a", ""])
def test_a_path_that_is_not_ours_is_refused(tree: str) -> None:
    with pytest.raises(ValueError, match="not below"):
        disk_path(tree)
