"""What is lost between an application of upstream's and ours is said again, and heard once each, in order."""
import pytest

from actors import Stage, all_hear_all, bring
from lossy import JOIN_REQUEST, MSG, MSG_ACK, RTX_REPLY, RTX_REQUEST, Lossy
from parts import App, longer
from sessions import Application

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"  # app.py's
MESSAGES = 20


def every_third(seen):
    """Messages and acknowledgements, both ways, each first one too. Not the last ones: who has heard the last word goes."""
    return seen.kind in (MSG, MSG_ACK) and seen.number % 3 == 0 and seen.number < MESSAGES // 2


@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
@pytest.mark.parametrize("creates", [pytest.param("ours", marks=longer), "theirs"])
def test_what_is_lost_of_a_pair_is_said_again(python, tmp_path, node, creates, mls):
    with Lossy(node.edge_port, every_third) as lossy:
        if creates == "ours":
            with App(python, tmp_path, "listen", "org/ns/bob", lossy, mls=mls, stay=5).ready() as bob, \
                    Application(node.tcp, "send", "org/ns/bob", "--size", 100, "-n", MESSAGES, "--answers", 1, "--last", "bye", "--quiet",
                                *([] if mls else ["--no-mls"]), secret=SECRET) as alice:
                done = alice.result()
                assert done["sent"] == done["answers"] == MESSAGES and done["undelivered"] == []
                assert bob.result() == {"answered": MESSAGES}
        else:
            with Application(node.tcp, "listen", "org/ns/bob", "--answer", "echo ", "--until", "bye", secret=SECRET) as bob:
                bob.read("ready")
                with App(python, tmp_path, "talk", "org/ns/alice", lossy, "org/ns/bob", mls=mls, messages=MESSAGES) as alice:
                    assert alice.result()["messages"] == MESSAGES  # it checks each answer
                    assert bob.result() == {"messages": MESSAGES + 1, "answered": MESSAGES}
        assert lossy.dropped(MSG) == lossy.dropped(MSG_ACK) == 8
    node.balanced()


def test_what_is_lost_of_a_channel_is_said_again(python, tmp_path, node):
    """A gap in what ours says is asked for; nobody hears anything twice."""
    with Lossy(node.edge_port, lambda seen: seen.kind in (MSG, MSG_ACK) and seen.number % 4 == 2) as lossy, Stage(tmp_path, node, python) as stage:
        alice, bob = stage.ours("alice"), stage.ours("bob")
        carol = stage.theirs("carol", at=lossy.edge)
        alice.do("create org/ns/room")
        bring(alice, bob, carol)
        for number in range(10):
            alice.begin(f"say {number}")
        assert all(alice.end().get("result") == [] for _ in range(10)), alice.tail()
        for one in (bob, carol):
            one.hears("alice", "9")
            assert [text for _, text in one.heard] == [str(number) for number in range(10)], one.name
        for number in range(5):
            carol.do(f"say back {number}")
        for one in (alice, bob):
            one.hears("carol", "back 4")
            assert [text for who, text in one.heard if who == "carol"] == [f"back {number}" for number in range(5)], one.name
        all_hear_all(alice, bob, carol, mark="after")
        assert lossy.dropped(MSG) >= 3 and lossy.dropped(MSG_ACK) >= 2
        asked = [seen for seen in lossy.seen if seen.kind in (RTX_REQUEST, RTX_REPLY)]
        print(len(asked), "asked for or answered;", lossy.dropped(MSG, MSG_ACK), "lost")
    node.balanced()


def test_an_invitation_that_is_lost_is_said_again(python, tmp_path, node):
    """(Their answer must not be lost: upstream's members answer an invitation once.)"""
    with Lossy(node.edge_port, lambda seen: seen.kind == JOIN_REQUEST and seen.number == 0) as lossy:
        with App(python, tmp_path, "listen", "org/ns/bob", lossy, mls=True, stay=2).ready() as bob, \
                Application(node.tcp, "send", "org/ns/bob", "hello", "--answers", 1, "--last", "bye", "--quiet", secret=SECRET) as alice:
            assert alice.result()["answers"] == 1
            assert bob.result() == {"answered": 1}
        assert lossy.dropped(JOIN_REQUEST) == 1
