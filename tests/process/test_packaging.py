"""The service as it is shipped: the unit is valid, and the node runs with the rights that the unit leaves it."""
import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from native import Stream
from nodes import BUILD, PATIENCE, Node, until

UNIT = Path(__file__).resolve().parents[2] / "tools/packaging/slipwayd.service.in"
CONFINE = Path(__file__).resolve().parent / "confine.py"


def settings():
    """The unit's settings; of one that is there twice, the last."""
    return dict(re.findall(r"^(\w+)=(.*)$", UNIT.read_text(), re.MULTILINE))


def calls_of(group):
    """The system calls of a set of systemd's, sets in it included."""
    done = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    out = set()
    for line in done.stdout.splitlines()[1:]:
        word = line.strip()
        if word.startswith("@"):
            out |= calls_of(word)
        elif word and not word.startswith("#"):
            out.add(word)
    return out


@pytest.fixture(scope="module", autouse=True)
def analyze():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze on this machine (package systemd)")


def test_unit_is_valid(tmp_path):
    text = UNIT.read_text().replace("@bindir@", str((BUILD / "tools").resolve())).replace("@sysconfdir@", "/etc")
    (tmp_path / "slipwayd.service").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", tmp_path / "slipwayd.service"], capture_output=True, text=True)
    # The manual page is there once the package is installed.
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line and "man slipwayctl(1)" not in line]
    assert not complaints


@pytest.fixture
def folder():
    """One that a user without rights can reach, and owns."""
    path = Path(tempfile.mkdtemp(prefix="slipway-unit-"))
    path.chmod(0o755)
    os.chown(path, 64000, 64000)
    yield path
    shutil.rmtree(path)


def confined(folder):
    """The words that confine a command as the unit does; or a skip."""
    if os.geteuid() != 0:
        pytest.skip("not root")
    if platform.machine() != "x86_64" or os.environ.get("SLIPWAY_SANITIZE"):
        pytest.skip("the filter of this test knows x86_64's system calls, and those of a build without sanitizers")
    calls = set()
    for word in settings()["SystemCallFilter"].split():
        calls |= calls_of(word) if word.startswith("@") else {word}
    assert settings()["SystemCallErrorNumber"] == "EPERM", "a call that is refused must not kill"
    words = ["unshare", "--mount", sys.executable, CONFINE, folder, ",".join(sorted(calls))]
    done = subprocess.run([*words, "/bin/true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"cannot be confined here: {done.stderr.strip().splitlines()[-1]}")
    (folder / "dev").rename(folder / "dev.tried")
    return words


def test_runs_with_the_rights_of_the_unit(folder):
    before = confined(folder)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(folder / "notify"))
    (folder / "notify").chmod(0o777)
    manager.settimeout(PATIENCE)

    def told(word):
        said = ""
        while word not in said:
            said = manager.recv(4096).decode()
        return True

    # Where the unit's RuntimeDirectory is; the program where the folder's user may read it.
    environment = {"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(folder), "NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": "2000000"}
    shutil.copy(BUILD / "tools/slipwayd", folder)
    one = Node(folder, environment=environment, start=False, before=before)
    one.program = folder / "slipwayd"
    one.config.chmod(0o644)
    one.launch()
    assert until(lambda: one.process.poll() is not None or one.answers(), "the node answers") and one.process.poll() is None, one.log()
    assert told("READY=1") and told("WATCHDOG=1")
    status = Path(f"/proc/{one.process.pid}/status").read_text()
    assert re.search(r"^CapBnd:\s+0+$", status, re.MULTILINE) and re.search(r"^Uid:\s+64000\s", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\s+2$", status, re.MULTILINE)
    for address in (one.tcp, "unix://" + one.unix):
        client = Stream(address)
        assert client.subscribe("org/ns/svc")[1]
        client.close()
    one.signal(signal.SIGHUP)
    assert told("RELOADING=1") and told("READY=1")
    one.balanced()
    one.signal(signal.SIGTERM)
    assert told("STOPPING=1")
    assert one.process.wait(PATIENCE) == 0, one.log()
