"""A configuration is understood exactly, or refused with its line and what to do; it is never "empty"."""

from __future__ import annotations

import os
import re
import string
import tomllib
from dataclasses import fields, replace
from pathlib import Path

import pathspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import BadConfiguration
from nbguard.masking import HIDDEN, holds_secrets, masked_settings
from nbguard.settings import Alerts, Channel, Intervals, Limits, Mirror, Packing, Retention, RollCall, Settings
from nbguard.settings_reading import load_settings, parse_settings
from nbguard.settings_writing import (
    as_table,
    as_toml,
    minimal_configuration,
    with_channels,
    with_roots,
    with_without_channels,
)

_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1).filter(
    lambda name: name not in {".", ".."}
)
_paths = st.lists(_names, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
_roots = st.lists(_paths, max_size=4, unique=True).map(tuple)
_sizes = st.integers(1, 2**50)
_seconds = st.floats(0.001, 1e9)
_words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
_named = st.from_regex(r"[a-z0-9][a-z0-9._-]{0,9}", fullmatch=True)
_channels = st.lists(
    st.builds(Channel, name=_named, human=_named, url=_words)
    | st.builds(Channel, name=_named, human=_named, command=st.lists(_words, min_size=1, max_size=3).map(tuple)),
    max_size=3,
    unique_by=lambda channel: channel.name,
).map(tuple)
_pauses = st.lists(st.floats(0, 1e9), min_size=1, max_size=4, unique=True).map(sorted).map(tuple)
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
    channels=_channels,
    alerts=st.builds(Alerts, repeat_seconds=_pauses, ping_url=_words | st.just(""), without_channels=st.booleans()),
    roll_call=st.builds(RollCall, every_seconds=_seconds, remind_seconds=_pauses),
    mirrors=st.lists(st.builds(Mirror, name=_named, url=st.just("/m")), max_size=2, unique_by=lambda m: m.name).map(
        tuple
    ),
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
    (
        "a channel without a way",
        "schema = 1\n[[channels]]\nname = 'a'\nhuman = 'b'\n",
        "needs either a url or",
        "docs/",
    ),
    (
        "a channel with two ways",
        "schema = 1\n[[channels]]\nname = 'a'\nhuman = 'b'\nurl = 'json://hush'\ncommand = ['x']\n",
        "c.toml:2: channels needs either a url or a command",
        "docs/",
    ),
    (
        "a channel of nobody",
        "schema = 1\n[[channels]]\nname = 'a'\nurl = 'json://hush'\n",
        "human must be lower-case letters",
        'human = "ada"',
    ),
    (
        "a channel's name that is no name",
        "schema = 1\n[[channels]]\nname = 'A b'\nhuman = 'b'\nurl = 'json://hush'\n",
        "c.toml:3: name must be lower-case",
        'name = "ada"',
    ),
    (
        "two channels of one name",
        "schema = 1\n" + "[[channels]]\nname = 'a'\nhuman = 'b'\nurl = 'json://hush'\n" * 2,
        "name 'a' stands there twice",
        "unique",
    ),
    (
        "a key of a channel",
        "schema = 1\n[[channels]]\nname = 'a'\nhumna = 'b'\nurl = 'json://hush'\n",
        "c.toml:4: humna is not",
        "`human`",
    ),
    ("a channel that is no table", "schema = 1\nchannels = ['json://hush']\n", "channels must be tables", "docs/"),
    ("a channel's url as a list", "schema = 1\n[[channels]]\nurl = ['json://hush']\n", "needs either a url", "docs/"),
    ("an empty word of a command", "schema = 1\n[[channels]]\ncommand = ['']\n", "c.toml:3: command must be a", "["),
    ("pauses that shrink", "schema = 1\n[alerts]\nrepeat_seconds = [9, 3]\n", "c.toml:3: repeat_seconds", "1800"),
    ("no pauses", "schema = 1\n[roll_call]\nremind_seconds = []\n", "c.toml:3: remind_seconds", "1800"),
    ("a text for a truth", "schema = 1\n[alerts]\nwithout_channels = 'yes'\n", "c.toml:3: without_channels", "docs/"),
    ("a ping that is a number", "schema = 1\n[alerts]\nping_url = 3\n", "c.toml:3: ping_url must be a string", "docs/"),
    ("a check that never looks", "schema = 1\n[checks]\nlight_seconds = 0\n", "c.toml:3: light_seconds must", "docs/"),
    (
        "a mirror that is an option",
        "schema = 1\n[[mirrors]]\nname = 'a'\nurl = '-x'\n",
        "c.toml:4: url must be a",
        "git",
    ),
    ("a mirror without a name", "schema = 1\n[[mirrors]]\nurl = '/a'\n", "name must be lower-case", 'name = "ada"'),
    ("not a number", "schema = 1\n[intervals]\nsweep_seconds = nan\n", "c.toml:3: sweep_seconds must be", "docs/"),
]


