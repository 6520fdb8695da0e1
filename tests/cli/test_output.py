"""How commands speak: nothing from a notebook reaches the terminal as a command to it."""

from __future__ import annotations

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.cli import output
from nbguard.cli.output import Bar, clean, one_line, path_fields, size, table


@given(st.text(alphabet=st.characters()))
def test_what_is_cleaned_holds_no_control_character(text: str) -> None:
    cleaned = one_line(text)
    assert cleaned.isprintable()
    assert set(clean(text)) <= set(cleaned) | {"\n", "\t", *cleaned}
    cleaned.encode("utf-8")


def test_right_to_left_tricks_are_shown() -> None:
    assert clean("eda\u202egnp.ipynb") == "eda\\u202egnp.ipynb"


def test_a_path_that_is_not_utf8_comes_with_its_bytes() -> None:
    assert path_fields("/a/b.ipynb") == {"path": "/a/b.ipynb"}
    assert path_fields("/\udcff", "written_to") == {"written_to": "/\ufffd", "written_to_b64": "L/8="}


def test_columns_are_aligned_and_names_stay_on_their_line() -> None:
    rows = [("a", "1", "x\ny"), ("bbb", "22", "z")]
    assert table(rows, right=" r") == ["a     1  x\\ny", "bbb  22  z"]
    assert table([]) == []


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (350_123, "350.1 kB"),
        (999_999, "1.0 MB"),
        (2_500_000_000, "2.5 GB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The monotonic clock of bars: what is in the list's first place."""
    now = [0.0]

    class Clock:
        def monotonic(self) -> float:
            return now[0]

    monkeypatch.setattr(output, "SystemClock", Clock)
    return now


def test_a_bar_appears_after_a_second_and_goes_away(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = Bar("restoring")
    bar(0, 10)
    assert terminal.getvalue() == ""
    seconds[0] = 1.5
    bar(5, 10)
    assert "restoring ############ " in terminal.getvalue()
    assert "5/10" in terminal.getvalue()
    bar(6, 10)
    assert "6/10" not in terminal.getvalue()  # not more often than ten times a second
    bar(10, 10)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_no_bar_without_a_terminal(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stderr", pipe)
    bar = Bar("restoring")
    seconds[0] = 5.0
    bar(5, 10)
    bar(0, 0)
    bar.clear()
    assert pipe.getvalue() == ""
