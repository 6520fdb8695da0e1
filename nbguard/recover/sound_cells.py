"""Cells as nbformat 4.5 wants them, out of whatever a file or a recorder holds: values in, values out."""

from __future__ import annotations

import json
import re
from hashlib import sha256

Json = dict[str, object]

SKIPPED = "skip-execution"
"""The tag that nbclient knows (`skip_cells_with_tag`)."""

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_KINDS = ("code", "markdown", "raw")


def sound_cell(raw: Json) -> Json:
    """One nbformat 4 cell with the keys its kind has, and no others; without an id when its own cannot be used."""
    kind = raw.get("cell_type")
    identity = raw.get("id")
    cell: Json = {"cell_type": kind if kind in _KINDS else "raw"}
    if isinstance(identity, str) and _ID.fullmatch(identity):
        cell["id"] = identity
    cell["metadata"] = sound_metadata(raw.get("metadata"))
    cell["source"] = joined(raw.get("source"))
    if kind == "code":
        count = raw.get("execution_count")
        cell["execution_count"] = count if _is_count(count) else None
        cell["outputs"] = sound_outputs(raw.get("outputs"))
    elif attachments := sound_attachments(raw.get("attachments")):
        cell["attachments"] = attachments
    return cell


def sound_metadata(raw: object) -> Json:
    """A cell's metadata; the few keys whose form nbformat prescribes are left out when they have another."""
    if not isinstance(raw, dict):
        return {}
    kept = {key: value for key, value in raw.items() if isinstance(key, str)}
    for key in ("collapsed", "deletable", "editable"):
        if key in kept and not isinstance(kept[key], bool):
            del kept[key]
    for key in ("jupyter", "execution"):
        if key in kept and not isinstance(kept[key], dict):
            del kept[key]
    execution = kept.get("execution")
    if isinstance(execution, dict):
        kept["execution"] = {key: value for key, value in execution.items() if isinstance(value, str)}
    inner = kept.get("jupyter")
    if isinstance(inner, dict):
        kept["jupyter"] = {key: value for key, value in inner.items() if not _hidden_wrongly(key, value)}
    tags = kept.get("tags")
    if tags is not None and not _are_tags(tags):
        del kept["tags"]
    if "scrolled" in kept and kept["scrolled"] not in (True, False, "auto"):
        del kept["scrolled"]
    for key in ("name", "format"):
        if key in kept and not (isinstance(kept[key], str) and kept[key]):
            del kept[key]
    return kept


def sound_outputs(raw: object) -> list[Json]:
    """The outputs that have the form nbformat 4 prescribes; the others are left out."""
    if not isinstance(raw, list):
        return []
    return [output for entry in raw if isinstance(entry, dict) and (output := _output(entry)) is not None]


def read_outputs(text: str) -> list[Json] | None:
    """Outputs out of their JSON text; None when it is no list."""
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return sound_outputs(raw) if isinstance(raw, list) else None


def read_object(text: str) -> Json:
    """A JSON object out of its text; empty when it is none."""
    if not text:
        return {}
    try:
        raw = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def sound_attachments(raw: object) -> Json:
    """Attachments as nbformat 4 prescribes: a bundle of representations for each name."""
    if not isinstance(raw, dict):
        return {}
    return {name: _bundle(bundle) for name, bundle in raw.items() if isinstance(bundle, dict)}


def fresh_id(seed: str, taken: set[str]) -> str:
    """An id that is not in ``taken`` (it is added): the same for the same seed and the same ``taken``."""
    for attempt in range(len(taken) + 1):
        text = f"{attempt}\0{seed}".encode("utf-8", "surrogatepass")
        identity = sha256(text).hexdigest()[:8] if attempt < 8 else f"{sha256(text).hexdigest()[:8]}-{attempt}"
        if identity not in taken:
            taken.add(identity)
            return identity
    raise AssertionError("more names were tried than are taken")


def joined(value: object) -> str:
    """Text that the format allows to be a list of lines."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(part for part in value if isinstance(part, str))
    return ""


def normal(source: str) -> str:
    """A source for comparing: history drops trailing newlines, and some files have other line ends."""
    return source.replace("\r\n", "\n").rstrip()


def in_lines(text: str) -> list[str]:
    """Text as Jupyter writes it: its lines, each with its end."""
    return text.splitlines(keepends=True)


def _output(raw: Json) -> Json | None:
    kind = raw.get("output_type")
    if kind == "stream":
        name = raw.get("name")
        return {
            "name": name if isinstance(name, str) else "stdout",
            "output_type": kind,
            "text": _text(raw.get("text")),
        }
    if kind == "error":
        trace = raw.get("traceback")
        lines = [line for line in trace if isinstance(line, str)] if isinstance(trace, list) else []
        return {
            "ename": str(raw.get("ename") or "Error"),
            "evalue": str(raw.get("evalue") or ""),
            "output_type": kind,
            "traceback": lines,
        }
    if kind not in ("execute_result", "display_data"):
        return None
    metadata = raw.get("metadata")
    data = raw.get("data")
    output: Json = {
        "data": _bundle(data) if isinstance(data, dict) else {},
        "metadata": metadata if isinstance(metadata, dict) else {},
        "output_type": kind,
    }
    if kind == "execute_result":
        count = raw.get("execution_count")
        output["execution_count"] = count if _is_count(count) else None
    return output


def _bundle(raw: Json) -> Json:
    """Representations by MIME type: text (as lines), except JSON, which is what it is."""
    return {mime: value if _is_json(mime) else _text(value) for mime, value in raw.items()}


def _is_json(mime: str) -> bool:
    return mime == "application/json" or (mime.startswith("application/") and mime.endswith("+json"))


def _text(value: object) -> list[str]:
    return in_lines(joined(value))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _hidden_wrongly(key: str, value: object) -> bool:
    return key in ("source_hidden", "outputs_hidden") and not isinstance(value, bool)


def _are_tags(tags: object) -> bool:
    return (
        isinstance(tags, list)
        and all(isinstance(tag, str) and tag and "," not in tag for tag in tags)
        and len(set(tags)) == len(tags)
    )
