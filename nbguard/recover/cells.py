"""Notebook bytes as cells and outputs, whatever the format's version; what is not as it should be is left out."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

_IMAGES_3 = {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "svg": "image/svg+xml"}
_KEYS_3 = {*_IMAGES_3, "html", "latex", "javascript", "json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output: its plain text, and its other representations by MIME type (text, base64 or JSON as text)."""

    kind: str
    name: str = ""
    text: str = ""
    rich: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell. ``kind`` is code, markdown, raw or heading; ``metadata`` is canonical JSON."""

    kind: str
    id: str
    source: str
    outputs: tuple[Output, ...] = ()
    count: int | None = None
    metadata: str = "{}"
    attachments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A notebook's cells, its language, and its metadata as canonical JSON."""

    cells: tuple[Cell, ...]
    language: str
    metadata: str


def read_cells(data: bytes) -> Cells | None:
    """The cells of a notebook (nbformat 2 to 4); None when the bytes are no readable notebook. Never raises."""
    try:
        notebook = json.loads(data.decode("utf-8-sig"))
        if not isinstance(notebook, dict):
            return None
        raw = notebook.get("cells")
        if raw is None:
            sheets = notebook.get("worksheets")
            if not isinstance(sheets, list):
                return None
            raw = [cell for sheet in sheets if isinstance(sheet, dict) for cell in _list(sheet.get("cells"))]
        if not isinstance(raw, list):
            return None
        metadata = _dict(notebook.get("metadata"))
        return Cells(
            cells=tuple(_cell(cell) for cell in raw if isinstance(cell, dict)),
            language=_language(metadata),
            metadata=_canonical(metadata),
        )
    except (ValueError, RecursionError, MemoryError):
        return None


def _cell(cell: dict[str, object]) -> Cell:
    count = cell.get("execution_count", cell.get("prompt_number"))
    identity = cell.get("id")
    attachments = _dict(cell.get("attachments"))
    return Cell(
        kind=str(cell.get("cell_type") or "raw"),
        id=identity if isinstance(identity, str) else "",
        source=_text(cell.get("source", cell.get("input", ""))),
        outputs=tuple(_output(output) for output in _list(cell.get("outputs")) if isinstance(output, dict)),
        count=count if isinstance(count, int) and not isinstance(count, bool) else None,
        metadata=_canonical(_dict(cell.get("metadata"))),
        attachments=_canonical(attachments) if attachments else "",
    )


def _output(output: dict[str, object]) -> Output:
    kind = str(output.get("output_type") or "")
    if kind == "stream":
        return Output(
            kind="stream", name=str(output.get("name", output.get("stream", ""))), text=_text(output.get("text"))
        )
    if kind in ("error", "pyerr"):
        trace = "\n".join(line for line in _list(output.get("traceback")) if isinstance(line, str))
        headline = f"{output.get('ename') or 'Error'}: {output.get('evalue') or ''}"
        return Output(kind="error", name=headline, text=trace or headline)
    data = _dict(output.get("data"))
    if not data:  # nbformat 2 and 3 keep the representations in the output itself
        data = {_IMAGES_3.get(key, f"text/{key}"): value for key, value in output.items() if key in _KEYS_3}
        if "text" in output:
            data["text/plain"] = output["text"]
    return Output(
        kind="result" if kind in ("execute_result", "pyout") else "display",
        text=_text(data.get("text/plain")),
        rich={mime: _text(value) for mime, value in data.items() if mime != "text/plain"},
    )


def _language(metadata: dict[str, object]) -> str:
    info = _dict(metadata.get("language_info")).get("name")
    spec = _dict(metadata.get("kernelspec")).get("language")
    found = info or spec
    return found if isinstance(found, str) and found else "python"


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return "" if value is None else _canonical(value)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
