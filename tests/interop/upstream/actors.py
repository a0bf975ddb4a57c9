"""Applications that take orders, on our endpoint library (actor.cc) and on upstream's bindings (actor.py), in one room."""
import json
import os
import queue
import subprocess
import threading
import time
from pathlib import Path

from parts import BUILD, HERE

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"
PATIENCE = 60


class Actor:
    def __init__(self, folder, name, command, environment):
        self.name, self.said = f"org/ns/{name}", []
        self.errors = open(Path(folder) / f"{name}.log", "w+")
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env={**os.environ, "SLIPWAY_SECRET": SECRET, **environment})
        self.answers, self.heard, self.over = queue.Queue(), [], threading.Event()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        assert "done" in self.answers.get(timeout=PATIENCE), self.tail()

    def read(self):
        for line in self.process.stdout:
            if not line.startswith("{"):
                continue  # the bindings log there too
            line = json.loads(line)
            self.said.append(line)
            if "heard" in line:
                self.heard.append((line["from"].split("/")[-1], line["heard"]))
            elif "over" in line:
                self.over.set()
            elif "done" in line or "failed" in line:
                self.answers.put(line)

    def tail(self):
        self.errors.seek(0)
        return f"{self.name}: {self.said[-10:]} {self.errors.read()[-3000:]}"

    def begin(self, order):
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()

    def end(self, seconds=PATIENCE):
        try:
            return self.answers.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no answer: {self.tail()}") from None

    def do(self, order):
        self.begin(order)
        answer = self.end()
        assert "done" in answer, f"{answer} {self.tail()}"
        return answer.get("result")

    def hears(self, who, text, seconds=PATIENCE):
        until = time.monotonic() + seconds
        while (who, text) not in self.heard:
            assert time.monotonic() < until, f"never heard {who}: {text}: {self.heard[-10:]} {self.tail()}"
            time.sleep(0.01)

    def leaves_off(self):
        assert self.over.wait(PATIENCE), f"its session does not end: {self.tail()}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.errors.close()


class Stage:
    """A node, and who is on it."""

    def __init__(self, folder, node, interpreter, mls=True, best_effort=False, environment=None):
        self.folder, self.node, self.interpreter = Path(folder), node, interpreter
        self.words = ([] if mls else ["--plain"]) + (["--best-effort"] if best_effort else [])
        self.environment = environment or {}
        self.actors = []

    def ours(self, name, at=None):
        return self.enter(name, [BUILD / "tests/interop/upstream/actor", f"org/ns/{name}", at or self.node.tcp, *self.words])

    def theirs(self, name, *words, interpreter=None, at=None, environment=None):
        return self.enter(name, [interpreter or self.interpreter, HERE / "actor.py", f"org/ns/{name}", at or self.node.edge, *self.words, *words],
                          environment)

    def enter(self, name, command, environment=None):
        self.actors.append(Actor(self.folder, name, command, {**self.environment, **(environment or {})}))
        return self.actors[-1]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for actor in self.actors:
            actor.kill()


def bring(moderator, *guests):
    for guest in guests:
        guest.begin("wait")
        moderator.do(f"invite {guest.name}")
        assert "done" in guest.end(), guest.tail()


def together(creator, other):
    """A pair that talks."""
    other.begin("wait")
    creator.do(f"pair {other.name}")
    assert "done" in other.end(), other.tail()
    all_hear_all(creator, other, mark="pair")


def all_hear_all(*members, mark=""):
    for speaker in members:
        name = speaker.name.split("/")[-1]
        speaker.do(f"say {mark} of {name}")
        for other in members:
            if other is not speaker:
                other.hears(name, f"{mark} of {name}")
