"""One-time codes that a human types back: 8 characters of Crockford's base32 (40 bits), kept as salted hashes."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from nbguard.alert.state import Code

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH = 8
MOST_WRONG = 10
WRONG_SECONDS = 3600.0
MOST_CODES_OF_ONE_CHANNEL = 64
_LOOKALIKES = str.maketrans({"I": "1", "L": "1", "O": "0"})


def code_of(random: bytes) -> str:
    """The code that 5 random bytes spell."""
    number = int.from_bytes(random[:5], "big")
    return "".join(ALPHABET[number >> shift & 31] for shift in range(35, -1, -5))


def spelled(code: str) -> str:
    """As people read it: K7Q2-9XPM."""
    return f"{code[:4]}-{code[4:]}"


def normalised(typed: str) -> str | None:
    """What somebody typed as a code: any case, spaces and dashes anywhere, I and L for 1, O for 0; None for no code."""
    plain = "".join(letter for letter in typed[:100].upper() if letter not in " -\t\r\n").translate(_LOOKALIKES)
    return plain if len(plain) == LENGTH and all(letter in ALPHABET for letter in plain) else None


def digest_of(salt: str, code: str) -> str:
    return hashlib.sha256(f"{salt}:{code}".encode()).hexdigest()


def is_code(typed: str, salt: str, digest: str) -> bool:
    """Whether what somebody typed is the code of this hash; takes as long whether it is or not."""
    code = normalised(typed)
    return hmac.compare_digest(digest_of(salt, code or ""), digest) and code is not None


def find(codes: Iterable[Code], typed: str) -> Code | None:
    """The code that somebody typed; all are compared, whichever it is."""
    found = None
    for each in codes:
        if is_code(typed, each.salt, each.digest):
            found = each
    return found


def are_too_many(wrong: Iterable[float], now_seconds: float) -> bool:
    """Whether so many wrong codes came within an hour that none is heard now."""
    return sum(1 for at in wrong if now_seconds - at < WRONG_SECONDS) >= MOST_WRONG
