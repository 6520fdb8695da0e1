"""From a notice to a durable version: what is kept, what waits, what is followed."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from nbguard.capture.first import FirstVersions
from nbguard.capture.keep import (
    LAST_ATTEMPT,
    RETRY_SECONDS,
    Gone,
    Keeper,
    Kept,
    Outcome,
    Refused,
    Retry,
    Skipped,
    Unchanged,
)
from nbguard.clock import SystemClock
from nbguard.errors import StorageTrouble
from nbguard.heads import Heads
from nbguard.model import Draft, DraftKind, Status, Trigger
from nbguard.settings import Limits
from tests.helpers import notebook_bytes, poll
from tests.memory import MemoryStore
from tests.powers import without_root_powers

LIMITS = Limits(stream_over_bytes=10_000, refuse_over_bytes=50_000)


class Desk:
    """A keeper over a folder, a store in memory, and what it told the recorder."""

    def __init__(self, root: Path) -> None:
        self.root, self.store, self.heads = root, MemoryStore(), Heads()
        self.told: list[tuple[Draft, bytes | None]] = []
        self.keeper = Keeper(
            store=self.store,
            heads=self.heads,
            clock=SystemClock(),
            limits=LIMITS,
            root_of=lambda path: str(root),
            kept=lambda draft, data: self.told.append((draft, data)),
            knows=self.store.knows,
        )

    def write(self, name: str, data: bytes) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return str(path)

    def keep(
        self, name: str, trigger: Trigger = Trigger.WATCH, *, attempt: int = 0, hint: str | None = None
    ) -> Outcome:
        renamed_from = str(self.root / hint) if hint is not None else None
        return self.keeper.keep(str(self.root / name), trigger, attempt=attempt, renamed_from=renamed_from)

    def kept(self, name: str, data: bytes, trigger: Trigger = Trigger.WATCH, hint: str | None = None) -> Draft:
        self.write(name, data)
        outcome = self.keep(name, trigger, hint=hint)
        assert isinstance(outcome, Kept), outcome
        return outcome.draft


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


ONE, TWO, THREE = notebook_bytes("one"), notebook_bytes("two", "2"), notebook_bytes("three")


def test_a_new_notebook_is_kept_byte_for_byte_and_told(desk: Desk) -> None:
    draft = desk.kept("a.ipynb", ONE)
    assert desk.store.of(draft.path) == [ONE]
    assert desk.told == [(draft, ONE)]
    head = desk.heads.get(draft.path)
    assert head is not None
    assert (head.version, head.notebook, head.sha256) == (draft.id, draft.id, draft.sha256)
    assert head.parent_device == os.stat(desk.root).st_dev
    assert (draft.trigger, draft.tip, draft.root, draft.size) == (Trigger.WATCH, True, str(desk.root), len(ONE))


def test_only_bytes_equal_to_the_latest_state_are_not_kept_again(desk: Desk) -> None:
    desk.kept("a.ipynb", ONE)
    desk.write("a.ipynb", ONE)
    assert isinstance(desk.keep("a.ipynb"), Unchanged)
    desk.kept("a.ipynb", TWO)
    desk.kept("a.ipynb", ONE)
    path = str(desk.root / "a.ipynb")
    assert desk.store.of(path) == [ONE, TWO, ONE]
    head = desk.heads.get(path)
    assert head is not None
    assert head.notebook == desk.store.drafts[0].id


def test_the_order_of_moments_is_the_order_of_reads(desk: Desk) -> None:
    drafts = [desk.kept("a.ipynb", data) for data in (ONE, TWO, ONE)]
    assert sorted(drafts, key=lambda draft: draft.moment) == drafts


@pytest.mark.parametrize("data", [b"", ONE[:40], ONE[:-3], b"\0" * 500, b"not a notebook"])
def test_half_a_save_is_retried_and_then_kept_as_it_is(desk: Desk, data: bytes) -> None:
    desk.kept("a.ipynb", TWO)
    desk.write("a.ipynb", data)
    for attempt, seconds in enumerate(RETRY_SECONDS):
        outcome = desk.keep("a.ipynb", attempt=attempt)
        assert isinstance(outcome, Retry)
        assert outcome.after_seconds == seconds
    assert len(desk.store.drafts) == 1
    outcome = desk.keep("a.ipynb", attempt=LAST_ATTEMPT)
    assert isinstance(outcome, Kept)
    assert not outcome.is_whole
    head = desk.heads.get(str(desk.root / "a.ipynb"))
    assert head is not None
    assert head.status is Status.DAMAGED
    assert desk.store.of(str(desk.root / "a.ipynb")) == [TWO, data]


def test_a_large_notebook_is_streamed(desk: Desk) -> None:
    data = notebook_bytes("x" * 20_000)
    draft = desk.kept("a.ipynb", data)
    assert desk.told == [(draft, None)]
    assert desk.store.of(draft.path) == [data]
    assert isinstance(desk.keep("a.ipynb"), Unchanged)


def test_a_large_notebook_that_is_cut_is_retried(desk: Desk) -> None:
    desk.write("a.ipynb", notebook_bytes("x" * 20_000)[:-3])
    assert isinstance(desk.keep("a.ipynb"), Retry)


def test_a_large_notebook_that_changes_while_it_is_copied_is_not_kept(desk: Desk, tmp_path: Path) -> None:
    path = desk.write("a.ipynb", notebook_bytes("x" * 20_000))
    real = desk.store.keep_stream

    def change_and_copy(draft: Draft, fd: int) -> Draft:
        with open(path, "r+b") as file:
            file.seek(5000)
            file.write(b"y")
        return real(draft, fd)

    desk.store.keep_stream = change_and_copy  # type: ignore[method-assign]
    assert isinstance(desk.keep("a.ipynb"), Retry)
    assert desk.store.drafts == []
    assert desk.heads.get(path) is None


def test_what_cannot_be_kept_is_refused_with_its_problem(desk: Desk) -> None:
    desk.write("big.ipynb", b"x" * 50_001)
    refused = desk.keep("big.ipynb")
    assert isinstance(refused, Refused)
    assert refused.code == "too-large"
    os.chmod(desk.write("shut.ipynb", ONE), 0)
    with without_root_powers():
        assert isinstance(desk.keep("shut.ipynb"), Retry)
        refused = desk.keep("shut.ipynb", attempt=LAST_ATTEMPT)
    assert isinstance(refused, Refused)
    assert refused.code == "not-kept"


def test_nothing_at_an_unknown_path_is_skipped_and_at_a_known_one_gone(desk: Desk) -> None:
    assert isinstance(desk.keep("never.ipynb"), Skipped)
    draft = desk.kept("a.ipynb", ONE)
    os.unlink(draft.path)
    gone = desk.keep("a.ipynb")
    assert isinstance(gone, Gone)
    assert gone.head.version == draft.id
    os.mkdir(draft.path)
    assert isinstance(desk.keep("a.ipynb"), Gone), "replaced by a folder"


def test_trouble_with_the_disk_escapes_and_nothing_is_remembered(desk: Desk) -> None:
    desk.write("a.ipynb", ONE)
    desk.store.trouble = StorageTrouble("full", code="no-space")
    with pytest.raises(StorageTrouble):
        desk.keep("a.ipynb")
    assert desk.store.refused == 1, "the fault fired"
    assert (len(desk.heads), desk.told) == (0, [])
    desk.store.trouble = None
    assert isinstance(desk.keep("a.ipynb"), Kept)


def test_a_tombstone_ends_a_notebook_and_its_return_is_a_new_version(desk: Desk) -> None:
    first = desk.kept("a.ipynb", ONE)
    assert desk.keeper.keep_tombstone(first.path) is None, "it is there"
    os.unlink(first.path)
    tombstone = desk.keeper.keep_tombstone(first.path)
    assert tombstone is not None
    assert (tombstone.kind, tombstone.sha256, tombstone.size) == (DraftKind.TOMBSTONE, None, 0)
    assert desk.keeper.keep_tombstone(first.path) is None, "it is recorded"
    assert isinstance(desk.keep("a.ipynb"), Skipped)
    desk.kept("a.ipynb", ONE)
    assert desk.store.of(first.path) == [ONE, ONE]
    head = desk.heads.get(first.path)
    assert head is not None
    assert head.notebook == first.id


def _hinted(desk: Desk) -> Outcome:
    return desk.keep("b.ipynb", hint="a.ipynb")


def _swept(desk: Desk) -> Outcome:
    return desk.keep("b.ipynb", Trigger.SWEEP)


@pytest.mark.parametrize("look", [_hinted, _swept, lambda desk: desk.keep("b.ipynb")])
def test_a_rename_is_followed(desk: Desk, look: Callable[[Desk], Outcome]) -> None:
    first = desk.kept("a.ipynb", ONE)
    os.rename(first.path, desk.root / "b.ipynb")
    outcome = look(desk)
    assert isinstance(outcome, Kept)
    assert outcome.draft.renamed_from == first.path
    head = desk.heads.get(str(desk.root / "b.ipynb"))
    assert head is not None
    assert head.notebook == first.id
    assert desk.heads.get(first.path) is None
    assert isinstance(desk.keep("a.ipynb"), Skipped), "its old name is not missed"


@pytest.mark.parametrize("look", [_hinted, _swept])
def test_a_rename_with_a_change_is_followed(desk: Desk, look: Callable[[Desk], Outcome]) -> None:
    first = desk.kept("a.ipynb", ONE)
    os.rename(first.path, desk.root / "b.ipynb")
    desk.write("b.ipynb", THREE)
    outcome = look(desk)
    assert isinstance(outcome, Kept)
    assert outcome.draft.renamed_from == first.path


def test_a_renamed_folder_takes_its_notebooks_along(desk: Desk) -> None:
    first = desk.kept("p/a.ipynb", ONE)
    os.rename(desk.root / "p", desk.root / "q")
    outcome = desk.keep("q/a.ipynb", Trigger.SWEEP)
    assert isinstance(outcome, Kept)
    assert outcome.draft.renamed_from == first.path


def test_a_hint_is_not_believed_while_the_old_name_is_there(desk: Desk) -> None:
    desk.kept("a.ipynb", ONE)
    assert desk.kept("b.ipynb", TWO, hint="a.ipynb").renamed_from is None


def test_a_copy_is_a_notebook_of_its_own(desk: Desk) -> None:
    desk.kept("a.ipynb", ONE)
    copy = desk.kept("b.ipynb", ONE)
    assert copy.renamed_from is None
    head = desk.heads.get(copy.path)
    assert head is not None
    assert head.notebook == copy.id


def test_what_could_come_from_two_is_a_copy(desk: Desk) -> None:
    gone = [desk.kept(name, ONE).path for name in ("a.ipynb", "b.ipynb")]
    other_inode = desk.write(".new", ONE)
    for path in gone:
        os.unlink(path)
    os.rename(other_inode, desk.root / "c.ipynb")
    outcome = desk.keep("c.ipynb", Trigger.SWEEP)
    assert isinstance(outcome, Kept)
    assert outcome.draft.renamed_from is None


def test_a_reused_inode_is_no_rename(desk: Desk) -> None:
    first = desk.kept("a.ipynb", ONE)
    assert first.signature is not None
    os.rename(first.path, desk.root / "new.ipynb")  # the very inode, with other bytes: as after unlink and create
    assert desk.kept("new.ipynb", TWO).renamed_from is None, "an event would have told of a rename"
    first = desk.kept("c.ipynb", ONE)
    os.rename(first.path, desk.root / "d.ipynb")
    draft = desk.kept("d.ipynb", notebook_bytes("very " * 200), Trigger.SWEEP)
    assert draft.renamed_from is None, "and of quite another size it is another notebook"


def test_bytes_on_a_disk_that_is_away_were_not_renamed_from_it(desk: Desk) -> None:
    first = desk.kept("disk/a.ipynb", ONE)
    os.rename(desk.root / "disk", desk.root / ".unmounted")
    assert desk.kept("b.ipynb", ONE, Trigger.SWEEP).renamed_from is None
    assert desk.heads.get(first.path) is not None


def test_a_notebook_moved_over_another_is_a_version_of_that(desk: Desk) -> None:
    first, second = desk.kept("a.ipynb", ONE), desk.kept("b.ipynb", TWO)
    os.rename(first.path, second.path)
    outcome = desk.keep("b.ipynb", hint="a.ipynb")
    assert isinstance(outcome, Kept)
    assert outcome.draft.renamed_from is None
    head = desk.heads.get(second.path)
    assert head is not None
    assert head.notebook == second.id


def test_a_checkpoint_is_imported_before_the_notebook_it_belongs_to(desk: Desk) -> None:
    checkpoint = desk.write(".ipynb_checkpoints/a-checkpoint.ipynb", ONE)
    os.utime(checkpoint, (1_600_000_000, 1_600_000_000))
    draft = desk.kept("a.ipynb", TWO)
    older, newer = desk.store.drafts
    assert (older.trigger, older.tip, older.path) == (Trigger.IMPORT, False, draft.path)
    assert older.observed_at == datetime.fromtimestamp(1_600_000_000, UTC)
    assert newer == draft
    assert older.moment < newer.moment
    head = desk.heads.get(draft.path)
    assert head is not None
    assert head.notebook == older.id, "the first version founds the lineage"
    desk.kept("a.ipynb", THREE)
    assert len(desk.store.drafts) == 3, "once is enough"


@pytest.mark.parametrize("data", [TWO, ONE[:30], b""])
def test_a_checkpoint_that_adds_nothing_is_not_imported(desk: Desk, data: bytes) -> None:
    desk.write(".ipynb_checkpoints/a-checkpoint.ipynb", data)
    desk.kept("a.ipynb", TWO)
    assert len(desk.store.drafts) == 1


def test_a_checkpoint_from_the_future_is_dated_now(desk: Desk) -> None:
    checkpoint = desk.write(".ipynb_checkpoints/a-checkpoint.ipynb", ONE)
    os.utime(checkpoint, (9_000_000_000, 9_000_000_000))
    desk.kept("a.ipynb", TWO)
    assert desk.store.drafts[0].observed_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    "leftover", [".~a.ipynb", "a.ipynb~", "a.ipynb.invalid", ".ipynb_checkpoints/a-checkpoint.ipynb"]
)
def test_what_the_server_left_behind_when_it_was_killed_is_rescued(desk: Desk, leftover: str) -> None:
    path = desk.kept("a.ipynb", ONE).path
    desk.write("a.ipynb", b"")
    desk.write(leftover, TWO)
    (draft,) = desk.keeper.rescue(path)
    assert (draft.path, draft.trigger, draft.tip) == (path, Trigger.RESCUE, False)
    assert desk.store.of(path) == [ONE, TWO]
    assert desk.keeper.rescue(path) == (), "once is enough"
    head = desk.heads.get(path)
    assert head is not None
    assert head.version == desk.store.drafts[0].id, "it never was the latest state"


def test_what_is_kept_already_or_torn_is_not_rescued(desk: Desk) -> None:
    path = desk.kept("a.ipynb", ONE).path
    desk.kept("a.ipynb", TWO)
    desk.write(".~a.ipynb", ONE)
    desk.write("a.ipynb~", TWO)
    desk.write("a.ipynb.invalid", THREE[:40])
    assert desk.keeper.rescue(path) == ()


def test_the_copy_of_a_notebook_that_is_gone_is_rescued_under_its_name(desk: Desk) -> None:
    desk.write(".~a.ipynb", ONE)
    path = str(desk.root / "a.ipynb")
    (draft,) = desk.keeper.rescue(path)
    assert draft.path == path
    assert desk.heads.get(path) is None


def test_first_versions_come_with_their_checkpoints_and_become_heads_when_protected(desk: Desk) -> None:
    desk.write(".ipynb_checkpoints/a-checkpoint.ipynb", ONE)
    path = desk.write("a.ipynb", TWO)
    big, cut = desk.write("big.ipynb", notebook_bytes("x" * 20_000)), desk.write("cut.ipynb", ONE[:-3])
    known = desk.kept("known.ipynb", THREE).path
    written = os.stat(known).st_ctime

    class Later(SystemClock):
        def now(self) -> datetime:
            return datetime.fromtimestamp(written + 60, UTC)

    first = FirstVersions(store=desk.store, heads=desk.heads, clock=Later(), limits=LIMITS)
    pairs = list(first.drafts([(p, str(desk.root)) for p in (path, big, cut, known, path + "none")]))
    assert [(draft.path, draft.tip, data) for draft, data in pairs] == [(path, False, ONE), (path, True, TWO)]
    assert desk.heads.get(path) is None, "not before it is durable"
    first.protected([draft for draft, _data in pairs])
    head = desk.heads.get(path)
    assert head is not None
    assert (head.version, head.notebook) == (pairs[1][0].id, pairs[0][0].id)
    assert isinstance(desk.keep("a.ipynb"), Unchanged)
    assert isinstance(desk.keep("big.ipynb"), Kept), "what was left out takes the ordinary way"


def test_a_save_kept_meanwhile_is_not_displaced_by_the_import(desk: Desk) -> None:
    path = desk.write("a.ipynb", ONE)
    first = FirstVersions(store=desk.store, heads=desk.heads, clock=SystemClock(), limits=LIMITS)
    os.utime(path)
    pairs = [pair for _ in range(100) for pair in first.drafts([(path, str(desk.root))])][:1]
    newer = desk.kept("a.ipynb", TWO)
    first.protected([draft for draft, _data in pairs])
    head = desk.heads.get(path)
    assert head is not None
    assert head.version == newer.id


def test_a_notebook_read_just_before_its_last_newline_waits_for_it(desk: Desk) -> None:
    """nbformat writes the text, then a newline: two writes, between which a busy machine lets a reader in."""
    whole = notebook_bytes("x = 1")
    assert whole.endswith(b"}\n")
    path = desk.write("a.ipynb", whole[:-1])
    assert desk.keep("a.ipynb") == Retry(RETRY_SECONDS[0], "its last newline may still come")
    with open(path, "ab") as file:
        file.write(b"\n")
    outcome = desk.keep("a.ipynb", attempt=1)
    assert isinstance(outcome, Kept)
    assert list(desk.store.data.values()) == [whole], "and nothing that nobody saved"


def test_a_notebook_that_never_has_a_last_newline_is_kept_once_it_is_quiet(desk: Desk) -> None:
    desk.write("a.ipynb", notebook_bytes("x = 1").rstrip(b"\n"))
    outcomes: list[Outcome] = []

    def keep() -> bool:
        outcomes.append(desk.keep("a.ipynb"))
        return isinstance(outcomes[-1], Kept)

    poll(keep, 5, every=0.05)
    assert isinstance(outcomes[0], Retry)
