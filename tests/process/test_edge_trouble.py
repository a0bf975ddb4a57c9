"""Bad input and trouble at the edge, against the shipped node over real sockets: what upstream's node does by its specification, without
its crashes and hangs. In every test two well-behaved applications go on talking: nothing that one connection does may touch others."""
import contextlib
import os
import socket
import struct
import subprocess
import threading
import time
from collections import Counter

import pytest

from nodes import PATIENCE, Node, free_port, until
from raw_edge import (ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST, SETTINGS, WINDOW, Raw, field, frame, framed,
                      header, literal, name, negotiation, parse, publish, request, subscribe, unsubscribe)

KEY = os.urandom(32)


class EdgeNode(Node):
    def __init__(self, folder, name="node", server="", extra="", tls="{insecure: true}"):
        self.edge_port = free_port()
        super().__init__(folder, name=name, extra=(
            f"{extra}services:\n  slim/0:\n    domain_name: here\n    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{self.edge_port}\n"
            f"          tls: {tls}\n{server}"))


class Pair:
    """Two applications without header MACs; check() sends a message from one to the other."""

    def __init__(self, node):
        self.receiver, self.sender = Raw(node.edge_port), Raw(node.edge_port)
        for one in (self.receiver, self.sender):
            one.negotiate(key=b"")
        assert self.receiver.subscribe(name(900)) == (True, "")
        self.sent = 0

    def check(self):
        self.sent += 1
        payload = b"%d" % self.sent
        self.sender.say(publish(name(900), payload))
        self.receiver.until(lambda: payload in self.receiver.payloads(), "the good pair's message")


@pytest.fixture(scope="module")
def lenient(tmp_path_factory):
    """A node that takes links without keys: their messages need no MAC."""
    node = EdgeNode(tmp_path_factory.mktemp("lenient"), server="          require_header_mac: false\n          negotiation_timeout_secs: 1\n")
    node.pair = Pair(node)
    yield node
    node.pair.check()
    assert node.balanced() is not None
    assert node.stop() == 0


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    node = EdgeNode(tmp_path_factory.mktemp("strict"), name="strict")
    yield node
    assert node.stop() == 0


@contextlib.contextmanager
def counted(node, *reasons):
    """One more drop for one of these reasons."""
    def count():
        return sum(node.drops().get(reason, 0) for reason in reasons)

    before = count()
    yield
    until(lambda: count() == before + 1, f"it is counted as {' or '.join(reasons)}")


# --- before and during the negotiation -----------------------------------------------------------------

REFUSED_BEFORE = {
    "undecodable": b"\xff\xff\xff",
    "slim before 2.0": field(3, field(1, field(1, field(1, 5)))),  # a header whose name is a number
    "empty message": b"",
    "unknown member of the oneof": field(9, b""),
    "a subscription": subscribe(name(1)),
    "a publish": publish(name(1)),
    "an acknowledgement": field(6, field(1, 1)),
    "a link message that says nothing": field(5, b""),
    "a reply": negotiation(reply=1),
    "no version": negotiation(version=""),
    "half a version": negotiation(version="2.3"),
    "a version with a letter": negotiation(version="v2.3.0"),
    "no link id": negotiation(link_id=""),
    "an endless link id": negotiation(link_id="x" * 2000),
    "a huge negotiation": negotiation(more=field(99, b"x" * 100_000)),
}


@pytest.mark.parametrize("what", REFUSED_BEFORE)
def test_before_the_negotiation_anything_else_ends_the_stream(lenient, what):
    client = Raw(lenient.edge_port)
    with counted(lenient, "link_refused", "control_too_big"):
        client.say(REFUSED_BEFORE[what])
        client.until(lambda: client.over, "the stream ends")
    assert client.messages == []
    lenient.pair.check()


@pytest.mark.parametrize("broken", [framed(negotiation(), 1), framed(negotiation(), 9), b"\0" + struct.pack(">I", (4 << 20) + 1), b"\0\0\0\1\0half"],
                         ids=["compressed", "flag", "too large", "cut short"])
def test_before_the_negotiation_a_broken_message_ends_the_stream(lenient, broken):
    client = Raw(lenient.edge_port)
    with counted(lenient, "edge_flag", "edge_too_big", "edge_stream_cut"):
        client.send(frame(DATA, END_STREAM if broken.endswith(b"half") else 0, 1, broken))
        client.until(lambda: client.over, "the stream ends")
    assert client.messages == []


