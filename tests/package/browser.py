"""A real Chromium without a window, driven over its debugging protocol; what pages did is written down."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado.ioloop import IOLoop
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.helpers import poll

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_SECONDS = 60


def chromium() -> str | None:
    """The browser's executable, if there is one."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@dataclass
class Did:
    """What one page had and did: elements, titles, addresses it asked for (its own apart), dialogs, where it went."""

    elements: int = 0
    titles: list[str] = field(default_factory=list)
    asked_for: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    went_to: list[str] = field(default_factory=list)

    @property
    def was_active(self) -> bool:
        return bool(self.asked_for or self.dialogs or self.went_to or "pwned" in self.titles)


TOUCH_EVERYTHING = """
(() => {
  const seen = [...document.querySelectorAll('*')];
  for (const one of seen) {
    if (one.tagName === 'DETAILS') one.open = true;
    for (const kind of ['mouseover', 'mouseenter', 'focus', 'load', 'error', 'pointerover', 'toggle', 'click'])
      if (!(kind === 'click' && one.closest('a[href^="./"], a[href^="READ-ME"]')))
        one.dispatchEvent(new MouseEvent(kind, {bubbles: true, cancelable: true}));
  }
  return [document.title, seen.length, document.querySelectorAll('script, iframe, object, embed, form, base').length];
})()
"""


def open_pages(executable: str, pages: list[Path], work: Path) -> list[Did]:
    """Open each page, touch everything on it with a mouse's events, and say what it did."""
    work.mkdir()
    root = ["--no-sandbox"] if os.geteuid() == 0 else []
    child = subprocess.Popen(
        [
            executable,
            "--headless",
            *root,
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--remote-debugging-port=0",
            f"--user-data-dir={work}",
            "about:blank",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HOME": str(work)},
    )
    try:
        where = work / "DevToolsActivePort"
        poll(lambda: where.exists() and where.read_text().count("\n") >= 1, seconds=_SECONDS)
        port, path = where.read_text().split("\n")[:2]
        address, loop = f"ws://127.0.0.1:{port}{path}", IOLoop(make_current=False)
        done: list[Did] = loop.run_sync(lambda: _all(address, pages), _SECONDS * 2)
        loop.close()
        return done
    finally:
        child.kill()
        child.wait(_SECONDS)


async def _all(address: str, pages: list[Path]) -> list[Did]:
    connection = await websocket_connect(address, max_message_size=1 << 28)
    try:
        talk = _Talk(connection)
        target = await talk.ask("Target.createTarget", url="about:blank")
        attached = await talk.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        talk.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network"):
            await talk.ask(f"{domain}.enable")
        return [await _one(talk, page) for page in pages]
    finally:
        connection.close()


async def _one(talk: _Talk, page: Path) -> Did:
    did, url = Did(), page.as_uri()
    talk.events.clear()
    await talk.ask("Page.navigate", url=url)
    await talk.until(lambda: any(event["method"] == "Page.loadEventFired" for event in talk.events))
    answer = await talk.ask("Runtime.evaluate", expression=TOUCH_EVERYTHING, returnByValue=True)
    title, did.elements, active = answer["result"].get("value", ("gone", 0, 0))  # a control may go elsewhere meanwhile
    did.titles.append(title)
    did.went_to += [f"{active} active elements"] if active else []
    await talk.ask("Runtime.evaluate", expression="new Promise(go => setTimeout(go, 50))", awaitPromise=True)
    after = await talk.ask("Runtime.evaluate", expression="document.title")
    did.titles.append(after["result"].get("value", "gone"))
    for event in talk.events:
        about = event.get("params", {})
        match event["method"]:
            case "Network.requestWillBeSent" if not about["request"]["url"].startswith((url, "data:image/")):
                did.asked_for.append(about["request"]["url"])
            case "Page.javascriptDialogOpening":
                did.dialogs.append(about["message"])
            case "Page.frameNavigated" if about["frame"]["url"].partition("#")[0] != url:
                did.went_to.append(about["frame"]["url"])
            case _:
                pass
    return did


class _Talk:
    """Questions and answers over one connection; events are kept. A dialog is closed as it opens."""

    def __init__(self, connection: WebSocketClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self.session = ""
        self.events: list[dict[str, Any]] = []

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        number = self._send(method, params)
        while True:
            message = await self._hear()
            if message.get("id") == number:
                result: dict[str, Any] = message.get(
                    "result", {"result": {}}
                )  # none where the page went away meanwhile
                return result

    async def until(self, happened: Callable[[], bool]) -> None:
        while not happened():
            await self._hear()

    def _send(self, method: str, params: dict[str, object]) -> int:
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self._connection.write_message(json.dumps(message))
        return self._number

    async def _hear(self) -> dict[str, Any]:
        text = await self._connection.read_message()
        assert text is not None, "the browser went away"
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
            if message["method"] == "Page.javascriptDialogOpening":
                self._send("Page.handleJavaScriptDialog", {"accept": True})
        return message
