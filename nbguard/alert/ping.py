"""Heartbeat out: a dead man's switch that speaks the Healthchecks protocol (https://healthchecks.io/docs/http_api/).

A ping must never fail or delay the job: it tries a few times within its time, and says how it went.
"""

from __future__ import annotations

import http.client
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit, urlunsplit

from nbguard.alert.bounded import Errand
from nbguard.alert.route import BadChannel
from nbguard.alert.secrets import resolve
from nbguard.masking import without_secrets

BODY_LIMIT_BYTES = 10_000
"""What is sent at most: the protocol's default, unless a server said another number (Ping-Body-Limit)."""
TIMEOUT_SECONDS = 10.0
START_SECONDS = 5.0
PAUSES_SECONDS = (1.0, 3.0)
_IN_VAIN = frozenset({400, 401, 403, 404, 405, 409, 410, 413})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pinged:
    """How a ping went. ``refused``: the server knows no such check, and will not tomorrow."""

    is_heard: bool
    answer: str
    refused: bool = False


class Ping:
    """One check at one server. Nothing here raises, and nothing it says holds the URL.

    ``wait`` sleeps for so many seconds. A whole ping, retries included, takes at most ``deadline_seconds``.
    """

    def __init__(
        self,
        url: str,
        environment: Mapping[str, str],
        *,
        timeout_seconds: float = TIMEOUT_SECONDS,
        deadline_seconds: float = 2 * TIMEOUT_SECONDS,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._deadline_seconds = deadline_seconds
        self._wait = wait
        self._body_limit = BODY_LIMIT_BYTES
        self._before: Errand[Pinged] | None = None
        self._trouble, self._url = "", ""
        try:
            self._url = _checked(resolve(url, environment))
        except BadChannel as error:
            self._trouble = f"{error.message} ({error.hint})" if error.hint else error.message

    def start(self, rid: str) -> Pinged:
        """The job begins; ``rid`` (a UUID) ties this to its end. Tried once, for five seconds: the job comes first."""
        return self._ping("/start", rid, "", pauses=(), deadline_seconds=START_SECONDS)

    def success(self, rid: str, body: str = "") -> Pinged:
        """It did what it should. Only after real success."""
        return self._ping("", rid, body)

    def fail(self, rid: str, body: str = "") -> Pinged:
        """It did not: the server raises its alarm at once."""
        return self._ping("/fail", rid, body)

    def log(self, rid: str, body: str) -> Pinged:
        """Words for the record; they change nothing."""
        return self._ping("/log", rid, body)

    def exit_status(self, rid: str, status: int, body: str = "") -> Pinged:
        """The exit status of a command: 0 is success."""
        return self._ping(f"/{min(max(status, 0), 255)}", rid, body)

    def _ping(
        self,
        action: str,
        rid: str,
        body: str,
        *,
        pauses: Sequence[float] = PAUSES_SECONDS,
        deadline_seconds: float | None = None,
    ) -> Pinged:
        if self._trouble:
            return Pinged(is_heard=False, answer=self._trouble, refused=True)
        seconds = min(deadline_seconds or self._deadline_seconds, self._deadline_seconds)
        ends_at = time.monotonic() + seconds
        if self._before is not None:
            self._before.answer(seconds)
            if self._before.is_under_way():
                return Pinged(is_heard=False, answer="the ping before this one still waits for an answer")
        self._before = Errand(lambda: self._tries(action, rid, body, pauses, ends_at), "ping")
        pinged = self._before.answer(ends_at - time.monotonic())
        if pinged is None:
            return Pinged(is_heard=False, answer=f"no answer within {seconds:g} s")
        secrets = (self._url, urlsplit(self._url).path.strip("/"))
        return Pinged(is_heard=pinged.is_heard, answer=without_secrets(pinged.answer, secrets), refused=pinged.refused)

    def _tries(self, action: str, rid: str, body: str, pauses: Sequence[float], ends_at: float) -> Pinged:
        for pause in pauses:
            pinged = self._try(action, rid, body, min(self._timeout_seconds, ends_at - time.monotonic()))
            if pinged.is_heard or pinged.refused or time.monotonic() + pause >= ends_at:
                return pinged
            self._wait(pause)
        return self._try(action, rid, body, min(self._timeout_seconds, ends_at - time.monotonic()))

    def _try(self, action: str, rid: str, body: str, timeout_seconds: float) -> Pinged:
        data = body.encode("utf-8", "replace")[-self._body_limit :] if self._body_limit else b""
        headers = {"User-Agent": "nbguard", "Content-Type": "text/plain; charset=utf-8"}
        try:
            request = urllib.request.Request(_with(self._url, action, rid), data=data, headers=headers, method="POST")
            with urllib.request.urlopen(request, timeout=max(0.1, timeout_seconds)) as answer:
                self._learn(answer.headers.get("Ping-Body-Limit"))
                words = answer.read(200).decode("utf-8", "replace").strip()
        except urllib.error.HTTPError as error:
            with error:
                words = " ".join(error.read(200).decode("utf-8", "replace").split())
            return Pinged(is_heard=False, answer=f"{error.code} {words}".strip(), refused=error.code in _IN_VAIN)
        except TimeoutError:
            return Pinged(is_heard=False, answer=f"no answer within {timeout_seconds:.3g} s")
        except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
            return Pinged(is_heard=False, answer=_words(error))
        # A ping that is not counted is answered with 200 too: "OK (not found)", "OK (rate limited)".
        if "not found" in words:
            return Pinged(is_heard=False, answer=words, refused=True)
        return Pinged(is_heard="rate limited" not in words, answer=" ".join(words.split()))

    def _learn(self, limit: str | None) -> None:
        if limit is not None and limit.isdecimal():
            self._body_limit = min(int(limit), BODY_LIMIT_BYTES)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right or not url.isascii() or not url.isprintable() or " " in url:
        raise BadChannel("alerts.ping_url is no http or https URL", hint="https://SERVER/UUID")
    return url


def _with(url: str, action: str, rid: str) -> str:
    parts = urlsplit(url)
    query = "&".join(part for part in (parts.query, urlencode({"rid": rid})) if part)
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/") + action, query, ""))


def _words(error: Exception) -> str:
    reason = getattr(error, "reason", error)
    if isinstance(reason, socket.gaierror):
        return "its name is not known"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    return " ".join(str(getattr(reason, "strerror", None) or reason).split())