@pytest.mark.parametrize("key", [b"", b"short", bytes(32), bytes(33)], ids=["none", "short", "all zero", "long"])
def test_a_strict_node_takes_no_link_without_a_key(strict, lenient, key):
    client = Raw(strict.edge_port)
    with counted(strict, "link_refused"):
        client.say(negotiation(key=key))
        client.until(lambda: client.over, "the stream ends")
    assert client.messages == []
    answer = Raw(lenient.edge_port).negotiate(key=key)  # and a lenient one has none either
    assert answer.get(4, [b""]) == [b""]


def test_kinds_of_links_are_echoed_and_unknown_fields_ignored(lenient):
    assert Raw(lenient.edge_port).negotiate(kind=2, more=field(77, b"what"))[5] == [2]
    assert Raw(lenient.edge_port).negotiate(kind=55).get(5, [0]) == [0]  # REMOTE


@pytest.mark.parametrize("options", [{"node_id": "node", "deployment": "here"}, {"node_id": "x", "deployment": "elsewhere"}], ids=["self", "deployment"])
def test_a_peer_is_turned_away_after_the_answer(lenient, options):
    client = Raw(lenient.edge_port)
    with counted(lenient, "link_refused"):
        assert client.negotiate(kind=1, **options)[5] == [1]
        client.until(lambda: client.over, "the stream ends")


def test_silence_before_the_negotiation_ends_the_stream(lenient):
    client = Raw(lenient.edge_port)
    begun = time.monotonic()
    client.until(lambda: client.over, "the stream ends")
    assert time.monotonic() - begun > 0.5


# --- messages on a link that is up ---------------------------------------------------------------------

ENDS = {  # and the reason that is counted
    "undecodable": (b"\xff\xff\xff", "edge_proto_cut_short"),
    "an endless number": (b"\x98\x06" + b"\xff" * 11, "edge_proto_bad_number"),
    "field number 0": (b"\x02\x00", "edge_proto_bad_key"),
    "a group that never began": (b"\x4c", "edge_proto_bad_group"),
    "groups without end": (b"\x4b" * 200, "edge_proto_too_deep"),
    "a field that is too long": (b"\x1a\x7f\x01", "edge_proto_cut_short"),
    "a known field in another form": (field(3, 5), "edge_proto_wire_type"),
    "text that is not UTF-8": (publish(name(1), more=field(3, b"\xff\xfe")), "edge_proto_not_utf8"),
}


@pytest.mark.parametrize("what", ENDS)
def test_bytes_that_are_no_message_end_the_stream(lenient, what):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    message, reason = ENDS[what]
    with counted(lenient, reason):
        client.say(message)
        client.until(lambda: client.over, "the stream ends")
    lenient.pair.check()


TO = name(901)
DROPPED = {  # and the reason that is counted
    "an empty message": (b"", "edge_no_type"),
    "an unknown member of the oneof": (field(9, b""), "edge_no_type"),
    "a link message that says nothing": (field(5, b""), "edge_no_link_type"),
    "another negotiation": (negotiation(key=b""), "edge_link_again"),
    "a reply to nothing": (negotiation(reply=1), "edge_link_again"),
    "an acknowledgement of nothing": (field(6, field(1, 5) + field(2, 1)), None),
    "no header": (field(3, field(2, b"")), "edge_no_header"),
    "no source": (field(3, field(1, field(2, TO) + field(4, 1) + field(6, 8)) + field(2, b"")), "edge_no_source"),
    "no destination": (field(3, field(1, field(1, TO) + field(4, 1) + field(6, 8)) + field(2, b"")), "edge_no_destination"),
    "no session": (publish(TO, session=False), "edge_no_session"),
    "a hop limit of 0": (publish(TO, ttl=0), "hop_limit"),
    "a hop limit of 1": (publish(TO, ttl=1), "hop_limit"),
    "nobody there": (publish(name(902)), "no_route"),
    "a MAC without a key": (publish(TO, more=field(11, bytes(32))), "edge_mac_without_key"),
}


@pytest.mark.parametrize("what", DROPPED)
def test_a_bad_message_costs_itself_and_nothing_else(lenient, what):
    receiver, client = Raw(lenient.edge_port), Raw(lenient.edge_port)
    for one in (receiver, client):
        one.negotiate(key=b"")
    assert receiver.subscribe(TO) == (True, "")
    message, reason = DROPPED[what]
    dropped = lenient.drops()
    client.say(message)
    client.say(publish(TO, b"the next"))
    receiver.until(lambda: receiver.payloads(), "the next message")
    assert receiver.payloads() == [b"the next"]
    assert not client.over
    if reason is not None:
        assert lenient.drops()[reason] == dropped.get(reason, 0) + 1
    # Whatever it was: the link still subscribes, and is delivered to (where upstream's task would be dead).
    assert client.subscribe(name(903), number=8) == (True, "")
    receiver.say(publish(name(903), b"back"))
    client.until(lambda: client.payloads() == [b"back"], "a delivery")


