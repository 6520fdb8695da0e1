"""Writing the configuration: durable, private, and never over somebody's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from nbguard.errors import BadConfiguration, StorageTrouble, UsageError
from nbguard.service.folders import Proposal
from nbguard.service.setup import checked_roots, choose, configuration_with, write_configuration
from nbguard.settings_reading import load_settings


@pytest.fixture
def folders(home: Path) -> tuple[Proposal, ...]:
    for name in ("work", "notes", "more here"):
        (home / name).mkdir()
    return (Proposal(path=str(home / "work"), notebooks=9), Proposal(path=str(home / "notes"), notebooks=1))


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ("all", ["work", "notes"]),
        ("2", ["notes"]),
        ("2, 1", ["notes", "work"]),
        ("1,1", ["work"]),
        ("~/more here", ["more here"]),
        ("1, ~/more here", ["work", "more here"]),
    ],
)
def test_folders_are_chosen_by_number_or_by_name(
    answer: str, names: list[str], folders: tuple[Proposal, ...], home: Path
) -> None:
    assert choose(answer, folders, str(home)) == tuple(str(home / name) for name in names)


@pytest.mark.parametrize("answer", ["", " , ", "3", "0", "~/none", "/etc/passwd"])
def test_what_names_no_folder_is_asked_again(answer: str, folders: tuple[Proposal, ...], home: Path) -> None:
    with pytest.raises(UsageError):
        choose(answer, folders, str(home))


def test_the_home_itself_may_be_watched_when_somebody_says_so(home: Path) -> None:
    assert checked_roots(["~"], str(home)) == (str(home),)


def test_a_new_configuration_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.toml"
    assert write_configuration(str(path), configuration_with(str(path), ("/a", "/b")))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    settings = load_settings(str(path))
    assert settings is not None
    assert settings.roots == ("/a", "/b")


def test_an_existing_one_gains_folders_and_keeps_its_words(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('schema = 1\n# mine\nroots = ["/a"]\n[packing]\ndrafts = 7\n')
    assert write_configuration(str(path), configuration_with(str(path), ("/a", "/b")))
    settings = load_settings(str(path))
    assert settings is not None
    assert set(settings.roots) == {"/a", "/b"}
    assert settings.packing.drafts == 7
    assert "# mine" in path.read_text()


def test_setting_up_twice_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    write_configuration(str(path), configuration_with(str(path), ("/a",)))
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not write_configuration(str(path), configuration_with(str(path), ("/a",)))
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_a_broken_one_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("roots = [")
    with pytest.raises(BadConfiguration):
        configuration_with(str(path), ("/a",))
    assert path.read_text() == "roots = ["


def test_one_that_is_kept_with_the_dotfiles_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    path = tmp_path / "config.toml"
    path.symlink_to(tmp_path / "dotfiles" / "nbguard.toml")
    (tmp_path / "dotfiles" / "nbguard.toml").write_text("schema = 1\n")
    write_configuration(str(path), configuration_with(str(path), ("/a",)))
    assert path.is_symlink()
    assert '"/a"' in (tmp_path / "dotfiles" / "nbguard.toml").read_text()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StorageTrouble, BadConfiguration), match="file"):
        write_configuration(str(tmp_path / "file" / "config.toml"), b"schema = 1\n")
