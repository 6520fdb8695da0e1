"""index.html: what was kept when, as one static page; everything escaped, nothing run, nothing loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from urllib.parse import quote

from nbguard.inert import POLICY, safe
from nbguard.package.contents import Missing

When = Callable[[datetime], str]
"""A time in words."""

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
h1,h2{line-height:1.25}h2{font-size:1.05rem;display:inline;font-family:ui-monospace,monospace;overflow-wrap:anywhere}
details{border-top:1px solid #ddd;padding:.5rem 0}summary{cursor:pointer}
table{border-collapse:collapse;margin:.5rem 0 1rem;font-size:.9rem}td,th{text-align:left;padding:.15rem .9rem .15rem 0}
td.n{text-align:right}.note{color:#666}.bad{color:#a00}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of a timeline. ``remark`` is what is unusual about it; ``links`` are (words, member)."""

    at: datetime
    what: str
    size: str
    remark: str
    links: tuple[tuple[str, str], ...]


def opening(*, made: str, counts: str, as_of: str, missing: Sequence[Missing]) -> str:
    """The page up to the first notebook. All arguments are words for people."""
    lost = ""
    if missing:
        rows = "".join(f"<li>{safe(item.what)} {safe(item.path or '')}: {safe(item.reason)}</li>" for item in missing)
        lost = f'<h2 class="bad">Not in this package, because it could not be read</h2>\n<ul>{rows}</ul>\n'
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="referrer" content="no-referrer">
<title>What was kept</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>What was kept</h1>
<p>{safe(counts)}{safe(as_of)}. Made {safe(made)}.
The files themselves are beside this page: unpack the whole package first, then the links work.
What to do next is in <a href="READ-ME-FIRST.txt">READ-ME-FIRST.txt</a>.</p>
{lost}"""


def section(title: str, note: str, links: Iterable[tuple[str, str]], events: Iterable[Event], when: When) -> str:
    """One notebook: its timeline, as the events come."""
    rows = "\n".join(_row(event, when) for event in events)
    given = " · ".join(_link(words, member) for words, member in links)
    return f"""<details>
<summary><h2><bdi>{safe(title)}</bdi></h2> <span class="note">{safe(note)}</span></summary>
<p>{given}</p>
<table>
<tr><th>when</th><th>what</th><th>size</th><th></th><th></th></tr>
{rows}
</table>
</details>
"""


CLOSING = "</body>\n</html>\n"


def _row(event: Event, when: When) -> str:
    links = " ".join(_link(words, member) for words, member in event.links)
    return (
        f"<tr><td>{safe(when(event.at))}</td><td>{safe(event.what)}</td>"
        f'<td class="n">{safe(event.size)}</td><td class="bad">{safe(event.remark)}</td><td>{links}</td></tr>'
    )


def _link(words: str, member: str) -> str:
    # Relative, and it begins with a folder of ours: it cannot become another scheme.
    return f'<a href="{escape(quote("./" + member))}">{safe(words)}</a>'
