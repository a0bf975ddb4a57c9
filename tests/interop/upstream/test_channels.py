"""Unmodified applications of upstream's in channels that our node hosts."""
import pytest

import channels
from parts import App, EdgeNode
from sessions import Application

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"  # app.py's
ROOM = "org/ns/room"


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_their_applications_and_ours_in_a_hosted_channel(python, tmp_path, mls):
    node = EdgeNode(tmp_path, more=channels.section(tmp_path, SECRET))
    try:
        channels.ctl(node, "create", ROOM, *([] if mls else ["--no-mls"]))
        with App(python, tmp_path, "member", "org/ns/alice", node, messages=20, echoes=2).ready() as alice, \
                App(python, tmp_path, "listen", "org/ns/bob", node).ready() as bob, \
                Application(node.tcp, "listen", "org/ns/carol", "--answer", "echo ", "--until", "bye", secret=SECRET) as carol:
            carol.read("ready")
            for name in ["alice", "bob", "carol"]:
                channels.ctl(node, "invite", ROOM, f"org/ns/{name}")
            alice.line("in")
            assert channels.members(node) == [channels.MODERATOR, "org/ns/alice", "org/ns/bob", "org/ns/carol"]
            assert channels.ctl(node, "show", ROOM)["epoch"] == (3 if mls else 0)
            alice.order("go")
            assert alice.result()["messages"] == 20
            assert bob.result() == {"answered": 20}
            assert carol.result()["answered"] >= 20
        node.balanced()
    finally:
        node.stop()
