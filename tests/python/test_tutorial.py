"""The tutorial of tools/python/README.md, followed from an empty folder: every block of code in it is run, every output compared."""
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from applications import BUILD, PATIENCE, free_port, until

TOP = Path(__file__).resolve().parents[2]
PORT = "46367"
SETTLED = {"node": "control.sock", "bob": "bob.log"}  # the file that shows that it is ready


def blocks():
    text = (TOP / "tools/python/README.md").read_text()
    found = re.findall(r"^```(.*)\n((?s:.*?))^```$", text, re.M)
    assert len(found) == text.count("\n```") / 2 and len(found) > 8
    return found


def as_here(text, port):
    """For the build under test, and a port that is free."""
    return text.replace(PORT, str(port)).replace("$SLIPWAY/tools/python/build", f"{TOP}/tools/python/build {BUILD.resolve()}").replace(
        "$SLIPWAY/build/", f"{BUILD.resolve()}/")


def clean():
    """As a new user's: no path to the package, and `python3` is this one."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return environment | {"PATH": f"{Path(sys.executable).parent}:{environment['PATH']}"}


def run_block(text, folder):
    done = subprocess.run(["sh", "-ec", text], cwd=folder, capture_output=True, text=True, env=clean(), timeout=4 * PATIENCE)
    assert done.returncode == 0, (text, done.stdout, done.stderr)
    return done.stdout


def start_block(name, text, folder):
    log = open(folder / f"{name}.log", "w")
    process = subprocess.Popen(["sh", "-c", text], cwd=folder, stdout=log, stderr=log, start_new_session=True, env=clean())
    ready = folder / SETTLED[name]
    until(lambda: process.poll() is not None or (ready.exists() and (not ready.is_file() or "listening" in ready.read_text())), f"{name} is ready")
    assert process.poll() is None, (folder / f"{name}.log").read_text()
    return process


def follow(folder, port, running):
    output = None
    for kind, text in blocks():
        text = as_here(text, port)
        words = kind.split()
        if words[0] in ("yaml", "python"):
            (folder / words[1]).write_text(text)
        elif words[:2] == ["sh", "background"]:
            running.append(start_block(words[2], text, folder))
        elif words[0] == "sh":
            output = run_block(text, folder)
        else:
            assert words == ["text"] and output == text, (kind, output, text)
    assert "heard hello" in (folder / "bob.log").read_text()


def test_the_tutorial(tmp_path):
    if sys.version_info[:2] != tuple(map(int, subprocess.run(["/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])"],
                                                            capture_output=True, text=True).stdout.split())):
        pytest.skip("the package is built for the system's Python, and this is another version")
    running = []
    try:
        follow(tmp_path, free_port(), running)
    finally:
        for process in running:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
