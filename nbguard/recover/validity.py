"""What Jupyter would make of a version that is given back: nbformat's own reader and schemas are asked."""

from __future__ import annotations

import warnings

_LONGEST = 200


def complaint(data: bytes) -> str:
    """Why nbformat does not take these bytes for a valid notebook; '' when it does. Never raises."""
    import nbformat

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cell ids and the like: readable, and Jupyter mends them itself
            # nbformat 5.11 ships type hints, and leaves its readers without
            notebook = nbformat.reads(data.decode("utf-8"), as_version=nbformat.NO_CONVERT)  # type: ignore[no-untyped-call]
            nbformat.validate(notebook)
    except Exception as error:  # noqa: BLE001 - nbformat raises whatever its input makes it trip over (AttributeError for `[]`)
        first_line = str(error).strip().split("\n")[0]
        return (first_line or type(error).__name__)[:_LONGEST]
    return ""
