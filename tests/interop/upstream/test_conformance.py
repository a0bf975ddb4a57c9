"""The node as upstream's protocol describes it, told by a raw client: no registry is needed. README.md says which item of the
protocol's checklist is shown where. What must not arrive is followed by something that must, so that nothing waits for silence."""
import time
from pathlib import Path

import pytest

import raw
from parts import EdgeNode, free_port, until
from raw import ACK, EDGE, ERROR, FORWARD_TO, INCOMING, LINK, MAC, PEER, RECV_FROM, REMOTE, TTL, Ended, Grpc, Raw, WebSocket, field, fields, name, publish, subscribe

ALICE, BOB, CAROL = name("org/ns/alice", 0xA11), name("org/ns/bob", 0xB0B), name("org/ns/carol", 0xCA)
ANY_BOB = name("org/ns/bob")
GOLDEN = {line.split()[0]: bytes.fromhex(line.split()[1])
          for line in (Path(__file__).resolve().parents[2] / "vectors/edge/golden.txt").read_text().splitlines() if not line.startswith("#")}
GOLDEN_LINK = "00000000-0000-4000-8000-000000000001"
MESSAGE_LIMIT = 4 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """One node for all tests that leave nothing behind."""
    node = EdgeNode(tmp_path_factory.mktemp("conformance"), name="our-node", more="  anycast_order: upstream\n",
                    clients=f"        - endpoint: ws://127.0.0.1:{(ws := free_port())}\n          tls: {{insecure: true}}\n",
                    service="    domain_name: the-domain\n")
    node.ws_port = ws
    yield node
    node.balanced()
    node.stop()


@pytest.fixture
def links(shared):
    """Makes links, and ends them with the test."""
    made = []

    def link(kind=EDGE, transport=Grpc, **options):
        options.setdefault("node_id", f"raw-{len(made)}")
        options.setdefault("deployment", "the-domain")
        made.append(Raw(shared.ws_port if transport is WebSocket else shared.edge_port, kind, transport, **options))
        return made[-1]

    yield link
    for one in made:
        one.close()


def signed_anew(link, golden):
    """A golden message with the MAC of this link's key."""
    (kind, body), = fields(golden)
    parts = fields(body)
    pairs = [(n, v) for n, v in fields(parts[0][1]) if n != MAC]
    return field(kind, field(1, raw.message([*pairs, (MAC, link.mac(pairs))])) + raw.message(parts[1:]))


# --- 1, 2, 3: stream, negotiation, the golden conversation -----------------------------------------------------------------

@pytest.mark.parametrize("transport", [Grpc, WebSocket])
def test_the_golden_conversation(links, transport):
    """Input byte for byte but for MACs, whose key comes of the node's own fresh key; output field by field."""
    bob = links(transport=transport, link_id=GOLDEN_LINK, node_id="golden-client", deployment="")
    assert raw.negotiation(GOLDEN_LINK, raw.x25519(Raw.secret, raw.BASE_POINT), node_id="golden-client") == GOLDEN["negotiation_request"]
    expected = dict(fields(dict(fields(dict(fields(GOLDEN["negotiation_reply"]))[LINK]))[1]))
    assert set(bob.reply) == set(expected) | {7}, bob.reply  # this node has a domain_name
    assert {n: bob.reply[n] for n in (1, 3, 5)} == {n: expected[n] for n in (1, 3, 5)}
    assert bob.reply[6] == b"our-node" and len(bob.reply[4]) == 32 and bob.reply[2].count(b".") == 2
    bob.connection.send(signed_anew(bob, GOLDEN["subscribe"]))
    assert bob.receive() == GOLDEN["ack"]
    alice = links(transport=transport, link_id=GOLDEN_LINK)
    alice.connection.send(signed_anew(alice, GOLDEN["publish"]))
    got = bob.receive()
    (kind, body), = fields(got)
    (golden_kind, golden_body), = fields(GOLDEN["delivered"])
    parts, golden_parts = fields(body), fields(golden_body)
    assert kind == golden_kind and parts[1:] == golden_parts[1:]  # session header and content byte for byte
    ours, theirs = dict(fields(parts[0][1])), dict(fields(golden_parts[0][1]))
    assert {n: v for n, v in ours.items() if n not in (INCOMING, MAC)} == {n: v for n, v in theirs.items() if n not in (INCOMING, MAC)}
    assert ours[TTL] == 7 and ours[MAC] == bob.mac(fields(parts[0][1]))
    bob.connection.send(signed_anew(bob, GOLDEN["unsubscribe"]))
    assert bob.receive() == GOLDEN["ack"]
    bob.connection.send(signed_anew(bob, GOLDEN["unsubscribe"]))
    assert bob.receive() == GOLDEN["ack_failure"]


