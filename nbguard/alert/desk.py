"""The alert desk: takes in what observers find, keeps it durably, sends what is due, and hears the answers.

The check and the daemon each have one over the same store. What is to be sent is claimed and written down under the
lock, sent without it, and written down again: whoever dies in between has at worst told something twice.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from nbguard.alert.answering import Answered, take
from nbguard.alert.codes import code_of
from nbguard.alert.incidents import is_acknowledged, observe
from nbguard.alert.keeping import Keeping
from nbguard.alert.outbox import Letter, Pace, claim, is_ready, record, with_channels
from nbguard.alert.planning import plan
from nbguard.alert.roll_call import SharedCall, channel_state, export, merge
from nbguard.alert.standing import about_channels, channel_problems, report_of
from nbguard.alert.state import Incident, Instant, State, Way
from nbguard.alert.store import AlertStore
from nbguard.alert.words import notice, write
from nbguard.alerting import ChannelReport, ChannelState, Message, Observation, Sender, Sent, Weighed
from nbguard.clock import Clock
from nbguard.settings import Alerts, Channel, RollCall

_log = logging.getLogger(__name__)

_SEEN_SECONDS = 900.0
_STEP_SECONDS = 45.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stepped:
    """What one step did: letters that got through, and those that did not."""

    sent: int = 0
    failed: int = 0


class AlertDesk:
    """One process's desk; use it from one thread at a time.

    No method raises for a disk that is full or a channel that fails; what could not be written is among ``problems``,
    and until it can be, this process remembers it. ``show`` takes the line for prompts (empty: nothing is wrong) and
    may raise OSError; ``address`` is a channel without its secrets. ``is_current`` says whether the channels are those
    of the configuration as it is now: a desk that knows older ones, or none because nothing can be read, leaves the
    standing of channels alone, and sends through those that it knows.
    """

    def __init__(
        self,
        store: AlertStore,
        *,
        channels: Sequence[Channel],
        sender: Sender,
        alerts: Alerts,
        calls: RollCall,
        clock: Clock,
        boot: str,
        host: str,
        show: Callable[[str], None] = lambda line: None,
        address: Callable[[Channel], str] = lambda channel: channel.name,
        is_current: Callable[[], bool] = lambda: True,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._keeping = Keeping(store, clock=clock, boot=boot, random=random)
        self._clock = clock
        self._channels = {channel.name: channel for channel in channels}
        self._sender = sender
        self._pace = Pace(alerts=alerts, calls=calls, claim_seconds=2 * alerts.send_timeout_seconds + 30.0)
        self._host = host
        self._show = show
        self._address = address
        self._is_current = is_current
        self._random = random
        self._elsewhere: tuple[SharedCall, ...] = ()
        self._is_shown = True
        self._said: dict[str, str] = {}

    # -- what observers, humans and other machines say ---------------------------------------------------------------

    def observe(self, observation: Observation) -> None:
        """Take in what was found; durable when this returns. Nothing is sent before the next step."""
        self._change(lambda state, now: observe(state, observation, now, self._keeping.new_id))

    def answer(self, typed: str) -> Answered:
        """A human typed a code."""
        answers: list[Answered] = []

        def hear(state: State, now: Instant) -> State:
            state, answer = take(state, typed, now, self._pace.alerts.acknowledged_seconds)
            answers.append(answer)
            return state

        self._change(hear)
        self._tell_surfaces()
        return answers[-1]

    def merge(self, others: Iterable[SharedCall]) -> None:
        """How humans stand on other machines with the same mirror: what they answered there counts here."""
        self._elsewhere = tuple(others)
        self._change(lambda state, now: merge(state, self._elsewhere, now))

    def export(self) -> tuple[SharedCall, ...]:
        """How they stand here, for the others."""
        state, now = self._look()
        return export(state, now, self._pace.calls)

    # -- sending -----------------------------------------------------------------------------------------------------

    def step(self) -> Stepped:
        """Send all that is due through every channel that is ready; where one fails, the next is tried at once.

        Bounded: each channel is tried once, channels send side by side, and after 45 s none is begun any more. Cheap
        when nothing is due.
        """
        ends_at = self._clock.monotonic() + _STEP_SECONDS
        sent = failed = 0
        tried: frozenset[str] = frozenset()
        while self._clock.monotonic() < ends_at:
            letters = self._claim(tried) if self._is_anything_due(tried) else []
            if not letters:
                break
            tried |= {letter.channel for letter, _ in letters}
            answers = [answer for _, answer in self._deliver(letters)]
            sent += sum(answer.is_sent for answer in answers)
            failed += sum(not answer.is_sent for answer in answers)
        self._tell_surfaces()
        return Stepped(sent=sent, failed=failed)

    def ask(self, name: str) -> Sent:
        """Send the roll call through one channel now, whatever was due. Raises KeyError for an unknown channel."""
        others = frozenset(self._channels) - {self._channels[name].name}

        def owe(state: State, now: Instant) -> State:
            ways = (_asked_now(way, now, self._pace) if way.name == name else way for way in state.ways)
            return replace(state, ways=tuple(ways))

        self._change(owe)
        answers = self._deliver(self._claim(others))
        return answers[-1][1] if answers else Sent(is_sent=False, answer=f"{name} is just being used")

    # -- how things stand --------------------------------------------------------------------------------------------

    def reports(self) -> tuple[ChannelReport, ...]:
        """Every channel, in the order of the configuration."""
        state, now = self._look()
        return tuple(
            report_of(way, channel_state(way, now, self._pace.calls), self._address_of(way.name)) for way in state.ways
        )

    def open_incidents(self) -> tuple[Incident, ...]:
        """What is not over, the oldest first; what has just gone is not counted."""
        state, _ = self._look()
        return tuple(each for each in state.incidents if each.is_open and each.absent_seconds is None)

    def problems(self) -> tuple[Weighed, ...]:
        """What is wrong with the channels themselves, for the verdict."""
        state, now = self._look()
        return channel_problems(state, now, self._pace, trouble=self._keeping.trouble)

    # -- inside ------------------------------------------------------------------------------------------------------

    def _look(self) -> tuple[State, Instant]:
        state, now = self._keeping.look()
        return self._with_channels(state), now

    def _change(self, change: Callable[[State, Instant], State]) -> None:
        self._keeping.change(lambda state, now: change(self._with_channels(state), now))

    def _is_anything_due(self, tried: frozenset[str]) -> bool:
        """Decided in memory while the file is the one that was read last: a stat, and a few comparisons."""
        if not self._keeping.is_fresh():
            return True
        state, now = self._keeping.look()
        planned = self._planned(state, now)
        left = tried | self._strangers(planned)
        return planned != state or any(is_ready(way, now) for way in planned.ways if way.name not in left)

    def _planned(self, state: State, now: Instant) -> State:
        state = self._with_channels(state)
        state = observe(state, about_channels(state, now, self._pace), now, self._keeping.new_id)
        state = plan(state, tuple(self._channels.values()), now, self._pace, self._elsewhere)
        waits = any(each.is_open for each in state.incidents) or any(way.called_seconds for way in state.ways)
        if waits and now.seconds - state.seen.seconds >= _SEEN_SECONDS:
            # Across a restart, time is counted from the last writing: so that little of it is ever lost.
            state = replace(state, seen=replace(state.seen, seconds=now.seconds))
        return state

    def _claim(self, but_not: frozenset[str]) -> list[tuple[Letter, Message]]:
        """Letters that are now this process's to send, and their words; durable before anything leaves."""
        letters: list[tuple[Letter, Message]] = []
        days = self._pace.alerts.acknowledged_seconds / 86_400

        def claimed(state: State, now: Instant) -> State:
            letters.clear()
            planned = self._planned(state, now)
            left = but_not | self._strangers(planned)
            after, found = claim(planned, now, self._pace, self._mint, but_not=left)
            messages = ((letter, write(letter, after, self._host, now, silent_days=days)) for letter in found)
            letters.extend((letter, message) for letter, message in messages if message is not None)
            return after

        self._change(claimed)
        return letters

    def _deliver(self, letters: Sequence[tuple[Letter, Message]]) -> list[tuple[Letter, Sent]]:
        """Send all at once, each in a thread of its own (the sender keeps to its time), and write down the answers."""
        results: list[tuple[Letter, Sent]] = []

        def send(letter: Letter, message: Message) -> None:
            sent = self._sender.send(self._channels[letter.channel], message)
            results.append((letter, sent))
            said = "" if sent.is_sent else sent.answer
            if said and said != self._said.get(letter.channel):
                _log.warning("channel %s did not take a message: %s", letter.channel, said)
            self._said[letter.channel] = said

        threads = [threading.Thread(target=send, args=pair, name=f"send-{pair[0].channel}") for pair in letters]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if results:
            self._change(lambda state, now: record(state, results, now, self._pace))
        return results

    def _with_channels(self, state: State) -> State:
        if state.ways and not self._is_current():
            return state
        return with_channels(state, tuple(self._channels.values()), lambda channel: _digest(state.salt, channel))

    def _strangers(self, state: State) -> frozenset[str]:
        """Channels that this process does not know, or not as they are now: another one sends through them."""
        return frozenset(
            way.name
            for way in state.ways
            if way.name not in self._channels or _digest(state.salt, self._channels[way.name]) != way.digest
        )

    def _address_of(self, name: str) -> str:
        return self._address(self._channels[name]) if name in self._channels else ""

    def _mint(self) -> tuple[str, str]:
        return code_of(self._random(5)), self._random(8).hex()

    def _tell_surfaces(self) -> None:
        """Prompts show what was told and not acknowledged."""
        state, _ = self._look()
        told = (each for each in state.incidents if each.is_open and each.absent_seconds is None and each.rounds > 0)
        line = notice((each for each in told if not is_acknowledged(each)), self._host)
        try:
            self._show(line)
            self._is_shown = True
        except OSError as error:
            if self._is_shown:
                _log.warning("the notice could not be written: %s", error)
            self._is_shown = False


def _asked_now(way: Way, now: Instant, pace: Pace) -> Way:
    """Asked although it may not be due: a human who answered lately need not answer this one."""
    owing = replace(way, owes_call=True, again_seconds=0.0, claimed_seconds=0.0)
    is_open = way.called_seconds is not None or channel_state(way, now, pace.calls) is ChannelState.LIVE
    return owing if is_open else replace(owing, called_seconds=now.seconds)


def _digest(salt: str, channel: Channel) -> str:
    """Changes when a channel leads elsewhere or to somebody else; says nothing of where to."""
    parts = (salt, channel.human, channel.url, *channel.command)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
