"""What one run shows, as a notebook would hold it, within the caps. Values in, values out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field

from nbguard.flight.caps import Ledger, Text
from nbguard.flight.messages import Clear, Content, Display, Failure, JsonObject, LeftOut, Stream
from nbguard.flight.wire import Cut


@dataclass(slots=True)
class _Output:
    """One output: a stream's text, or an nbformat output as it stands."""

    value: JsonObject
    size: int
    text: Text | None = None
    display_id: str | None = None

    def as_json(self) -> JsonObject:
        return self.value if self.text is None else {**self.value, "text": str(self.text)}


@dataclass(slots=True)
class Shown:
    """The outputs of a run so far, and ``notes`` of what was left out. ``failed`` once there was an exception."""

    ledger: Ledger
    outputs: list[_Output] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    clears: bool = False
    failed: bool = False

    @property
    def size(self) -> int:
        """What is held, in bytes or characters."""
        return sum(output.size for output in self.outputs)

    def note(self, text: str) -> None:
        """Say something of the run, once."""
        if text and text not in self.notes:
            self.notes.append(text)

    def as_json_text(self) -> str:
        """The outputs as the JSON text of an nbformat list; empty when there are none."""
        return as_json_text(output.as_json() for output in self.outputs) if self.outputs else ""

    def update(self, display: Display) -> bool:
        """New content for displays of its id; whether there was one."""
        found = False
        if display.display_id is None or self.ledger.refusal(display.size):
            return False
        for output in self.outputs:
            if output.display_id == display.display_id:
                self.ledger.hold(display.size - output.size)
                output.value = {**output.value, "data": display.data, "metadata": display.metadata}
                output.size = display.size
                found = True
        return found

    def add(self, content: Content) -> None:
        """Take in an output, or that those so far are taken back."""
        if isinstance(content, Clear):
            self.clears = content.wait
            if not content.wait:
                self.clear()
            return
        if self.clears:
            self.clears = False
            self.clear()
        match content:
            case Stream():
                self._add_text(content)
            case Display():
                self._add_display(content)
            case Failure():
                self.failed = True
                self._add_failure(content)
            case LeftOut():
                self._leave_out(content)

    def clear(self) -> None:
        """Forget the outputs so far."""
        self.ledger.release(self.size)
        self.outputs.clear()

    def _add_text(self, stream: Stream) -> None:
        text = stream.text
        room = self.ledger.room_for_text()
        if len(text) > room:
            text = text[:room]
            self.note(self.ledger.refusal(min(len(stream.text), self.ledger.caps.output_bytes)))
        last = self.outputs[-1] if self.outputs else None
        if last is None or last.text is None or last.value["name"] != stream.name:
            if not text and not stream.missing_bytes:
                return
            last = _Output({"output_type": "stream", "name": stream.name}, 0, Text(self.ledger.caps.output_bytes))
            self.outputs.append(last)
        assert last.text is not None
        last.text.add(text)
        last.text.lose(stream.missing_bytes + len(stream.text) - len(text))
        self.ledger.hold(last.text.size - last.size)
        last.size = last.text.size
        if last.text.missing:
            self.note(f"text was left out: over the cap of {self.ledger.caps.output_bytes} bytes, or too fast")

    def _add_display(self, display: Display) -> None:
        if refusal := self.ledger.refusal(display.size):
            self.note(refusal)
            self._leave_out(LeftOut(display.size, Cut.TOO_LONG))
            return
        kind: JsonObject = (
            {"output_type": "execute_result", "execution_count": display.count}
            if display.is_result
            else {"output_type": "display_data"}
        )
        value = {**kind, "data": display.data, "metadata": display.metadata}
        self._append(_Output(value, display.size, display_id=display.display_id))

    def _add_failure(self, failure: Failure) -> None:
        value: JsonObject = {
            "output_type": "error",
            "ename": failure.name,
            "evalue": failure.value,
            "traceback": list(failure.traceback),
        }
        size = sum(map(len, failure.traceback)) + len(failure.value)
        if refusal := self.ledger.refusal(size):
            self.note(refusal)
            value, size = {**value, "evalue": failure.value[:1000], "traceback": []}, 1000
        self._append(_Output(value, size))

    def _leave_out(self, left: LeftOut) -> None:
        """Say in its place that an output was there."""
        why = "too much came at once" if left.cut is Cut.TOO_MUCH else "over a cap"
        text = f"[nbguard: an output of {left.size} bytes was not recorded: {why}]"
        self.note(f"an output of {left.size} bytes was left out: {why}")
        value: JsonObject = {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}
        last = self.outputs[-1] if self.outputs else None
        if last is None or last.value != value:
            self._append(_Output(value, len(text)))

    def _append(self, output: _Output) -> None:
        self.ledger.hold(output.size)
        self.outputs.append(output)


def as_json_text(outputs: Iterable[JsonObject]) -> str:
    """A list of outputs as JSON that UTF-8 can hold, whatever a kernel sent."""
    found = list(outputs)
    text = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return json.dumps(found, separators=(",", ":"))
    return text
