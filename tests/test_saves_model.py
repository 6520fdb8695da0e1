"""A fuzzer over contents, names and the order of things, with a model that knows every settled state."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbguard.clock import SystemClock
from nbguard.model import DraftKind
from nbguard.settings import Intervals
from tests.helpers import notebook_bytes
from tests.protection import Protection, protecting

_numbers = itertools.count()


class HurriedClock(SystemClock):
    """The machine's clock, whose monotonic seconds can be pushed forward: nobody waits for quiet."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.ahead


_names = st.sampled_from(["a.ipynb", "b.ipynb", "p/a.ipynb", "p/new\nline.ipynb", "p/-dash.ipynb", "q/\udcff.ipynb"])
_contents = st.one_of(
    st.text(max_size=8).map(notebook_bytes),
    st.sampled_from([b"", b"{", b"[]", b"\xef\xbb\xbf{}", b'{"cells": []}', b"\0" * 64, notebook_bytes("same")]),
    st.binary(max_size=40),
)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("write"), _names, _contents),
        st.tuples(st.just("replace"), _names, _contents),
        st.tuples(st.just("unlink"), _names),
        st.tuples(st.just("rename"), _names, _names),
        st.tuples(st.just("settle")),
        st.tuples(st.just("look")),
    ),
    max_size=20,
)


def _act(root: Path, step: tuple[object, ...], written: dict[str, set[bytes]]) -> None:
    name, *arguments = step
    path = root / str(arguments[0]) if arguments else root
    try:
        if name in ("write", "replace"):
            data = arguments[1]
            assert isinstance(data, bytes)
            path.parent.mkdir(exist_ok=True)
            target = path if name == "write" else path.with_name(".tmp")
            target.write_bytes(data)
            if name == "replace":
                target.rename(path)
            written[str(path)] |= {data, b""} if name == "write" else {data}
        elif name == "unlink":
            path.unlink()
        elif name == "rename":
            target = root / str(arguments[1])
            target.parent.mkdir(exist_ok=True)
            data = path.read_bytes()
            path.rename(target)
            written[str(target)].add(data)
    except FileNotFoundError:
        pass


def _settle(guard: Protection, clock: HurriedClock, settled: dict[str, list[bytes]], root: Path) -> None:
    """Sweep, and let every quiet time and every retry pass; then the disk as it is now must be kept."""
    guard.watcher.sweep_now()
    while guard.saves._is_busy():
        clock.ahead += 5.0
        guard.saves.step(0)
    there = {os.fspath(path): path.read_bytes() for path in root.rglob("*.ipynb")}
    for path, data in there.items():
        head = guard.heads.get(path)
        assert head is not None
        assert guard.store.data[head.version] == data
        if not settled[path] or settled[path][-1] != data:
            settled[path].append(data)
    assert {head.path for head in guard.heads.alive()} == there.keys()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_steps)
def test_every_settled_state_is_kept_in_order_and_nothing_that_never_was(
    tmp_path: Path, steps: list[tuple[object, ...]]
) -> None:
    root = tmp_path / f"root{next(_numbers)}"
    root.mkdir()
    clock = HurriedClock()
    written: dict[str, set[bytes]] = defaultdict(set)
    settled: dict[str, list[bytes]] = defaultdict(list)
    with protecting(root, clock=clock, intervals=Intervals(guard_seconds=1e9, sweep_seconds=1e9)) as guard:
        for step in (*steps, ("settle",)):
            if step[0] == "settle":
                _settle(guard, clock, settled, root)
            elif step[0] == "look":
                guard.saves.step(0)
            else:
                _act(root, step, written)
        for path, states in settled.items():
            kept = iter(guard.store.of(path))
            assert all(state in kept for state in states), "each settled state, in the order they came"
            assert set(guard.store.of(path)) <= written[path], "and no byte that was never there"
        for draft in guard.store.drafts:
            if draft.kind is DraftKind.TOMBSTONE:
                assert draft.size == 0
        assert guard.store.drafts == sorted(guard.store.drafts, key=lambda draft: draft.moment)