def test_messages_without_contents_or_text_are_forwarded(lenient):
    receiver, client = Raw(lenient.edge_port), Raw(lenient.edge_port)
    for one in (receiver, client):
        one.negotiate(key=b"")
    assert receiver.subscribe(name(904, text=False), number=3) == (True, "")  # where upstream's task dies
    client.say(publish(name(904, text=False), content=False))
    receiver.until(lambda: receiver.payloads() == [None], "the message")


def test_what_belongs_to_one_hop_is_not_obeyed(lenient):
    victim, client = Raw(lenient.edge_port), Raw(lenient.edge_port)
    for one in (victim, client):
        one.negotiate(key=b"")
    assert victim.subscribe(name(905)) == (True, "")
    for index in range(40):  # a route towards somebody else, and a message to somebody else
        client.say(subscribe(name(906), number=0, more=field(7, index)))
        client.say(publish(name(906), b"stolen", more=field(8, index)))
    assert client.subscribe(name(907), number=50) == (True, "")
    lenient.pair.check()
    assert victim.payloads() == [] and b"stolen" not in lenient.pair.receiver.payloads()


def test_unsubscriptions_that_fail_say_why(lenient):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    client.say(unsubscribe(name(908), 5))
    assert client.acknowledged(5) == (False, "subscription not found")
    assert client.subscribe(name(908), number=6) == (True, "")
    client.say(unsubscribe(name(908, instance=2), 7))
    good, why = client.acknowledged(7)
    assert not good and why.startswith("id not found: ")
    client.say(unsubscribe(name(908), 99))
    assert client.acknowledged(99) == (False, "subscription id not found: 99")
    client.say(unsubscribe(name(908), 6))
    assert client.acknowledged(6) == (True, "")


def test_a_message_of_more_than_four_mebibytes_ends_its_stream(lenient):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    with counted(lenient, "edge_too_big"):
        client.raw_message(b"\0" + struct.pack(">I", (4 << 20) + 1))
        client.until(lambda: client.over, "the stream ends")
    lenient.pair.check()


@pytest.mark.parametrize("flag", [1, 7])
def test_a_compressed_message_ends_its_stream(lenient, flag):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    with counted(lenient, "edge_flag"):
        client.say(publish(TO), flag)
        client.until(lambda: client.over, "the stream ends")


def test_a_stream_that_ends_inside_a_message_takes_its_routes_along(lenient):
    before = lenient.routes()
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    assert client.subscribe(name(909)) == (True, "")
    with counted(lenient, "edge_stream_cut"):
        client.send(frame(DATA, END_STREAM, 1, b"\0\0\0\1\0half"))
        client.until(lambda: client.over, "the stream ends")
    until(lambda: lenient.routes() == before, "its routes are gone")


# With the reasons that a subscription and a publish are counted under.
@pytest.mark.parametrize("mac, reasons", [(b"", ["missing"] * 2), (field(11, b""), ["missing", "length"]), (field(11, bytes(32)), ["wrong"] * 2),
                                          (field(11, bytes(31)), ["length"] * 2)],
                         ids=["missing", "empty", "wrong", "short"])
def test_messages_without_the_right_mac_are_dropped_in_silence(strict, mac, reasons):
    client = Raw(strict.edge_port)
    client.negotiate(key=KEY)
    routes = strict.routes()
    expected = Counter(strict.drops()) + Counter(f"edge_mac_{reason}" for reason in reasons)
    client.say(subscribe(name(910), number=4, more=mac))
    client.say(publish(name(910), more=mac))
    until(lambda: strict.drops() == expected, "both are dropped")
    client.pump(0.2)
    assert client.messages == [] and not client.over and strict.routes() == routes


# --- HTTP/2 --------------------------------------------------------------------------------------------

BROKEN_HTTP2 = {
    "data on stream 0": frame(DATA, 0, 0, b"x"),
    "headers on an even stream": frame(HEADERS, END_HEADERS, 2, request()),
    "headers that cannot be decoded": frame(HEADERS, END_HEADERS, 3, b"\xff\xff\xff\xff\xff\xff"),
    "a frame larger than allowed": b"\xff\xff\xff" + bytes([DATA, 0]) + struct.pack(">I", 1) + bytes(1000),
    "settings of a wrong size": frame(SETTINGS, 0, 0, b"12345"),
    "a ping of a wrong size": frame(PING, 0, 0, b"1"),
    "a window of 0": frame(WINDOW, 0, 0, bytes(4)),
    "a continuation of nothing": frame(9, END_HEADERS, 1, b""),
    "a push": frame(5, END_HEADERS, 1, bytes(4)),
}


