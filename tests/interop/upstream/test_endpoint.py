"""Our endpoint library and unmodified applications of upstream's in the same sessions, both ways round."""
import pytest

from parts import App, UpstreamNode, longer, no_mac_drops
from sessions import Application, listener

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"  # app.py's


def ours(at, name, *words):
    application = Application(at, "listen", name, "--answer", "echo ", "--until", "bye", *words, secret=SECRET)
    application.read("ready")
    return application


def plain(mls):
    return [] if mls else ["--no-mls"]


@pytest.mark.parametrize("over", [pytest.param("native", marks=longer), "upstream"])
@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
@pytest.mark.parametrize("size", [10, pytest.param(20_000, marks=longer)], ids=["small", "large"])
def test_ours_creates_a_session_with_theirs(python, tmp_path, node, over, mls, size):
    at = node.tcp if over == "native" else node.edge
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            Application(at, "send", "org/ns/bob", "--size", size, "-n", 50, "--answers", 1, "--last", "bye", "--quiet", *plain(mls), secret=SECRET) as alice:
        done = alice.result()
        assert done["sent"] == 50 and done["answers"] == 50 and done["undelivered"] == []
        assert bob.result() == {"answered": 50}
        print(done)
    assert no_mac_drops(node)
    node.balanced()


@pytest.mark.parametrize("over", ["native", "upstream"])
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_theirs_creates_a_session_with_ours(python, tmp_path, node, over, mls):
    at = node.tcp if over == "native" else node.edge
    with ours(at, "org/ns/bob") as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=mls) as alice:
        assert alice.result()["messages"] == 50
        assert bob.result() == {"messages": 51, "answered": 50}
        assert bob.lines[1]["mls"] is mls
    node.balanced()


def test_best_effort_both_ways(python, tmp_path, node):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=True, best_effort=True).ready() as bob, \
            Application(node.tcp, "send", "org/ns/bob", "hello", "-n", 20, "--answers", 1, "--last", "bye", "--quiet", "--best-effort", secret=SECRET) as alice:
        assert alice.result()["answers"] == 20
        assert bob.result() == {"answered": 20}
    with ours(node.tcp, "org/ns/bob") as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=True, best_effort=True) as alice:
        assert alice.result()["messages"] == 50
        assert bob.result()["answered"] == 50
    node.balanced()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_their_group_with_one_of_ours(python, tmp_path, node, mls):
    with ours(node.tcp, "org/ns/bob") as bob, \
            App(python, tmp_path, "listen", "org/ns/carol", node, mls=mls).ready() as carol, \
            App(python, tmp_path, "moderate", "org/ns/alice", node, "org/ns/bob", "org/ns/carol", mls=mls, messages=20) as alice:
        assert alice.result()["messages"] == 20
        assert carol.result() == {"answered": 20}
        assert bob.result()["answered"] == 20
    node.balanced()


@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
def test_our_group_with_one_of_theirs(python, tmp_path, node, mls):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            ours(node.tcp, "org/ns/carol") as carol, \
            Application(node.tcp, "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--payload", "hello", "-n", 20, "--answers", 2, "--last", "bye",
                        "--quiet", *plain(mls), secret=SECRET) as alice:
        done = alice.result()
        assert done["sent"] == 20 and done["answers"] == 40 and done["undelivered"] == []
        assert bob.result() == {"answered": 20}
        assert carol.result()["answered"] == 20
    node.balanced()


def test_through_their_node(python, tmp_path):
    theirs = UpstreamNode(python, tmp_path)
    try:
        with ours(theirs.edge, "org/ns/bob") as bob, \
                Application(theirs.edge, "send", "org/ns/bob", "hello", "-n", 20, "--answers", 1, "--last", "bye", "--quiet", secret=SECRET) as alice:
            assert alice.result()["answers"] == 20
            assert bob.result()["answered"] == 20
        with listener(theirs.edge, "org/ns/worker", "--answer", "done "), \
                Application(theirs.edge, "send", "org/ns/worker", "job", "--anycast", "-n", 10, "--answers", 1, "--quiet") as client:
            assert client.result()["answers"] == 10
    finally:
        theirs.stop()
