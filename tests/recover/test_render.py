"""Rendering: text that stays text, whatever the notebook holds."""

from __future__ import annotations

import ast
import json
from base64 import b64encode
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import NothingMatched
from nbguard.inert import plain
from nbguard.recover.page import as_html, data_image
from nbguard.recover.render import as_md, as_py

PNG = b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 16).decode()
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg onload=alert(1)>",
    "</pre></section><iframe src=//evil.example></iframe>",
    "[x](javascript:alert(1)) ![y](http://evil.example/y.png)",
    "`<b>` **<i>**",
    "# <script>alert(1)</script>",
    "```\n</pre><script>alert(1)</script>\n```",
    "\x1b]0;title\x07\x1b[31mred\x1b[0m\x9b31m",
    "<meta http-equiv=refresh content='0;url=http://evil.example'>",
    "<link rel=stylesheet href=http://evil.example><style>@import 'http://evil.example'</style>",
    "\ud83d",
    "</title><script>1</script>",
]


def notebook(*cells: dict[str, object], language: str = "python") -> bytes:
    whole = {"cells": cells, "metadata": {"language_info": {"name": language}}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole).encode()


def code(source: str, *outputs: dict[str, object]) -> dict[str, object]:
    return {"cell_type": "code", "source": source, "outputs": list(outputs), "execution_count": 1, "metadata": {}}


def markdown(source: str) -> dict[str, object]:
    return {"cell_type": "markdown", "source": source.splitlines(keepends=True), "metadata": {}}


class Auditor(HTMLParser):
    """Collects what a browser could act on."""

    def __init__(self) -> None:
        super().__init__()
        self.starts: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.starts.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


ALLOWED = {
    "html", "head", "meta", "title", "style", "body", "section", "div", "pre", "p", "br", "img", "code", "strong",
    "h1", "h2", "h3", "h4", "h5", "h6",
}  # fmt: skip


def audit(page: str) -> Auditor:
    """Fail if the page could run or load anything."""
    auditor = Auditor()
    auditor.feed(page)
    assert set(auditor.starts) <= ALLOWED
    for tag, name, value in auditor.attributes:
        assert not name.startswith("on"), (tag, name)
        assert name not in ("href", "srcset", "action", "style"), (tag, name)
        if name == "src":
            assert value.startswith(("data:image/png;base64,", "data:image/jpeg;base64,", "data:image/gif;base64,"))
        if name == "http-equiv":
            assert value == "Content-Security-Policy"
    assert [tag for tag in auditor.starts if tag in ("style", "title")] == ["title", "style"]
    assert sum(name == "http-equiv" for _, name, _ in auditor.attributes) == 1
    assert "\x1b" not in page
    page.encode("utf-8")
    return auditor


def hostile_output(text: str) -> list[dict[str, object]]:
    rich: dict[str, object] = dict.fromkeys(
        ("text/html", "image/svg+xml", "application/javascript", "image/png", "text/latex", text), text
    )
    return [
        {"output_type": "stream", "name": text, "text": text},
        {"output_type": "display_data", "data": rich, "metadata": {}},
        {"output_type": "execute_result", "data": {**rich, "text/plain": text}, "metadata": {}},
        {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]},
        {"output_type": text},
    ]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_page_runs_and_loads_nothing(text: str) -> None:
    data = notebook(
        markdown(text),
        code(text, *hostile_output(text)),
        {"cell_type": "raw", "source": text},
        {"cell_type": text, "source": text},
        language=text,
    )
    audit(as_html(data, name=text, subtitle=text))


@given(st.text(), st.text(alphabet="<>\"'&/`*# !-\n" + "scriptonload="))
def test_no_text_escapes(first: str, second: str) -> None:
    data = notebook(markdown(second), markdown(first), code(first, *hostile_output(second)))
    audit(as_html(data, name=first, subtitle=second))


def test_only_pictures_that_are_pictures_are_shown() -> None:
    shown = code("plot()", {"output_type": "display_data", "data": {"image/png": PNG, "text/plain": "<Figure>"}})
    page = as_html(notebook(shown), name="a", subtitle="b")
    assert [value for _, name, value in audit(page).attributes if name == "src"] == [f"data:image/png;base64,{PNG}"]
    assert data_image("image/png", PNG[:8] + "\n" + PNG[8:]) == f"data:image/png;base64,{PNG}"
    assert data_image("image/png", b64encode(b"<svg onload=alert(1)>").decode()) is None
    assert data_image("image/png", '" onerror="alert(1)') is None
    assert data_image("image/svg+xml", PNG) is None


def test_html_output_is_shown_as_text_when_there_is_nothing_plainer() -> None:
    page = as_html(
        notebook(code("x", {"output_type": "display_data", "data": {"text/html": "<b>bold</b>"}})),
        name="a",
        subtitle="",
    )
    assert "text/html, shown as text" in page
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def test_light_markdown() -> None:
    page = as_html(notebook(markdown("## A *title*\n\nsome **bold** and `code`\nmore")), name="a", subtitle="")
    assert "<h2>A *title*</h2>" in page
    assert "<p>some <strong>bold</strong> and <code>code</code><br>\nmore</p>" in page


def test_percent_script_is_valid_python() -> None:
    data = notebook(
        markdown("# Title\n\ntext"), code("%matplotlib inline\nx = 1"), code("%%bash\nls"), code("!ls\nx?"), code("")
    )
    script = as_py(data)
    ast.parse(script)
    assert script.startswith("# %% [markdown]\n# # Title\n#\n# text\n\n# %%\n# %matplotlib inline\nx = 1\n\n# %%\n")


def test_other_languages_are_left_as_they_are() -> None:
    assert as_py(notebook(code("!x <- 1"), language="R")) == "# %%\n!x <- 1\n"


def test_markdown_fences_are_longer_than_what_they_hold() -> None:
    assert as_md(notebook(code("s = '```'"))) == "````python\ns = '```'\n````\n"
    rendered = as_md(notebook(code("1/0", {"output_type": "error", "traceback": ["\x1b[31mZeroDivisionError\x1b[0m"]})))
    assert rendered.endswith("```text\nZeroDivisionError\n```\n")


def test_an_empty_notebook_renders_to_nothing() -> None:
    assert as_py(notebook()) == as_md(notebook()) == ""
    audit(as_html(notebook(), name="a", subtitle=""))


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff\xfe", b'{"cells": 1}'])
def test_damaged_bytes_are_refused_with_a_way_out(data: bytes) -> None:
    for render in (as_py, as_md, lambda raw: as_html(raw, name="a", subtitle="")):
        with pytest.raises(NothingMatched, match="damaged") as caught:
            render(data)
        assert "last-good" in caught.value.hint


def test_terminal_escapes_are_taken_out() -> None:
    assert plain("\x1b[1;31mred\x1b[0m \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ 10%\r20%\b") == "red link 10%\n20%"