@pytest.mark.parametrize("what", BROKEN_HTTP2)
def test_broken_http2_ends_the_connection(lenient, what):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    with counted(lenient, "edge_protocol"):
        client.send(BROKEN_HTTP2[what])
        client.until(lambda: client.closed or client.goaway is not None or (client.ended and RST in client.kinds), "the connection ends")
    lenient.pair.check()


FLOODS = {
    "pings": frame(PING, 0, 0, bytes(8)) * 1000,
    "settings": frame(SETTINGS, 0, 0) * 1000,
    "windows": frame(WINDOW, 0, 1, struct.pack(">I", 1)) * 1000,
    "empty data": frame(DATA, 0, 1) * 1000,
    "priorities": frame(2, 0, 1, struct.pack(">IB", 0, 1)) * 1000,
    "headers without end": frame(HEADERS, 0, 3, request()) + frame(9, 0, 3, literal("a", "b" * 90)) * 1000,
}


@pytest.mark.parametrize("what", FLOODS)
def test_floods_end_the_connection(lenient, what):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    memory = lenient.resident_bytes()
    with counted(lenient, "edge_flood", "edge_protocol"):
        for _ in range(2000):
            if not client.send(FLOODS[what]):
                break
            client.pump(0.0001)
            if client.closed or client.goaway is not None:
                break
        else:
            pytest.fail("a flood without end was taken")
    assert lenient.resident_bytes() < memory + (32 << 20)
    lenient.pair.check()


def test_rapid_resets_end_the_connection(lenient):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    for stream in range(3, 200_003, 2):
        if not client.send(frame(HEADERS, END_HEADERS, stream, request()) + frame(RST, 0, stream, struct.pack(">I", 8))):
            break
        client.pump(0.0001)
        if client.closed or client.goaway is not None:
            break
    else:
        pytest.fail("a flood without end was taken")
    lenient.pair.check()


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\nHost: node\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64), b"\0" * 100, b"quit\r\n" * 20],
                         ids=["http1", "tls", "zeros", "words"])
def test_other_protocols_are_told_and_closed(lenient, first):
    client = Raw(lenient.edge_port, opens=False)
    client.send(first)
    end = time.monotonic() + PATIENCE
    heard = b""
    while time.monotonic() < end:
        data = client.socket.recv(4096)
        heard += data
        if not data:
            break
    assert b"HTTP/1.1 505" in heard or not first.startswith(b"GET")
    until(lambda: any(row["reason"] for row in lenient.get("/v1/links")["recent"]), "the reason is kept")


@pytest.mark.parametrize("options", [{"path": "/other.Service/Method"}, {"method": "GET"}])
def test_other_methods_are_answered_without_a_link(lenient, options):
    client = Raw(lenient.edge_port, opens=False)
    client.send(PREFACE + frame(SETTINGS, 0, 0) + frame(HEADERS, END_HEADERS, 1, request(**options)))
    client.until(lambda: client.over, "the answer")
    assert client.headers == 1  # headers alone: a status, and the end
    lenient.pair.check()


# --- slow and absent peers -----------------------------------------------------------------------------

def test_a_connection_that_says_nothing_or_little_is_closed(tmp_path):
    node = EdgeNode(tmp_path, server="          negotiation_timeout_secs: 1\n", extra="  limits: {half_open_links: 8}\n")
    try:
        silent = [Raw(node.edge_port, opens=False) for _ in range(4)]
        slow = Raw(node.edge_port, opens=False)
        slow.send(PREFACE[:10])
        for one in (*silent, slow):
            one.until(lambda one=one: one.closed, "it is closed")
        # More than the node may have half open: the rest waits to be accepted, and a good one behind all of them comes in.
        many = [Raw(node.edge_port, opens=False) for _ in range(12)]
        Raw(node.edge_port).negotiate(key=KEY)
        for one in many:
            one.until(lambda one=one: one.closed, "it is closed")
    finally:
        node.stop()


def test_a_message_that_never_ends_is_given_up(lenient):
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    client.raw_message(b"\0" + struct.pack(">I", 1 << 20) + b"x" * 1000)
    begun = time.monotonic()
    while not client.over and time.monotonic() - begun < PATIENCE:
        client.pump(0.1)
        if time.monotonic() - begun > 1:
            lenient.pair.check()
    assert client.over, "a partial message is held for ever"
    lenient.pair.check()


