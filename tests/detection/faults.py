"""Ways to break an installation, each asserted to have happened, each giving the moment from which it counts."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from nbguard.health.checker import REGULAR_LIGHT
from tests.alert.servers import Mailbox, smtp
from tests.detection.machine import Machine, machine
from tests.helpers import REPOSITORY, notebook_bytes, poll
from tests.journeys.disks import PLAIN_USER, Disk, broken_disk, disk
from tests.journeys.test_clock import WallClock

AT_ONCE = {"packing": {"drafts": 1}}
Strike = Callable[[Machine], AbstractContextManager[float]]

# -- the daemon ----------------------------------------------------------------------------------------------------


@contextmanager
def killed(made: Machine) -> Generator[float]:
    made.guard.kill()
    yield time.monotonic()


@contextmanager
def hung(made: Machine) -> Generator[float]:
    os.kill(made.guard.pid, signal.SIGSTOP)
    state = Path(f"/proc/{made.guard.pid}/stat")
    poll(lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T")
    yield time.monotonic()


@contextmanager
def crash_looping(made: Machine) -> Generator[float]:
    """Killed and started, again and again; it is a loop from the sixth time on."""
    for _ in range(7):
        made.guard.kill()
        made.guard.start()
    yield time.monotonic()


@contextmanager
def checks_stopped(made: Machine) -> Generator[float]:
    """The checker is dead: only the daemon is left to say so."""
    poll(lambda: sum(look.light and bool(look.said) for look in made.looks) >= REGULAR_LIGHT + 1, 120.0)
    made.stop_checking()
    yield time.monotonic()


# -- what is watched -----------------------------------------------------------------------------------------------


@contextmanager
def root_renamed(made: Machine) -> Generator[float]:
    root = Path(made.guard.roots[0])
    root.rename(root.with_name("elsewhere"))
    yield time.monotonic()


@contextmanager
def root_removed(made: Machine) -> Generator[float]:
    shutil.rmtree(made.guard.roots[0])
    yield time.monotonic()


@contextmanager
def root_unreadable(made: Machine) -> Generator[float]:
    root = Path(made.guard.roots[0])
    root.chmod(0)
    try:
        yield time.monotonic()
    finally:
        root.chmod(0o700)


@contextmanager
def events_lost(made: Machine) -> Generator[float]:
    """More events than the kernel's queue holds, while the daemon does not get to run."""
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    os.kill(made.guard.pid, signal.SIGSTOP)
    for number in range(most + 100):
        (Path(made.guard.roots[0]) / str(number)).touch()
    os.kill(made.guard.pid, signal.SIGCONT)
    yield time.monotonic()


@contextmanager
def with_few_watches(base: Path) -> Generator[Machine]:
    """In a user namespace of its own the daemon gets forty watches, and not one more."""
    few = ("unshare", "-Ur", "sh", "-c", 'echo 40 >/proc/sys/user/max_inotify_watches; exec "$@"', "sh")
    with machine(base, before=few, extra=AT_ONCE) as made:
        yield made


@contextmanager
def watches_exhausted(made: Machine) -> Generator[float]:
    for number in range(80):
        (Path(made.guard.roots[0]) / f"folder {number}").mkdir()
    yield time.monotonic()


@contextmanager
def with_notebooks_on_a_disk(base: Path) -> Generator[Machine]:
    (base / "work").mkdir()
    with disk(base / "work"), machine(base, extra=AT_ONCE) as made:
        yield made


@contextmanager
def root_unmounted(made: Machine) -> Generator[float]:
    root = Path(made.guard.roots[0])
    subprocess.run(["umount", "-l", str(root)], check=True)
    assert not os.path.ismount(root)
    yield time.monotonic()


@contextmanager
def half_removed(made: Machine) -> Generator[float]:
    """More than fifty notebooks and more than half of all go at once."""
    root = Path(made.guard.roots[0])
    for number in range(80):
        made.save(f"many/{number}.ipynb", f"many = {number}")
    made.guard.until_kept(root / "many" / "79.ipynb", notebook_bytes("many = 79"), 60)
    swept = time.monotonic()
    poll(lambda: any(look.began_at > swept and not look.light and look.code != 22 for look in made.looks), 60.0)
    shutil.rmtree(root / "many")
    yield time.monotonic()


@contextmanager
def watch_list_emptied(made: Machine) -> Generator[float]:
    """Somebody edits the configuration, and the daemon is started anew."""
    assert made.guard.stop() == 0
    made.configure(roots=[])
    made.guard.start(ready=False)
    yield time.monotonic()


@contextmanager
def saves_unseen(made: Machine) -> Generator[float]:
    """A notebook that cannot be read."""
    path = Path(made.guard.roots[0]) / "held.ipynb"
    path.write_bytes(notebook_bytes("unseen"))
    path.chmod(0)
    yield time.monotonic()
    path.chmod(0o600)


# -- the archive ---------------------------------------------------------------------------------------------------


def until_packed(made: Machine) -> None:
    poll(lambda: packs(made), 60.0)


