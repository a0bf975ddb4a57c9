"""What groups go through, with members of ours and of upstream's mixed and either moderating: late joiners, removal, coming again,
leaving, closing, being away; encrypted or not, reliable or not."""
import itertools
import time

import pytest

from actors import Stage, all_hear_all, bring, together
from parts import bindings, longer

ROOM = "org/ns/room"
BOTH = pytest.mark.parametrize("moderates", ["ours", "theirs"])
MLS = pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])


def company(stage, moderates):
    """Who moderates, and four others, two of each kind."""
    moderator = getattr(stage, moderates)("alice")
    guests = [stage.ours("bob"), stage.theirs("carol"), stage.ours("dave"), stage.theirs("erin")]
    moderator.do(f"create {ROOM}")
    return moderator, guests


def names(*actors):
    return {actor.name for actor in actors}


@BOTH
@MLS
def test_a_room_from_its_first_to_its_last(python, tmp_path, node, moderates, mls):
    """Five members: two from the start, two late; one of each kind removed, and let in again; one leaves; the moderator closes."""
    with Stage(tmp_path, node, python, mls=mls) as stage:
        alice, (bob, carol, dave, erin) = company(stage, moderates)
        bring(alice, bob, carol)
        all_hear_all(alice, bob, carol, mark="first")
        bring(alice, dave, erin)  # late: they hear nothing of what was said before
        all_hear_all(alice, bob, carol, dave, erin, mark="second")
        for late in (dave, erin):
            assert not [text for _, text in late.heard if text.startswith("first")]
        for one in (bob, erin):
            alice.do(f"remove {one.name}")
            one.leaves_off()
        all_hear_all(alice, carol, dave, mark="third")
        assert set(alice.do("members")) == names(alice, carol, dave) == set(dave.do("members"))
        bring(alice, bob, erin)
        all_hear_all(alice, bob, carol, dave, erin, mark="fourth")
        for one in (bob, erin):
            assert not [text for _, text in one.heard if text.startswith("third")]
        for leaver in (dave, carol):
            leaver.do("close")
        until = time.monotonic() + 30
        while set(alice.do("members")) != names(alice, bob, erin):
            assert time.monotonic() < until, alice.tail()
            time.sleep(0.2)
        all_hear_all(alice, bob, erin, mark="fifth")
        for one in (bob, erin):
            one.over.clear()
        alice.do("close")
        for one in (bob, erin):
            one.leaves_off()
    node.balanced()


@BOTH
def test_a_room_where_nothing_is_acknowledged(python, tmp_path, node, moderates):
    with Stage(tmp_path, node, python, best_effort=True) as stage:
        alice, (bob, carol, dave, erin) = company(stage, moderates)
        bring(alice, bob, carol, dave)
        all_hear_all(alice, bob, carol, dave, mark="first")
        alice.do(f"remove {bob.name}")
        bring(alice, erin)
        all_hear_all(alice, carol, dave, erin, mark="second")
        assert not [text for _, text in bob.heard if text.startswith("second")]
    node.balanced()


@BOTH
@MLS
def test_who_was_away_comes_back(python, tmp_path, node, moderates, mls):
    """Away and back in the same epoch, of either kind; others hear nothing amiss meanwhile."""
    with Stage(tmp_path, node, python, mls=mls) as stage:
        alice, (bob, carol, dave, erin) = company(stage, moderates)
        bring(alice, bob, carol, dave, erin)
        all_hear_all(alice, bob, carol, dave, erin, mark="first")
        for one in (bob, carol):
            one.do("offline")
            others = [member for member in (alice, bob, carol, dave, erin) if member is not one]
            all_hear_all(*others, mark=f"without {one.name}")
            one.do("back")
            all_hear_all(alice, bob, carol, dave, erin, mark=f"with {one.name}")
    node.balanced()


