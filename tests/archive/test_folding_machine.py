"""Whatever happens in whatever order, every acknowledged version is kept, and the catalog can be thrown away.

A machine saves, renames, deletes, brings back, delivers late, accepts, pins, packs, crashes and deletes catalogs; a
plain list of what was acknowledged is the model.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from nbguard.archive.catalog import Catalog
from nbguard.archive.folding import Folder
from nbguard.model import Draft, DraftKind, Moment, Status, Trigger
from tests.archive.rig import Rig, judge, measure_file
from tests.helpers import notebook_bytes

_PATHS = st.sampled_from(["/w/a.ipynb", "/w/b.ipynb", "/w/c.ipynb", "/w/a.ipynb/inside.ipynb"])
_CONTENTS = st.sampled_from(
    [
        notebook_bytes("x = 1"),
        notebook_bytes("x = 2"),
        notebook_bytes(*[f"full {number}" for number in range(9)]),
        notebook_bytes(*[f"fuller {number}" for number in range(12)]),
        notebook_bytes(),
        b"not a notebook",
        b"",
    ]
)
_TRIGGERS = st.sampled_from([Trigger.WATCH, Trigger.SWEEP, Trigger.SNAPSHOT])


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a keeper was told is durable."""

    draft: Draft
    data: bytes