PUBLIC = raw.x25519(Raw.secret, raw.BASE_POINT)
FIRST_MESSAGES = {
    "empty": b"", "not protobuf": b"\xff\xff\xff", "a subscribe": GOLDEN["subscribe"], "an ack": GOLDEN["ack"], "a link of no type": field(LINK, b""),
    "a reply": raw.negotiation("x", PUBLIC, reply=True), "no version": raw.negotiation("x", PUBLIC, version=""),
    "half a version": raw.negotiation("x", PUBLIC, version="2.3"), "v before the version": raw.negotiation("x", PUBLIC, version="v2.3.0"),
    "no link id": raw.negotiation("", PUBLIC), "no key": raw.negotiation("x", b""), "a short key": raw.negotiation("x", PUBLIC[:31]),
    "a low-order key": raw.negotiation("x", bytes(32)), "a broken KEM key": raw.negotiation("x", PUBLIC, more=field(8, b"\xff" * 1184)),
}


@pytest.mark.parametrize("first", FIRST_MESSAGES)
@pytest.mark.parametrize("transport", [Grpc, WebSocket])
def test_first_messages_that_end_the_stream(shared, transport, first):
    connection = transport(shared.ws_port if transport is WebSocket else shared.edge_port)
    connection.send(FIRST_MESSAGES[first])
    with pytest.raises(Ended):
        connection.receive()
    connection.close()


@pytest.mark.parametrize("version", ["0.1.0", "2.0.0-alpha.8", "10.20.30+build"])
def test_versions_are_not_compared(links, version):
    assert links(version=version).reply[3] == 1


@pytest.mark.parametrize("kind, answered", [(EDGE, EDGE), (REMOTE, None), (PEER, PEER), (9, None)], ids=["edge", "remote", "peer", "unknown"])
def test_the_class_is_echoed_and_an_unknown_one_is_remote(links, kind, answered):
    reply = links(kind).reply
    assert reply.get(5) == answered and reply[7] == b"the-domain"  # REMOTE is 0, which is not written


@pytest.mark.parametrize("who", [{"node_id": "our-node"}, {"deployment": "another-domain"}], ids=["itself", "a stranger"])
def test_a_peer_is_answered_and_then_turned_away(links, who):
    peer = links(PEER, **who)
    assert peer.reply[3] == 1
    assert peer.ended()


# --- 3: header MACs -----------------------------------------------------------------------------------------------------

def changed(number, value):
    return lambda pairs: [(n, value if n == number else v) for n, v in pairs]


COVERED = {"source": changed(raw.SOURCE, CAROL), "destination": changed(raw.DESTINATION, name("org/ns/bob", 1)), "identity": changed(raw.IDENTITY, "else"),
           "fanout": changed(raw.FANOUT, 2), "ttl": changed(TTL, 9), "error": lambda pairs: [*pairs, (ERROR, 1)],
           "recv_from": lambda pairs: [*pairs, (RECV_FROM, 0)], "forward_to": lambda pairs: [*pairs, (FORWARD_TO, 0)]}
NOT_COVERED = {"incoming_conn": lambda pairs: [*pairs, (INCOMING, 99)], "version": changed(raw.VERSION, "9.9.9"), "signature": lambda pairs: [*pairs, (raw.SIGNATURE, b"s")]}


