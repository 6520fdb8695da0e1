"""A configuration is understood exactly, or refused with its line and what to do; it is never "empty"."""

from __future__ import annotations

import os
import string
from pathlib import Path

import pathspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import BadConfiguration
from nbguard.settings import Intervals, Limits, Packing, Retention, Settings
from nbguard.settings_reading import load_settings, parse_settings
from nbguard.settings_writing import as_toml, minimal_configuration, with_roots

_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)
_paths = st.lists(_names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
_roots = st.lists(_paths, max_size=4, unique=True).map(tuple)
_sizes = st.integers(1, 2**50)
_seconds = st.floats(0.001, 1e9)
_settings = st.builds(
    Settings,
    roots=_roots,
    ignore=st.lists(st.text(string.ascii_letters + "*./", min_size=1, max_size=9), max_size=3).map(tuple),
    archive=st.none() | _paths,
    emergency=st.none() | _paths,
    limits=st.builds(Limits, stream_over_bytes=_sizes, refuse_over_bytes=_sizes, slow_interval_seconds=_seconds),
    intervals=st.builds(Intervals, sweep_seconds=_seconds, pack_seconds=_seconds),
    packing=st.builds(Packing, drafts=_sizes, bytes=_sizes),
    retention=st.builds(Retention, outputs_days=_seconds, outputs_bytes=_sizes),
)

REFUSED = [
    ("a key that is nearly right", "schema = 1\nroot = []\n", "c.toml:2: root is not", "did you mean `roots`?"),
    ("a key like no other", "schema = 1\n\nzzz = 1\n", "c.toml:3: zzz is not", "known keys: alerts, archive,"),
    ("a key of a table", "schema = 1\n[limits]\n\nreserve_byte = 1\n", "c.toml:4: reserve_byte", "`reserve_bytes`"),
    ("the same name in two tables", "schema = 1\n[limits]\n[packing]\nbytes = 0\n", "c.toml:4: bytes", "docs/"),
    ("a table nobody knows", "schema = 1\n[limit]\nx = 1\n", "c.toml:2: limit is not", "did you mean `limits`?"),
    ("broken TOML", "schema = 1\nroots = [\n", "c.toml:3:", "config validate"),
    ("broken in the middle", 'schema = 1\nroots = "a" "b"\nignore = []\n', "c.toml:2:", "config validate"),
    ("a key given twice", "schema = 1\nschema = 1\n", "c.toml:2:", "config validate"),
    ("no schema", "roots = []\n", "c.toml:1: no schema", "schema = 1"),
    ("a later schema", "schema = 2\n", "c.toml:1: schema is 2", "docs/"),
    ("a truth for a number", "schema = true\n", "c.toml:1: schema is True", "docs/"),
    ("roots as one string", 'schema = 1\nroots = "/a"\n', "c.toml:2: roots must be a list", "roots = ["),
    ("a root that is no string", "schema = 1\nroots = [1]\n", "c.toml:2: roots must be a list", "roots = ["),
    ("an empty root", 'schema = 1\nroots = [""]\n', "c.toml:2: roots must be a list", "roots = ["),
    ("a relative root", 'schema = 1\nroots = ["work"]\n', "'work', which is not an absolute", "from / or ~"),
    ("a root with a zero byte", 'schema = 1\nroots = ["/a\\u0000"]\n', "not an absolute path", "from / or ~"),
    ("a relative archive", 'schema = 1\narchive = "a.git"\n', "c.toml:2: archive must be an", 'archive = "'),
    ("a table as a number", "schema = 1\nlimits = 3\n", "c.toml:2: limits must be a table", "docs/"),
    ("a text for a number", 'schema = 1\n[packing]\ndrafts = "9"\n', "c.toml:3: drafts must be a whole", "docs/"),
    ("half a draft", "schema = 1\n[packing]\ndrafts = 1.5\n", "c.toml:3: drafts must be a whole", "docs/"),
    ("never", "schema = 1\n[intervals]\nsweep_seconds = 0\n", "c.toml:3: sweep_seconds must be", "docs/"),
    ("always", "schema = 1\n[intervals]\nsweep_seconds = inf\n", "c.toml:3: sweep_seconds must be", "docs/"),
    ("not a number", "schema = 1\n[intervals]\nsweep_seconds = nan\n", "c.toml:3: sweep_seconds must be", "docs/"),
]


@pytest.mark.parametrize(("text", "message", "hint"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_is_wrong_is_refused_with_its_line_and_what_to_do(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_settings(text.encode(), "c.toml")
    assert caught.value.exit_code == 78
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_bytes_that_are_not_utf_8_are_refused_with_their_line() -> None:
    with pytest.raises(BadConfiguration, match=r"c\.toml:2: the file is not UTF-8"):
        parse_settings(b"schema = 1\n# \xff\n", "c.toml")


@given(raw=st.binary(max_size=200))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    try:
        parse_settings(raw, "c.toml")
    except BadConfiguration as error:
        assert error.hint


def test_no_file_is_no_configuration(tmp_path: Path) -> None:
    assert load_settings(str(tmp_path / "config.toml")) is None


def test_a_link_to_nothing_is_not_taken_for_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").symlink_to(tmp_path / "unmounted.toml")
    with pytest.raises(BadConfiguration, match="link to nothing"):
        load_settings(str(tmp_path / "config.toml"))


def test_a_file_that_cannot_be_read_is_not_taken_for_no_configuration(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(BadConfiguration, match="cannot read"):
        load_settings(str(tmp_path / "config.toml"))


def test_a_tilde_is_the_home(home: Path) -> None:
    settings = parse_settings(b'schema = 1\nroots = ["~/work", "~"]\narchive = "~/kept.git"\n', "c.toml")
    assert settings.roots == (str(home / "work"), str(home))
    assert settings.archive == str(home / "kept.git")


def test_a_root_written_twice_counts_once() -> None:
    assert parse_settings(b'schema = 1\nroots = ["/a", "/a/", "/b/../a"]\n', "c.toml").roots == ("/a",)


def test_numbers_of_a_table_leave_the_others_at_their_defaults() -> None:
    settings = parse_settings(b"schema = 1\n[intervals]\nsweep_seconds = 60\n", "c.toml")
    assert settings.intervals == Intervals(sweep_seconds=60.0)
    assert settings.limits == Limits()


def _is_a_pattern(text: str) -> bool:
    try:
        pathspec.GitIgnoreSpec.from_lines([text])
    except ValueError:
        return False
    return True


@given(roots=_roots, ignore=st.lists(st.text(string.ascii_letters + '*/"\\', min_size=1), max_size=3).map(tuple))
def test_a_minimal_configuration_reads_back_whatever_the_folders_are_called(
    roots: tuple[str, ...], ignore: tuple[str, ...]
) -> None:
    ignore = tuple(filter(_is_a_pattern, ignore))
    settings = parse_settings(minimal_configuration(roots, ignore), "c.toml")
    assert settings == Settings(roots=tuple(map(os.path.normpath, roots)), ignore=ignore)


@given(settings=_settings)
def test_what_show_prints_reads_back_to_the_same(settings: Settings) -> None:
    assert parse_settings(as_toml(settings).encode(), "c.toml") == settings


def test_a_folder_that_toml_cannot_hold_is_refused() -> None:
    with pytest.raises(BadConfiguration, match="TOML cannot hold it"):
        minimal_configuration((os.fsdecode(b"/a/\xff"),))


LAYOUTS = {
    "as we write it": minimal_configuration(("/old",)).decode(),
    "on one line": 'schema = 1\nroots = ["/old"]  # mine\n',
    "empty": "schema = 1\nroots = []\n",
    "none": "schema = 1 # first\n\n[limits]\nslow_over_bytes = 5\n",
    "none, and no end of line": "schema = 1",
    "quoted, commented, before a table": 'schema = 1\n"roots" = [ # two\n "/old", # one\n]\n[packing]\ndrafts = 2\n',
    "at the end": 'ignore = ["roots = [", "*.tmp"]\nschema = 1\nroots = ["/old"]',
}


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_adding_folders_keeps_everything_else(text: str) -> None:
    before = parse_settings(text.encode(), "c.toml")
    raw = with_roots(text.encode(), "c.toml", ("/new one", "/old"))
    after = parse_settings(raw, "c.toml")
    assert set(after.roots) == {*before.roots, "/new one", "/old"}
    assert (after.ignore, after.limits, after.packing) == (before.ignore, before.limits, before.packing)
    for line in text.splitlines():
        for comment in line.split("#")[1:]:
            assert comment.encode() in raw
    assert with_roots(raw, "c.toml", ("/new one",)) == raw


@given(settings=_settings, added=_roots)
def test_folders_can_be_added_to_any_configuration_we_print(settings: Settings, added: tuple[str, ...]) -> None:
    after = parse_settings(with_roots(as_toml(settings).encode(), "c.toml", added), "c.toml")
    assert set(after.roots) == {*settings.roots, *added}


def test_a_layout_we_do_not_understand_is_left_alone() -> None:
    text = b'schema = 1\nignore = ["""\nroots = ["""]\n'
    with pytest.raises(BadConfiguration) as caught:
        with_roots(text, "c.toml", ("/new",))
    assert "/new" in caught.value.hint