class Keeping(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.base = tempfile.mkdtemp(prefix="nbguard-machine-")
        self.rig = Rig(self.base, batch_bytes=6000)
        self.kept: list[Acknowledged] = []
        self.held: list[tuple[Draft, bytes]] = []
        self.decided: dict[str, set[DraftKind]] = {}

    def teardown(self) -> None:
        try:
            self.rig.packer.pack()
            assert self.rig.spool.drafts() == []
            self.every_version_is_there()
            self.rig.fsck()
            before = self.rig.answers()
            self.rig.catalog.discard()
            assert self.rig.answers() == before
            self.the_tree_mirrors_the_heads()
        finally:
            self.rig.close()
            shutil.rmtree(self.base)

    def ack(self, draft: Draft, data: bytes) -> None:
        self.kept.append(Acknowledged(draft, data))

    # -- what happens ----------------------------------------------------------------------------------------------

    @rule(path=_PATHS, data=_CONTENTS, trigger=_TRIGGERS)
    def save(self, path: str, data: bytes, trigger: Trigger) -> None:
        self.ack(self.rig.save(path, data, trigger=trigger), data)

    @rule(path=_PATHS, to=_PATHS, data=_CONTENTS)
    def rename(self, path: str, to: str, data: bytes) -> None:
        self.ack(self.rig.save(to, data, renamed_from=path), data)

    @rule(path=_PATHS)
    def delete(self, path: str) -> None:
        self.ack(self.rig.delete(path), b"")

    @rule(path=_PATHS, data=_CONTENTS)
    def find_older_bytes(self, path: str, data: bytes) -> None:
        self.ack(self.rig.save(path, data, tip=False, trigger=Trigger.RESCUE), data)

    @rule(path=_PATHS, data=_CONTENTS, source=st.none() | _PATHS)
    def read_and_be_slow(self, path: str, data: bytes, source: str | None) -> None:
        """Its place in the order is taken; the draft comes later."""
        self.held.append((self.rig.draft(path, data, renamed_from=source), data))

    @rule(path=_PATHS)
    def see_deletion_and_be_slow(self, path: str) -> None:
        self.held.append((self.rig.draft(path, None), b""))

    @precondition(lambda self: self.held)
    @rule(choice=st.integers(0, 100))
    def deliver_late(self, choice: int) -> None:
        draft, data = self.held.pop(choice % len(self.held))
        self.ack(self.rig.spool.keep(draft, data), data)

    @precondition(lambda self: self.kept)
    @rule(choice=st.integers(0, 100), kind=st.sampled_from([DraftKind.ACCEPT, DraftKind.PIN]))
    def decide(self, choice: int, kind: DraftKind) -> None:
        about = self.kept[choice % len(self.kept)].draft
        if self.rig.library().version(about.id) is not None:
            self.rig.decide(kind, about.id, about.path)
            self.decided.setdefault(about.id, set()).add(kind)

    @rule()
    def catch_up(self) -> None:
        self.rig.folder.catch_up()

    @rule()
    def pack(self) -> None:
        self.rig.packer.pack()

    @rule()
    def pack_one_batch(self) -> None:
        self.rig.packer.pack_batch()

    @rule(step=st.sampled_from(["_note", "verify", "unlink"]))
    def die_while_packing(self, step: str) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if step == "_note":
                patch.setattr(type(self.rig.packer), "_note", _die)
            elif step == "verify":
                patch.setattr("nbguard.archive.packer.verify", _die)
            else:
                patch.setattr(type(self.rig.spool), "unlink", _die)
            try:
                self.rig.packer.pack()
            except Died:
                pass
        self.rig.crash()

    @rule()
    def crash(self) -> None:
        self.rig.crash()

    @rule()
    def lose_the_catalog(self) -> None:
        self.rig.catalog.discard()

    # -- what always holds -----------------------------------------------------------------------------------------

    @invariant()
    def a_new_catalog_gives_the_same_answers(self) -> None:
        before = self.rig.answers()
        held, folder = self.rig.catalog, self.rig.folder
        with tempfile.TemporaryDirectory() as fresh:
            self.rig.catalog = Catalog(f"{fresh}/catalog.sqlite")
            self.rig.folder = Folder(
                catalog=self.rig.catalog,
                archive=self.rig.archive,
                spool=self.rig.spool,
                measuring=measure_file,
                judge=judge,
            )
            try:
                assert self.rig.answers() == before
            finally:
                self.rig.catalog.close()
                self.rig.catalog, self.rig.folder = held, folder

    def every_version_is_there(self) -> None:
        library = self.rig.library()
        try:
            for item in self.kept:
                if item.draft.kind is not DraftKind.VERSION:
                    continue
                version = library.version(item.draft.id)
                if version is None:
                    self.it_was_an_echo(item)
                    continue
                assert library.read(version) == item.data and version.path == item.draft.path
                assert version.moment == item.draft.moment
                words = self.decided.get(version.id, set())
                assert (version.accepted, version.pinned) == (DraftKind.ACCEPT in words, DraftKind.PIN in words)
                assert not (version.accepted and version.status is Status.EMPTIED)
            for deleted in (False, True):
                for entry in library.entries(deleted=deleted):
                    log = library.log(entry.notebook)
                    assert [v.moment for v in log] == sorted((v.moment for v in log), reverse=True)
                    assert len(log) == entry.versions
        finally:
            library.close()

    def it_was_an_echo(self, item: Acknowledged) -> None:
        """The daemon saw what another version of that path holds: nobody was promised this id."""
        assert item.draft.trigger in (Trigger.WATCH, Trigger.SWEEP)
        assert any(
            other.draft.path == item.draft.path and other.data == item.data and other.draft.moment < item.draft.moment
            for other in self.kept
        )

    def the_tree_mirrors_the_heads(self) -> None:
        """Not asked of a path that was a file and a folder: no disk shows both at once."""
        living = {head.path for head in self.rig.catalog.heads() if not head.is_deleted}
        tree = {"/" + path.decode().partition("/")[2] for path in self.rig.tree()} if self.rig.archive.tip() else set()
        if any(item.draft.path.endswith("inside.ipynb") for item in self.kept):
            living, tree = ({path for path in some if "a.ipynb" not in path} for some in (living, tree))
        assert tree == living


class Died(BaseException):
    """The process ended here."""


def _die(*_: object, **__: object) -> None:
    raise Died


def _run(examples: int, steps: int) -> None:
    run_state_machine_as_test(
        Keeping,
        settings=settings(
            max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_nothing_acknowledged_is_lost_and_the_catalog_is_disposable() -> None:
    _run(12, 20)


@pytest.mark.long
def test_nothing_acknowledged_is_lost_and_the_catalog_is_disposable_in_long_runs() -> None:
    _run(150, 40)


def test_a_moment_sorts_as_its_bytes() -> None:
    moments = [Moment(e, b, s) for e in (0, 1, 2**32 - 1) for b in (0, 255, 2**63) for s in (0, 1, 2**32 - 1)]
    assert sorted(moments) == sorted(moments, key=Moment.sortable)
    assert [Moment.from_sortable(m.sortable()) for m in moments] == moments
