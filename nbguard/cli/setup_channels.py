"""The part of `nbguard setup` that finds people to tell: channels are added, and each is answered with a code."""

from __future__ import annotations

import logging
import os
import re
import shlex
from typing import TYPE_CHECKING

import click

from nbguard.cli.output import one_line, say
from nbguard.errors import BadConfiguration, UsageError
from nbguard.settings import Channel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nbguard.alert.desk import AlertDesk
    from nbguard.alerting import ChannelReport
    from nbguard.cli.context import Context
    from nbguard.settings import Settings

WITHOUT, AGAIN = "without", "again"
KINDS_WANTED = 2
_EXPLAINED = """
If protection ever stops, somebody should hear of it. Two ways of different kinds are enough, for example:
  mailtos://USER:PASSWORD@SERVER?to=YOU@DOMAIN   mail, through your provider's server
  ntfys://SERVER/TOPIC, tgram://…, slack://…     a push or chat message (any URL that Apprise knows)
  desktop:                                       a notification on this desktop
  command:PROGRAM ARGUMENTS                      a program that reads the message
A URL with a secret may lie elsewhere: file:PATH (a file that only you can read) or env:NAME.
Each is sent a code; type it here when it has come: only an answer proves that somebody reads it.
"""
_QUESTION = f"A URL, a code that came, `{AGAIN}`, `{WITHOUT}` (be told by `nbguard status` alone), or nothing for later"


def with_notify(data: bytes, path: str, notify: Sequence[str]) -> bytes:
    """The configuration's bytes with a channel for each given URL that it does not have yet.

    Raises UsageError for one that cannot be a channel, BadConfiguration.
    """
    from nbguard.settings_reading import parse_settings
    from nbguard.settings_writing import with_channels

    for word in notify:
        known = parse_settings(data, path).channels
        channel = new_channel(word, known)
        if channel is not None:
            data = with_channels(data, path, (channel,))
    return data


def new_channel(word: str, known: Sequence[Channel]) -> Channel | None:
    """The channel that somebody named by its URL, checked without sending; None when it is known already.

    Raises UsageError with the reason and never the URL.
    """
    url = word.strip()
    command: tuple[str, ...] = ()
    if url.startswith("command:"):
        try:
            command = tuple(shlex.split(url.removeprefix("command:")))
        except ValueError:
            command = ()
        if not command:
            raise UsageError("command: names no program", hint="command:PROGRAM ARGUMENTS")
        url = ""
    if any((each.url, each.command) == (url, command) for each in known):
        return None
    channel = Channel(name="new", human="new", url=url, command=command)
    _check(channel)
    kind = kind_of(channel)
    return Channel(name=_free(kind, known), human=_human(channel), url=url, command=command)


def kind_of(channel: Channel) -> str:
    """What sort of way it is: two of one sort may fail together."""
    from nbguard.alert.route import BadChannel
    from nbguard.alert.secrets import resolve

    if channel.command:
        return "command"
    try:
        scheme = resolve(channel.url, os.environ).partition(":")[0].lower()
    except BadChannel:
        return "other"
    scheme = {"mailto": "mail", "mailtos": "mail"}.get(scheme, scheme)
    return scheme if re.fullmatch(r"[a-z0-9]{1,20}", scheme) else "other"


def say_added(before: Settings | None, data: bytes, path: str, *, dry_run: bool) -> None:
    """Say which channels the configuration's bytes have that it did not have before."""
    from nbguard.settings_reading import parse_settings

    known = before.channels if before is not None else ()
    new = [channel for channel in parse_settings(data, path).channels if channel not in known]
    _say_new(new, dry_run=dry_run)


def _say_new(channels: Sequence[Channel], *, dry_run: bool = False) -> None:
    from nbguard.alert.sending import shown_address

    for channel in channels:
        verb = "would send alerts" if dry_run else "alerts go"
        say(f"{verb} to {channel.human} by {channel.name}: {shown_address(channel)}")
        if channel.url.startswith("env:"):
            say("note: a service does not have the environment of your shell; file:PATH reaches it everywhere")


def first_codes(context: Context) -> list[str]:
    """Send a code through each channel that never had one; returns what could not be done."""
    from nbguard import app_alert

    settings = context.settings
    if settings is None or not settings.channels:
        return []
    desk = app_alert.open_desk(context)
    asked = {report.name for report in desk.reports() if report.asked_at is not None or report.answered_at is not None}
    new = [channel.name for channel in settings.channels if channel.name not in asked]
    failed = _send_codes(desk, new)
    if new and not failed:
        say("answer each with the code that is in it, on this machine: nbguard ack CODE")
    return failed


