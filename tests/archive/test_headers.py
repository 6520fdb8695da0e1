"""What stands in a draft's header and in a commit's trailers comes back exactly, whatever the names are."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.archive.draft_header import OpenDraft, draft_of, file_name, header_of
from nbguard.archive.trailers import Decision, decision_message, records_in, subject_of, trailers_of
from nbguard.errors import ArchiveTrouble
from nbguard.model import Draft, DraftKind, Moment, Signature, Status, Trigger, Version

_ID = st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}")
_SHA = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
_PATH = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=4).map(
    lambda parts: "/" + "/".join(os.fsdecode(part.replace(b"/", b"_").replace(b"\0", b"_")) for part in parts)
)
_MOMENT = st.builds(Moment, st.integers(0, 2**32 - 1), st.integers(0, 2**63), st.integers(0, 2**32 - 1))
_NUMBER = st.integers(0, 2**63)
_SIGNATURE = st.builds(Signature, _NUMBER, _NUMBER, _NUMBER, st.integers(-(2**62), 2**62), st.integers(-(2**62), 2**62))
_TIME = st.datetimes(datetime(1902, 1, 1), datetime(9000, 1, 1)).map(lambda naive: naive.replace(tzinfo=UTC))

_DRAFTS = st.builds(
    Draft,
    id=_ID,
    kind=st.sampled_from(DraftKind),
    path=_PATH,
    moment=_MOMENT,
    boot=_ID,
    observed_at=_TIME,
    trigger=st.sampled_from(Trigger),
    root=_PATH | st.just("/"),
    install=_ID,
    size=_NUMBER,
    sha256=_SHA | st.none(),
    signature=_SIGNATURE | st.none(),
    tip=st.booleans(),
    renamed_from=_PATH | st.none(),
    about=_ID | st.none(),
)
_VERSIONS = st.builds(
    Version,
    id=_ID,
    notebook=_ID,
    path=_PATH,
    moment=_MOMENT,
    saved_at=_TIME,
    size=_NUMBER,
    sha256=_SHA | st.none(),
    cells=st.integers(0, 10**6) | st.none(),
    source_chars=st.integers(0, 10**9) | st.none(),
    status=st.sampled_from(Status),
    trigger=st.sampled_from(Trigger),
    tip=st.booleans(),
    root=_PATH | st.just("/"),
    install=_ID,
    boot=_ID,
    previous=_ID | st.none(),
    renamed_from=_PATH | st.none(),
    signature=_SIGNATURE | st.none(),
    commit=st.just("c" * 40),
)


@given(draft=_DRAFTS)
def test_a_draft_comes_back_from_its_header(draft: Draft) -> None:
    line = header_of(draft)
    assert b"\n" not in line and line.isascii()
    assert draft_of(line) == draft


@given(version=_VERSIONS)
def test_a_version_comes_back_from_its_trailers(version: Version) -> None:
    message = f"{subject_of(version)}\n\n{trailers_of(version)}"
    message.encode("utf-8")
    assert list(records_in(message, "c" * 40)) == [version]


@given(versions=st.lists(_VERSIONS, max_size=4))
def test_many_versions_in_one_commit_come_back_in_order(versions: list[Version]) -> None:
    message = "Import\n\n" + "\n".join(trailers_of(version) for version in versions)
    assert list(records_in(message, "c" * 40)) == versions


@given(moment=_MOMENT, at=_TIME, kind=st.sampled_from([DraftKind.ACCEPT, DraftKind.PIN]), identity=_ID, about=_ID)
def test_a_decision_comes_back(moment: Moment, at: datetime, kind: DraftKind, identity: str, about: str) -> None:
    decision = Decision(id=identity, kind=kind, about=about, moment=moment, decided_at=at, commit="c" * 40)
    assert list(records_in(decision_message(decision), "c" * 40)) == [decision]


@given(first=_DRAFTS, second=_DRAFTS)
def test_file_names_sort_by_the_order_of_observation(first: Draft, second: Draft) -> None:
    if first.moment != second.moment:
        assert (file_name(first) < file_name(second)) == (first.moment < second.moment)
    assert len(file_name(first)) < 255


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b'"text"',
        b'{"v":1}',
        b'{"v":2,"id":"x"}',
        b'{"v":"1"}',
        b'{"v":null}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
def test_what_is_no_header_is_refused_in_words(line: bytes) -> None:
    with pytest.raises(ArchiveTrouble):
        draft_of(line)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"path":"/w/n.ipynb"', b'"path":null'),
        (b'"path":"/w/n.ipynb"', b'"path":"/"'),
        (b'"path":"/w/n.ipynb"', b'"path":"n.ipynb"'),
        (b'"path":"/w/n.ipynb"', b'"path":"/w/\\u0000"'),
        (b'"moment":"1.2.3"', b'"moment":"1.2"'),
        (b'"moment":"1.2.3"', b'"moment":"-1.2.3"'),
        (b'"moment":"1.2.3"', b'"moment":"99999999999.2.3"'),
        (b'"bytes":5', b'"bytes":"5"'),
        (b'"bytes":5', b'"bytes":-5'),
        (b'"stat":null', b'"stat":[1,2]'),
        (b'"id":"', b'"id":"\\n'),
        (b'"kind":"version"', b'"kind":"verse"'),
    ],
)
def test_a_header_with_one_wrong_field_is_refused(old: bytes, new: bytes) -> None:
    draft = Draft(
        id="a" * 32,
        kind=DraftKind.VERSION,
        path="/w/n.ipynb",
        moment=Moment(1, 2, 3),
        boot="b",
        observed_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(microseconds=1),
        trigger=Trigger.WATCH,
        root="/w",
        install="i",
        size=5,
        sha256="0" * 64,
    )
    line = header_of(draft)
    assert draft_of(line) == draft and old in line
    with pytest.raises(ArchiveTrouble):
        draft_of(line.replace(old, new))


@pytest.mark.parametrize("content", [b"", b"no newline", b"x" * (2 << 20), b"{}\n", b"\n"])
def test_a_file_that_is_no_draft_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(ArchiveTrouble):
        OpenDraft(str(path))


def test_a_folder_in_the_place_of_a_draft_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveTrouble):
        OpenDraft(str(tmp_path))