@pytest.mark.parametrize(("text", "message", "hint"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_what_is_wrong_is_refused_with_its_line_and_what_to_do(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        parse_settings(text.encode(), "c.toml")
    assert caught.value.exit_code == 78
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert "hush" not in caught.value.message + caught.value.hint


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


@given(settings=_settings, added=_channels)
def test_channels_can_be_added_to_any_configuration_we_print(settings: Settings, added: tuple[Channel, ...]) -> None:
    taken = {channel.name for channel in settings.channels}
    new = tuple(channel for channel in added if channel.name not in taken)
    after = parse_settings(with_channels(as_toml(settings).encode(), "c.toml", new), "c.toml")
    assert after == replace(settings, channels=(*settings.channels, *new))


@given(settings=_settings)
def test_doing_without_channels_can_be_put_on_record_in_any_configuration_we_print(settings: Settings) -> None:
    after = parse_settings(with_without_channels(as_toml(settings).encode(), "c.toml"), "c.toml")
    assert after == replace(settings, alerts=replace(settings.alerts, without_channels=True))
    unsaid = "\n".join(line for line in as_toml(settings).split("\n") if not line.startswith("without_channels"))
    assert parse_settings(with_without_channels(unsaid.encode(), "c.toml"), "c.toml") == after


CHANNEL = Channel(name="mail", human="ada", url='mailto://ada:p"\\ss@h?to=a@b.c')


@pytest.mark.parametrize("text", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_adding_a_channel_keeps_everything_else(text: str) -> None:
    raw = with_channels(text.encode(), "c.toml", (CHANNEL,))
    assert raw.startswith(text.encode().rstrip())
    assert parse_settings(raw, "c.toml").channels == (CHANNEL,)
    silent = with_without_channels(raw, "c.toml")
    assert parse_settings(silent, "c.toml").alerts.without_channels
    assert with_without_channels(silent, "c.toml") == silent


def test_a_channel_of_a_name_that_is_taken_is_not_added() -> None:
    raw = with_channels(b"schema = 1\n", "c.toml", (CHANNEL,))
    with pytest.raises(BadConfiguration) as caught:
        with_channels(raw, "c.toml", (CHANNEL,))
    assert CHANNEL.url not in caught.value.message + caught.value.hint


def test_what_is_printed_holds_no_secret() -> None:
    settings = Settings(
        channels=(CHANNEL, Channel(name="c", human="b", command=("curl", "-H", "X: hush"))),
        alerts=Alerts(ping_url="https://hc.example.org/hush"),
        mirrors=(Mirror(name="m", url="https://hush@github.com/a.git"),),
    )
    printed = as_toml(masked_settings(settings))
    assert "hush" not in printed
    assert 'p\\"' not in printed
    assert printed.count(HIDDEN) == 4
    assert holds_secrets(settings)
    elsewhere = (Channel(name="a", human="b", url="file:~/.mail"), Channel(name="d", human="b", url="desktop:"))
    assert not holds_secrets(Settings(channels=elsewhere))


def test_the_page_of_the_configuration_has_every_key_with_its_default() -> None:
    page = (Path(__file__).parent.parent / "docs" / "configuration.md").read_text()
    documented = tomllib.loads("\n".join(re.findall(r"(?ms)^```toml\n(.*?)^```", page)))
    for name, table in as_table(Settings()).items():
        if isinstance(table, dict):
            assert documented.pop(name) == table, name
    for name, kind in (("channels", Channel), ("mirrors", Mirror)):
        (row,) = documented.pop(name)
        assert set(row) == {item.name for item in fields(kind)} - {"command"}
    assert set(documented) == {"schema", "roots", "ignore"}
    assert all(f"\n# {key} = " in page for key in ("archive", "emergency", "command"))
