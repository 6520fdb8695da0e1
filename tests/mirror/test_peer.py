"""A peer says who stalled, by its own clock, whatever the hosts and their clocks say."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbguard.alerting import Weight
from nbguard.errors import ArchiveTrouble
from nbguard.mirror import peer_memory
from nbguard.mirror.layout import MirrorHeartbeat, Namespace, ToldProblem, heartbeat_text
from nbguard.mirror.look import Look
from nbguard.mirror.peer import Memory, exit_code_of, look_at, no_answer
from nbguard.mirror.there import heartbeat_in, hosts_in, refs_in
from tests.mirror.places import NOW, Machine, beat, git, make_mirror, problems_of, put_file

HOST = "far-ada-0123456789abcdef"
LATE = 7200.0
LIFE = MirrorHeartbeat(
    install="0123456789abcdef", host="far", user="ada", sequence=1, boot="b", at=NOW, version="1", every_seconds=900.0
)


def _look(hours: float, *, boot: str = "here", wall_hours: float | None = None) -> Look:
    wall = hours if wall_hours is None else wall_hours
    return Look(NOW + timedelta(hours=wall), boot, hours * 3600)


def _codes(memory: Memory, beats: dict[str, MirrorHeartbeat | None], now: Look) -> tuple[Memory, list[str]]:
    memory, sightings = look_at(memory, beats, now, late_seconds=LATE)
    return memory, [one.problem.code for sighting in sightings for one in sighting.found]


def test_a_host_whose_count_goes_on_is_alive_whatever_its_clock_says() -> None:
    memory = Memory(hosts={})
    clocks = [NOW, NOW - timedelta(days=400), NOW + timedelta(days=400), NOW, NOW - timedelta(hours=2), NOW]
    for hour, at in enumerate(clocks):
        life = replace(LIFE, sequence=hour + 1, at=at if hour else NOW)
        memory, codes = _codes(memory, {HOST: life}, _look(float(hour)))
        assert codes == []


def test_a_host_whose_count_stands_still_is_late_after_two_hours_of_ours_and_well_when_it_goes_on() -> None:
    memory = Memory(hosts={})
    found = []
    for quarter in range(12):
        life = replace(LIFE, at=NOW + timedelta(hours=quarter / 4))  # it claims to be fresh
        memory, codes = _codes(memory, {HOST: life}, _look(quarter / 4))
        found.append(codes)
    assert found == [[]] * 8 + [["peer-late"]] * 4
    memory, codes = _codes(memory, {HOST: replace(LIFE, sequence=2)}, _look(3.0))
    assert codes == []


def test_a_host_that_was_started_again_and_counts_from_the_beginning_is_alive() -> None:
    memory, _ = _codes(Memory(hosts={}), {HOST: replace(LIFE, sequence=900)}, _look(0))
    _, codes = _codes(memory, {HOST: replace(LIFE, sequence=1, boot="next")}, _look(2.5))
    assert codes == []


@pytest.mark.parametrize(
    ("now", "codes"),
    [
        (_look(1.0, wall_hours=30.0), []),  # our clock was set forward: it says nothing within one boot
        (_look(3.0, wall_hours=-30.0), ["peer-late"]),  # or back
        (_look(0.1, boot="next", wall_hours=3.0), ["peer-late"]),  # after a restart of ours the wall must do
        (_look(0.1, boot="next", wall_hours=1.0), []),
    ],
)
def test_our_own_clock_is_believed_as_far_as_it_can_be(now: Look, codes: list[str]) -> None:
    memory, _ = _codes(Memory(hosts={}), {HOST: LIFE}, _look(0))
    assert _codes(memory, {HOST: LIFE}, now)[1] == codes


def test_the_first_look_finds_who_has_been_dead_for_days_and_leaves_time_to_who_may_not() -> None:
    assert _codes(Memory(hosts={}), {HOST: replace(LIFE, at=NOW - timedelta(days=40))}, _look(0))[1] == ["peer-late"]
    assert _codes(Memory(hosts={}), {HOST: replace(LIFE, at=NOW - timedelta(hours=20))}, _look(0))[1] == []


@pytest.mark.parametrize(
    ("exit_code", "code", "weight", "ends"),
    [
        (0, None, None, 0),
        (None, None, None, 0),
        (20, "peer-stalled", Weight.STALL, 20),
        (21, "peer-unproven", Weight.WARNING, 0),
        (22, "peer-gap", Weight.GAP, 22),
    ],
)
def test_what_a_host_says_of_itself_is_passed_on(
    exit_code: int | None, code: str | None, weight: Weight | None, ends: int
) -> None:
    told = (ToldProblem(code="not-kept", since=NOW),)
    life = replace(LIFE, exit_code=exit_code, problems=told)
    _, (sighting,) = look_at(Memory(hosts={}), {HOST: life}, _look(0), late_seconds=LATE)
    assert [one.problem.code for one in sighting.found] == ([code] if code else [])
    assert [one.weight for one in sighting.found] == ([weight] if weight else [])
    assert exit_code_of(sighting.found) == ends
    assert all("not-kept" in one.problem.message for one in sighting.found if ends)


def test_a_mirror_that_does_not_answer_is_a_finding_and_a_stall_once_it_lasts() -> None:
    memory, first = no_answer(Memory(hosts={}), _look(0), late_seconds=LATE, mirror="/m", said="gone")
    memory, later = no_answer(memory, _look(2.5), late_seconds=LATE, mirror="/m", said="gone")
    assert (first.weight, later.weight) == (Weight.WARNING, Weight.STALL)
    assert "2 hours" in later.problem.message
    memory, codes = _codes(memory, {}, _look(3.0))
    assert memory.silent_since is None and codes == []


def test_a_host_that_left_the_mirror_is_late_and_is_forgotten_after_a_week() -> None:
    memory, _ = _codes(Memory(hosts={}), {HOST: LIFE}, _look(0))
    memory, codes = _codes(memory, {}, _look(3))
    assert codes == ["peer-late"]
    memory, codes = _codes(memory, {}, _look(24 * 7.1))
    assert codes == [] and memory.hosts == {}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0.01, 1.9), st.floats(-1000, 1000), st.booleans()), max_size=40))
def test_nobody_who_moves_within_two_hours_is_ever_called_late(steps: list[tuple[float, float, bool]]) -> None:
    """Any clocks of theirs, any pauses of ours under two hours, any restarts of theirs."""
    memory, hours, sequence, boot = Memory(hosts={}), 0.0, 1, 0
    memory, _ = _codes(memory, {HOST: LIFE}, _look(0))
    for pause, skew, restarts in steps:
        hours += pause
        boot += restarts
        sequence = 1 if restarts else sequence + 1
        life = replace(LIFE, sequence=sequence, boot=f"b{boot}", at=NOW + timedelta(hours=skew))
        memory, codes = _codes(memory, {HOST: life}, _look(hours))
        assert codes == []


def test_what_is_remembered_is_read_back_and_garbage_is_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "state" / "peers.json")
    memory, sightings = look_at(Memory(hosts={}), {HOST: replace(LIFE, exit_code=20)}, _look(0), late_seconds=LATE)
    peer_memory.save(path, "ssh://secret@host/x", memory, sightings[0].found, NOW)
    assert peer_memory.load(path, "ssh://secret@host/x") == memory
    assert peer_memory.load(path, "/another") == Memory(hosts={})
    assert peer_memory.found_elsewhere(path, "/another", NOW) == sightings[0].found
    assert peer_memory.found_elsewhere(path, "/another", NOW + timedelta(days=2)) == ()
    assert peer_memory.found_elsewhere(path, "ssh://secret@host/x", NOW) == ()
    text = Path(path).read_text()
    assert "secret" not in text and Path(path).stat().st_mode & 0o077 == 0
    for garbage in ("", "{", "[]", '{"mirrors": 3}', '{"mirrors": {"a": 1}}', text.replace('"seq": 1', '"seq": "x"')):
        Path(path).write_text(garbage)
        assert peer_memory.load(path, "ssh://secret@host/x") == Memory(hosts={})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"v": 1}',
        b"[" * 100_000,
        heartbeat_text(LIFE).replace(b'"seq": 1', b'"seq": -1'),
        heartbeat_text(LIFE).replace(b'"seq": 1', b'"seq": true'),
        heartbeat_text(LIFE).replace(b'"far"', b'"\\u001b[31m"'),
        heartbeat_text(LIFE).replace(b'"tips": {', b'"tips": 3, "x": {'),
        heartbeat_text(LIFE) + b" " * 2_000_000,
    ],
)
def test_a_life_sign_that_makes_no_sense_is_none(data: bytes) -> None:
    with pytest.raises(ArchiveTrouble):
        heartbeat_in(data)


def test_a_life_sign_is_read_as_it_was_written() -> None:
    told = (ToldProblem(code="not-kept", since=NOW, subject="abc"), ToldProblem(code="no-space", since=NOW))
    life = replace(LIFE, state="stalled", exit_code=20, problems=told, main="a" * 40, checked_at=NOW, full_seconds=9.5)
    assert heartbeat_in(heartbeat_text(life)) == life


def test_only_what_is_of_this_layout_is_taken_for_a_host() -> None:
    oid = "a" * 40
    refs = [
        f"refs/heads/hosts/{HOST}/main",
        f"refs/heads/hosts/{HOST}/answers/other-bob-fedcba9876543210",
        f"refs/heads/hosts/{HOST}/answers/..bad",
        "refs/heads/hosts/Upper-x-0123456789abcdef/main",
        "refs/heads/main",
        "refs/heads/hosts/nobody",
    ]
    listing = "".join(f"{oid}\t{ref}\n" for ref in refs) + f"short\trefs/heads/hosts/{HOST}/records\n"
    hosts = hosts_in(refs_in(listing.encode()))
    assert list(hosts) == [HOST]
    assert (hosts[HOST].main, hosts[HOST].records) == (oid, None)
    assert hosts[HOST].answers == {"other-bob-fedcba9876543210": oid}


# -- whole processes over a real mirror --------------------------------------------------------------------------------


def _age(machine: Machine, seconds: float) -> None:
    """As if what this machine remembers had been seen so long ago: it looks again so much later."""
    path = machine.guard / "state" / "peers.json"
    table = json.loads(path.read_text())
    for mirror in table["mirrors"].values():
        for look in [seen["since"] for seen in mirror["hosts"].values()] + [mirror["silent_since"] or {}]:
            if look:
                look["boot_seconds"] -= seconds
                look["at"] = (datetime.fromisoformat(look["at"]) - timedelta(seconds=seconds)).isoformat()
    path.write_text(json.dumps(table))


def test_a_machine_without_anything_of_its_own_sees_who_stalled(tmp_path: Path) -> None:
    mirror, watcher = make_mirror(tmp_path / "mirror.git"), Machine(tmp_path / "watcher")
    other = "near-bob-fedcba9876543210"
    now = datetime.now(NOW.tzinfo)
    beat(mirror, HOST, 1, at=now)
    beat(mirror, other, 1, at=now)
    first = watcher.process("check", "--mirror", str(mirror), "--json")
    assert (first.code, first.json["state"], len(first.json["hosts"])) == (0, "ok", 2), first.talk
    _age(watcher, 7300)
    beat(mirror, other, 2, at=now)
    second = watcher.nbguard("check", "--mirror", str(mirror), "--json")
    assert (second.code, problems_of(second)) == (20, ["peer-late"])
    assert [host["late"] for host in second.json["hosts"]] == [True, False]
    talk = watcher.nbguard("check", "--mirror", str(mirror))
    assert talk.code == 20 and f"nothing was heard of {HOST}" in talk.talk
    beat(mirror, HOST, 2, at=now)
    beat(mirror, other, 3, at=now, state="stalled", exit_code=20)
    told = watcher.nbguard("check", "--mirror", str(mirror), "--json")
    assert (told.code, problems_of(told)) == (20, ["peer-stalled"])
    assert not watcher.archive.exists()


def test_garbage_in_a_mirror_is_named_and_hurts_nobody(tmp_path: Path) -> None:
    mirror, watcher = make_mirror(tmp_path / "mirror.git"), Machine(tmp_path / "watcher")
    beat(mirror, HOST, 1, raw=b"\x1b]0;owned\x07{")
    put_file(mirror, Namespace("far-ada-00000000").heartbeat, "another-name.json", b"{}")
    git(mirror, "update-ref", "refs/heads/hosts/Not-Ours", git(mirror, "rev-parse", "--all").split()[0])
    answer = watcher.nbguard("check", "--mirror", str(mirror), "--json")
    assert (answer.code, problems_of(answer)) == (0, ["peer-unreadable", "peer-unreadable"])
    assert "\x1b" not in watcher.nbguard("check", "--mirror", str(mirror)).talk


def test_a_mirror_that_cannot_be_reached_is_told_at_once_and_a_stall_after_two_hours(tmp_path: Path) -> None:
    watcher = Machine(tmp_path / "watcher")
    gone = str(tmp_path / "not-there.git")
    first = watcher.nbguard("check", "--mirror", gone, "--json")
    assert (first.code, problems_of(first), first.json["answered"]) == (1, ["mirror-unreachable"], False)
    _age(watcher, 7300)
    assert watcher.nbguard("check", "--mirror", gone).code == 20
    assert watcher.nbguard("check", "--mirror", "ext::sh -c id").code == 2


def test_a_machine_with_channels_tells_people_and_takes_nothing_back_by_looking_at_another_mirror(
    tmp_path: Path,
) -> None:
    watcher = Machine(tmp_path / "watcher")
    heard = tmp_path / "heard"
    watcher.guard.mkdir(parents=True, mode=0o700)
    words = ["/bin/sh", "-c", f"cat >> {heard}; echo >> {heard}"]
    config = watcher.guard / "config.toml"
    config.write_text(
        f'schema = 1\nroots = []\n[[channels]]\nname = "page"\nhuman = "ada"\ncommand = {json.dumps(words)}\n'
    )
    config.chmod(0o600)
    mirror, quiet = make_mirror(tmp_path / "mirror.git"), make_mirror(tmp_path / "quiet.git")
    beat(mirror, HOST, 1, at=datetime.now(NOW.tzinfo), state="stalled", exit_code=20)
    assert watcher.nbguard("check", "--mirror", str(mirror), "--no-send").code == 20
    assert not heard.exists()
    assert watcher.nbguard("check", "--mirror", str(mirror)).code == 20
    assert HOST in heard.read_text() and "peer-stalled" in heard.read_text()
    told = heard.read_text()
    assert watcher.nbguard("check", "--mirror", str(quiet)).code == 0
    assert HOST not in heard.read_text().removeprefix(told), "what is wrong elsewhere is not over"
    assert HOST in (watcher.guard / "state" / "notice").read_text()
    beat(mirror, HOST, 2, at=datetime.now(NOW.tzinfo))
    assert watcher.nbguard("check", "--mirror", str(mirror)).code == 0
