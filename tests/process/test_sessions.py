"""Sessions between processes through a real node: slipwayctl's listeners and senders are applications on the endpoint library."""
import json
import os
import subprocess
import time

import pytest

from nodes import BUILD, PATIENCE, Node

CTL = BUILD / "tools/slipwayctl"
SECRET = "a-shared-secret-of-at-least-32-bytes!!"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


class Application:
    """One `slipwayctl session` process; its answers are JSON lines."""

    def __init__(self, node_address, *words, secret=SECRET):
        environment = dict(os.environ, SLIPWAY_SECRET=secret, SLIPWAY_NODE=node_address)
        self.process = subprocess.Popen([CTL, "--json", "--timeout", str(PATIENCE), "session", *map(str, words)], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []

    def read(self, key):
        """The next line that has this key."""
        for line in self.process.stdout:
            value = json.loads(line)
            self.lines.append(value)
            if key in value:
                return value
        raise AssertionError(f"no {key}: {self.lines[-5:]} {self.process.stderr.read()}")

    def result(self, code=0):
        out, error = self.process.communicate(timeout=PATIENCE)
        self.lines += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode == code, (self.process.returncode, error, self.lines[-5:])
        return self.lines[-1] if self.lines else None

    def payloads(self):
        return [line["payload"] for line in self.lines if "payload" in line]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def listener(node_address, name, *words):
    application = Application(node_address, "listen", name, *words)
    application.name = application.read("ready")["ready"]
    return application


@pytest.mark.parametrize("transport", ["tcp", "unix", "udp"])
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_unicast(node, transport, mls):
    address = {"tcp": node.tcp, "unix": f"unix://{node.unix}", "udp": node.udp}[transport]
    with listener(address, "org/ns/bob", "--answer", "echo ", "--until", "bye") as bob, \
            Application(address, "send", "org/ns/bob", "hello", "-n", 50, "--answers", 1, "--last", "bye", *([] if mls else ["--no-mls"])) as alice:
        done = alice.result()
        assert done["sent"] == 50 and done["answers"] == 50 and done["undelivered"] == []
        assert set(alice.payloads()) == {"echo hello"}
        heard = bob.result()
        assert heard == {"messages": 51, "answered": 50}
        opened = next(line for line in bob.lines if "opened" in line)
        assert opened["kind"] == "unicast" and opened["mls"] is mls
        print(done)
    node.balanced()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_multicast_of_three(node, mls):
    with listener(node.tcp, "org/ns/bob", "--answer", "bob: ", "--until", "bye", "--quiet") as bob, \
            listener(node.tcp, "org/ns/carol", "--answer", "carol: ", "--until", "bye", "--quiet") as carol, \
            Application(node.tcp, "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--payload", "hello", "-n", 1, "--answers", 2,
                        "--last", "bye", *([] if mls else ["--no-mls"])) as alice:
        done = alice.result()
        assert done["sent"] == 1 and done["undelivered"] == []
        answers = alice.payloads()
        assert len(answers) == 2 and "bob: hello" in answers + [a[7:] for a in answers] and "carol: hello" in answers + [a[5:] for a in answers]
        bob.result()
        carol.result()
    node.balanced()


def test_anycast_is_acknowledged_and_spread(node):
    workers = [listener(node.tcp, "org/ns/worker", "--answer", "done ", "-n", 1_000_000) for _ in range(2)]
    try:
        with Application(node.tcp, "send", "org/ns/worker", "job", "--anycast", "-n", 40, "--answers", 1) as client:
            done = client.result()
            assert done["sent"] == 40 and done["answers"] == 40
        for worker in workers:
            worker.process.terminate()
        heard = [worker.result(code=6)["messages"] for worker in workers]
        assert sum(heard) == 40 and min(heard) > 0, heard
    finally:
        for worker in workers:
            worker.process.kill()
    node.balanced()


def test_nobody_there(node):
    with Application(node.tcp, "send", "org/ns/nobody", "hello", "--ack-ms", 50, "--retries", 2) as alice:
        alice.result(code=8)
    with Application(node.tcp, "send", "org/ns/nobody", "hello", "--anycast", "--ack-ms", 50, "--retries", 2) as alice:
        alice.result(code=8)


def test_another_secret_is_nobody(node):
    with listener(node.tcp, "org/ns/bob"), \
            Application(node.tcp, "send", "org/ns/bob", "hello", "--ack-ms", 50, "--retries", 2, secret="another-secret-of-at-least-32-bytes!!") as mallory:
        mallory.result(code=8)
    with Application(node.tcp, "listen", "org/ns/x", secret="short") as short:
        short.result(code=4)


def test_the_node_is_killed_under_load(node):
    with listener(node.tcp, "org/ns/bob", "--until", "bye", "--raw") as bob:
        alice = Application(node.tcp, "send", "org/ns/bob", "--lines", "--last", "bye", "--ack-ms", 200, "--retries", 100)
        try:
            for i in range(400):
                alice.process.stdin.write(f"{i}\n")
                alice.process.stdin.flush()
                if i == 150:
                    node.kill()
                    node.start()
                time.sleep(0.002)
            done = alice.result()
            assert done["sent"] == 400 and done["undelivered"] == []
            out, _ = bob.process.communicate(timeout=PATIENCE)
            heard = [int(line) for line in out.splitlines() if line.isdigit()]
            assert heard == list(range(400))
        finally:
            alice.process.kill()
