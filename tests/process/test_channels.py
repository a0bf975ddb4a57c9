"""Channels that the node hosts, from the outside: slipwayctl, members in processes of their own, restarts, the configuration file."""
import os
import subprocess
import threading
import time

import pytest

import native

import channels
from nodes import BUILD, PATIENCE, Node, free_port, until
from sessions import SECRET, Application, by_jwt, jwt_keys, listener

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
        self.process = subprocess.Popen([CHAT, name, "--node", node.tcp], env={"SLIPWAY_SECRET": SECRET}, stdin=subprocess.PIPE,
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


def restarted(node, how):
    if how == "killed":
        node.process.kill()
        node.process.wait()
    else:
        node.stop()
    node.start()


@pytest.mark.parametrize("mls, how", [(True, "killed"), (False, "stopped")], ids=["mls-killed", "plain-stopped"])
def test_channels_outlive_the_node(node, mls, how):
    channels.ctl(node, "create", ROOM, *([] if mls else ["--no-mls"]))
    channels.ctl(node, "create", "org/ns/empty")
    with Chat(node, "org/ns/alice") as alice, listener(node.tcp, "org/ns/bob", "--answer", "echo ") as bob:
        for name in ["org/ns/alice", "org/ns/bob"]:
            channels.ctl(node, "invite", ROOM, name)
        alice.until("in org/ns/room")
        before = channels.ctl(node, "show", ROOM)
        restarted(node, how)
        after = channels.ctl(node, "show", ROOM)
        assert after["restored"] and after["session"] == before["session"] and after["mls"] is mls
        assert {m["name"] for m in after["members"]} == {m["name"] for m in before["members"]}
        assert [row["name"] for row in channels.ctl(node, "list")["channels"]] == ["org/ns/empty", ROOM]
        if mls:  # new keys before anything else
            until(lambda: channels.ctl(node, "show", ROOM)["epoch"] > before["epoch"], "the keys are new")
        # The members are those of before, and go on among themselves and with their moderator.
        until(lambda: len(node.get("/v1/routes?name=org/ns/bob")["routes"]) > 0, "bob is back")
        alice.say("still there?")
        alice.until("echo still there?")
        with listener(node.tcp, "org/ns/carol") as carol:
            channels.ctl(node, "invite", ROOM, "org/ns/carol")
            carol.read("opened")
            alice.say("hello all")
            assert carol.read("payload")["payload"].endswith("hello all")
            alice.until("echo hello all")
            channels.ctl(node, "remove", ROOM, "org/ns/bob")
            assert bob.read("closed")
        channels.ctl(node, "delete", ROOM)
    restarted(node, how)
    assert [row["name"] for row in channels.ctl(node, "list")["channels"]] == ["org/ns/empty"]


def test_the_file_is_followed_after_a_restart(tmp_path):
    node = Node(tmp_path, extra=channels.section(tmp_path, SECRET, hosted={ROOM: ["org/ns/alice", "org/ns/bob"], "org/ns/old": []}))
    try:
        with listener(node.tcp, "org/ns/alice") as alice, listener(node.tcp, "org/ns/bob") as bob, listener(node.tcp, "org/ns/carol") as carol:
            alice.read("opened")
            bob.read("opened")
            until(lambda: len(channels.members(node)) == 3, "both are in")
            node.stop()
            node.write(channels.section(tmp_path, SECRET, hosted={ROOM: ["org/ns/alice", "org/ns/carol"]}))
            node.start()
            carol.read("opened")
            assert bob.read("closed")
            until(lambda: channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/carol"], "the file's members are in")
            until(lambda: [row["name"] for row in channels.ctl(node, "list")["channels"]] == [ROOM], "what is not listed is gone")
    finally:
        node.stop()


def test_by_tokens(tmp_path):
    keys = jwt_keys(tmp_path, "issuer")
    node = Node(tmp_path, extra=channels.section(tmp_path, SECRET, identity=channels.by_tokens(*keys["issuer"], channels.MODERATOR)))
    own = [*by_jwt(keys, "issuer"), "--answer", "echo "]
    try:
        channels.ctl(node, "create", ROOM)
        with listener(node.tcp, "org/ns/alice", *own, secret=None) as alice, listener(node.tcp, "org/ns/bob", *own, secret=None) as bob, \
                listener(node.tcp, "org/ns/mallory", "--answer", "echo ") as mallory:
            for name, app in {"alice": alice, "bob": bob}.items():
                channels.ctl(node, "invite", ROOM, f"org/ns/{name}")
                assert app.read("opened")["mls"] is True
            channels.ctl(node, "invite", ROOM, "org/ns/mallory", code=5)
            assert channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/bob"]
            restarted(node, "killed")
            until(lambda: len(node.get("/v1/routes?name=org/ns/bob")["routes"]) > 0, "bob is back")
            channels.ctl(node, "remove", ROOM, "org/ns/bob")
            assert bob.read("closed")
            assert not any("opened" in line for line in mallory.lines)
    finally:
        node.stop()


@pytest.mark.parametrize("link", ["native", "edge"])
def test_members_at_another_node(tmp_path, link):
    """Which is lost, and comes back."""
    port = free_port()
    node = Node(tmp_path, extra=channels.section(tmp_path, SECRET) + f"services:\n  slim/0:\n    dataplane:\n      servers:\n"
                f"        - endpoint: 127.0.0.1:{port}\n          tls: {{insecure: true}}\n")
    extra = {"native": f"  connect:\n    - {{name: up, to: '{node.tcp}', class: peer, backoff: {{first_ms: 50, max_ms: 200}}}}\n",
             "edge": f"services:\n  slim/0:\n    dataplane:\n      clients:\n        - endpoint: http://127.0.0.1:{port}\n          tls: {{insecure: true}}\n"
                     "          connection_type: peer\n          backoff: {type: fixed_interval, interval: 100ms}\n"}[link]
    other = Node(tmp_path, name="other", extra=extra)
    near = lambda name: any(row["name"].startswith(name) for row in node.get("/v1/routes")["routes"])  # noqa: E731

    def hear(application, text):
        while application.read("payload")["payload"] != text:
            pass

    try:
        channels.ctl(node, "create", ROOM)
        with Chat(node, "org/ns/alice") as alice, listener(other.tcp, "org/ns/bob", "--answer", "echo ") as bob, \
                listener(other.tcp, "org/ns/carol") as carol:
            until(lambda: near("org/ns/bob") and near("org/ns/carol"), "the hosting node knows those at the other")
            for name in ("alice", "bob", "carol"):
                channels.ctl(node, "invite", ROOM, f"org/ns/{name}")
            alice.until("in org/ns/room")
            alice.say("one")
            alice.until("echo one")
            hear(carol, "one")
            restarted(other, "killed")
            until(lambda: near("org/ns/bob") and near("org/ns/carol"), "they are back")
            alice.say("two")
            alice.until("echo two")
            channels.ctl(node, "remove", ROOM, "org/ns/bob")
            assert bob.read("closed")
            alice.say("three")
            hear(carol, "three")
            assert "echo three" not in str(bob.lines)
            assert channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/carol"]
        node.balanced()
    finally:
        other.stop()
        node.stop()


def test_a_crowd_is_let_in_and_the_node_serves_others_meanwhile(node):
    """Reports how long the control thread was away from its links and subscriptions; SLIPWAY_CROWD: how many members."""
    count = int(os.environ.get("SLIPWAY_CROWD", "100"))
    channels.ctl(node, "create", ROOM)
    crowd = subprocess.Popen([BUILD / "tests/control/channel/crowd", node.tcp, str(count)], env=dict(os.environ, SLIPWAY_SECRET=SECRET),
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert crowd.stdout.readline() == "ready\n"
        before = node.get("/v1/workers")["control"]["longest_turn_us"]
        members, failed = iter(range(count)), []
        lock = threading.Lock()

        def invite():
            while True:
                with lock:
                    number = next(members, None)
                if number is None:
                    return
                for _ in range(5):  # a starved machine may be too slow for one
                    status, answer = node.request("POST", "/v1/channels/invite", {"name": ROOM, "participant": f"org/crowd/m{number}"})
                    if status == 200 or b"already a member" in answer:
                        break
                else:
                    failed.append((number, answer))

        inviting = [threading.Thread(target=invite) for _ in range(32)]
        begun = time.monotonic()
        for thread in inviting:
            thread.start()
        waits = []
        client = native.Stream(node.tcp, keepalive_ms=500)
        while any(thread.is_alive() for thread in inviting):
            asked = time.monotonic()
            assert client.subscribe("org/others/app", len(waits) + 1)[1]
            waits.append(time.monotonic() - asked)
            time.sleep(0.02)
        client.close()
        took = time.monotonic() - begun
        assert failed == [], failed[:3]
        shown = channels.ctl(node, "show", ROOM)
        assert len(shown["members"]) == count + 1
        out, _ = crowd.communicate("", timeout=PATIENCE)
        waits.sort()
        print(f"{count} members in {took:.1f} s, epoch {shown['epoch']}; longest turn {node.get('/v1/workers')['control']['longest_turn_us']} us of CPU "
              f"(before {before}); {len(waits)} subscriptions meanwhile, p50 {waits[len(waits) // 2] * 1e3:.1f} ms, longest {waits[-1] * 1e3:.1f} ms; {out.strip()}")
        assert waits, "subscriptions were served"
    finally:
        crowd.kill()
        crowd.wait()
    node.balanced()
