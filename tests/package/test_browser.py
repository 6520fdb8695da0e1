"""The pages of a package in a real browser: nothing that stands in a notebook runs, whatever is done to the page."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from nbguard.package.contents import PackageReport
from tests.package.browser import NAMES, chromium, open_pages
from tests.package.test_timeline import PAYLOADS, hostile

__all__ = ["hostile"]  # the fixture


def test_in_a_real_browser_no_page_of_a_package_runs_loads_or_goes_to_anything(
    hostile: PackageReport, tmp_path: Path
) -> None:
    executable = chromium()
    if executable is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    folder = tmp_path / "unpacked"
    with zipfile.ZipFile(hostile.written_to) as package:
        package.extractall(folder)
    pages = [folder / "index.html", *sorted(folder.rglob("pages/**/*.html"))]
    assert len(pages) == len(PAYLOADS) + 2
    controls = []
    for number, payload in enumerate(PAYLOADS[:9]):  # the same payloads where nothing keeps them from running
        control = tmp_path / f"control-{number}.html"
        control.write_text(f"<title>x</title>{'<p>' * 9}{payload}")
        controls.append(control)
    done = open_pages(executable, [*controls, *pages], tmp_path / "browser")
    active = [did.was_active for did in done]
    assert sum(active[:9]) >= 6, "the controls do run"
    assert all(did.elements > 5 for did in done[9:])
    assert [(page.name, did) for page, did in zip(pages, done[9:], strict=True) if did.was_active] == []