def test_a_mac_covers_what_it_must_and_nothing_else(links):
    bob, alice = links(), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    for what, change in {**COVERED, **NOT_COVERED}.items():
        kind, pairs, rest = publish(ALICE, ANY_BOB, what, fanout=1)
        alice.send((kind, change(pairs), rest), mac=alice.mac(pairs))
    alice.send(publish(ALICE, ANY_BOB, "no mac"), mac=False)
    alice.send(publish(ALICE, ANY_BOB, "short mac"), mac=b"x" * 31)
    alice.send(publish(ALICE, ANY_BOB, "the end"))
    assert [bob.text() for _ in range(len(NOT_COVERED) + 1)] == [*NOT_COVERED, "the end"]


def test_a_subscription_without_mac_is_neither_taken_nor_answered(links):
    bob = links()
    bob.send(subscribe(BOB, number=1), mac=False)
    bob.send(subscribe(BOB, number=2), mac=b"x" * 32)
    assert bob.acknowledged(subscribe(BOB, number=1, add=False)) == "subscription not found"


# --- 5: acknowledgements ---------------------------------------------------------------------------------------------------

def test_acknowledgements_say_what_upstreams_say(links):
    bob, other = links(), links()
    off = lambda who, number: bob.acknowledged(subscribe(who, number=number, add=False))  # noqa: E731
    assert off(BOB, 1) == "subscription not found"
    assert bob.acknowledged(subscribe(BOB, number=1)) == ""
    assert bob.acknowledged(subscribe(BOB, number=1)) == ""  # once more is nothing more
    assert off(name("org/ns/bob", 0xB0C), 1) == "id not found: 00000000-0000-0000-0000-000000000b0c"
    assert off(ANY_BOB, 1) == "id not found: NULL_COMPONENT"
    assert off(BOB, 5) == "subscription id not found: 5"
    assert other.acknowledged(subscribe(BOB, number=1, add=False)) == "subscription id not found: 1"
    assert bob.acknowledged(subscribe(BOB, number=2)) == ""
    assert off(BOB, 1) == "" and off(BOB, 1) == "subscription id not found: 1"
    other.send(publish(ALICE, BOB, "one record is left"))
    assert bob.text() == "one record is left"
    assert off(BOB, 2) == "" and off(BOB, 2) == "subscription not found"


def test_number_zero_is_never_answered_and_a_restored_name_can_be_left(links):
    bob = links()
    bob.send(subscribe(BOB, number=0))
    bob.send(subscribe(BOB, number=0, add=False))
    bob.send(subscribe(BOB, number=0, add=False))  # not even when it fails
    bob.send(subscribe(BOB, number=0))             # as a client does after it has connected again,
    bob.send(subscribe(BOB, number=77, add=False))  # and leaves under the number that it had before
    assert bob.acknowledgement() == (77, "")
    assert bob.acknowledged(subscribe(BOB, number=77, add=False)) == "subscription not found"


def test_an_index_that_is_used_again_gets_nothing_of_the_one_before(links, shared):
    first, stays, alice = links(), links(), links()
    first.send(subscribe(BOB, number=0))
    stays.send(subscribe(CAROL, number=0))
    assert first.acknowledged(subscribe(name("org/ns/bob-2", 1))) == ""
    first.close()
    until(lambda: shared.routes() == 1, "what the first subscribed is gone")
    second = links()
    assert second.acknowledged(subscribe(ALICE)) == ""
    alice.send(publish(CAROL, ANY_BOB, "for nobody"))
    alice.send(publish(CAROL, ALICE, "for the second"))
    assert second.text() == "for the second"


