"""The examples of tools/python/examples, as people run them: a process each, and a node."""
import json
import subprocess
import sys
from pathlib import Path

from applications import PATIENCE, environment

EXAMPLES = Path(__file__).resolve().parents[2] / "tools/python/examples"


class Example:
    def __init__(self, program, node, *words):
        self.process = subprocess.Popen([sys.executable, EXAMPLES / program, node.tcp, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env=environment())
        self.seen = []

    def expect(self, what):
        for line in self.process.stdout:
            self.seen.append(line.rstrip())
            if what in line:
                return line.rstrip()
        raise AssertionError(f"never said {what!r}: {self.seen}")

    def type(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def end(self):
        out, _ = self.process.communicate(timeout=PATIENCE)
        assert self.process.returncode == 0, out
        return out

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def test_chat(node):
    with Example("chat.py", node, "org/chat/bob") as bob:
        bob.expect("waiting")
        with Example("chat.py", node, "org/chat/alice", "org/chat/room", "org/chat/bob") as alice:
            alice.expect("in the room, encrypted: alice, bob")
            bob.expect("in the room")
            alice.type("hello")
            bob.expect("alice: hello")
            bob.type("hello yourself")
            alice.expect("bob: hello yourself")
            alice.end()
        bob.expect("the chat has ended")
        bob.end()


def test_moderator(node):
    with Example("chat.py", node, "org/chat/bob") as bob, Example("chat.py", node, "org/chat/carol") as carol, \
            Example("moderator.py", node, "org/chat/room") as moderator:
        bob.expect("waiting")
        carol.expect("waiting")
        for guest in ("bob", "carol"):
            moderator.type(f"invite org/chat/{guest}")
            moderator.expect("joined")
        carol.expect("in the room")
        bob.expect("in the room")
        bob.type("hello")
        carol.expect("bob: hello")
        moderator.type("remove org/chat/carol")
        carol.expect("the chat has ended")
        moderator.expect("removed")
        moderator.type("invite org/chat/bob")
        assert "already a member" in moderator.expect("not done")
        moderator.end()
        bob.expect("the chat has ended")


def test_workers(node):
    with Example("workers.py", node, "work") as one, Example("workers.py", node, "work") as two:
        one.expect("at work")
        two.expect("at work")
        with Example("workers.py", node, "ask", *map(str, range(20))) as client:
            lines = client.end().splitlines()
        assert sorted(int(line.split()[0]) for line in lines) == [number ** 2 for number in range(20)]
        assert len({line.split()[2] for line in lines}) == 2


def test_tools(node):
    with Example("tools.py", node, "serve") as server:
        server.expect("serving add, reverse")

        def ask(*words):
            with Example("tools.py", node, *words) as client:
                return json.loads(client.end())
        assert {tool["name"] for tool in ask("list")["result"]["tools"]} == {"add", "reverse"}
        assert ask("call", "add", '{"a": 2, "b": 3}') == {"result": {"value": 5}}
        assert ask("call", "reverse", '{"text": "slip"}') == {"result": {"value": "pils"}}
        assert ask("call", "fly", "{}")["error"]["code"] == -32601
        assert ask("call", "add", '{"a": 2}')["error"]["code"] == -32603
