"""A further page of the composition root: roll calls of machines that share a mirror, and codes answered on another.

What is asked here is told in each mirror (hashes alone). A human may answer on any machine that has the mirror: the
code is put there for the one that asked, which takes it at its next full check.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nbguard.alert.codes import normalised
from nbguard.alert.roll_call import SharedCall, matching
from nbguard.alert.shared_json import (
    MOST_ANSWERS,
    Fetched,
    answers_in,
    answers_text,
    fetched_text,
    roll_call_text,
    roll_calls_in,
)
from nbguard.app import archive_of, install_id
from nbguard.app_alert import ELSEWHERE, fetched_elsewhere, open_desk, stand_elsewhere
from nbguard.app_mirror import mirror_reports
from nbguard.clock import SystemClock
from nbguard.durable import make_private_folder, replace_durably
from nbguard.errors import ArchiveTrouble, NbguardError, storage_trouble
from nbguard.mirror.addresses import Address, parse_address
from nbguard.mirror.layout import ANSWERS_FILE, ROLL_CALL_FILE, Namespace, namespace_of
from nbguard.mirror.objects import small_commit
from nbguard.mirror.reader import Mirrored
from nbguard.mirror.remote import Remote, Wish
from nbguard.mirror.state import StateFile
from nbguard.mirror.there import HostRefs, hosts_in
from nbguard.settings import Mirror, Settings

if TYPE_CHECKING:
    from nbguard.alert.answering import Answered
    from nbguard.alert.desk import AlertDesk
    from nbguard.cli.context import Context

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnsweredThere:
    """A code of another machine that was answered here: whose, on which channel, asked by which installation."""

    human: str
    channel: str
    asked_by: str


def answer_elsewhere(context: Context, typed: str, urls: Sequence[str]) -> AnsweredThere | None:
    """Find who asked with this code, in the mirrors given (or the configured ones), and put the answer there.

    None when nobody did. Raises UsageError, MirrorUnreachable, MirrorTrouble, StorageTrouble.
    """
    code = normalised(typed)
    wanted = urls or [mirror.url for mirror in (context.settings or Settings()).mirrors]
    if code is None:
        return None
    for url in wanted:
        address = parse_address(url, home=os.path.expanduser("~"), folder=os.getcwd())
        mirror = Mirrored(address, environment=os.environ, home=os.path.expanduser("~"))
        hosts = hosts_in(mirror.refs())
        calls = _calls_in(mirror, hosts)
        for namespace, told in calls.items():
            if (found := matching(told, code, SystemClock().now())) is not None:
                _put(context, address, mirror, hosts[namespace], code)
                return AnsweredThere(found[0].human, found[0].channel, namespace)
    return None


def exchange(context: Context) -> list[Answered]:
    """Take what mirrors that can be reached have for us: answers to our codes, and how people stand elsewhere; the
    latter is written down for the daemon too. A mirror that fails is passed over: others report it."""
    settings = context.settings or Settings()
    if not settings.channels or not settings.mirrors:
        return []
    try:
        ours = StateFile(context.places.state).read().namespace
    except OSError:
        return []
    desk, before = open_desk(context), fetched_elsewhere(context)
    healthy = {report.name for report in mirror_reports(context) if report.tried_at is not None and not report.trouble}
    answered: list[Answered] = []
    after: dict[str, Fetched] = {}
    for each in settings.mirrors:
        mine = {key: file for key, file in before.items() if key.partition(" ")[0] == each.name}
        if each.name in healthy and ours:
            try:
                mine, heard = _ask(desk, each, ours, mine)
                answered += heard
            except (NbguardError, OSError) as error:
                _log.info("roll calls in the mirror %s: %s", each.name, error)
        after |= mine
    if after != before:
        _remember(context, after)
    desk.merge(stand_elsewhere(context))
    return answered


def _ask(
    desk: AlertDesk, configured: Mirror, ours: str, before: Mapping[str, Fetched]
) -> tuple[dict[str, Fetched], list[Answered]]:
    """What a mirror has about people, fetching only what changed, and our codes that were answered in it.

    Only answers that fit are heard: whoever may push to a mirror shall not use up the wrong codes that a person here
    may type. Raises MirrorUnreachable.
    """
    mirror = _mirrored(configured.url)
    hosts = hosts_in(mirror.refs())
    wanted: dict[str, tuple[str, str, str]] = {}
    for name, host in hosts.items():
        if name != ours and host.roll_call:
            wanted[f"{configured.name} {name}"] = (host.roll_call, Namespace(name).roll_call, ROLL_CALL_FILE)
    for other, commit in (hosts[ours].answers if ours in hosts else {}).items():
        wanted[f"{configured.name} {other} answers"] = (commit, Namespace(ours).answers_of(other), ANSWERS_FILE)
    new = {
        key: (ref, name)
        for key, (commit, ref, name) in wanted.items()
        if key not in before or before[key].commit != commit
    }
    files = mirror.files(new)
    after = {key: before[key] for key in wanted if key not in new}
    codes: dict[str, None] = {}
    for key, (_, name) in new.items():
        is_answer = name == ANSWERS_FILE
        after[key] = Fetched(wanted[key][0], "" if is_answer else roll_call_text(roll_calls_in(files[key])).decode())
        codes |= dict.fromkeys(answers_in(files[key])) if is_answer else {}
    now = SystemClock().now()
    return after, [desk.answer(code) for code in codes if matching(desk.export(), code, now) is not None]


def _calls_in(mirror: Mirrored, hosts: Mapping[str, HostRefs]) -> dict[str, tuple[SharedCall, ...]]:
    wanted = {name: (Namespace(name).roll_call, ROLL_CALL_FILE) for name, host in hosts.items() if host.roll_call}
    return {name: roll_calls_in(data) for name, data in mirror.files(wanted).items()}


def _put(context: Context, address: Address, mirror: Mirrored, host: HostRefs, code: str) -> None:
    """Add a code to our answers to another installation. Raises MirrorTrouble, StorageTrouble."""
    install = install_id(context)
    state = context.places.state
    us = StateFile(state).read().namespace or namespace_of(socket.gethostname(), str(os.getuid()), install)
    ref = Namespace(host.namespace).answers_of(us)
    before = answers_in(mirror.files({us: (ref, ANSWERS_FILE)})[us]) if us in host.answers else ()
    data = answers_text([*before[-MOST_ANSWERS + 1 :], code])
    try:
        make_private_folder(state)
        with Remote(
            address,
            archive=archive_of(context).folder,
            state=state,
            environment=os.environ,
            home=os.path.expanduser("~"),
            stop=threading.Event(),
        ) as remote:
            parent = host.answers.get(us)
            if parent is not None and (why := remote.fetch_into(remote.scratch, [f"+{ref}:{ref}"], shallow=True)):
                raise ArchiveTrouble(f"the mirror {address.shown} cannot be read: {why}", hint="try it again")
            commit = small_commit({ANSWERS_FILE: data}, "Answers", SystemClock().now(), parent)
            remote.add(commit)
            refused = remote.push([Wish(commit.oid, ref)])
    except OSError as error:
        raise storage_trouble(error, "preparing an answer") from error
    if refused:
        why = "; ".join(refused.values())
        raise ArchiveTrouble(f"the mirror {address.shown} does not take the answer: {why}", hint="may you write there?")


def _mirrored(url: str) -> Mirrored:
    home = os.path.expanduser("~")
    return Mirrored(parse_address(url, home=home, folder=os.getcwd()), environment=os.environ, home=home)


def _remember(context: Context, fetched: Mapping[str, Fetched]) -> None:
    try:
        replace_durably(os.path.join(context.places.state, ELSEWHERE), fetched_text(fetched))
    except OSError as error:
        _log.warning("how people stand elsewhere could not be written: %s", error)
