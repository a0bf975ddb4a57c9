"""What is played in a room with members of two implementations. Each function takes a room and two kinds: `a` creates the
group, `b` joins it. What an implementation cannot do is left out, by what it `can`."""
import pytest

from mls_client import Refused

PSK_ID = "70736b"
UNKNOWN_EXTENSION = 0xF042
REQUIRED_CAPABILITIES = {"type": 3, "data": "02f0420000"}  # that extension; no proposals; no credentials


def needs(*abilities):
    """Only implementations with all of these play the scenario."""
    def mark(scenario):
        scenario.needs = frozenset(abilities)
        return scenario
    return mark


def pair(room, a, b, **fields):
    first, second = room.new(a), room.new(b)
    room.create(first, **fields)
    room.commit(first, add=[second])
    room.agree()
    return first, second


def four(room, a, b):
    """Four members in alternation; the last two come together, added by the one who joined."""
    first, second = pair(room, a, b)
    third, fourth = room.new(a), room.new(b)
    room.commit(second, add=[third, fourth])
    room.agree()
    return first, second, third, fourth


@needs()
def conversation(room, a, b):
    first, second, third, fourth = four(room, a, b)
    for committer in (first, second, third, fourth):
        room.commit(committer, force_path=True)
        room.agree()
    room.commit(fourth, remove=[first])
    room.agree()
    # Removes and adds in one commit, while half of the tree is blank.
    fifth = room.new(b)
    if third.can("mixed_commits"):
        room.commit(third, add=[fifth], remove=[second])
    else:
        room.commit(third, remove=[second])
        room.commit(third, add=[fifth])
    room.agree()
    # Comes back as a new member, and commits.
    first.ask("leave")
    room.commit(fourth, add=[first])
    room.agree()
    room.commit(first, force_path=True)
    room.agree()


@needs()
def grow_and_shrink(room, a, b):
    """Up to six and down to two, each commit by another member."""
    first, second = pair(room, a, b)
    for number in range(4):
        room.commit(room.members[number % 2], add=[room.new((a, b)[number % 2])])
    room.agree()
    for number in range(3):
        room.commit(room.members[-1], remove=[room.members[number % 2]])
        room.agree()
        room.commit(room.members[0], force_path=True)
        room.agree()
    room.commit(room.members[0], remove=[room.members[1]])
    room.agree()


@needs()
def proposals(room, a, b):
    """Each kind of proposal by reference: sent by one implementation, committed by the other."""
    first, second, third, fourth = four(room, a, b)
    done = 0
    for sender, committer in ((first, second), (second, first), (third, fourth), (fourth, third)):
        if sender.can("update"):
            room.propose(sender, "update")
            room.commit(committer)
            room.agree()
            done += 1
        if sender.can("add"):
            joiner = room.new(committer.kind)
            room.propose(sender, "add", key_package=joiner.ask("key_package")["key_package"])
            room.commit(committer, joining=[joiner])
            room.agree()
            if sender.can("remove"):
                room.propose(sender, "remove", leaf=room.leaf(joiner))
                room.commit(committer, leaving=[joiner])
                room.agree()
            done += 1
    assert done >= 2, "nobody can propose anything"
    # Several at once, from several members, beside one by value.
    if first.can("update"):
        room.propose(first, "update")
    if third.can("remove"):
        room.propose(third, "remove", leaf=room.leaf(fourth))
        fifth = room.new(b)
        room.commit(second, leaving=[fourth], add=[fifth])
        room.agree()


@needs("own_proposals", "add")
def own_proposals(room, a, b):
    """A member commits what it proposed itself, beside what others proposed."""
    members = four(room, a, b)
    for committer in members[:2]:
        joiner = room.new(committer.kind)
        room.propose(committer, "add", key_package=joiner.ask("key_package")["key_package"])
        other = room.others(committer)[0]
        if other.can("update"):
            room.propose(other, "update")
        room.commit(committer, joining=[joiner])
        room.agree()


@needs("psk")
def psk(room, a, b):
    """External PSKs by value without a path, by reference, and in the commit that adds somebody."""
    first, second = pair(room, a, b)
    third = room.new(b)
    for member in (first, second, third):
        member.ask("psk", psk_id=PSK_ID, secret="5e" * 32)
        member.ask("psk", psk_id="02", secret="02" * 16)
    for committer in (first, second):
        if committer.can("psks"):
            room.commit(committer, psks=[PSK_ID])
            room.agree()
            room.commit(committer, psks=[PSK_ID, "02"], force_path=True)
            room.agree()
    for sender, committer in ((first, second), (second, first)):
        if sender.can("propose_psk"):
            room.propose(sender, "propose_psk", psk_id=PSK_ID)
            room.commit(committer)
            room.agree()
    adder = first if first.can("psks") else second
    room.commit(adder, psks=["02"], add=[third])
    room.agree()


