"""Channels that the node hosts, from the outside: slipwayctl, members in processes of their own, restarts, the configuration file."""
import subprocess
import time

import pytest

import channels
from nodes import BUILD, PATIENCE, Node, until
from sessions import SECRET, Application, listener

ROOM = "org/ns/room"
CHAT = BUILD / "tools/examples/slipway-chat"


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path, extra=channels.section(tmp_path, SECRET))
    yield node
    node.stop()


class Chat:
    """slipway-chat, waiting to be invited."""

    def __init__(self, node, name):
        self.process = subprocess.Popen([CHAT, name], env={"SLIPWAY_SECRET": SECRET, "SLIPWAY_NODE": node.tcp}, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.until("waiting to be invited")

    def until(self, word):
        for line in self.process.stdout:
            if word in line:
                return line
        raise AssertionError(f"never said: {word}")

    def say(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_life_of_a_channel(node, mls):
    assert channels.ctl(node, "list")["channels"] == []
    channels.ctl(node, "create", ROOM, *([] if mls else ["--no-mls"]))
    refused = channels.ctl(node, "create", ROOM, code=4)
    assert "already" in str(refused)
    with Chat(node, "org/ns/alice") as alice, listener(node.tcp, "org/ns/bob", "--answer", "echo ") as bob:
        channels.ctl(node, "invite", ROOM, "org/ns/alice")
        alice.until("in org/ns/room")
        channels.ctl(node, "invite", ROOM, "org/ns/bob")
        assert bob.read("opened")["mls"] is mls
        assert channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/bob"]
        shown = channels.text(node, "show", ROOM)
        assert ("could read" in shown) is mls
        alice.say("hello")
        assert "echo hello" in alice.until("echo hello")
        channels.ctl(node, "remove", ROOM, "org/ns/bob")
        assert bob.read("closed")
        assert channels.members(node) == [channels.MODERATOR, "org/ns/alice"]
        channels.ctl(node, "invite", ROOM, "org/ns/nobody", code=5)
        channels.ctl(node, "delete", ROOM)
        assert channels.ctl(node, "list")["channels"] == []
        channels.ctl(node, "show", ROOM, code=5)
    own = [row for row in node.get("/v1/links")["links"] if row["transport"] == "control"]
    assert len(own) == 1 and own[0]["class"] == "local"
    assert node.request("POST", "/v1/links/close", {"link": own[0]["link"]})[0] == 409
    node.balanced()


def test_no_channels_without_the_section(tmp_path):
    node = Node(tmp_path)
    try:
        assert "slipway.channels" in str(channels.ctl(node, "list", code=5))
        assert node.get("/v1/links")["links"] == []
    finally:
        node.stop()


def test_channels_of_the_file(tmp_path):
    with_file = channels.section(tmp_path, SECRET, store=False, hosted={ROOM: ["org/ns/alice", "org/ns/bob"], "org/ns/empty": []})
    node = Node(tmp_path, extra=with_file)
    try:
        assert "configuration file" in str(channels.ctl(node, "create", "org/ns/other", code=4))
        assert "configuration file" in str(channels.ctl(node, "remove", ROOM, "org/ns/alice", code=4))
        assert channels.members(node, "org/ns/empty") == [channels.MODERATOR]
        # Whoever comes later is invited when it is there.
        with listener(node.tcp, "org/ns/alice") as alice:
            alice.read("opened")
            with listener(node.tcp, "org/ns/bob") as bob:
                bob.read("opened")
                until(lambda: channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/bob"], "both are in")
    finally:
        node.stop()


def broken(tmp_path, node, needle):
    node.launch()
    assert node.process.wait(PATIENCE) == 2
    assert needle in node.log(), node.log()


def test_keys_and_stores_that_do_not_fit(tmp_path):
    extra = channels.section(tmp_path, SECRET)
    node = Node(tmp_path, extra=extra)
    node.stop()
    key, store = tmp_path / "sealing.key", tmp_path / "channels.db"
    good = key.read_text()
    key.write_text("ff" * 32)
    broken(tmp_path, node, "the key does not fit")
    key.write_text("too short")
    broken(tmp_path, node, "64 hexadecimal digits")
    key.write_text(good)
    key.chmod(0o644)
    broken(tmp_path, node, "chmod 0600")
    key.chmod(0o600)
    store.chmod(0o640)
    broken(tmp_path, node, "chmod 0600")
    store.chmod(0o600)
    kept = store.read_bytes()
    assert SECRET.encode() not in kept and b"org/ns" not in kept
    store.write_bytes(kept[:100] + bytes(200) + kept[300:])
    broken(tmp_path, node, "damaged")
    store.write_bytes(b"this is no database, but a text that somebody put here by mistake" * 20)
    broken(tmp_path, node, "damaged")
    store.unlink()
    node.start()
    node.stop()
