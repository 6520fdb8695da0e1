"""`nbguard alert`: the channels, how they stand, and a real message through each."""

from __future__ import annotations

import logging
import os
import stat
import sys
from typing import TYPE_CHECKING

import click

from nbguard.cli.asking import json_option
from nbguard.cli.completion import complete_channel
from nbguard.cli.context import Context
from nbguard.cli.output import print_json, print_line, say, table
from nbguard.clock import iso
from nbguard.errors import NothingMatched
from nbguard.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from nbguard.alerting import ChannelReport, Sent
    from nbguard.settings import Channel

_ADD = "add one: nbguard setup --notify URL (mail, push, chat, desktop:)"


@click.group()
def command() -> None:
    """The ways to the people who are told when something is wrong."""


@command.command("list")
@json_option
@click.pass_obj
def list_channels(context: Context, as_json: bool) -> None:
    """List the channels: whose they are, whether somebody is known to read them, and what is wrong with them.

    Exit codes: 0 done, 78 bad configuration.
    """
    from nbguard import app_alert

    settings = context.settings or Settings()
    _warn_of_readers(context, settings)
    reports = app_alert.channel_reports(context)
    if as_json:
        print_json([report_fields(report) for report in reports])
        return
    if not settings.channels:
        chosen = "as it was chosen" if settings.alerts.without_channels else _ADD
        say(f"there is no channel: only `nbguard status` says what is wrong ({chosen})")
    for line in table([_row(report) for report in reports]):
        sys.stdout.write(f"{line}\n")
    for report in reports:
        if report.trouble:
            say(f"{report.name}: {report.trouble}")


@command.command("test")
@click.argument("channel", required=False, shell_complete=complete_channel)
@json_option
@click.pass_obj
def test_channels(context: Context, channel: str | None, as_json: bool) -> int:
    """Send a real message through CHANNEL, or through each, and say what each answered.

    Exit codes: 0 all were sent, 1 none, or there is no such channel, 3 some, 78 bad configuration.
    """
    from nbguard import app_alert

    logging.getLogger("nbguard.alert").addHandler(logging.NullHandler())  # what is answered is said here
    channels = _chosen(context.settings or Settings(), channel)
    answers = []
    for each in channels:
        sent = app_alert.send_test(context, each)
        answers.append(sent)
        if not as_json:
            said = f": {sent.printed}" if sent.printed else ""
            print_line(f"{each.name} ({each.human}): {'sent' if sent.is_sent else 'NOT sent'}: {sent.answer}{said}")
    if as_json:
        print_json([_sent_fields(each, sent) for each, sent in zip(channels, answers, strict=True)])
    if all(sent.is_sent for sent in answers):
        if not as_json:
            say("what was accepted is not yet read: only an answer proves that (nbguard ack CODE)")
        return 0
    return 3 if any(sent.is_sent for sent in answers) else 1


def report_fields(report: ChannelReport) -> dict[str, object]:
    """One channel as `alert list --json` and `status --json` print it."""
    return {
        "name": report.name,
        "human": report.human,
        "address": report.address,
        "state": str(report.state),
        "answered_at": _time(report.answered_at),
        "asked_at": _time(report.asked_at),
        "sent_at": _time(report.sent_at),
        "trouble": report.trouble,
        "waiting": report.waiting,
    }


def _sent_fields(channel: Channel, sent: Sent) -> dict[str, object]:
    from nbguard.alert.sending import shown_address

    return {
        "name": channel.name,
        "human": channel.human,
        "address": shown_address(channel),
        "sent": sent.is_sent,
        "answer": sent.answer,
        "refused": sent.refused,
        "printed": sent.printed,
    }


def _chosen(settings: Settings, name: str | None) -> tuple[Channel, ...]:
    if not settings.channels:
        raise NothingMatched("there is no channel", hint=_ADD)
    if name is None:
        return settings.channels
    chosen = tuple(channel for channel in settings.channels if channel.name == name)
    if not chosen:
        names = ", ".join(channel.name for channel in settings.channels)
        raise NothingMatched(f"there is no channel {name!r}", hint=f"there are: {names}")
    return chosen


def _row(report: ChannelReport) -> tuple[str, ...]:
    waiting = f"{report.waiting} waiting" if report.waiting else ""
    when = (
        f"answered {_day(report.answered_at)}"
        if report.answered_at
        else f"asked {_day(report.asked_at)}"
        if report.asked_at
        else "never asked"
    )
    return report.name, report.human, str(report.state), when, waiting, report.address


def _day(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M") if moment is not None else "never"


def _time(moment: datetime | None) -> str | None:
    return iso(moment) if moment is not None else None


def _warn_of_readers(context: Context, settings: Settings) -> None:
    from nbguard.masking import holds_secrets

    path = context.places.config
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except OSError:
        return
    if mode & 0o077 and holds_secrets(settings):
        say(f"warning: {path} holds secrets and can be read by others ({mode:04o}): chmod 600 '{path}'")
