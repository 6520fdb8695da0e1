"""Whose a session is, by what it says: a copy that is nearly as like makes it ambiguous."""

from __future__ import annotations

import pytest

from nbguard.executed import Confidence
from nbguard.rescue.likeness import likeness

LINES = [f"value_{number} = compute({number})" for number in range(20)]
OTHER = [f"other_{number} = load({number})" for number in range(20)]


@pytest.mark.parametrize(
    ("notebooks", "session", "expected"),
    [
        ({"/a": LINES, "/b": OTHER}, LINES[:5], ("/a", Confidence.PROBABLE)),
        ({"/a": LINES, "/b": LINES}, LINES[:5], (None, Confidence.AMBIGUOUS)),
        ({"/a": LINES, "/copy": LINES[4:], "/b": OTHER}, LINES[:10], (None, Confidence.PROBABLE)),
        ({"/a": LINES, "/copy": LINES[2:], "/b": OTHER}, LINES[:10], ("/a", Confidence.AMBIGUOUS)),
        ({"/a": LINES, "/b": [*OTHER, *LINES[2:10]]}, LINES[:10], ("/a", Confidence.PROBABLE)),
        ({"/b": OTHER}, LINES[:5], (None, Confidence.UNKNOWN)),
        ({}, [], (None, Confidence.UNKNOWN)),
    ],
)
def test_a_session_is_probably_a_notebooks_only_where_no_copy_of_it_comes_near(
    notebooks: dict[str, list[str]], session: list[str], expected: tuple[str | None, Confidence]
) -> None:
    path, confidence = likeness(notebooks).of(session)
    assert confidence is expected[1]
    assert expected[0] in (None, path)