def _send_codes(desk: AlertDesk, names: Iterable[str]) -> list[str]:
    """Send a roll call through channels now; returns what could not be done."""
    logging.getLogger("nbguard.alert").addHandler(logging.NullHandler())  # it is said here
    failed = []
    for name in names:
        sent = desk.ask(name)
        say(f"{name}: {'a code was sent' if sent.is_sent else 'NOT sent'} ({sent.answer})")
        if not sent.is_sent:
            failed.append(f"alerts by {name} ({sent.answer})")
    return failed


def walk(context: Context) -> list[str]:
    """Ask on a terminal until two channels of different kinds are proven, or the person has had enough; returns what is
    not done. Each channel that is there already was sent a code, and a daemon that runs follows the configuration."""
    from nbguard import app_alert

    settings = context.settings
    assert settings is not None
    if settings.alerts.without_channels and not settings.channels:
        return []
    is_explained = False
    while True:
        settings = context.settings
        assert settings is not None
        desk = app_alert.open_desk(context)
        reports = desk.reports()
        _say_standing(reports)
        if len(_proven_kinds(settings.channels, reports)) >= KINDS_WANTED:
            say("two ways are proven: if protection stops, you will hear of it")
            return []
        if not is_explained:
            click.echo(_EXPLAINED.rstrip("\n"), err=True)
            is_explained = True
        answer = click.prompt(_QUESTION, default="", show_default=False, err=True).strip()
        if not answer:
            return _left_open(reports)
        if answer.lower() == WITHOUT:
            _write(context, ())
            if settings.channels:
                say("the channels that are there stay; take them out of the configuration by hand")
            return []
        context = _take(context, desk, answer)


def _take(context: Context, desk: AlertDesk, answer: str) -> Context:
    """One answer at the prompt: a code, or another channel. What is wrong with it is said, and asked again."""
    from nbguard import app_alert
    from nbguard.alert.answering import words_of

    if answer.lower() == AGAIN:
        _send_codes(desk, [report.name for report in desk.reports() if report.answered_at is None])
        return context
    if ":" not in answer:
        say(words_of(desk.answer(answer)))
        return context
    assert context.settings is not None
    try:
        channel = new_channel(answer, context.settings.channels)
        if channel is None:
            say("that channel is there already")
            return context
        context = _write(context, (channel,))
        _send_codes(app_alert.open_desk(context), [channel.name])
        return context
    except (UsageError, BadConfiguration) as error:
        say(f"{error.message}{f'; {error.hint}' if error.hint else ''}")
        return context


def _write(context: Context, channels: tuple[Channel, ...]) -> Context:
    """Add channels to the configuration (none: that it is done without); returns the context that knows them."""
    from nbguard.cli.context import Context as NewContext
    from nbguard.places import find_places
    from nbguard.service.setup import write_configuration
    from nbguard.settings_writing import with_channels, with_without_channels

    path = find_places(home=context.home, config=context.config).config
    with open(path, "rb") as file:
        before = file.read()
    data = with_channels(before, path, channels) if channels else with_without_channels(before, path)
    write_configuration(path, data)
    after = NewContext(home=context.home, config=context.config)
    assert after.settings is not None
    if channels:
        _say_new(channels)
    else:
        say("on record: alerts.without_channels = true; `nbguard status` says what is wrong")
    return after


def _say_standing(reports: Sequence[ChannelReport]) -> None:
    for report in reports:
        say(f"  {report.name}: {report.state}{f', {one_line(report.trouble)}' if report.trouble else ''}")


def _proven_kinds(channels: Sequence[Channel], reports: Sequence[ChannelReport]) -> set[str]:
    proven = {report.name for report in reports if report.answered_at is not None}
    return {kind_of(channel) for channel in channels if channel.name in proven}


def _left_open(reports: Sequence[ChannelReport]) -> list[str]:
    if not reports:
        say("nobody is told when protection stops; later: nbguard setup --notify URL")
        return []
    if all(report.answered_at is None for report in reports):
        return ["alerts: no code has come back yet (nbguard ack CODE)"]
    say("one way is proven; a second of another kind is safer: nbguard setup --notify URL")
    return []


def _check(channel: Channel) -> None:
    from nbguard.alert.route import BadChannel
    from nbguard.alert.sending import build_route

    try:
        build_route(channel, os.environ, 10.0)
    except BadChannel as error:
        raise UsageError(f"not a channel: {error.message}", hint=error.hint) from None


def _free(kind: str, known: Sequence[Channel]) -> str:
    names = {channel.name for channel in known}
    return next(name for number in range(1, 1000) if (name := kind if number == 1 else f"{kind}-{number}") not in names)


def _human(channel: Channel) -> str:
    """Whose it is: the one a mail goes to, else the user of this account."""
    import getpass

    from nbguard.alert.mail import is_mail
    from nbguard.alert.mail_address import read_mail_address
    from nbguard.alert.secrets import resolve

    name = ""
    if not channel.command and is_mail(url := resolve(channel.url, os.environ)):
        name = read_mail_address(url).recipient.rpartition("@")[0]
    if not name:
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "me"
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-._")[:64] or "me"
