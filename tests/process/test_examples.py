"""The examples as people run them: separate processes and one node."""
import hashlib
import os
import time

import pytest

from conversation import Conversation
from nodes import BUILD, Node, until

SECRET = "a-shared-secret-of-at-least-32-bytes!!"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


def example(node, program, *words):
    return Conversation([BUILD / "tools/examples" / program, *words, "--node", node.tcp], dict(os.environ, SLIPWAY_SECRET=SECRET))


def test_chat(node):
    with example(node, "slipway-chat", "org/team/alice", "--create", "org/team/room") as alice, \
            example(node, "slipway-chat", "org/team/bob") as bob, example(node, "slipway-chat", "org/team/carol") as carol:
        alice.expect("encrypted")
        bob.expect("waiting")
        carol.expect("waiting")
        alice.type("/invite org/team/bob")
        bob.expect("* in org/team/room, encrypted")
        alice.type("/invite org/team/carol")
        carol.expect("* in org/team/room")
        alice.expect("org/team/carol is in")
        alice.type("hello, all")
        bob.expect("<org/team/alice> hello, all")
        carol.expect("<org/team/alice> hello, all")
        bob.type("hello, alice")
        alice.expect("<org/team/bob> hello, alice")
        carol.expect("<org/team/bob> hello, alice")
        alice.type("/who")
        alice.expect("* org/team/carol")
        alice.type("/remove org/team/carol")
        carol.expect("the channel is closed")
        alice.expect("org/team/carol is out")
        alice.type("/invite org/team/nobody at all")
        alice.type("/quit")
        bob.expect("the channel is closed")
        alice.end()
    node.balanced()


def test_workers(node):
    with example(node, "slipway-workers", "work", "org/team/upper") as one, example(node, "slipway-workers", "work", "org/team/upper") as other:
        one.expect("working")
        other.expect("working")
        with example(node, "slipway-workers", "ask", "org/team/upper", "some text", "--times", 40) as client:
            out = client.end()
            assert "SOME TEXT" in out
            assert out.count(" by org/team/upper/") == 2, out  # both had work
    node.balanced()


def test_file_over_a_restart_of_the_node(node, tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(os.urandom(12 << 20))
    inbox = tmp_path / "inbox"
    with example(node, "slipway-file", "receive", "org/team/bob", inbox) as bob:
        bob.expect("receiving")
        with example(node, "slipway-file", "send", "org/team/bob", path) as alice:
            until(lambda: (inbox / "large.bin.part").exists() and (inbox / "large.bin.part").stat().st_size > 1 << 20, "the first bytes are there")
            node.kill()
            time.sleep(0.3)
            node.start()
            assert "sent large.bin" in alice.end()
        bob.expect("received large.bin")
    assert hashlib.sha256((inbox / "large.bin").read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()


def test_file_goes_on_where_it_ended(node, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_bytes(b"0123456789" * 100_000)
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "notes.txt.part").write_bytes(path.read_bytes()[:400_000])
    with example(node, "slipway-file", "receive", "org/team/bob", inbox) as bob:
        bob.expect("receiving")
        with example(node, "slipway-file", "send", "org/team/bob", path) as alice:
            out = alice.end()
            assert "going on at byte 400000" in out and "sent notes.txt" in out
        bob.expect("received notes.txt")
    assert (inbox / "notes.txt").read_bytes() == path.read_bytes()
    node.balanced()
