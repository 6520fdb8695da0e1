"""Text from notebooks as HTML that does nothing: escaped, without terminal escapes, under a policy that forbids it."""

from __future__ import annotations

import re
from html import escape

# The page may show its own style and data: images, and nothing else: no script, no frame, no form, no connection.
POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; script-src 'none'; connect-src 'none'; frame-src 'none'; object-src 'none'"
)
_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\^_])|\x9b[0-?]*[ -/]*[@-~]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """Text without colours and other terminal escapes; a carriage return ends a line."""
    return _CONTROL.sub("", _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def safe(text: str) -> str:
    """Text as HTML text: escaped, without terminal escapes; a lone surrogate becomes a replacement character."""
    return escape(plain(text).encode("utf-8", "replace").decode("utf-8"), quote=True)
