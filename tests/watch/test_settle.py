"""When a path is worth a look, for each kind of writer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.model import NoticeKind, SaveNotice
from nbguard.watch.settle import (
    QUIET_SECONDS,
    STREAM_CAP_SECONDS,
    Settling,
    large_due,
)

CLOSED, MOVED_IN, CREATED = NoticeKind.CLOSED, NoticeKind.MOVED_IN, NoticeKind.CREATED
GONE, SWEPT, RETRY = NoticeKind.GONE, NoticeKind.SWEPT, NoticeKind.RETRY


def due(*events: tuple[NoticeKind, float]) -> float:
    """When one path is looked at after these events."""
    settling = Settling()
    for kind, at in events:
        settling.add(SaveNotice("/a.ipynb", kind, at))
    found = settling.next_due()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("events", "at"),
    [
        pytest.param([(CLOSED, 10)], 10.01, id="jupyter autosave"),
        pytest.param([(MOVED_IN, 10)], 10.01, id="replaced by a rename"),
        pytest.param([(CREATED, 10)], 10.3, id="moved in from outside: no close follows"),
        pytest.param([(CREATED, 10), (CLOSED, 10.02)], 10.03, id="new notebook"),
        pytest.param([(GONE, 10)], 11.5, id="deleted"),
        pytest.param([(GONE, 10), (CREATED, 10.01), (CLOSED, 10.02)], 10.03, id="git checkout"),
        pytest.param([(CLOSED, 10), (CLOSED, 10.005)], 10.015, id="two closes in one breath"),
        pytest.param([(SWEPT, 10)], 10.0, id="swept"),
        pytest.param([(CREATED, 10), (SWEPT, 10.1)], 10.1, id="a sweep looks no later"),
        pytest.param([(RETRY, 12), (CLOSED, 10)], 10.01, id="an event brings a retry forward"),
        pytest.param([(CLOSED, 10), (RETRY, 12)], 10.01, id="a retry does not put an event off"),
        pytest.param([(RETRY, 12)], 12.0, id="retry"),
    ],
)
def test_each_writer_is_given_its_own_quiet_time(events: list[tuple[NoticeKind, float]], at: float) -> None:
    assert due(*events) == pytest.approx(at)


def test_a_stream_of_events_does_not_put_the_look_off_for_ever() -> None:
    stream = [(CREATED, 10 + number * 0.2) for number in range(100)]
    assert due(*stream[:20]) < 10 + STREAM_CAP_SECONDS
    assert due(*stream) <= max(10 + STREAM_CAP_SECONDS, stream[-1][1])


def test_events_come_before_a_sweep_and_disappearances_last() -> None:
    settling = Settling()
    settling.add(SaveNotice("/gone.ipynb", GONE, 0))
    settling.add_all(SaveNotice(f"/swept{number}.ipynb", SWEPT, 1) for number in range(3))
    settling.add(SaveNotice("/saved.ipynb", CLOSED, 1.5))
    order = [notice.path for notice in iter(lambda: settling.take(10), None)]
    assert order == ["/saved.ipynb", "/swept0.ipynb", "/swept1.ipynb", "/swept2.ipynb", "/gone.ipynb"]


def test_a_rename_is_remembered_while_later_events_come() -> None:
    settling = Settling()
    settling.add(SaveNotice("/b.ipynb", MOVED_IN, 1, "/a.ipynb"))
    settling.add(SaveNotice("/b.ipynb", CLOSED, 1.005))
    settling.add(SaveNotice("/b.ipynb", SWEPT, 1.006))
    notice = settling.take(2)
    assert notice == SaveNotice("/b.ipynb", CLOSED, 1.005, "/a.ipynb")


@pytest.mark.parametrize(
    ("kept_at", "changed_at", "now", "at"),
    [
        (None, 0.0, 0.0, None),
        (0.0, 10.0, 10.0, 160.0),
        (0.0, 500.0, 500.0, 600.0),
        (0.0, 500.0, 600.0, None),
        (0.0, 10.0, 160.0, None),
        (0.0, 130.0, 160.0, 280.0),
    ],
)
def test_a_large_notebook_is_kept_each_interval_and_when_it_is_quiet(
    kept_at: float | None, changed_at: float, now: float, at: float | None
) -> None:
    assert large_due(now=now, last_kept_at=kept_at, last_change_at=changed_at, interval_seconds=600) == at


_notices = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(list(NoticeKind)), st.floats(0.001, 3.0), st.booleans()),
    max_size=60,
)


@given(_notices)
def test_the_last_notice_of_a_path_always_leads_to_a_look_at_it(
    steps: list[tuple[str, NoticeKind, float, bool]],
) -> None:
    settling, now = Settling(), 0.0
    last_notice: dict[str, float] = {}
    first_waiting: dict[str, float] = {}

    def take_all() -> None:
        while (notice := settling.take(now)) is not None:
            assert notice.path in first_waiting, "no look without a notice"
            del first_waiting[notice.path]
            last_notice.pop(notice.path)

    for path, kind, pause, looks in steps:
        now += pause
        if looks:
            take_all()
        settling.add(SaveNotice(path, kind, now))
        last_notice[path] = now
        first_waiting.setdefault(path, now)
        assert path in settling
    assert set(first_waiting) == set(last_notice)
    next_due = settling.next_due()
    assert (next_due is None) == (not first_waiting)
    for path, at in last_notice.items():
        assert path in settling, "nothing noticed is forgotten before it is looked at"
        assert at <= now
    now += max(QUIET_SECONDS.values())
    take_all()
    assert not first_waiting
    assert len(settling) == 0
    assert settling.next_due() is None


@given(_notices)
def test_nothing_waits_longer_than_the_cap(steps: list[tuple[str, NoticeKind, float, bool]]) -> None:
    settling, now = Settling(), 0.0
    for path, kind, pause, _looks in steps:
        now += pause
        settling.add(SaveNotice(path, kind, now))
        found = settling.next_due()
        assert found is not None
        assert found <= now + STREAM_CAP_SECONDS
