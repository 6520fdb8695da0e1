"""The fences around the tests themselves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import REAL_HOME, RealHomeTouched
from tests.helpers import poll

pytest_plugins = ["pytester"]


def test_a_test_has_a_home_of_its_own(home: Path) -> None:
    assert os.path.expanduser("~") == str(home)
    assert os.environ["NBGUARD_HOME"].startswith(str(home))


@pytest.mark.skipif(REAL_HOME == "/", reason="this user's home is the root folder")
def test_the_real_home_is_out_of_bounds() -> None:
    with pytest.raises(RealHomeTouched):
        Path(REAL_HOME, ".nbguard-must-not-be-here").write_text("x")


def test_poll_gives_up_with_what_it_saw() -> None:
    with pytest.raises(AssertionError, match="still gives 0"):
        poll(lambda: 0, 0.01)


def test_in_ci_a_skip_is_a_failure(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    pytester.makeconftest("from tests.conftest import pytest_make_collect_report, pytest_runtest_makereport\n")
    pytester.makepyfile("import pytest\ndef test_it(): pytest.skip('no tool')\n")
    monkeypatch.setenv("NBGUARD_CI", "1")
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(failed=1)
    monkeypatch.delenv("NBGUARD_CI")
    pytester.runpytest("-p", "no:cacheprovider").assert_outcomes(skipped=1)
