"""One room, encrypted, of three applications as people run them: slipway-chat (C++), the chat of the Python package's examples, and one
on upstream's bindings. Each is moderator once; all hear all."""
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parts import BUILD, HERE

TOP = HERE.parent.parent.parent
PACKAGE = BUILD.resolve() / "tools/python"
SECRET = "a-shared-secret-of-at-least-32-bytes!!"
ROOM = "org/chat/room"


class Chat:
    """One of them. Its prompt: `waits` and `joined` are what it says when it does."""

    waits, joined = "waiting", "in the room"

    def __init__(self, folder, name, command):
        self.name, self.seen = name, []
        self.errors = open(Path(folder) / f"{name}.log", "w+")
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=dict(os.environ, SLIPWAY_SECRET=SECRET, PYTHONPATH=str(PACKAGE)))

    def expect(self, what):
        for line in self.process.stdout:
            self.seen.append(line.rstrip())
            if what in line:
                return
        self.errors.seek(0)
        raise AssertionError(f"{self.name} never said {what!r}: {self.seen[-10:]} {self.errors.read()[-2000:]}")

    def hears(self, who, text):
        self.expect(f"{who}: {text}")

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def open(self, guests):
        """The moderator's: until all are in."""
        self.expect(self.joined)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


class Cpp(Chat):
    joined = f"* in {ROOM}, encrypted"

    def __init__(self, folder, node, _, guests=()):
        room = ["--create", ROOM] if guests else []
        super().__init__(folder, "cpp", [BUILD / "tools/examples/slipway-chat", "org/chat/cpp", *room, "--node", node.tcp])

    def hears(self, who, text):
        self.expect(f"<org/chat/{who}> {text}")

    def open(self, guests):
        super().open(guests)
        for guest in guests:
            self.say(f"/invite {guest}")
            self.expect(f"* {guest} is in")


class Python(Chat):
    joined = "in the room, encrypted"

    def __init__(self, folder, node, _, guests=()):
        room = [ROOM, *guests] if guests else []
        super().__init__(folder, "python", [sys.executable, TOP / "tools/python/examples/chat.py", node.tcp, "org/chat/python", *room])


class Upstream(Chat):
    def __init__(self, folder, node, interpreter, guests=()):
        room = [ROOM, *guests] if guests else []
        super().__init__(folder, "upstream", [interpreter, HERE / "room.py", node.edge, "org/chat/upstream", *room])


@pytest.fixture
def package():
    done = subprocess.run([sys.executable, "-c", "import slipway"], env=dict(os.environ, PYTHONPATH=str(PACKAGE)), capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"the package slipway is not built for {sys.executable}: {done.stderr.strip().splitlines()[-1:]}")


@pytest.mark.parametrize("kind", [Cpp, Python, Upstream], ids=["cpp", "python", "upstream"])
def test_all_hear_all(python, package, tmp_path, node, kind):
    kinds = [other for other in (Cpp, Python, Upstream) if other is not kind]
    with kinds[0](tmp_path, node, python) as first, kinds[1](tmp_path, node, python) as second:
        guests = [f"org/chat/{guest.name}" for guest in (first, second)]
        for guest in (first, second):
            guest.expect(guest.waits)
        with kind(tmp_path, node, python, guests) as moderator:
            moderator.open(guests)
            for guest in (first, second):
                guest.expect(guest.joined)
            for turn in range(3):
                for speaker in (first, moderator, second):
                    speaker.say(f"{turn} of {speaker.name}")
                    for other in (first, moderator, second):
                        if other is not speaker:
                            other.hears(speaker.name, f"{turn} of {speaker.name}")
    node.balanced()