@needs("resumption_psks")
def resumption_psk(room, a, b):
    first, second = pair(room, a, b)
    for committer in (first, second):
        epoch = committer.ask("state")["epoch"]
        room.commit(committer, force_path=True)
        # Of the epoch that has ended, then of the current one.
        room.commit(committer, resumption_psks=[epoch])
        room.agree()
        room.commit(committer, resumption_psks=[committer.ask("state")["epoch"]])
        room.agree()
        if committer.can("propose_resumption_psk"):
            room.propose(committer, "propose_resumption_psk", psk_epoch=committer.ask("state")["epoch"])
            room.commit(room.others(committer)[0])
            room.agree()


@needs("external_join")
def external_join(room, a, b):
    """Both kinds join with a GroupInfo from both kinds."""
    first, second = pair(room, a, b)
    for joiner, helper in ((room.new(b), first), (room.new(a), second)):
        if not helper.can("state"):
            room.commit(helper, force_path=True)  # it gives a GroupInfo out with its commits only
        room.external_join(joiner, helper)
        room.agree()
        room.commit(joiner, force_path=True)
        room.agree()


@needs("resync")
def resync(room, a, b):
    """A member that lost its state comes back by an external commit that removes its former leaf."""
    first, second = pair(room, a, b)
    for lost, helper in ((second, first), (first, second)):
        room.resync(lost, helper)
        room.agree()


@needs("psk")
def external_psk(room, a, b):
    """An external commit that takes an external PSK in."""
    first, second = pair(room, a, b)
    joiners = [room.new(kind) for kind in (a, b) if "external_psk" in kind.can]
    assert joiners, "nobody can"
    for member in room.everybody:
        member.ask("psk", psk_id=PSK_ID, secret="5e" * 32)
    for joiner in joiners:
        room.external_join(joiner, first, psks=[PSK_ID])
        room.agree()


@needs("propose_join")
def joins_by_proposal(room, a, b):
    """New members propose themselves; somebody commits that."""
    first, second = pair(room, a, b)
    for joiner, helper, committer in ((room.new(b), first, second), (room.new(a), second, first)):
        room.hear_outsider(joiner, "propose_join", helper)
        room.commit(committer, joining=[joiner])
        room.agree()


def vector(data):
    return (f"{len(data) // 2:02x}" if len(data) < 128 else f"{0x4000 | len(data) // 2:04x}") + data


@needs("external_senders")
def external_senders(room, a, b):
    """Two outsiders whom the group names add and remove somebody by proposals."""
    outsiders = [room.new(a), room.new(b)]
    entries = "".join(vector(each.signature_key) + "0001" + vector(each.name.encode().hex()) for each in outsiders)
    first, second = pair(room, a, b, extensions=[{"type": 5, "data": vector(entries)}])
    for index, outsider in enumerate(outsiders):
        joiner = room.new((a, b)[index])
        package = joiner.ask("key_package")["key_package"]
        room.hear_outsider(outsider, "external_proposal", second, sender_index=index, key_package=package)
        room.commit(first, joining=[joiner])
        room.agree()
        room.hear_outsider(outsider, "external_proposal", first, sender_index=index, leaf=room.leaf(joiner))
        room.commit(second, leaving=[joiner])
        room.agree()


@needs("tree_outside")
def tree_outside(room, a, b):
    """The ratchet tree beside the Welcome."""
    first, second = room.new(a), room.new(b)
    room.create(first)
    room.commit(first, add=[second], outside=True)
    room.agree()
    room.commit(second, add=[room.new(a)], outside=True)
    room.agree()