def packs(made: Machine) -> list[Path]:
    return list((made.guard.archive / "objects" / "pack").glob("*.pack"))


@contextmanager
def archive_removed(made: Machine) -> Generator[float]:
    until_packed(made)
    shutil.rmtree(made.guard.archive)
    yield time.monotonic()


@contextmanager
def tip_garbled(made: Machine) -> Generator[float]:
    until_packed(made)
    (made.guard.archive / "refs" / "heads" / "main").write_text("0" * 39 + "1\n")
    yield time.monotonic()


@contextmanager
def pack_index_garbled(made: Machine) -> Generator[float]:
    until_packed(made)
    for path in (made.guard.archive / "objects" / "pack").glob("*.idx"):
        path.chmod(0o600)
        path.write_bytes(b"no index" * 200)
    yield time.monotonic()


@contextmanager
def old_object_garbled(made: Machine) -> Generator[float]:
    """One byte in the middle of what was packed first; the tip and its tree stay readable."""
    path = Path(made.guard.roots[0]) / "old.ipynb"
    noise = os.urandom(60_000).hex()
    path.write_bytes(notebook_bytes(noise))
    made.guard.until_kept(path, path.read_bytes())
    poll(lambda: not made.guard.spooled(), 60.0)
    path.write_bytes(notebook_bytes("now small"))
    made.guard.until_kept(path, path.read_bytes())
    poll(lambda: not made.guard.spooled(), 60.0)
    largest = max(packs(made), key=lambda pack: pack.stat().st_size)
    largest.chmod(0o600)
    with open(largest, "r+b") as file:
        middle = largest.stat().st_size // 2
        file.seek(middle)
        byte = file.read(1)
        file.seek(middle)
        file.write(bytes([byte[0] ^ 0x55]))
    yield time.monotonic()


@contextmanager
def stale_git_lock(made: Machine) -> Generator[float]:
    until_packed(made)
    (made.guard.archive / "refs" / "heads" / "main.lock").touch()
    made.save("locked out.ipynb", "x = 1")
    yield time.monotonic()


@contextmanager
def packer_locked_out(made: Machine) -> Generator[float]:
    """Another process holds the archive's lock and does not let go."""
    until_packed(made)
    with open(made.guard.archive / "nbguard.lock", "r+b") as file:
        poll(lambda: _takes(file.fileno()), 60.0, every=0.001)
        made.save("waiting.ipynb", "x = 1")
        yield time.monotonic()


