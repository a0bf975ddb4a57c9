"""What the tests of the Python package have in common: the package of the build under test, a node, applications in processes."""
import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "process"))
from nodes import BUILD, PATIENCE, Node, free_port, until  # noqa: E402,F401

PACKAGE = Path(os.environ.get("SLIPWAY_PYTHON_PACKAGE", BUILD.resolve() / "tools/python"))
sys.path.insert(0, str(PACKAGE))
SECRET = "a-shared-secret-of-at-least-32-bytes!!"
HERE = Path(__file__).resolve().parent


def run(work):
    """Runs a coroutine; one that hangs fails."""
    async def bounded():
        async with asyncio.timeout(PATIENCE):
            return await work
    return asyncio.run(bounded())


def environment():
    return dict(os.environ, PYTHONPATH=str(PACKAGE), SLIPWAY_SECRET=SECRET)


class Peer:
    """An application in a process of its own (peer.py): it answers every message and says what it hears, as JSON lines."""

    def __init__(self, node, name, *words):
        self.process = subprocess.Popen([sys.executable, HERE / "peer.py", node.tcp, name, *words], env=environment(), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.lines = []
        self.name = self.read("ready")["ready"]

    def read(self, key):
        """The next line that has this key."""
        for line in self.process.stdout:
            self.lines.append(json.loads(line))
            if key in self.lines[-1]:
                return self.lines[-1]
        raise AssertionError(f"no {key}: {self.lines[-5:]}")

    def end(self):
        """All that it said; it ends as a person would end it."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        self.lines += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode == 0
        return self.lines

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
