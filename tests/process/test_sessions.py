"""Sessions between processes through a real node: slipwayctl's listeners and senders are applications on the endpoint library."""
import time

import pytest

from nodes import PATIENCE, Node
from sessions import Application, listener


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


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
    with listener(node.tcp, "org/ns/bob", "--answer", "echo ", "--until", "bye", "--quiet") as bob, \
            listener(node.tcp, "org/ns/carol", "--answer", "echo ", "--until", "bye", "--quiet") as carol, \
            Application(node.tcp, "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--payload", "hello", "-n", 1, "--answers", 2,
                        "--last", "bye", *([] if mls else ["--no-mls"])) as alice:
        done = alice.result()
        assert done["sent"] == 1 and done["undelivered"] == []
        assert alice.payloads() == ["echo hello"] * 2
        assert {line["source"] for line in alice.lines if "payload" in line} == {bob.name, carol.name}
        for member in (bob, carol):
            assert member.result() == {"messages": 3, "answered": 1}  # the other's answer and "bye" too
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
