"""The address of a mirror: checked hard before git sees it, shown without secrets, and what its transport needs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit

from nbguard.errors import UsageError
from nbguard.masking import masked_remote

PROTOCOLS = "file:ssh:https"
"""What git may use, whatever an address or a server says (git-config(1), protocol.allow; no ``ext::``)."""

_LONGEST = 2_000
_HELPER = re.compile(r"[A-Za-z0-9+.-]+::")
_SCHEME = re.compile(r"([A-Za-z0-9+.-]+)://")
_HOST = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9]+)?\])")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_SCP = re.compile(r"(?:([^/@:\[\]]*)@)?(\[[^]/]*\]|[^/@:\[\]]+):(.+)", re.DOTALL)
_HINT = "for example: /media/disk/nbguard.git, ssh://ada@host/srv/nbguard.git, ada@host:nbguard.git, https://host/x.git"

# A user's own ssh configuration and agent hold; but nobody is there to be asked, and nothing waits for ever.
_SSH = (
    "ssh -oBatchMode=yes -oConnectTimeout=20 -oServerAliveInterval=15 -oServerAliveCountMax=4 "
    "-oForwardAgent=no -oForwardX11=no -oPermitLocalCommand=no -oClearAllForwardings=yes"
)
# What of the user's environment a transport may need: the agent, proxies, certificates.
_KEPT = (
    *("SSH_AUTH_SOCK", "USER", "LOGNAME"),
    *(f"{name}_proxy" for name in ("http", "https", "all", "no")),
    *(f"{name}_PROXY" for name in ("HTTPS", "ALL", "NO")),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
)
# The password is in the environment, which nobody else can read, and not among the words of a command, which all can.
_HELPER_SCRIPT = (
    '!f() { test "$1" = get || return 0; '
    'printf "username=%s\\npassword=%s\\n" "$NBGUARD_MIRROR_USER" "$NBGUARD_MIRROR_WORD"; }; f'
)


class Transport(StrEnum):
    """How a mirror is reached: only the first stays on this machine, as far as anybody can tell."""

    PATH = "path"
    SSH = "ssh"
    HTTPS = "https"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """``url`` is what git is given, without a password; ``shown`` may be printed; ``path`` is set for a path alone."""

    transport: Transport
    url: str
    shown: str
    path: str | None = None
    user: str = ""
    password: str = ""

    @property
    def leaves_machine(self) -> bool:
        return self.transport is not Transport.PATH

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must never be printed."""
        return (self.password, quote(self.password, safe="")) if self.password else ()


def parse_address(text: str, *, home: str, folder: str | None = None) -> Address:
    """An address as a person writes it. Relative paths are taken from ``folder``; where there is none, refused.

    Raises UsageError; its message holds no secret.
    """
    if not text or len(text) > _LONGEST or not text.isprintable() or text != text.strip():
        raise UsageError("the address of a mirror must be one printable line", hint=_HINT)
    if text.startswith("-"):
        raise UsageError(f"{text!r} is an option, not the address of a mirror", hint=_HINT)
    if _HELPER.match(text):
        raise UsageError("a mirror is reached by a path, ssh or https alone, by no helper program", hint=_HINT)
    if scheme := _SCHEME.match(text):
        return _with_scheme(scheme[1].lower(), text)
    if text.startswith(("/", "~", ".")) or (":" not in text and folder is not None):
        return _path(text, home, folder)
    return _scp(text)


def _with_scheme(scheme: str, text: str) -> Address:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{masked_remote(text)} is no address: {error}", hint=_HINT) from error
    shown = masked_remote(text)
    if parts.query or parts.fragment:
        raise UsageError(f"{shown}: the address of a mirror has no ? and no #", hint=_HINT)
    path = unquote(parts.path)
    if not path.isprintable() or len(path) < 2:
        raise UsageError(f"{shown} names no repository", hint=_HINT)
    if scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{shown}: a file:// address has three slashes", hint=_HINT)
        return Address(transport=Transport.PATH, url=os.path.normpath(path), shown=path, path=os.path.normpath(path))
    if scheme not in ("ssh", "https"):
        wrong = "cannot be trusted on the way" if scheme in ("http", "git") else "is no way to reach a mirror"
        raise UsageError(f"{scheme}:// {wrong}: use a path, ssh or https", hint=_HINT)
    host, user = _host(parts.netloc.rpartition("@")[2], port), unquote(parts.username or "")
    if scheme == "ssh":
        if parts.password is not None:
            raise UsageError(f"{shown}: ssh takes keys, no password in the address", hint="see `ssh-copy-id`")
        who = f"{_user(user)}@" if parts.username is not None else ""
        return Address(transport=Transport.SSH, url=f"ssh://{who}{host}{parts.path}", shown=shown)
    if not user.isprintable() or not unquote(parts.password or "").isprintable():
        raise UsageError(f"{shown}: control characters before the host", hint=_HINT)
    return Address(
        transport=Transport.HTTPS,
        url=f"https://{host}{parts.path}",
        shown=shown,
        user=user,
        password=unquote(parts.password or ""),
    )


def _path(text: str, home: str, folder: str | None) -> Address:
    path = home + text[1:] if text == "~" or text.startswith("~/") else text
    if not os.path.isabs(path):
        if folder is None or path.startswith("~"):
            raise UsageError(f"{text!r} is no absolute path", hint=_HINT)
        path = os.path.join(folder, path)
    path = os.path.normpath(path)
    return Address(transport=Transport.PATH, url=path, shown=path, path=path)


def _scp(text: str) -> Address:
    found = _SCP.fullmatch(text)
    if found is None or found[3].startswith("-"):
        raise UsageError(f"{masked_remote(text)!r} is no address of a mirror", hint=_HINT)
    user, host, path = found.groups()
    who = f"{_user(user)}@" if user is not None else ""
    if not _HOST.fullmatch(host):
        raise UsageError(f"{text!r} names no host", hint=_HINT)
    url = f"{who}{host}:{path}"
    return Address(transport=Transport.SSH, url=url, shown=url)


def _host(text: str, port: int | None) -> str:
    name = text.rpartition(":")[0] if port is not None else text.removesuffix(":")
    if not _HOST.fullmatch(name):
        raise UsageError("the address of a mirror names no host", hint=_HINT)
    return name if port is None else f"{name}:{port}"


def _user(name: str) -> str:
    if not _USER.fullmatch(name):
        raise UsageError("the address of a mirror has no sound user name", hint=_HINT)
    return name


def transport_environment(address: Address, environment: Mapping[str, str], home: str) -> dict[str, str]:
    """What a git child needs beside its hermetic environment to reach a mirror: no prompt, no other protocol, the
    user's ssh agent, ``.netrc`` and proxies. Holds the password; for the child alone."""
    needed = {
        "GIT_ALLOW_PROTOCOL": PROTOCOLS,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "",
        "SSH_ASKPASS": "",
        "SSH_ASKPASS_REQUIRE": "never",
    }
    if not address.leaves_machine:
        return needed
    needed |= {name: environment[name] for name in _KEPT if name in environment}
    if authorities := environment.get("GIT_SSL_CAINFO") or environment.get("SSL_CERT_FILE"):
        needed["GIT_SSL_CAINFO"] = authorities  # of a host of one's own; git built with GnuTLS knows no other way
    needed |= {"HOME": home, "GIT_SSH_COMMAND": _SSH, "GIT_SSH_VARIANT": "ssh"}
    if address.password or address.user:
        needed |= {
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": _HELPER_SCRIPT,
            "NBGUARD_MIRROR_USER": address.user,
            "NBGUARD_MIRROR_WORD": address.password,
        }
    return needed