@needs("unknown_extensions")
def extensions(room, a, b):
    """GroupContext extensions of a type that nobody knows: at the beginning, changed, changed by proposal. Where an
    implementation insists on it, the type is among the required capabilities, too."""
    required = [] if "bare_extensions" in a.can & b.can else [REQUIRED_CAPABILITIES]
    unknown = {"type": UNKNOWN_EXTENSION}
    first, second = pair(room, a, b, extensions=[{**unknown, "data": "01"}, *required])
    committers = [each for each in (first, second) if each.can("extensions")]
    for number, committer in enumerate(committers):
        room.commit(committer, extensions=[{**unknown, "data": f"0{number}aa"}, *required])
        room.agree()
        room.propose(room.others(committer)[0], "propose_extensions", extensions=[{**unknown, "data": ""}, *required])
        room.commit(committer)
        room.agree()
    room.commit(first, add=[room.new(b)])
    room.agree()
    if all(each.can("no_extensions") for each in room.members):
        room.commit(committers[-1], extensions=[])
        room.agree()


@needs()
def late_messages(room, a, b):
    """Messages out of order, lost, twice, and of the epoch that has just ended."""
    first, second = pair(room, a, b)
    for sender, receiver in ((first, second), (second, first)):
        sealed = [sender.ask("protect", plaintext=f"{i:02x}")["message"] for i in range(6)]
        order = (0, 4, 2, 1, 5) if receiver.can("wide_window") else (0, 2, 1, 5, 4)  # 3 is lost
        for i in order:
            assert receiver.ask("process", message=sealed[i])["plaintext"] == f"{i:02x}"
        with pytest.raises(Refused):
            receiver.ask("process", message=sealed[2])
        assert receiver.ask("process", message=sender.ask("protect", plaintext="")["message"])["plaintext"] == ""
        long = "ab" * 40_000
        assert receiver.ask("process", message=sender.ask("protect", plaintext=long)["message"])["plaintext"] == long
        late = sender.ask("protect", plaintext="1a7e")["message"]
        room.commit(sender, force_path=True)
        if receiver.can("past_epochs"):
            assert receiver.ask("process", message=late)["plaintext"] == "1a7e"
        room.agree()


@needs("accept")
def race(room, a, b):
    """Two commits for one epoch: the delivery service takes one, the other member drops its own."""
    first, second, third, _ = four(room, a, b)
    for winner, loser in ((first, second), (second, first)):
        lost = room.make(loser, force_path=True, accept=False)
        taken = room.make(winner, force_path=True, accept=False)
        winner.ask("accept")
        loser.ask("refuse")
        for other in room.others(winner):
            other.ask("process", message=taken["commit"])
        room.agree()
        with pytest.raises(Refused):
            third.ask("process", message=lost["commit"])
        room.agree()
        # Its own commit, as the delivery service gives it back, then counts.
        room.commit(loser, force_path=True)
        room.agree()


def successor_of(room, maker, others, usage, group_id):
    """A group that continues this one (reinit) or branches from it, and everybody in it."""
    packages = [other.ask("key_package")["key_package"] for other in others]
    old = "5e55"
    if maker.can("two_groups"):
        # A new group first, then the others are added to it; and the old group is still there.
        maker.ask("create", group_id=group_id, predecessor=old, usage=usage)
        made = maker.ask("commit", group=group_id, add=packages, accept=True)
        maker.ask("leave", group=old)
    else:
        made = maker.ask("successor", usage=usage, group_id=group_id, key_packages=packages)
    tree = {"tree": made["tree"]} if "tree" in made else {}
    for other in others:
        other.ask("join", welcome=made["welcome"], predecessor=old, usage=usage, **tree)
        if other.can("two_groups"):
            other.ask("leave", group=old)
    room.members = [maker, *others]


@needs("reinit")
def reinit(room, a, b):
    """A ReInit by value or by reference, then the group that continues this one, made by another member."""
    first, second, third, fourth = four(room, a, b)
    if room.wire_format == "private":
        maker = second
        room.commit(first, reinit={"group_id": "a1"})
    else:
        maker = first
        room.propose(third, "propose_reinit", reinit={"group_id": "a1"})
        room.commit(second)
    successor_of(room, maker, room.others(maker), "reinit", "a1")
    room.agree()
    room.commit(fourth, force_path=True)
    room.agree()


@needs("branch")
def branch(room, a, b):
    first, second, third, fourth = four(room, a, b)
    maker, others = {"private": (first, [second, fourth]), "public": (second, [first, third])}[room.wire_format]
    successor_of(room, maker, others, "branch", "b1")
    room.agree()
    room.commit(others[0], force_path=True)
    room.agree()


ALL = (conversation, grow_and_shrink, proposals, own_proposals, psk, resumption_psk, external_join, resync, external_psk,
       joins_by_proposal, external_senders, tree_outside, extensions, late_messages, race, reinit, branch)
