"""What goes through the pipes, and who signed it."""

from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.flight.outbox import Allowance, Outbox
from nbguard.flight.signature import is_signed
from nbguard.flight.wire import Garbled, Kind, Packet, Splitter, number, pack

_packets = st.lists(
    st.builds(Packet, st.sampled_from(Kind), st.lists(st.binary(max_size=50), max_size=7).map(tuple)), max_size=8
)


@given(_packets, st.integers(1, 40))
def test_packets_come_out_as_they_went_in_however_they_are_cut(packets: list[Packet], step: int) -> None:
    data = b"".join(pack(packet.kind, *packet.parts) for packet in packets)
    splitter, found = Splitter(), []
    for at in range(0, len(data), step):
        found += splitter.feed(data[at : at + step])
    assert found == packets


@given(st.binary(max_size=200))
def test_nonsense_is_refused_or_waited_for_and_nothing_else(data: bytes) -> None:
    try:
        Splitter().feed(data)
    except Garbled:
        pass


def _sign(key: bytes, *frames: bytes, hash_name: str = "sha256") -> bytes:
    seal = hmac.new(key, digestmod=hash_name)
    for frame in frames:
        seal.update(frame)
    return seal.hexdigest().encode()


@pytest.mark.parametrize("scheme", ["hmac-sha256", "hmac-sha512", "hmac-md5"])
def test_what_the_kernel_signed_is_believed(scheme: str) -> None:
    signature = _sign(b"key", b"head", b"{}", hash_name=scheme[5:])
    assert is_signed(b"key", scheme, signature, [b"head", memoryview(b"{}")])


@pytest.mark.parametrize(
    ("key", "scheme", "signature"),
    [
        (b"key", "hmac-sha256", b""),
        (b"key", "hmac-sha256", _sign(b"other", b"head")),
        (b"key", "hmac-sha256", "é".encode()),
        (b"key", "hmac-nonsense", _sign(b"key", b"head")),
        (b"key", "hmac-shake_128", _sign(b"key", b"head")),
        (b"key", "", _sign(b"key", b"head")),
    ],
)
def test_what_it_did_not_sign_is_not(key: bytes, scheme: str, signature: bytes) -> None:
    assert not is_signed(key, scheme, signature, [b"head"])


def test_a_kernel_without_a_key_signs_nothing() -> None:
    assert is_signed(b"", "hmac-sha256", b"", [b"head"])


def test_the_outbox_drops_what_does_not_fit_and_says_so() -> None:
    outbox = Outbox(room_bytes=100, last_room_bytes=150)
    assert outbox.put(7, b"a" * 90, is_vital=False)
    assert not outbox.put(7, b"b" * 20, is_vital=False)
    assert outbox.put(7, b"c" * 20, is_vital=True)
    assert not outbox.put(8, b"d" * 90, is_vital=True)
    said = bytearray()
    while (view := outbox.next()) is not None:
        said += view[:7]
        outbox.wrote(min(7, len(view)))
    told = pack(Kind.LOST, number(7), number(1), number(20))
    assert said == b"a" * 90 + told + b"c" * 20 + pack(Kind.LOST, number(8), number(1), number(90))
    assert outbox.waiting_bytes == 0


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans(), st.integers(0, 300)), max_size=60))
def test_the_outbox_never_grows_beyond_its_rooms(steps: list[tuple[int, bool, int]]) -> None:
    outbox = Outbox(room_bytes=500, last_room_bytes=800)
    for size, is_vital, write in steps:
        outbox.put(1, b"x" * size, is_vital=is_vital)
        assert outbox.waiting_bytes <= 900  # and a few bytes that say what was lost
        if (view := outbox.next()) is not None:
            outbox.wrote(min(write, len(view)))


def test_an_allowance_is_a_burst_and_then_a_rate() -> None:
    allowance = Allowance(100, 10, now=0.0)
    assert allowance.take(100, 0.0)
    assert not allowance.take(1, 0.0)
    assert allowance.take(10, 1.0)
    assert not allowance.take(11, 2.0)
    assert allowance.take(100, 1000.0)
    assert not allowance.take(101, 5000.0)
