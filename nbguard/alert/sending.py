"""The Sender: each channel built once, sent through within a time, and never a secret in what is said of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping

from nbguard.alert.bounded import Errand
from nbguard.alert.route import BadChannel, Route
from nbguard.alert.secrets import resolve
from nbguard.alerting import Message, Sent
from nbguard.masking import masked_channel, without_secrets
from nbguard.settings import Channel

_LONGEST_ANSWER = 300


def build_route(channel: Channel, environment: Mapping[str, str], timeout_seconds: float) -> Route:
    """What sends through a channel. Raises BadChannel, whose words hold no secret."""
    if channel.command:
        from nbguard.alert.command import command_route

        return command_route(channel.command, environment, timeout_seconds)
    url = resolve(channel.url, environment)
    kind = url.rstrip("/").lower()
    if kind == "desktop:":
        from nbguard.alert.desktop import desktop_route

        return desktop_route(environment, timeout_seconds)
    if kind == "wall:":
        from nbguard.alert.wall import wall_route

        return wall_route(environment, timeout_seconds)
    from nbguard.alert.mail import is_mail, mail_route

    if is_mail(url):
        return mail_route(url, timeout_seconds)
    from nbguard.alert.apprise_channel import apprise_route

    return apprise_route(url, timeout_seconds, environment)


class ChannelSender:
    """Sends through channels. What is built stays: it delivers also after our own files are gone.

    ``deadline_seconds`` bounds a whole attempt (names are looked up, a server answers byte by byte): an attempt that
    is over it goes on in its thread, and the channel is not tried again before that has ended.
    """

    def __init__(
        self, build: Callable[[Channel], Route], *, deadline_seconds: float, channels: Iterable[Channel] = ()
    ) -> None:
        self._build = build
        self._deadline_seconds = deadline_seconds
        self._routes: dict[Channel, Route | Sent] = {}
        self._building = threading.Lock()  # channels send side by side, and Apprise loads its modules once
        self._hanging: dict[Channel, Errand[Sent]] = {}
        for channel in channels:
            self._route(channel)

    def trouble(self, channel: Channel) -> str:
        """Why a channel cannot be used as it is written; empty when it can. Builds it, sends nothing."""
        route = self._route(channel)
        return route.answer if isinstance(route, Sent) else ""

    def send(self, channel: Channel, message: Message) -> Sent:
        route = self._route(channel)
        if isinstance(route, Sent):
            if not route.refused:  # a file that was not there yet, a variable: worth another look
                self._routes.pop(channel, None)
            return route
        before = self._hanging.get(channel)
        if before is not None and before.is_under_way():
            return Sent(is_sent=False, answer="the attempt before this one still waits for an answer")
        try:
            attempt = Errand(lambda: _attempt(route, message), f"send-{channel.name}")
        except RuntimeError:  # no more threads here: rather without a deadline of our own than not at all
            return _attempt(route, message)
        sent = attempt.answer(self._deadline_seconds)
        if sent is None:
            self._hanging[channel] = attempt
            return Sent(is_sent=False, answer=f"no answer within {self._deadline_seconds:g} s")
        return sent

    def _route(self, channel: Channel) -> Route | Sent:
        with self._building:
            if channel not in self._routes:
                self._routes[channel] = self._built(channel)
            return self._routes[channel]

    def _built(self, channel: Channel) -> Route | Sent:
        try:
            return self._build(channel)
        except BadChannel as error:
            words = f"{error.message} ({error.hint})" if error.hint else error.message
            return Sent(is_sent=False, answer=_presentable(words), refused=error.for_good)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one channel must not end the others, and its words may hold the URL
            return Sent(is_sent=False, answer=f"the channel cannot be used ({type(error).__name__})")


def open_sender(
    channels: Iterable[Channel],
    *,
    timeout_seconds: float,
    environment: Mapping[str, str],
    at_once: bool = True,
) -> ChannelSender:
    """The sender of a process. ``at_once``: build all channels now (the daemon), else each when it is used."""
    return ChannelSender(
        lambda channel: build_route(channel, environment, timeout_seconds),
        deadline_seconds=2 * timeout_seconds,
        channels=channels if at_once else (),
    )


def shown_address(channel: Channel) -> str:
    """A channel's address for people: without secrets, and a command by its program alone."""
    if channel.command:
        return f"command: {channel.command[0]}"
    return masked_channel(channel.url)


def _attempt(route: Route, message: Message) -> Sent:
    try:
        sent = route.send(message)
    except Exception as error:  # noqa: BLE001 - a plug-in may raise anything; a channel that fails must not end the sending of others
        sent = Sent(is_sent=False, answer=f"{type(error).__name__}: {error}")
    answer = _presentable(without_secrets(sent.answer, route.secrets))
    return Sent(is_sent=sent.is_sent, answer=answer, refused=sent.refused, printed=_presentable(sent.printed))


def _presentable(answer: str) -> str:
    """One line without control characters, for a server may answer with anything."""
    line = "".join(c if c.isprintable() else " " for c in answer)
    line = " ".join(line.split())
    return line if len(line) <= _LONGEST_ANSWER else f"{line[: _LONGEST_ANSWER - 1]}…"
