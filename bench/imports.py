"""The first versions of a whole folder: `nbguard setup`, against `git add -A` and `git commit`."""

from __future__ import annotations

import os

from bench.installation import write
from bench.measure import Cost, costing, folder_bytes, median, rotated
from bench.peers import Git, run
from bench.processes import command, environment
from bench.results import Result
from bench.runs import Saves
from bench.sources import Sources


def imports(work: str, sources: Sources, rounds: int) -> Result:
    """(b) and (d), whole processes, rounds in rotation."""
    result = Result("imports", "First import", "python -m bench imports")
    _mode(result, f"{work}/d", "(d) small notebooks", sources.small, rounds, at_most=1.0)
    _mode(result, f"{work}/b", "(b) ordinary notebooks", sources.ordinary, rounds, at_most=1.5)
    result.note("nbguard setup --yes --watch DIR --no-service, a whole process: walk, import, read back, catalog.")
    result.note("git: core.fsync=all, both commands; making the repository is not counted.")
    return result


def _mode(result: Result, work: str, what: str, notebooks: Saves, rounds: int, *, at_most: float) -> None:
    desk, count, size = f"{work}/desk", 0, 0
    for name, content in notebooks():
        write(desk, name, content)
        count += 1
        size += len(content)
    costs: dict[str, list[Cost]] = {"ours": [], "git": []}
    sizes: dict[str, int] = {}

    def ours(place: str) -> str:
        setup(f"{place}/home", desk)
        return f"{place}/home/archive.git"

    def git(place: str) -> str:
        repositories[place].keep_all()
        return repositories[place].folder

    repositories: dict[str, Git] = {}
    for number in range(rounds):
        for name, action in rotated([("ours", ours), ("git", git)], number):
            place = f"{work}/{name}{number}"
            os.makedirs(place)
            if name == "git":
                repositories[place] = Git(desk, f"{place}/.git")
            cost = Cost()
            with costing(cost):
                made = action(place)
            costs[name].append(cost)
            sizes[name] = folder_bytes(made)
    walls = {name: [cost.wall for cost in all_costs] for name, all_costs in costs.items()}
    processor = {name: median([cost.processor for cost in all_costs]) for name, all_costs in costs.items()}
    ratios = [one / other for one, other in zip(walls["ours"], walls["git"], strict=True)]
    result.row(
        f"{what}, of git's time",
        median(ratios),
        "×",
        at_most=at_most,
        detail=f"{median(walls['ours']):.2f} of {median(walls['git']):.2f} s; rounds {min(ratios):.2f} to "
        f"{max(ratios):.2f}; {count:,} files, {size / 1e6:.0f} MB",
    )
    result.row(
        f"{what}: processor time, of git's",
        processor["ours"] / processor["git"],
        "×",
        detail=f"{processor['ours']:.2f} of {processor['git']:.2f} s",
    )
    result.row(
        f"{what}: archive, of git's",
        sizes["ours"] / sizes["git"],
        "×",
        detail=f"{sizes['ours'] / 1e6:.1f} of {sizes['git'] / 1e6:.1f} MB",
    )


def setup(home: str, desk: str) -> None:
    """`nbguard setup` on a folder. Raises RuntimeError unless all of it was done."""
    run(command("setup", "--yes", "--no-service", "--watch", desk), environment(home), fine=(0,))