@pytest.mark.parametrize("moderates", ["ours", pytest.param("theirs", marks=longer)])
def test_who_was_away_while_keys_changed(python, tmp_path, node, moderates):
    """A member of either kind comes back to an epoch that it does not know, and is let in again."""
    with Stage(tmp_path, node, python) as stage:
        alice, (bob, carol, dave, erin) = company(stage, moderates)
        bring(alice, bob, carol, dave)
        for turn, one in enumerate((bob, carol)):
            one.do("offline")
            alice.do(f"remove {dave.name}") if turn else bring(alice, erin)
            one.do("back")
            here = [alice, bob, carol, erin] + ([] if turn else [dave])
            all_hear_all(*here, mark=f"turn {turn}")
    node.balanced()


@longer
@BOTH
def test_a_member_that_is_killed_is_told_and_does_not_hold_the_room(python, tmp_path, node, moderates):
    with Stage(tmp_path, node, python) as stage:
        alice, (bob, carol, dave, _) = company(stage, moderates)
        bring(alice, bob, carol, dave)
        killed = carol if moderates == "ours" else bob
        killed.kill()
        missed = alice.do("say anybody")  # after all tries
        if moderates == "ours":
            assert missed == [killed.name]
        others = [dave, bob if killed is carol else carol]
        for one in others:
            one.hears("alice", "anybody")
        for speaker in (alice, *others):
            speaker.begin("say on")  # upstream's may never be told how it ended: they put the killed one offline while they wait for it
            for other in (alice, *others):
                if other is not speaker:
                    other.hears(speaker.name.split("/")[-1], "on")
        alice.end()
        assert alice.do("members")[killed.name] is False
        alice.do(f"remove {others[0].name}")  # nobody answers for the killed one, and the room goes on
        alice.do("say still")
        others[1].hears("alice", "still")


@longer
@pytest.mark.parametrize("binding", ["warn", "enforce"])
@BOTH
def test_with_their_strictest_checks_of_identities(python, tmp_path, node, moderates, binding):
    """Every flow above with SLIM_IDENTITY_BINDING set at theirs."""
    with Stage(tmp_path, node, python, environment={"SLIM_IDENTITY_BINDING": binding}) as stage:
        alice, (bob, carol, dave, erin) = company(stage, moderates)
        bring(alice, bob, carol, dave)
        all_hear_all(alice, bob, carol, dave, mark="first")
        for one in (bob, carol):
            one.do("offline")
            one.do("back")
            alice.do(f"remove {one.name}")
            one.leaves_off()
        bring(alice, bob, carol, erin)
        all_hear_all(alice, bob, carol, dave, erin, mark="second")
        alice.do("close")
        for one in (bob, dave, erin):
            one.leaves_off()
    with Stage(tmp_path, node, python, environment={"SLIM_IDENTITY_BINDING": binding}) as stage:
        pair(stage, moderates)
    node.balanced()


def pair(stage, moderates):
    alice = getattr(stage, moderates)("alice")
    bob = (stage.theirs if moderates == "ours" else stage.ours)("bob")
    together(alice, bob)
    return alice, bob


@BOTH
@MLS
@pytest.mark.parametrize("ends", ["creator", "other", pytest.param("killed", marks=longer)])
def test_how_a_pair_ends(python, tmp_path, node, moderates, mls, ends):
    with Stage(tmp_path, node, python, mls=mls) as stage:
        alice, bob = pair(stage, moderates)
        if ends == "creator":
            alice.do("close")
            bob.leaves_off()
        elif ends == "other":
            bob.do("close")
            alice.leaves_off()
        else:
            bob.kill()
            missed = alice.do("say anybody")
            if moderates == "ours":
                assert missed == [bob.name]  # theirs says nothing of it
            assert alice.do("members")[bob.name] is False


