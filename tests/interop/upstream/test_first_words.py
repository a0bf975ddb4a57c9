"""What must be so before an application of upstream's and one of ours can talk: the suite of their key packages, signatures on the first
words, clocks that agree."""
import pytest

from actors import Stage, all_hear_all, bring, together
from lossy import DISCOVERY_REPLY, DISCOVERY_REQUEST, JOIN_REPLY, Lossy
from parts import BUILD, longer
from protobuf import field, parse
from raw import Raw, message, name, publish, subscribe

ROOM = "org/ns/room"


def cipher_suite(lossy):
    """Of the first key package that went by."""
    answer = next(seen for seen in lossy.seen if seen.kind == JOIN_REPLY)
    package = parse(parse(answer.content[2][0])[4][0])[1][0]
    if package[2:4] == b"\x00\x05":  # an MLS message that is a key package
        package = package[4:]
    assert package[:2] == b"\x00\x01"
    return int.from_bytes(package[2:4], "big")


@pytest.mark.parametrize("creates", ["ours", "theirs"])
def test_their_key_packages_and_ours_are_of_suite_two(python, tmp_path, node, creates):
    with Lossy(node.edge_port) as lossy, Stage(tmp_path, node, python) as stage:
        theirs, ours = stage.theirs("carol", at=lossy.edge), stage.ours("bob")
        together(*((ours, theirs) if creates == "ours" else (theirs, ours)))
        assert cipher_suite(lossy) == 2


@pytest.mark.parametrize("listens", ["ours", "theirs"])
def test_who_asks_without_a_signature_is_not_answered(python, tmp_path, node, listens):
    """Neither side says that it is there; who signs is answered all the same."""
    with Lossy(node.edge_port) as lossy, Stage(tmp_path, node, python) as stage, Raw(node.edge_port) as stranger:
        bob = stage.ours("bob", at=lossy.edge) if listens == "ours" else stage.theirs("bob", at=lossy.edge)
        alice = stage.theirs("alice") if listens == "ours" else stage.ours("alice")
        own = name("org/ns/mallory", 7)
        assert not stranger.acknowledged(subscribe(own))
        session = message([(1, 1), (2, DISCOVERY_REQUEST), (3, 42), (4, 1)])
        asked = field(2, session) + field(3, field(2, field(1, b"")))
        for _ in range(3):
            stranger.send(publish(own, name(bob.name), tail=asked))
        together(alice, bob)
        asked, answered = ([seen for seen in lossy.seen if seen.kind == kind] for kind in (DISCOVERY_REQUEST, DISCOVERY_REPLY))
        assert len(asked) == 4 and len(answered) == 1
    node.balanced()


def skewed(seconds):
    return {"LD_PRELOAD": str(BUILD.resolve() / "tests/interop/upstream/libskewed-clock.so"), "SKEW_SECONDS": str(seconds)}


@pytest.mark.parametrize("seconds", [3, pytest.param(-3, marks=longer)])
@pytest.mark.parametrize("moderates", ["ours", "theirs"])
def test_clocks_that_differ_by_seconds_hurt_nobody(python, tmp_path, node, moderates, seconds):
    with Stage(tmp_path, node, python) as stage:
        alice = stage.ours("alice") if moderates == "ours" else stage.theirs("alice", environment=skewed(seconds))
        bob, carol = stage.ours("bob"), stage.theirs("carol", environment=skewed(seconds))
        alice.do(f"create {ROOM}")
        bring(alice, bob, carol)
        all_hear_all(alice, bob, carol, mark="first")
        alice.do(f"remove {bob.name}")
        all_hear_all(alice, carol, mark="second")
    node.balanced()


@longer
@pytest.mark.parametrize("seconds", [600, -600])
@pytest.mark.parametrize("creates", ["ours", "theirs"])
def test_clocks_that_differ_by_minutes_make_no_session(python, tmp_path, node, creates, seconds):
    """Whoever is ahead by more than 5 s is believed by neither kind: nobody answers, which the creator is told after its tries. Ours says so if
    somebody did."""
    with Stage(tmp_path, node, python) as stage:
        theirs, ours = stage.theirs("carol", environment=skewed(seconds)), stage.ours("bob")
        creator, other = (ours, theirs) if creates == "ours" else (theirs, ours)
        other.begin("wait")
        creator.begin(f"pair {other.name}")
        ended = creator.end(90)
        assert "failed" in ended, creator.tail()
        if creates == "ours" and seconds > 0:  # theirs believes us, and answers
            assert "not believed: the token was made in the future" in ended["why"]
        assert not other.answers.qsize(), "and the other has no session either"
    node.balanced()
