"""One notebook as a single static HTML page: everything escaped, nothing run, nothing loaded."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from html import escape

from nbguard.inert import POLICY, safe
from nbguard.recover.cells import Cell, Output
from nbguard.recover.render import cell_label, others, readable, title

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b;background:#fff}
pre{font:13px/1.45 ui-monospace,monospace;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0;padding:.6rem}
.code pre.source{background:#f4f4f6;border:1px solid #ddd;border-radius:4px}
.label{font:12px ui-monospace,monospace;color:#666}
.error pre{background:#fff0f0}.note{color:#666;font-style:italic}
img{max-width:100%}h1,h2,h3,h4,h5,h6{line-height:1.2}
"""
_MAGIC_BYTES = {
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/jpeg": (b"\xff\xd8\xff",),
    "image/gif": (b"GIF87a", b"GIF89a"),
}
_LIVE = ("text/html", "image/svg+xml", "text/markdown", "text/latex")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_INLINE = re.compile(r"`([^`\n]+)`|\*\*([^*\n]+)\*\*")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_BLANK = re.compile(r"\s+")
_MOST_SHOWN_CHARS = 20_000


def as_html(data: bytes, *, name: str, subtitle: str) -> str:
    """The page. Raises NothingMatched when the bytes are no notebook."""
    notebook = readable(data)
    heading = safe(title(notebook, name))
    cells = "\n".join(_cell(cell) for cell in notebook.cells)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{escape(POLICY)}">
<meta name="referrer" content="no-referrer">
<title>{heading}</title>
<style>{_STYLE}</style>
</head>
<body>
<p class="note">{safe(name)} — {safe(subtitle)}</p>
{cells}
</body>
</html>
"""


def data_image(mime: str, value: str) -> str | None:
    """A ``data:`` URI for a PNG, JPEG or GIF whose bytes are what they claim to be; None for anything else."""
    expected = _MAGIC_BYTES.get(mime)
    if expected is None:
        return None
    compact = _BLANK.sub("", value)
    try:
        raw = b64decode(compact, validate=True)
    except (Base64Error, ValueError):
        return None
    return f"data:{mime};base64,{compact}" if raw.startswith(expected) else None


def light_markdown(source: str) -> str:
    """Markdown as escaped text, with headings, bold and code marked; links and images stay text."""
    parts: list[str] = []
    block: list[str] = []
    fence = ""
    for line in source.splitlines():
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence):
                parts.append(_pre("source", "\n".join(block)))
                block, fence = [], ""
            else:
                block.append(line)
        elif opened:
            parts += _paragraph(block)
            block, fence = [], opened[1]
        elif heading := _HEADING.match(line):
            parts += _paragraph(block)
            block = []
            level = len(heading[1])
            parts.append(f"<h{level}>{_inline(heading[2])}</h{level}>")
        elif not line.strip():
            parts += _paragraph(block)
            block = []
        else:
            block.append(line)
    parts += [_pre("source", "\n".join(block))] if fence else _paragraph(block)
    return "\n".join(parts)


def _paragraph(lines: list[str]) -> list[str]:
    return ["<p>" + "<br>\n".join(_inline(line) for line in lines) + "</p>"] if lines else []


def _inline(line: str) -> str:
    parts = []
    end = 0
    for match in _INLINE.finditer(line):
        parts.append(safe(line[end : match.start()]))
        parts.append(f"<code>{safe(match[1])}</code>" if match[1] else f"<strong>{safe(match[2])}</strong>")
        end = match.end()
    return "".join(parts) + safe(line[end:])


def _cell(cell: Cell) -> str:
    if cell.kind in ("markdown", "heading"):
        return f'<section class="markdown">\n{light_markdown(cell.source)}\n</section>'
    outputs = "\n".join(_output(output) for output in cell.outputs)
    kind = "code" if cell.kind == "code" else "raw"
    return (
        f'<section class="{kind}">\n<div class="label">{safe(cell_label(cell))}</div>\n'
        f"{_pre('source', cell.source)}\n{outputs}\n</section>"
    )


def _output(output: Output) -> str:
    parts = []
    for mime, value in output.rich.items():
        image = data_image(mime, value)
        if image is not None:
            parts.append(f'<img alt="output" src="{escape(image)}">')
    if output.text:
        parts.append(_pre("text", output.text))
    if not parts:
        live = next((mime for mime in _LIVE if output.rich.get(mime)), None)
        if live is not None:
            parts.append(f'<div class="note">{escape(live)}, shown as text:</div>')
            parts.append(_pre("text", output.rich[live][:_MOST_SHOWN_CHARS]))
        elif hidden := others(output):
            parts.append(f'<div class="note">output not shown: {safe(hidden)}</div>')
    kind = "error" if output.kind == "error" else "output"
    return f'<div class="{kind}">' + "\n".join(parts) + "</div>"


def _pre(kind: str, text: str) -> str:
    return f'<pre class="{kind}">{safe(text)}</pre>'
