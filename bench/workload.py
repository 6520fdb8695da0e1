"""Notebook saves as a day of work produces them, the same ones for the same seed.

Everything is an iterator and a notebook holds only its present state, so that no more than the notebooks being worked
on are in memory. Sizes are in bytes of the `.ipynb` file, as Jupyter writes it. How large the edits are was fitted to
measured ones: as a zstd delta against the save before, half of the saves of a 350 kB notebook are under 0.6 kB, and a
tenth are over 17 kB (almost always a redrawn PNG).

`python -m bench.workload` prints what the four modes look like.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import random
import statistics
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SEED = 20260101
LARGEST_NOTEBOOK = 4_500_000
"""Bytes; the largest notebook of `many_notebooks` starts a little below this."""

UNCHANGED_SAVES = 0.03
"""Share of saves that write the same bytes again."""


class Save(NamedTuple):
    """A notebook was written."""

    name: str
    content: bytes


class Rename(NamedTuple):
    """A notebook got another name; its bytes stay."""

    name: str
    new_name: str


class Delete(NamedTuple):
    """A notebook is gone; a later `Save` of the same name brings it back."""

    name: str


Event = Save | Rename | Delete


class History(NamedTuple):
    """One real notebook: its name, and the files of its versions in order."""

    name: str
    versions: tuple[Path, ...]


# --- what a benchmark asks for -------------------------------------------------------


def one_notebook(saves: int = 1000, seed: int = SEED) -> Iterator[bytes]:
    """Save one notebook over and over: 180 kB at first, 550 kB at the end."""
    rng = random.Random(f"one/{seed}")
    notebook = _Notebook(rng, 180_000)
    yield notebook.content()
    for number in range(1, saves):
        notebook.target_bytes = 180_000 + 370_000 * number // saves
        notebook.work()
        yield notebook.content()


def many_notebooks(notebooks: int = 50, saves: int = 100, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """Save many notebooks in turn, picked at random: (name, content), no other events."""
    for event in _interleaved(notebooks, saves, seed, renames=0, deletes=0):
        if isinstance(event, Save):
            yield event.name, event.content


def many_notebooks_with_events(
    notebooks: int = 50,
    saves: int = 100,
    seed: int = SEED,
    *,
    renames: int = 25,
    deletes: int = 27,
) -> Iterator[Event]:
    """Save many notebooks in turn, with so many renames and deletions in between."""
    return _interleaved(notebooks, saves, seed, renames, deletes)


def ordinary_import(count: int = 1000, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """List the notebooks of a working folder: median 14 kB, p90 540 kB, up to 4 MB."""
    return _folder("ordinary", _sizes(count, 14_000, 540_000, 4_000_000), seed)


def small_import(count: int = 10_000, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """List many small notebooks: median 3 kB, p90 15 kB, up to 20 kB."""
    return _folder("small", _sizes(count, 3_000, 15_000, 20_000), seed)


# --- the same shapes from real histories ---------------------------------------------


def real_histories(folder: Path) -> list[History]:
    """Find the histories under FOLDER: `OWNER__REPO/path/X.ipynb/000.ipynb`, `001…`."""
    histories = []
    for first in sorted(folder.rglob("*.ipynb/000.ipynb")):
        versions = tuple(sorted(first.parent.glob("*.ipynb")))
        histories.append(History(str(first.parent.relative_to(folder)), versions))
    return histories


def one_real_notebook(folder: Path) -> Iterator[bytes]:
    """Save the real notebook that has the most versions, from the first to the last."""
    longest = max(real_histories(folder), key=lambda history: len(history.versions))
    for version in longest.versions:
        yield version.read_bytes()


def many_real_notebooks(folder: Path, seed: int = SEED) -> Iterator[tuple[str, bytes]]:
    """Save all real notebooks in turn, each through its own versions in order."""
    histories = real_histories(folder)
    rng = random.Random(f"real/{seed}")
    turns = [number for number, one in enumerate(histories) for _ in one.versions]
    rng.shuffle(turns)
    waiting = [iter(history.versions) for history in histories]
    for turn in turns:
        yield histories[turn].name, next(waiting[turn]).read_bytes()


def real_import(folder: Path) -> Iterator[tuple[str, bytes]]:
    """List the last version of each real notebook."""
    for history in real_histories(folder):
        yield history.name, history.versions[-1].read_bytes()


# --- sizes and turns -----------------------------------------------------------------


def _sizes(count: int, median: int, p90: int, largest: int) -> list[int]:
    """Spread COUNT sizes evenly over the quantiles of a log-normal, cut at LARGEST."""
    standard = statistics.NormalDist()
    spread = math.log(p90 / median) / standard.inv_cdf(0.9)
    quantiles = (standard.inv_cdf((place + 0.5) / count) for place in range(count))
    return [min(largest, int(median * math.exp(spread * q))) for q in quantiles]


def _interleaved(notebooks: int, saves: int, seed: int, renames: int, deletes: int) -> Iterator[Event]:
    rng = random.Random(f"many/{seed}")
    sizes = _sizes(notebooks, 27_000, 830_000, LARGEST_NOTEBOOK)
    rng.shuffle(sizes)
    names = [f"{_folder_name(rng)}/nb_{number:03d}.ipynb" for number in range(notebooks)]
    turns = [number for number in range(notebooks) for _ in range(saves)]
    rng.shuffle(turns)
    extra = dict.fromkeys(rng.sample(range(len(turns)), renames + deletes), "rename")
    extra |= dict.fromkeys(list(extra)[renames:], "delete")
    open_notebooks: dict[int, _Notebook] = {}
    for place, turn in enumerate(turns):
        notebook = open_notebooks.get(turn)
        if notebook is None:
            own = random.Random(f"many/{seed}/{turn}")
            notebook = open_notebooks[turn] = _Notebook(own, sizes[turn])
        else:
            notebook.target_bytes += sizes[turn] // (4 * saves)
            notebook.work()
        yield Save(names[turn], notebook.content())
        match extra.get(place):
            case "rename":
                stem = names[turn].removesuffix(".ipynb")
                new_name = f"{stem}_v{place}.ipynb"
                yield Rename(names[turn], new_name)
                names[turn] = new_name
            case "delete":
                yield Delete(names[turn])


def _folder(kind: str, sizes: list[int], seed: int) -> Iterator[tuple[str, bytes]]:
    rng = random.Random(f"{kind}/{seed}")
    rng.shuffle(sizes)
    for number, size in enumerate(sizes):
        own = random.Random(f"{kind}/{seed}/{number}")
        name = f"{_folder_name(rng)}/{rng.choice(_WORDS)}_{number:05d}.ipynb"
        yield name, _Notebook(own, size).content()


def _folder_name(rng: random.Random) -> str:
    depth = rng.choices((1, 2, 3), (5, 3, 2))[0]
    return "/".join(rng.choice(_WORDS) for _ in range(depth))


# --- one notebook --------------------------------------------------------------------

_WORDS = (
    *("frame", "model", "train", "test", "split", "score", "loss", "epoch", "batch", "layer", "weights", "bias"),
    *("tensor", "plot", "axis", "figure", "label", "legend", "title", "series", "column", "index", "merge", "group"),
    *("mean", "median", "sample", "noise", "signal", "filter", "window", "kernel", "matrix", "vector", "solve", "fit"),
    *("café", "größe", "naïve", "über", "price", "volume", "return", "risk", "region", "station", "sensor", "reading"),
)
_METADATA = {
    "kernelspec": {
        "display_name": "Python 3 (ipykernel)",
        "language": "python",
        "name": "python3",
    },
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "nbconvert_exporter": "python",
        "pygments_lexer": "ipython3",
        "version": "3.11.7",
    },
}


def _dump(value: object, indent: str = "") -> str:
    """Write JSON as Jupyter does; INDENT goes before each line but the first."""
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)
    return text.replace("\n", "\n" + indent)  # no string in JSON holds a bare newline


_TAIL = f'\n ],\n "metadata": {_dump(_METADATA, " ")},\n "nbformat": 4,\n "nbformat_minor": 5\n}}\n'


def _code_line(rng: random.Random) -> str:
    a, b, c = rng.choices(_WORDS, k=3)
    match rng.randrange(5):
        case 0:
            return f"{a} = {b}.{c}({rng.randrange(1000)}, {a}={rng.random():.3f})"
        case 1:
            return f"for {a} in range({rng.randrange(100)}): {b}[{a}] += {c}({a})"
        case 2:
            return f"plt.{a}({b}, {c}, alpha={rng.random():.2f})"
        case 3:
            return f"# {a} {b} {c}: {rng.choice(_WORDS)} {rng.choice(_WORDS)}"
        case _:
            return f"    {a}_{b} = np.{c}({a}_{c}[:, {rng.randrange(40)}])"


def _prose_line(rng: random.Random) -> str:
    return " ".join(rng.choices(_WORDS, k=rng.randrange(6, 16))).capitalize() + "."


def _printed_line(rng: random.Random, number: int) -> str:
    return (
        f"epoch {number:3d} - loss: {rng.random():.4f} - accuracy: {rng.random():.4f}"
        f" - {rng.randrange(1, 9)}s {rng.randrange(100)}ms/step"
    )


def _as_lines(lines: Sequence[str]) -> list[str]:
    """Split as nbformat does: each line keeps its newline, the last has none."""
    return [line + "\n" for line in lines[:-1]] + list(lines[-1:])


class _Image:
    """A drawing whose PNG is deflated noise, so that redrawing it really costs bytes."""

    _WIDTH = 400
    _SHADES = bytes(96 + shade % 32 * 4 for shade in range(256))

    def __init__(self, rng: random.Random, base64_bytes: int) -> None:
        """Draw about so large that the PNG has BASE64_BYTES in the notebook."""
        # 32 even shades deflate to 5/8, and base64 makes 4/3 of that
        height = max(2, round(base64_bytes * 1.19 / self._WIDTH))
        self._rows = [self._draw_row(rng) for _ in range(height)]
        self.text = self._encode()

    def redraw(self, rng: random.Random) -> None:
        """Change a few neighbouring rows, as a new curve in an old plot does."""
        height = len(self._rows)
        first = rng.randrange((height + 1) // 2)
        for row in range(first, min(height, first + 1 + height // 8)):
            self._rows[row] = self._draw_row(rng)
        self.text = self._encode()

    def _draw_row(self, rng: random.Random) -> bytes:
        return b"\0" + rng.randbytes(self._WIDTH).translate(self._SHADES)

    def _encode(self) -> str:
        header = struct.pack(">IIBBBBB", self._WIDTH, len(self._rows), 8, 0, 0, 0, 0)
        parts = [b"\x89PNG\r\n\x1a\n"]
        pixels = zlib.compress(b"".join(self._rows), 6)
        for kind, data in ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b"")):
            parts += [struct.pack(">I", len(data)), kind, data]
            parts.append(struct.pack(">I", zlib.crc32(kind + data)))
        return base64.b64encode(b"".join(parts)).decode("ascii")


@dataclass(slots=True)
class _Cell:
    identity: str
    is_code: bool
    source: list[str]
    count: int | None = None
    printed: list[str] = field(default_factory=list)
    image: _Image | None = None
    is_cleared: bool = False
    text: str = ""
    """The cell as it stands in the file; made again by `write`."""

    def write(self) -> None:
        cell: dict[str, object] = {
            "cell_type": "code" if self.is_code else "markdown",
            "id": self.identity,
            "metadata": {},
            "source": _as_lines(self.source),
        }
        if self.is_code:
            cell["execution_count"] = None if self.is_cleared else self.count
            cell["outputs"] = [] if self.is_cleared else self._outputs()
        self.text = "  " + _dump(cell, "  ")

    def _outputs(self) -> list[dict[str, object]]:
        outputs: list[dict[str, object]] = []
        if self.printed:
            text = _as_lines(self.printed)
            outputs.append({"name": "stdout", "output_type": "stream", "text": text})
        if self.image:
            data = {"image/png": self.image.text, "text/plain": ["<Figure size 640x480>"]}
            outputs.append({"data": data, "metadata": {}, "output_type": "display_data"})
        return outputs


class _Notebook:
    """The present state of one notebook, and what a person does to it between saves."""

    def __init__(self, rng: random.Random, target_bytes: int) -> None:
        self.target_bytes = target_bytes
        self._rng = rng
        self._count = 0
        self._cells: list[_Cell] = []
        self._is_all_cleared = False
        while not self._cells or self._bytes() < target_bytes:
            self._add()

    def content(self) -> bytes:
        """Give the file's bytes."""
        cells = ",\n".join(cell.text for cell in self._cells)
        return f'{{\n "cells": [\n{cells}{_TAIL}'.encode()

    def work(self) -> None:
        """Do what lies between two saves: mostly one to three cells change."""
        rng = self._rng
        if self._is_all_cleared:
            self._run_all()
        elif (chance := rng.random()) < UNCHANGED_SAVES:
            return
        elif chance < UNCHANGED_SAVES + 0.004:
            self._clear_all()
        elif chance < UNCHANGED_SAVES + 0.008:
            self._run_all()
        else:
            for _ in range(rng.choices((1, 2, 3), (6, 3, 1))[0]):
                self._edit()

    def _edit(self) -> None:
        rng = self._rng
        surplus = self._bytes() - self.target_bytes
        cell = rng.choice(self._cells)
        chance = rng.random()
        if cell.is_cleared:
            self._run(cell)
        elif surplus < -max(20_000, self.target_bytes // 12) or chance < 0.04:
            self._add()
        elif len(self._cells) > 2 and (surplus > self.target_bytes // 12 or chance < 0.06):
            self._cells.remove(cell)
        elif chance < 0.08:
            self._cells.remove(cell)
            self._cells.insert(rng.randrange(len(self._cells) + 1), cell)
        elif chance < 0.11 and cell.is_code:
            cell.is_cleared = True
            cell.write()
        else:
            for _ in range(rng.randrange(1, 4)):
                self._type_into(cell)
            self._run(cell)

    def _type_into(self, cell: _Cell) -> None:
        rng = self._rng
        line = _code_line(rng) if cell.is_code else _prose_line(rng)
        place = rng.randrange(len(cell.source))
        match rng.randrange(4):
            case 0:
                cell.source.insert(place, line)
            case 1 if len(cell.source) > 3:
                del cell.source[place]
            case _:
                cell.source[place] = line

    def _run(self, cell: _Cell) -> None:
        """Execute: a new count, some other numbers printed, perhaps a new drawing."""
        rng = self._rng
        cell.is_cleared = False
        if cell.is_code:
            self._count += 1
            cell.count = self._count
            if cell.printed and rng.random() < 0.5:
                first = rng.randrange(len(cell.printed))
                for number in range(first, min(len(cell.printed), first + 12)):
                    cell.printed[number] = _printed_line(rng, number)
            if cell.image and rng.random() < 0.55:
                cell.image.redraw(rng)
        cell.write()

    def _run_all(self) -> None:
        self._is_all_cleared = False
        self._count = 0
        for cell in self._cells:
            if cell.is_code:
                self._run(cell)

    def _clear_all(self) -> None:
        self._is_all_cleared = True
        for cell in self._cells:
            if cell.is_code:
                cell.is_cleared = True
                cell.write()

    def _add(self) -> None:
        """Put in one cell, which alone adds no more than about a quarter of the target."""
        rng = self._rng
        is_code = rng.random() < 0.65
        line = _code_line if is_code else _prose_line
        longest = max(2, min(24, self.target_bytes // 400))
        lines = [line(rng) for _ in range(rng.randrange(1, longest))]
        cell = _Cell(f"{rng.getrandbits(32):08x}", is_code, lines)
        if is_code:
            self._count += 1
            cell.count = self._count
            if rng.random() < 0.4:
                most = max(2, min(120, self.target_bytes // 500))
                amount = rng.randrange(1, most)
                cell.printed = [_printed_line(rng, number) for number in range(amount)]
            image_bytes = self._image_bytes()
            if image_bytes > 2_000 and rng.random() < 0.5:
                cell.image = _Image(rng, image_bytes)
        cell.write()
        self._cells.insert(rng.randrange(len(self._cells) + 1), cell)

    def _image_bytes(self) -> int:
        usual = max(18_000, self.target_bytes // 60)
        drawn = int(usual * math.exp(self._rng.gauss(0, 0.6)))
        return min(drawn, self.target_bytes // 4)

    def _bytes(self) -> int:
        """Size in characters with nothing cleared away; close to bytes, and cheaper."""
        hidden = sum(len(c.image.text) for c in self._cells if c.is_cleared and c.image)
        return hidden + sum(len(cell.text) + 2 for cell in self._cells) + len(_TAIL)


# --- a look at it --------------------------------------------------------------------


def _describe(title: str, contents: Iterable[bytes]) -> str:
    sizes = sorted(len(content) for content in contents)
    if not sizes:
        return f"{title}: nothing"
    median, p90 = sizes[len(sizes) // 2], sizes[len(sizes) * 9 // 10]
    return (
        f"{title}: {len(sizes)} saves, {sum(sizes) / 1e6:.0f} MB;"
        f" kB: median {median / 1e3:.1f}, p90 {p90 / 1e3:.1f}, max {sizes[-1] / 1e3:.1f}"
    )


def main() -> None:
    """Print how many saves and bytes each mode makes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--real", type=Path, help="a folder of real histories instead")
    options = parser.parse_args()
    if options.real:
        print(_describe("one", one_real_notebook(options.real)))
        print(_describe("many", (c for _, c in many_real_notebooks(options.real))))
        print(_describe("import", (c for _, c in real_import(options.real))))
        return
    seed = options.seed
    print(_describe("one", one_notebook(seed=seed)))
    print(_describe("many", (content for _, content in many_notebooks(seed=seed))))
    print(_describe("ordinary", (content for _, content in ordinary_import(seed=seed))))
    print(_describe("small", (content for _, content in small_import(seed=seed))))


if __name__ == "__main__":
    main()
