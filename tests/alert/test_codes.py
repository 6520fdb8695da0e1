"""Codes: easy to type, hard to guess, never kept as they are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.alert.codes import ALPHABET, code_of, digest_of, is_code, normalised, spelled
from tests.alert.town import DAY, HOUR, MINUTE, Town


@given(st.binary(min_size=5, max_size=5))
def test_a_code_is_typed_back_in_any_case_with_or_without_dashes(random: bytes) -> None:
    code = code_of(random)
    assert len(code) == 8
    assert set(code) <= set(ALPHABET)
    for typed in (code, spelled(code), code.lower(), f" {code[:2]} {code[2:]}\n"):
        assert is_code(typed, "salt", digest_of("salt", code))


@given(st.text(max_size=30))
def test_anything_may_be_typed(typed: str) -> None:
    normalised(typed)
    assert not is_code(typed, "salt", digest_of("salt", ""))


@pytest.mark.parametrize(("typed", "read"), [("O0Il-1L00", "00111100"), ("k7q2 9xpm", "K7Q29XPM")])
def test_lookalikes_are_forgiven(typed: str, read: str) -> None:
    assert normalised(typed) == read


@pytest.mark.parametrize("typed", ["", "K7Q29XP", "K7Q29XPMM", "K7Q2-9XPU", "K7Q2\x009XPM", "é" * 8, "x" * 10_000])
def test_what_is_no_code_is_none(typed: str) -> None:
    assert normalised(typed) is None


def test_a_code_is_never_on_the_disk(town: Town) -> None:
    town.break_("daemon-down")
    town.live(2 * HOUR)
    codes = [each.code for each in town.boxes.all()]
    assert codes
    stored = town.path.read_text()
    assert not any(code is None or code in stored or code.replace("-", "") in stored for code in codes)


def test_a_code_counts_once(town: Town) -> None:
    town.desk.step()
    code = town.boxes.of("mail")[-1].code or ""
    assert town.desk.answer(code).outcome == "accepted"
    assert town.desk.answer(code).outcome == "already"


def test_a_code_runs_out_after_a_fortnight(town: Town) -> None:
    town.desk.step()
    code = town.boxes.of("mail")[-1].code or ""
    town.clock.true += 14 * DAY + MINUTE
    assert town.desk.answer(code).outcome == "expired"


def test_what_is_no_code_at_all_uses_up_no_patience(town: Town) -> None:
    town.desk.step()
    for _ in range(20):
        assert town.desk.answer("mailto://typed.where.a.code/was?asked").outcome == "unknown"
    assert town.desk.answer(town.boxes.of("mail")[-1].code or "").outcome == "accepted"


def test_after_ten_wrong_codes_none_is_heard_for_an_hour(town: Town) -> None:
    town.desk.step()
    code = town.boxes.of("mail")[-1].code or ""
    for number in range(10):
        assert town.desk.answer(f"0000000{number}").outcome == "unknown"
    assert town.desk.answer(code).outcome == "too-many"
    assert town.new_desk().answer(code).outcome == "too-many", "also of another process"
    town.clock.true += HOUR
    assert town.desk.answer(code).outcome == "accepted"