@longer
@BOTH
@pytest.mark.parametrize("percent", [0, 100])
def test_header_checks_of_every_degree(python, tmp_path, node, moderates, percent):
    with Stage(tmp_path, node, python) as stage:
        alice = stage.ours("alice") if moderates == "ours" else stage.theirs("alice", "--percent", percent)
        bob = stage.theirs("bob", "--percent", percent) if moderates == "ours" else stage.ours("bob")
        together(alice, bob)


@MLS
def test_nothing_is_lost_when_the_node_is_killed(python, tmp_path, node, mls):
    """What was under way is said again: once each at every member, and in order."""
    with Stage(tmp_path, node, python, mls=mls) as stage:
        alice, (bob, carol, dave, _) = company(stage, "ours")
        bring(alice, bob, carol, dave)
        for number in range(60):
            alice.begin(f"say {number}")
        carol.hears("alice", "15")
        node.kill()
        node.start()
        assert all(alice.end().get("result") == [] for _ in range(60)), alice.tail()
        for one in (bob, carol, dave):
            one.hears("alice", "59")
            assert [text for who, text in one.heard] == [str(number) for number in range(60)], one.name
        all_hear_all(alice, bob, carol, dave, mark="after")


@longer
def test_one_of_theirs_that_was_killed_restores_its_sessions(python, tmp_path, node):
    with Stage(tmp_path, node, python) as stage:
        alice, bob = stage.ours("alice"), stage.ours("bob")
        carol = stage.theirs("carol", "--keep", tmp_path / "kept")
        alice.do(f"create {ROOM}")
        bring(alice, bob, carol)
        all_hear_all(alice, bob, carol, mark="before")
        carol.kill()
        carol = stage.theirs("carol", "--keep", tmp_path / "kept")
        carol.do("restore")
        all_hear_all(alice, bob, mark="meanwhile")
        all_hear_all(alice, bob, carol, mark="after")


@longer
@BOTH
@MLS
def test_with_an_older_one(tmp_path, node, moderates, mls):
    """slim-bindings 2.2.0 and 3.3.8 and ours in one room."""
    newest, older = bindings(), bindings("2.2.0")
    with Stage(tmp_path, node, newest, mls=mls) as stage:
        alice = stage.ours("alice") if moderates == "ours" else stage.theirs("alice", interpreter=older)
        bob, carol, dave = stage.ours("bob"), stage.theirs("carol", interpreter=older), stage.theirs("dave")
        alice.do(f"create {ROOM}")
        bring(alice, bob, carol, dave)
        all_hear_all(alice, bob, carol, dave, mark="first")
        alice.do(f"remove {bob.name}")
        alice.do(f"remove {carol.name}")
        for one in (bob, carol):
            one.leaves_off()
        all_hear_all(alice, dave, mark="second")


@longer
def test_the_wrong_secret_is_heard_by_nobody(python, tmp_path, node):
    for ours, theirs in ((True, False), (False, True)):
        with Stage(tmp_path, node, python) as stage, Stage(tmp_path, node, python, environment={"SLIPWAY_SECRET": "another secret of more than 32 bytes!!!!"}) as other:
            bob = stage.theirs("bob") if ours else stage.ours("bob")
            alice = other.ours("alice") if ours else other.theirs("alice")
            bob.begin("wait")
            alice.begin(f"pair {bob.name}")
            assert "failed" in alice.end(), (theirs, alice.tail())
            assert not bob.heard and bob.answers.empty()


@longer
@BOTH
def test_every_order_of_coming(python, tmp_path, node, moderates):
    """Three of each kind let in in every order of kinds."""
    for number, order in enumerate(itertools.permutations(["ours", "theirs", "ours"])):
        folder = tmp_path / str(number)
        folder.mkdir()
        with Stage(folder, node, python) as stage:
            alice = getattr(stage, moderates)("alice")
            guests = [getattr(stage, kind)(f"guest{i}") for i, kind in enumerate(order)]
            alice.do(f"create {ROOM}")
            bring(alice, *guests)
            all_hear_all(alice, *guests, mark="all")
            alice.do("close")