def test_fields_that_belong_to_a_local_link_are_not_obeyed(links):
    bob, carol = links(), links()
    assert carol.acknowledged(subscribe(CAROL)) == ""
    for number in (RECV_FROM, FORWARD_TO):
        for index in range(4):
            assert bob.acknowledged(subscribe(BOB, number=9, more=[(number, index)])) == ""
            bob.send(publish(BOB, name("org/ns/nobody"), "astray", more=[(number, index)]))
    carol.send(publish(CAROL, BOB, "for bob"))
    assert bob.text() == "for bob"
    bob.send(publish(BOB, CAROL, "for carol"))
    assert carol.text() == "for carol"


# --- 7, 8: whom a message reaches ---------------------------------------------------------------------------------------------

def test_ids_are_exact_or_null(links):
    exact, null, alice = links(), links(), links()
    assert exact.acknowledged(subscribe(BOB)) == "" and null.acknowledged(subscribe(BOB, ANY_BOB)) == ""
    alice.send(publish(ALICE, name("org/ns/bob", 0xB0C), "another id matches nobody"))
    alice.send(publish(ALICE, BOB, "exact", fanout=2))
    alice.send(publish(ALICE, ANY_BOB, "all", fanout=2))
    alice.send(publish(ALICE, name("org/ns/bob", None), "absent is null", fanout=2))
    assert [exact.text() for _ in range(3)] == ["exact", "all", "absent is null"]
    assert [null.text() for _ in range(2)] == ["all", "absent is null"]


def test_fanout_is_one_or_all_and_never_the_sender(links):
    members = [links() for _ in range(3)]
    for number, member in enumerate(members):
        assert member.acknowledged(subscribe(name("org/ns/room", number + 1), name("org/ns/room", 5))) == ""
    for fanout in (0, 2, 256, 4_000_000_000):
        members[0].send(publish(ALICE, name("org/ns/room", 5), f"fanout {fanout}", fanout=fanout))
        assert [member.text() for member in members[1:]] == [f"fanout {fanout}"] * 2
    for number in range(10):
        members[0].send(publish(ALICE, name("org/ns/room", 5), f"one {number}", fanout=1))
    members[0].send(publish(ALICE, name("org/ns/room", 5), "end", fanout=2))
    shares = []
    for member in members[1:]:
        share = []
        while (text := member.text()) != "end":
            share.append(text)
        shares.append(share)
    assert [len(share) for share in shares] == [5, 5] and not set(shares[0]) & set(shares[1])


def test_upstreams_order_of_classes(links):
    edge, peer, remote, alice = links(EDGE), links(PEER), links(REMOTE), links()
    for link in (edge, remote):
        assert link.acknowledged(subscribe(BOB)) == ""
    assert peer.acknowledged(subscribe(BOB)) == ""
    alice.send(publish(ALICE, ANY_BOB, "remote first"))
    assert remote.text() == "remote first"
    assert remote.acknowledged(subscribe(BOB, add=False)) == ""
    alice.send(publish(ALICE, ANY_BOB, "peer next"))
    assert peer.text() == "peer next"
    assert peer.acknowledged(subscribe(BOB, add=False)) == ""
    alice.send(publish(ALICE, ANY_BOB, "edge last"))
    assert edge.text() == "edge last"


def test_ttl(links):
    bob, alice = links(), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    for ttl in (0, 1, 2, 8, 255, 300):
        alice.send(publish(ALICE, ANY_BOB, str(ttl), ttl=ttl))
    got = []
    for _ in range(4):
        pairs, text = bob.delivery()
        got.append((text, dict(pairs)[TTL]))
    assert got == [("2", 1), ("8", 7), ("255", 254), ("300", 254)]  # above 255 is carried as 255, which README.md says
    bob.send(subscribe(name("org/ns/late", 1), number=3, ttl=1))
    assert bob.acknowledged(subscribe(name("org/ns/late", 1), number=3, add=False)) == "subscription not found"


# --- 2.4, 2.6, 5.8: what stays as it was, and what is no message -----------------------------------------------------------------

