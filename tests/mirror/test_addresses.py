"""Addresses: what is taken, what is refused, and that nothing secret is shown or put among the words of a command."""

from __future__ import annotations

import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbguard.errors import UsageError
from nbguard.mirror.addresses import Transport, parse_address, transport_environment
from nbguard.mirror.layout import namespace_of, plain_name
from nbguard.mirror.there import is_namespace


@pytest.mark.parametrize(
    ("text", "transport", "url"),
    [
        ("/media/disk/m.git", Transport.PATH, "/media/disk/m.git"),
        ("/a/../b:c/m", Transport.PATH, "/b:c/m"),
        ("~/m.git", Transport.PATH, "/home/ada/m.git"),
        ("./m.git", Transport.PATH, "/here/m.git"),
        ("m.git", Transport.PATH, "/here/m.git"),
        ("file:///a%20b/m.git", Transport.PATH, "/a b/m.git"),
        ("ssh://ada@host/srv/m.git", Transport.SSH, "ssh://ada@host/srv/m.git"),
        ("ssh://host:2222/~/m.git", Transport.SSH, "ssh://host:2222/~/m.git"),
        ("ssh://[::1]:22/m.git", Transport.SSH, "ssh://[::1]:22/m.git"),
        ("ada@host:m.git", Transport.SSH, "ada@host:m.git"),
        ("host:/srv/m.git", Transport.SSH, "host:/srv/m.git"),
        ("https://host/ada/m.git", Transport.HTTPS, "https://host/ada/m.git"),
        ("https://ada:s3cret%40@host:8443/m.git", Transport.HTTPS, "https://host:8443/m.git"),
    ],
)
def test_addresses_that_are_taken(text: str, transport: Transport, url: str) -> None:
    found = parse_address(text, home="/home/ada", folder="/here")
    assert (found.transport, found.url) == (transport, url)
    assert found.leaves_machine == (transport is not Transport.PATH)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " /m",
        "-oProxyCommand=x",
        "--upload-pack=x",
        "ext::sh -c id",
        "fd::17",
        "http::x",
        "http://host/m.git",
        "git://host/m.git",
        "ftp://host/m",
        "file://host/m.git",
        "ssh://-oProxyCommand=x/m",
        "ssh://ada:word@host/m.git",
        "ssh://-x@host/m",
        "ssh://host",
        "ssh://host:99999999/m",
        "-oX@host:m",
        "host:-x",
        "ho st:m",
        "@host:m",
        "https://host/m?x=1",
        "https:///m",
        "https://ho%0ast/m",
        "https://a:b%0a@host/m",
        "/m\n",
        "/m\x1b[2J",
        "x" * 3000,
    ],
)
def test_addresses_that_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text, home="/home/ada", folder="/here")


@given(st.text(max_size=60))
def test_no_text_is_ever_a_helper_an_option_or_unprintable(text: str) -> None:
    try:
        found = parse_address(text, home="/home/ada", folder="/here")
    except UsageError:
        return
    assert not found.url.startswith("-") and "::" not in found.url.split("/")[0].partition("[")[0]
    assert found.url.isprintable() and found.shown.isprintable()


def test_a_relative_path_in_a_configuration_is_no_path() -> None:
    with pytest.raises(UsageError):
        parse_address("./m.git", home="/home/ada")


def test_a_password_is_neither_shown_nor_among_the_words_of_a_command() -> None:
    found = parse_address("https://ada:s3cret@host/m.git", home="/home/ada")
    assert "s3cret" not in found.url + found.shown
    environment = transport_environment(found, {"SSH_AUTH_SOCK": "/s", "GIT_DIR": "/x", "LD_PRELOAD": "x"}, "/home/ada")
    assert environment["NBGUARD_MIRROR_WORD"] == "s3cret"
    assert not {"GIT_DIR", "LD_PRELOAD"} & set(environment)
    assert environment["GIT_ALLOW_PROTOCOL"] == "file:ssh:https" and environment["GIT_TERMINAL_PROMPT"] == "0"


def test_git_is_given_the_password_by_its_helper() -> None:
    found = parse_address("https://ada:s3%25cret@host/m.git", home="/home/ada")
    environment = transport_environment(found, {}, "/nowhere")
    done = subprocess.run(
        ["git", "credential", "fill"],
        input="protocol=https\nhost=host\n\n",
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, **environment},
    )
    assert "username=ada" in done.stdout and "password=s3%cret" in done.stdout


def test_a_path_gets_nothing_of_the_users_environment() -> None:
    found = parse_address("/m.git", home="/home/ada")
    assert set(transport_environment(found, os.environ, "/home/ada")) == {
        *("GIT_ALLOW_PROTOCOL", "GIT_TERMINAL_PROMPT", "GIT_ASKPASS", "SSH_ASKPASS", "SSH_ASKPASS_REQUIRE"),
    }


@given(st.text(max_size=80), st.text(max_size=80), st.from_regex(r"[0-9a-f]{8,32}", fullmatch=True))
def test_every_host_and_user_has_a_namespace(host: str, user: str, install: str) -> None:
    name = namespace_of(host, user, install)
    assert is_namespace(name) and name.endswith(f"-{install}") and len(name) < 150


def test_git_takes_every_namespace_as_a_part_of_a_branch() -> None:
    hosts = ["Ada's MacBook Pro.local", "..", "a..b", ".hidden", "x.lock", "@{", "büro", "a/b", "~^:?*[\\", "-x", ""]
    for host in hosts:
        ref = f"refs/heads/hosts/{namespace_of(host, host, '0123456789abcdef')}/main"
        subprocess.run(["git", "check-ref-format", ref], check=True)
    assert plain_name("x" * 100) == "x" * 40
