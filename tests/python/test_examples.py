"""The examples of tools/python/examples, as people run them: a process each, and a node."""
import json
import sys
from pathlib import Path

from applications import environment  # noqa: I001
from conversation import Conversation

EXAMPLES = Path(__file__).resolve().parents[2] / "tools/python/examples"


def example(program, node, *words):
    return Conversation([sys.executable, EXAMPLES / program, node.tcp, *words], environment())


def test_chat(node):
    with example("chat.py", node, "org/chat/bob") as bob:
        bob.expect("waiting")
        with example("chat.py", node, "org/chat/alice", "org/chat/room", "org/chat/bob") as alice:
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
    with example("chat.py", node, "org/chat/bob") as bob, example("chat.py", node, "org/chat/carol") as carol, \
            example("moderator.py", node, "org/chat/room") as moderator:
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
    with example("workers.py", node, "work") as one, example("workers.py", node, "work") as two:
        one.expect("at work")
        two.expect("at work")
        with example("workers.py", node, "ask", *map(str, range(20))) as client:
            lines = client.end().splitlines()
        assert sorted(int(line.split()[0]) for line in lines) == [number ** 2 for number in range(20)]
        assert len({line.split()[2] for line in lines}) == 2


def test_tools(node):
    with example("tools.py", node, "serve") as server:
        server.expect("serving add, reverse")

        def ask(*words):
            with example("tools.py", node, *words) as client:
                return json.loads(client.end())
        assert {tool["name"] for tool in ask("list")["result"]["tools"]} == {"add", "reverse"}
        assert ask("call", "add", '{"a": 2, "b": 3}') == {"result": {"value": 5}}
        assert ask("call", "reverse", '{"text": "slip"}') == {"result": {"value": "pils"}}
        assert ask("call", "fly", "{}")["error"]["code"] == -32601
        assert ask("call", "add", '{"a": 2}')["error"]["code"] == -32603