def test_everything_but_the_hop_stays_byte_for_byte(links):
    bob, alice = links(), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    metadata = field(raw.METADATA, field(1, "slim-payload-sig") + field(2, "c2ln")) + field(raw.METADATA, field(1, "") + field(2, "x"))
    tail = field(2, raw.SESSION + field(77, "unknown")) + field(3, raw.content("hello") + field(99, b"\0\1"))
    more = [(ERROR, 0), (raw.SIGNATURE, b"signature"), (50, b"unknown")]
    alice.send(publish(name("org/ns/alice", None), name("org/ns/bob", raw.NULL_ID, words=False), tail=tail, more=more), metadata=metadata + field(60, 5))
    got = fields(bob.receive())
    assert [(n, v) for n, v in got if n != raw.PUBLISH] == [(n, v) for n, v in fields(metadata + field(60, 5))]
    parts = fields(dict(got)[raw.PUBLISH])
    assert raw.message(parts[1:]) == tail
    pairs = dict(fields(parts[0][1]))
    assert pairs[raw.SOURCE] == name("org/ns/alice", None) and pairs[raw.DESTINATION] == name("org/ns/bob", raw.NULL_ID, words=False)
    assert pairs[ERROR] == 0 and pairs[raw.SIGNATURE] == b"signature" and pairs[50] == b"unknown"
    assert RECV_FROM not in pairs and FORWARD_TO not in pairs


def test_what_costs_the_message_and_not_the_link(links):
    bob, alice = links(), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    _, pairs, rest = publish(ALICE, ANY_BOB)
    alice.connection.send(b"")                                                  # the reference's task dies of it
    alice.connection.send(field(60, 1))                                         # nothing that anybody knows
    alice.connection.send(field(LINK, b""))
    alice.connection.send(raw.negotiation("again", PUBLIC))
    alice.connection.send(GOLDEN["ack"])                                        # nobody asked
    alice.connection.send(field(raw.PUBLISH, rest))                             # no header
    alice.send((raw.PUBLISH, pairs, b""))                                       # no session
    for missing in (raw.SOURCE, raw.DESTINATION):
        alice.send((raw.PUBLISH, [(n, v) for n, v in pairs if n != missing], rest))
    alice.send(publish(field(2, field(1, "words alone")), ANY_BOB))
    alice.send(publish(ALICE, name("org/ns/nobody"), "no route"))
    alice.send(publish(ALICE, ANY_BOB, tail=field(2, raw.SESSION)))              # no content is none of the node's business
    assert bob.text() == ""
    alice.send(publish(ALICE, ANY_BOB, "the end"))
    assert bob.text() == "the end"
    assert bob.acknowledged(subscribe(BOB, name("org/ns/new", 3, words=False), number=4)) == ""  # here too the reference dies
    alice.send(publish(ALICE, name("org/ns/new", 3), "without words"))
    assert bob.text() == "without words"


@pytest.mark.parametrize("broken", [b"\xff\xff\xff", GOLDEN["publish"][:-3], field(raw.PUBLISH, field(1, b"\x0a\xff"))], ids=["garbage", "cut", "nested"])
def test_what_is_no_protobuf_ends_the_stream(links, broken):
    bob = links()
    bob.connection.send(broken)
    assert bob.ended()


# --- 9: sizes ------------------------------------------------------------------------------------------------------------