def test_a_receiver_that_reads_nothing_is_bounded_and_hurts_nobody(tmp_path):
    node = EdgeNode(tmp_path, server="          require_header_mac: false\n", extra="  limits: {link_queue_bytes: 1MiB, node_bytes: 64MiB}\n")
    try:
        pair = Pair(node)
        lazy = Raw(node.edge_port, receive_bytes=4096)
        lazy.negotiate(key=b"")
        assert lazy.subscribe(name(920)) == (True, "")
        flooder = Raw(node.edge_port)
        flooder.negotiate(key=b"")
        memory = node.resident_bytes()
        stop = threading.Event()

        def flood():
            data = framed(publish(name(920), b"x" * 10_000))
            while not stop.is_set():
                if not flooder.raw_message(data):
                    return

        flooder.socket.settimeout(1)
        thread = threading.Thread(target=flood, daemon=True)
        thread.start()
        for _ in range(40):
            pair.check()
            time.sleep(0.05)
        assert node.resident_bytes() < memory + (100 << 20)
        stop.set()
        lazy.close()
        flooder.close()
        thread.join(PATIENCE)
        pair.check()
        until(lambda: node.get("/v1/books")["balanced"], "the books balance")
    finally:
        node.stop()


def test_one_that_vanishes_without_a_word_takes_its_routes_along(lenient):
    routes = lenient.routes()
    client = Raw(lenient.edge_port)
    client.negotiate(key=b"")
    assert client.subscribe(name(930)) == (True, "")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()  # a reset
    until(lambda: lenient.routes() == routes, "its routes are gone")
    lenient.pair.check()


# --- the other way: this node as client ----------------------------------------------------------------

class TurnsAway:
    """A node of upstream's that answers the negotiation and then ends the stream with status 7, as it does with peers it does not want."""

    def __init__(self, text):
        self.text = text
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            peer = Raw.__new__(Raw)
            peer.__dict__.update(socket=connection, buffer=b"", message_bytes=b"", messages=[], kinds=[], goaway=None, headers=0, ended=False, closed=False)
            while len(peer.buffer) < len(PREFACE):
                peer.buffer += connection.recv(len(PREFACE) - len(peer.buffer))
            peer.buffer = b""
            peer.send(frame(SETTINGS, 0, 0))
            peer.until(lambda: peer.headers, "the request")
            peer.send(frame(HEADERS, END_HEADERS, 1, b"\x88" + literal("content-type", "application/grpc")))
            peer.until(lambda: peer.messages, "the negotiation")
            asked = parse(parse(parse(peer.messages[0])[5][0])[1][0])
            peer.say(negotiation(link_id=asked[1][0], reply=1, kind=1, node_id="other", deployment="here"))
            peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, literal("grpc-status", "7") + literal("grpc-message", self.text)))


def test_why_a_peer_turned_this_node_away_is_told(tmp_path):
    other = TurnsAway("deployment_name%20mismatch")
    node = EdgeNode(tmp_path, server=(f"      clients:\n        - endpoint: http://127.0.0.1:{other.port}\n          connection_type: peer\n"
                                      "          tls: {insecure: true}\n          backoff: {type: fixed_interval, interval: 50ms}\n"))
    try:
        until(lambda: any("PERMISSION_DENIED: deployment_name mismatch" in row["reason"] for row in node.get("/v1/links")["recent"]), "the reason is told")
    finally:
        other.listener.close()
        node.stop()


# --- TLS -----------------------------------------------------------------------------------------------

def test_tls_garbage_ends_that_connection_alone(tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "k.pem", "-out", "c.pem",
                    "-subj", "/CN=localhost", "-days", "2"], cwd=tmp_path, check=True, capture_output=True)
    node = EdgeNode(tmp_path, tls=f"{{source: {{type: file, cert: {tmp_path}/c.pem, key: {tmp_path}/k.pem}}}}")
    try:
        for first in (b"\x16\x03\x01\xff\xff" + os.urandom(2000), b"\x16\x03\x01\x00\x05hello", b"\x17\x03\x03\x00\x10" + bytes(16), PREFACE, os.urandom(500),
                      b"\x16"):
            client = Raw(node.edge_port, opens=False)
            client.send(first)
            if len(first) == 1:
                client.close()
                continue
            client.until(lambda: client.closed, "it is closed")
        done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{node.edge_port}", "-alpn", "h2", "-brief"], input=b"", capture_output=True,
                              timeout=PATIENCE, check=False)
        assert b"TLSv1.3" in done.stderr + done.stdout
    finally:
        assert node.stop() == 0
