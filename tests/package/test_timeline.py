"""index.html and the pages of notebooks: whatever stands in names, sources and outputs, nothing is active."""

from __future__ import annotations

import json
import zipfile
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest

from nbguard.package.contents import PackageReport
from tests.package.conftest import Packing
from tests.package.test_secrets import cell, link, session

PAYLOADS = (
    "<script>document.title='pwned'</script>",
    "<img src=x onerror=\"document.title='pwned'\">",
    "<svg onload=alert(1)><script>alert(1)</script></svg>",
    "</title></style></table><script>alert(1)</script>",
    '" onmouseover="alert(1)" x="',
    "' autofocus onfocus='alert(1)",
    '<a href="javascript:alert(1)">click</a>',
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1/'>",
    "<base href='http://127.0.0.1/'>",
    "<link rel=stylesheet href=http://127.0.0.1/x.css>",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<!--<script>",
    "]]><script>alert(1)</script>",
    "\x1b[31mred\u202egnp.exe",
)
_ALLOWED = {
    *("html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "h4", "h5", "h6", "p", "ul", "li", "a", "br"),
    *("details", "summary", "span", "bdi", "table", "tr", "th", "td", "section", "div", "pre", "code", "strong", "img"),
}


class Reading(HTMLParser):
    """Collects tags and links; fails at whatever could be active."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _ALLOWED, tag
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name == "href":
                assert value and (value.startswith("./") or value == "READ-ME-FIRST.txt"), value
                self.links.append(value)
            elif name == "src":
                assert (
                    tag == "img"
                    and value
                    and value.startswith(("data:image/png;", "data:image/jpeg;", "data:image/gif;"))
                )
            elif name == "http-equiv":
                assert value == "Content-Security-Policy"
            else:
                assert name in ("class", "lang", "charset", "name", "content", "alt"), (tag, name)

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def hostile_notebook() -> bytes:
    cells: list[dict[str, object]] = []
    for payload in PAYLOADS:
        data = dict.fromkeys(
            ("text/plain", "text/html", "image/svg+xml", "application/javascript", "text/markdown", "image/png"),
            payload,
        )
        outputs = [{"output_type": "display_data", "data": {kind: text}, "metadata": {}} for kind, text in data.items()]
        outputs.append({"output_type": "error", "ename": payload, "evalue": payload, "traceback": [payload]})
        cells.append(
            {"cell_type": "markdown", "metadata": {}, "source": f"# {payload}\n\n{payload}\n```\n{payload}\n```"}
        )
        cells.append(
            {"cell_type": "code", "metadata": {}, "source": payload, "outputs": outputs, "execution_count": None}
        )
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}).encode()


@pytest.fixture
def hostile(packing: Packing) -> PackageReport:
    for number, payload in enumerate(PAYLOADS):
        path = f"/home/ada/{payload.replace('/', '|')}-{number}.ipynb"
        packing.library.add(path, hostile_notebook())
        packing.executed.records += [session(number), cell(number, 1, payload), link(number, path)]
    packing.library.add("/home/ada/\udcff.ipynb", hostile_notebook())
    return packing.build()


def test_nothing_from_a_notebook_is_active_in_any_page(hostile: PackageReport) -> None:
    with zipfile.ZipFile(hostile.written_to) as package:
        names = set(package.namelist())
        pages = [name for name in names if name.endswith(".html")]
        assert len(pages) == len(PAYLOADS) + 2
        for name in pages:
            reading = Reading()
            text = package.read(name).decode("utf-8")
            reading.feed(text)
            reading.close()
            assert "default-src &#x27;none&#x27;" in text and text.index("Content-Security-Policy") < text.index(
                "<title>"
            )
            for href in reading.links:
                assert unquote(href.removeprefix("./")) in names, href
        index = package.read("index.html").decode("utf-8")
    assert "&lt;script&gt;" in index and "\x1b" not in index


def test_the_page_shows_every_version_and_session_newest_first(packing: Packing) -> None:
    path = "/home/ada/a.ipynb"
    versions = [packing.library.add(path, f'{{"cells": [], "n": {number}}}'.encode()) for number in range(3)]
    packing.library.delete(path)
    packing.executed.records += [session(1), cell(1, 1, "x"), link(1, path)]
    report = packing.build()
    with zipfile.ZipFile(report.written_to) as package:
        words = package.read("index.html").decode()
    places = [words.index(version.id[:8]) for version in versions]
    assert places == sorted(places, reverse=True)
    assert "deleted" in words and "1 sessions" in words and "2026-11-20 12:01:00 +00:00" in words