def test_messages_up_to_four_mebibytes(links):
    bob, alice = links(), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    room = MESSAGE_LIMIT - len(alice.encode(publish(ALICE, ANY_BOB, "x" * (MESSAGE_LIMIT // 2)))) + MESSAGE_LIMIT // 2
    largest = publish(ALICE, ANY_BOB, "x" * room)
    assert len(alice.encode(largest)) == MESSAGE_LIMIT
    alice.send(largest)
    assert len(bob.text()) == room
    with pytest.raises(Ended):
        alice.connection.send(b"\0" * (MESSAGE_LIMIT + 1))
        alice.receive()


def test_a_websocket_publisher_cannot_end_the_stream_of_a_grpc_subscriber(links):
    bob, alice, other = links(), links(transport=WebSocket), links()
    assert bob.acknowledged(subscribe(BOB)) == ""
    with pytest.raises(Ended):
        alice.send(publish(ALICE, ANY_BOB, "x" * (5 << 20)))
        alice.receive()
    other.send(publish(ALICE, ANY_BOB, "still there"))
    assert bob.text() == "still there"


# --- 11: peers -------------------------------------------------------------------------------------------------------------

def test_a_peer_is_told_all_names_at_once_and_each_change(links):
    bob = links()
    assert bob.acknowledged(subscribe(BOB, identity="secret")) == ""
    peer = links(PEER)
    kind, pairs, number = peer.told()
    assert kind == raw.SUBSCRIBE and number != 0
    assert pairs[raw.SOURCE] == pairs[raw.DESTINATION] == BOB
    assert pairs[raw.FANOUT] == 1 and pairs[TTL] == 8 and set(pairs) == {raw.SOURCE, raw.DESTINATION, raw.FANOUT, raw.VERSION, TTL}
    assert bob.acknowledged(subscribe(CAROL, number=8)) == ""  # not held up by a peer that has answered nothing
    assert peer.told()[1][raw.DESTINATION] == CAROL
    assert bob.acknowledged(subscribe(CAROL, number=9)) == ""  # no transition
    bob.close()
    left = [peer.told() for _ in range(2)]
    assert {(kind, pairs[raw.DESTINATION]) for kind, pairs, _ in left} == {(raw.UNSUBSCRIBE, BOB), (raw.UNSUBSCRIBE, CAROL)}
    assert number in [n for _, _, n in left]


def test_announcements_are_passed_on_while_their_ttl_lasts(links):
    first, second = links(PEER), links(PEER)
    for ttl, number in ((8, 1), (3, 2), (2, 3)):
        assert first.acknowledged(subscribe(name(f"org/ns/ttl-{ttl}", 1), number=number, ttl=ttl)) == ""
    passed = [second.told() for _ in range(2)]
    assert [(pairs[TTL], number) for _, pairs, number in passed] == [(7, 1), (2, 2)]
    assert first.acknowledged(subscribe(name("org/ns/ttl-8", 1), number=1, ttl=7)) == ""  # heard before: acknowledged, and no more
    first.close()
    gone = [second.told() for _ in range(2)]
    assert {(kind, number) for kind, _, number in gone} == {(raw.UNSUBSCRIBE, 1), (raw.UNSUBSCRIBE, 2)}


def test_a_name_is_withdrawn_under_an_id_that_was_never_announced(links):
    """As upstream's node does where the last subscriber is not the first."""
    peer, other = links(PEER), links(PEER)
    begun = time.monotonic()
    assert peer.acknowledged(subscribe(CAROL, number=70)) == ""
    assert time.monotonic() - begun >= 0.001  # upstream's node loses an answer that comes while it still tells others
    assert other.told()[2] == 70
    assert peer.acknowledged(subscribe(CAROL, number=99, add=False, ttl=5)) == "subscription id not found: 99"  # passed on for somebody
    assert peer.acknowledged(subscribe(CAROL, number=99, add=False)) == ""
    kind, pairs, number = other.told()
    assert (kind, pairs[raw.DESTINATION], number) == (raw.UNSUBSCRIBE, CAROL, 70)


def test_messages_pass_between_peers_and_edges_unsigned_and_signed(links):
    bob, peer, second = links(), links(PEER), links(PEER)
    assert bob.acknowledged(subscribe(BOB)) == ""
    peer.told(), second.told()
    peer.send(publish(ALICE, ANY_BOB, "from a peer"))
    assert bob.text() == "from a peer"  # with a MAC of bob's link
    assert peer.acknowledged(subscribe(ALICE, number=5)) == ""
    bob.send(publish(BOB, ALICE, "to a peer"))
    assert peer.text() == "to a peer"
    second.told()
    second.send(publish(CAROL, ALICE, "from peer to peer"))  # nodes whose peers are not listed pass it on
    assert peer.text() == "from peer to peer"
