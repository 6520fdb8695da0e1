"""What nbformat objects to is said, and nothing makes the asking fail."""

from __future__ import annotations

import json

import pytest

from nbguard.recover.validity import complaint


def _notebook(**more: object) -> bytes:
    return json.dumps({"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5, **more}).encode()


def test_a_valid_notebook_draws_no_complaint() -> None:
    assert complaint(_notebook()) == ""


def test_missing_cell_ids_are_no_complaint_for_jupyter_adds_them() -> None:
    cell = {"cell_type": "markdown", "metadata": {}, "source": "x"}
    assert complaint(_notebook(nbformat_minor=4, cells=[cell])) == ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        _notebook(cells=[{"cell_type": "odd"}]),
        b'"x"',
    ],
    ids=["empty", "a list", "no cells", "not UTF-8", "byte order mark", "deep", "odd cell", "a string"],
)
def test_whatever_is_no_notebook_is_said_in_one_short_line(data: bytes) -> None:
    said = complaint(data)
    assert 0 < len(said) <= 200
    assert "\n" not in said