def _takes(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# -- disks ---------------------------------------------------------------------------------------------------------


def _emergency(base: Path) -> dict[str, str]:
    """On the same disk as the spool: where it spills is not the matter here."""
    return {"emergency": str(base / "guard" / "spool" / "emergency")}


@contextmanager
def on_a_small_disk(base: Path) -> Generator[Machine]:
    """The spool on a disk of its own."""
    with (
        disk(base / "guard" / "spool", "size=24m,nr_inodes=500"),
        machine(base, configured=_emergency(base), extra=AT_ONCE) as made,
    ):
        yield made


@contextmanager
def on_a_breakable_disk(base: Path) -> Generator[Machine]:
    with (
        broken_disk(base / "guard" / "spool", base / "image") as device,
        machine(base, configured=_emergency(base), extra=AT_ONCE) as made,
    ):
        made.device = device
        yield made


@contextmanager
def disk_full(made: Machine) -> Generator[float]:
    path = made.guard.home / "spool" / "somebody-elses"
    with open(path, "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(bytes(65_536))
    yield time.monotonic()
    path.unlink()


@contextmanager
def inodes_full(made: Machine) -> Generator[float]:
    folder = made.guard.home / "spool" / "somebody-elses"
    folder.mkdir()
    with pytest.raises(OSError, match="No space"):
        for number in range(100_000):
            (folder / str(number)).touch()
    yield time.monotonic()
    shutil.rmtree(folder)


@contextmanager
def disk_read_only(made: Machine) -> Generator[float]:
    at = made.guard.home / "spool"
    mounted = Disk.__new__(Disk)
    mounted.at = at
    mounted.remount("ro")
    with pytest.raises(OSError, match="Read-only"):
        (at / "x").touch()
    yield time.monotonic()
    mounted.remount("rw")


@contextmanager
def disk_failing(made: Machine) -> Generator[float]:
    assert made.device is not None
    made.device.fail()
    with pytest.raises(OSError, match="Input/output"):
        (made.guard.home / "spool" / "x").touch()
    yield time.monotonic()


# -- clocks --------------------------------------------------------------------------------------------------------


@contextmanager
def with_a_clock(base: Path) -> Generator[Machine]:
    clock = WallClock(base)
    with machine(base, environment=clock.environment, extra=AT_ONCE) as made:
        made.clock = clock
        poll(lambda: len(made.looks) >= 2, 60.0)
        yield made


def clock_set(offset: str) -> Strike:
    @contextmanager
    def strike(made: Machine) -> Generator[float]:
        assert made.clock is not None
        before = made.clock.seen("CLOCK_REALTIME")
        made.clock.set(offset)
        assert abs(made.clock.seen("CLOCK_REALTIME") - before) > 3600
        yield time.monotonic()

    return strike


# -- people --------------------------------------------------------------------------------------------------------


@contextmanager
def with_mail_first(base: Path) -> Generator[Machine]:
    """Two proven channels of two humans: mail, by a real server on loopback, and letters."""
    with smtp(Mailbox()) as mailbox:
        url = f"mailto://127.0.0.1:{mailbox.port}/?from=nbguard@example.org&to=ada@example.org&mode=insecure"
        with machine(base, extra=AT_ONCE, channels=(url, "")) as made:
            made.mailbox = mailbox
            poll(lambda: mailbox.mails and made.letters(), 60.0)
            for text in (mailbox.mails[0].get_content(), made.letters()[0][1]):
                found = re.search(r"nbguard ack ([0-9A-Z-]{8,})", text)
                assert found is not None, text
                answer = made.guard.nbguard("ack", found[1])
                assert answer.code == 0, answer
            states = [each["state"] for each in made.guard.nbguard("alert", "list", "--json").json]
            assert states == ["live", "live"], states
            yield made


@contextmanager
def mail_refused(made: Machine) -> Generator[float]:
    """The mail server knows the recipient no more; then the daemon is killed."""
    assert made.mailbox is not None
    made.mailbox.rcpt = "550 5.1.1 no such user"
    asked = len(made.mailbox.recipients)
    made.guard.kill()
    moment = time.monotonic()
    poll(lambda: len(made.mailbox.recipients) > asked, 60.0)  # type: ignore[union-attr]  # asserted above
    yield moment


@contextmanager
def mail_unread(made: Machine) -> Generator[float]:
    """The mail of an incident is accepted, and nobody answers; what counts begins with that mail."""
    assert made.mailbox is not None
    before = len(made.mailbox.mails)
    made.guard.kill()
    poll(lambda: len(made.mailbox.mails) > before, 60.0)  # type: ignore[union-attr]  # asserted above
    yield time.monotonic()


# -- mirrors -------------------------------------------------------------------------------------------------------


@contextmanager
def with_a_mirror(base: Path) -> Generator[Machine]:
    with machine(base, extra=AT_ONCE) as made:
        added = made.guard.nbguard("mirror", "add", str(base / "mirror.git"), "--yes")
        assert added.code == 0, added
        assert made.guard.stop() == 0
        made.guard.start()
        yield made


@contextmanager
def mirror_unreachable(made: Machine) -> Generator[float]:
    """The disk is unplugged; then something is saved."""
    mirror = made.guard.home.parent / "mirror.git"
    mirror.rename(mirror.with_name("unplugged.git"))
    made.save("not there.ipynb", "x = 1")
    yield time.monotonic()


# -- a plain user, for whom permissions hold ---------------------------------------------------------------------------


@contextmanager
def as_a_plain_user(base: Path) -> Generator[Machine]:
    with machine(base, before=PLAIN_USER, extra=AT_ONCE) as made:
        yield made


@contextmanager
def plain(base: Path) -> Generator[Machine]:
    with machine(base, extra=AT_ONCE) as made:
        yield made


# -- threads that end inside of the daemon -----------------------------------------------------------------------------

_INSIDE = """
import ctypes, gc, os, signal, threading

def strike(*_):
    path = os.environ["NB_THREAD_TO_END"]
    with open(path) as file:
        wanted = file.read()
    for thread in threading.enumerate():
        if wanted in (thread.name, type(thread).__name__):
            end = ctypes.pythonapi.PyThreadState_SetAsyncExc
            end(ctypes.c_ulong(thread.ident), ctypes.py_object(SystemExit))
            threading.Thread(target=lambda: (thread.join(), open(path + ".done", "w").close()), daemon=True).start()
    for found in gc.get_objects():
        if type(found).__name__ == "BackgroundScheduler":
            found.wakeup()  # or its thread would sleep until the next job, and end then

signal.signal(signal.SIGUSR1, strike)
"""


@contextmanager
def with_a_way_in(base: Path) -> Generator[Machine]:
    """The daemon ends a thread of its own that is named in a file, when it is told to."""
    inside = base / "inside"
    inside.mkdir()
    (inside / "sitecustomize.py").write_text(_INSIDE)
    environment = {"PYTHONPATH": f"{inside}:{REPOSITORY}", "NB_THREAD_TO_END": str(inside / "wanted")}
    with machine(base, environment=environment, extra=AT_ONCE) as made:
        yield made


def thread_ended(name: str) -> Strike:
    """``name`` as the thread has it, or of its class."""

    @contextmanager
    def strike(made: Machine) -> Generator[float]:
        wanted = Path(made.guard.environment["NB_THREAD_TO_END"])
        wanted.write_text(name)
        os.kill(made.guard.pid, signal.SIGUSR1)

        def is_over() -> bool:
            if wanted.with_name("wanted.done").exists():
                return True
            made.save("wakes it up.ipynb", f"at = {time.monotonic()}")
            return False

        poll(is_over, 60.0, every=0.5)
        yield time.monotonic()

    return strike
