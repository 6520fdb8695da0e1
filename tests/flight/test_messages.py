"""Messages as we need them, and everything that a kernel may say instead."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.flight.messages import Clear, Display, Failure, Input, LeftOut, Message, State, Stream, parse
from nbguard.flight.wire import Cut

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_kinds = ["stream", "status", "execute_input", "error", "clear_output", "display_data", "execute_result", "comm_msg"]


def _parse(kind: str, content: object, *, cut: int | None = None) -> Message | None:
    header = {"msg_type": kind, "session": "life", "date": "2026-11-21T08:00:00.5Z"}
    parent = {"msg_id": "m1", "msg_type": "execute_request"}
    raw = json.dumps(content, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return parse(
        json.dumps(header).encode(),
        json.dumps(parent).encode(),
        raw if cut is None else raw[:cut],
        cut=Cut.WHOLE if cut is None else Cut.TOO_LONG,
        size=len(raw),
    )


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        ("execute_input", {"code": "1", "execution_count": 3}, Input(code="1", count=3)),
        ("stream", {"name": "stderr", "text": "é"}, Stream(name="stderr", text="é")),
        ("status", {"execution_state": "idle"}, State("idle")),
        ("clear_output", {"wait": True}, Clear(wait=True)),
        ("error", {"ename": "E", "evalue": "v", "traceback": ["t", 4]}, Failure(name="E", value="v", traceback=("t",))),
        ("execute_input", {"code": 4, "execution_count": "x"}, Input(code="", count=None)),
        ("comm_msg", {"data": {}}, None),
        ("iopub_welcome", {"subscription": ""}, None),
        ("no_such_type", {}, None),
    ],
)
def test_each_kind_is_understood(kind: str, content: object, expected: object) -> None:
    message = _parse(kind, content)
    assert (message.content if message else None) == expected
    if message is not None:
        assert (message.parent, message.is_execution, message.life) == ("m1", True, "life")
        assert message.sent_at == datetime(2026, 11, 21, 8, 0, 0, 500_000, UTC)


def test_a_display_keeps_all_its_forms() -> None:
    message = _parse(
        "display_data",
        {"data": {"text/plain": "x", "image/png": "iVBO"}, "metadata": {"a": 1}, "transient": {"display_id": "d"}},
    )
    assert message is not None
    assert isinstance(message.content, Display)
    assert message.content.data == {"text/plain": "x", "image/png": "iVBO"}
    assert message.content.display_id == "d"


@given(st.sampled_from(_kinds), _json)
def test_no_content_is_fatal(kind: str, content: object) -> None:
    _parse(kind, content)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40), st.sampled_from(Cut))
def test_no_bytes_are_fatal(header: bytes, parent: bytes, content: bytes, cut: Cut) -> None:
    parse(header, parent, content, cut=cut, size=len(content))


def test_nesting_without_end_is_no_message() -> None:
    assert parse(b"[" * 100_000, b"{}", b"{}", cut=Cut.WHOLE, size=2) is None


@given(st.text(max_size=60), st.integers(0, 200))
def test_of_a_text_that_is_cut_the_beginning_is_saved(text: str, cut: int) -> None:
    message = _parse("stream", {"name": "stdout", "text": text}, cut=cut)
    assert message is not None
    if isinstance(message.content, Stream):
        assert text.startswith(message.content.text)
        assert message.content.name == "stdout"
    else:
        assert isinstance(message.content, LeftOut)


def test_most_of_a_text_that_is_cut_is_saved() -> None:
    message = _parse("stream", {"name": "stdout", "text": 'line "one"\n' * 1000}, cut=5000)
    assert message is not None
    assert isinstance(message.content, Stream)
    assert len(message.content.text) > 3500
    assert message.content.missing_bytes > 5000


def test_an_image_that_is_cut_is_named_by_its_size() -> None:
    message = _parse("display_data", {"data": {"image/png": "A" * 1000}}, cut=100)
    assert message is not None
    assert message.content == LeftOut(len(json.dumps({"data": {"image/png": "A" * 1000}})), Cut.TOO_LONG)
