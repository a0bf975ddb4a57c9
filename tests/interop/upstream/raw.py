"""A raw client of upstream's protocol, from nothing but Python's own library: HTTP/2 with gRPC or WebSocket, the negotiation,
header MACs and protobuf by hand. It says what no application says. Numbers in brackets are of upstream's data_plane.proto."""
import base64
import hashlib
import hmac
import os
import socket
import struct

from nodes import PATIENCE
from protobuf import entries, field

REMOTE, PEER, EDGE = 0, 1, 2
SUBSCRIBE, UNSUBSCRIBE, PUBLISH, METADATA, LINK, ACK = 1, 2, 3, 4, 5, 6
SOURCE, DESTINATION, IDENTITY, FANOUT, VERSION, TTL, RECV_FROM, FORWARD_TO, INCOMING, ERROR, MAC, SIGNATURE = range(1, 13)
NULL_ID = (1 << 128) - 1

# What upstream's client sends first, as it was captured: preface, SETTINGS, WINDOW_UPDATE, HEADERS of stream 1.
FIRST_BYTES = bytes.fromhex(
    "505249202a20485454502f322e300d0a0d0a534d0d0a0d0a"
    "0000180400000000000002000000000004002000000005000040000006000040000000040800000000"
    "00004f0001000057010400000001838641" "8b089d5c0b8170dc69c7df0f04a36241a475d03a8abd761d275fb857be348f5d03a8bb8b67"
    "7310ac6aacb55e9c75545a3f4082497f864d833505b11f5f8b1d75d0620d263d4c4d65647a8949ea311802e169773f")


# --- protobuf ---------------------------------------------------------------------------------------------------------

def fields(data):
    """[(number, value)] of a message in its order."""
    out = []
    for number, wire_type, value in entries(data):
        assert wire_type in (0, 2), "fields of other kinds are not in this protocol"
        out.append((number, value))
    return out


def message(pairs):
    return b"".join(field(number, value) for number, value in pairs)


# --- names, headers, messages -----------------------------------------------------------------------------------------

P1, P2, P3, P4, P5 = (11400714785074694791, 14029467366897019727, 1609587929392839161, 9650029242287828579, 2870177450012600261)
M64 = (1 << 64) - 1


def xxh64(data):
    rotate = lambda x, r: ((x << r) | (x >> (64 - r))) & M64  # noqa: E731
    mixed = lambda acc, lane: rotate((acc + lane * P2) & M64, 31) * P1 & M64  # noqa: E731
    at, size = 0, len(data)
    if size >= 32:
        lanes = [(P1 + P2) & M64, P2, 0, (-P1) & M64]
        while at + 32 <= size:
            lanes = [mixed(lane, struct.unpack_from("<Q", data, at + 8 * i)[0]) for i, lane in enumerate(lanes)]
            at += 32
        acc = sum(rotate(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18))) & M64
        for lane in lanes:
            acc = ((acc ^ mixed(0, lane)) * P1 + P4) & M64
    else:
        acc = P5
    acc = (acc + size) & M64
    while at + 8 <= size:
        acc = (rotate(acc ^ mixed(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M64
        at += 8
    if at + 4 <= size:
        acc = (rotate(acc ^ struct.unpack_from("<I", data, at)[0] * P1 & M64, 23) * P2 + P3) & M64
        at += 4
    for byte in data[at:]:
        acc = rotate(acc ^ byte * P5 & M64, 11) * P1 & M64
    for shift, factor in ((33, P2), (29, P3)):
        acc = (acc ^ acc >> shift) * factor & M64
    return acc ^ acc >> 32


def name(text, instance=NULL_ID, words=True):
    """A Name [1: hashes and id, 2: words]. instance None: the id is absent."""
    parts = text.split("/")
    encoded = message([(i + 1, xxh64(part.encode() + b"\xff")) for i, part in enumerate(parts)])
    if instance is not None:
        halves = [(i, half) for i, half in ((1, instance >> 64), (2, instance & M64)) if half]
        encoded += field(4, message(halves))
    out = field(1, encoded)
    return out + field(2, message([(i + 1, part) for i, part in enumerate(parts)])) if words else out


def header(source, destination, ttl=8, fanout=1, identity="id", more=()):
    return [(SOURCE, source), (DESTINATION, destination), (IDENTITY, identity), (FANOUT, fanout), (VERSION, "2.3.0"), (TTL, ttl), *more]


def subscribe(who, what=None, number=7, add=True, **options):
    return SUBSCRIBE if add else UNSUBSCRIBE, header(who, what or who, **options), field(2, number) if number else b""


SESSION = message([(1, 1), (2, 1), (3, 42), (4, 1)])


def content(text):
    return field(1, field(1, "msg") + field(2, text))


def publish(source, destination, text="hello", tail=None, **options):
    body = field(2, SESSION) + field(3, content(text)) if tail is None else tail
    return PUBLISH, header(source, destination, **options), body


# --- link key and MAC -------------------------------------------------------------------------------------------------

P25519 = 2**255 - 19


def x25519(secret, point):
    k = int.from_bytes(secret, "little") & ~7 & ~(1 << 255) | 1 << 254
    u = int.from_bytes(point, "little") & (1 << 255) - 1
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for t in range(254, -1, -1):
        bit = k >> t & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        aa, bb, da, cb = a * a % P25519, b * b % P25519, d * a % P25519, c * b % P25519
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % P25519, u * (da - cb) ** 2 % P25519
        x2, z2 = aa * bb % P25519, e * (aa + 121665 * e) % P25519
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, P25519 - 2, P25519) % P25519).to_bytes(32, "little")


BASE_POINT = (9).to_bytes(32, "little")


def link_key(link_id, shared):
    prk = hmac.digest(link_id.encode(), shared, hashlib.sha256)
    return hmac.digest(prk, b"SLIM-DP-inter-node-hmac-v1\x01", hashlib.sha256)


def name_preimage(value):
    if value is None:
        return b"\0"
    parts = dict(fields(value))
    out = b"\1"
    if 1 in parts:
        encoded = dict(fields(parts[1]))
        out += b"\1" + b"".join(struct.pack("<Q", encoded.get(i, 0)) for i in (1, 2, 3))
        if 4 in encoded:
            halves = dict(fields(encoded[4]))
            out += b"\1" + struct.pack("<QQ", halves.get(1, 0), halves.get(2, 0))
        else:
            out += b"\0"
    else:
        out += b"\0"
    if 2 in parts:
        words = dict(fields(parts[2]))
        out += b"\1" + b"".join(struct.pack("<I", len(words.get(i, b""))) + words.get(i, b"") for i in (1, 2, 3))
    else:
        out += b"\0"
    return out


def header_mac(key, link_id, pairs):
    h = dict(pairs)
    identity = h.get(IDENTITY, b"")
    identity = identity.encode() if isinstance(identity, str) else identity
    preimage = b"SLIM-DP-HDR-v1\0" + struct.pack("<I", len(link_id)) + link_id.encode()
    preimage += name_preimage(h.get(SOURCE)) + name_preimage(h.get(DESTINATION))
    preimage += struct.pack("<I", len(identity)) + identity + struct.pack("<I", h.get(FANOUT, 0))
    for optional in (RECV_FROM, FORWARD_TO):
        preimage += b"\1" + struct.pack("<Q", h[optional]) if optional in h else b"\0"
    preimage += bytes([1, h[ERROR]]) if ERROR in h else b"\0"
    return hmac.digest(key, preimage + struct.pack("<I", h.get(TTL, 0)), hashlib.sha256)


# --- transports -------------------------------------------------------------------------------------------------------

class Ended(Exception):
    """The stream is over."""


class Connection:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(PATIENCE)
        self.buffer = b""

    def need(self, count):
        while len(self.buffer) < count:
            try:
                got = self.socket.recv(1 << 20)
            except ConnectionError:
                got = b""
            if not got:
                raise Ended
            self.buffer += got
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def write(self, data):
        try:
            self.socket.sendall(data)
        except ConnectionError:
            raise Ended from None

    def close(self):
        self.socket.close()


class Grpc(Connection):
    """HTTP/2 as far as one stream needs it. Never more than a window is sent without a look at what comes."""

    def __init__(self, port):
        super().__init__(port)
        self.messages = b""
        self.windows = [65_535, 65_535]  # of the connection, of the stream
        self.frame_bytes = 16_384
        self.write(FIRST_BYTES)
        while self.take_frame() != 1:  # the answer's HEADERS come before anything is said
            pass

    def frame(self, kind, flags, stream, data):
        self.write(struct.pack(">I", len(data))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + data)

    def take_frame(self):
        head = self.need(9)
        kind, flags, stream = head[3], head[4], struct.unpack(">I", head[5:])[0]
        data = self.need(int.from_bytes(head[:3], "big"))
        if kind == 0:
            self.messages += data
            if data:
                self.frame(8, 0, 0, struct.pack(">I", len(data)))
                self.frame(8, 0, 1, struct.pack(">I", len(data)))
        elif kind == 4 and not flags & 1:
            for at in range(0, len(data), 6):
                number, value = struct.unpack_from(">HI", data, at)
                if number == 4:
                    self.windows[1] += value - 65_535
                elif number == 5:
                    self.frame_bytes = value
            self.frame(4, 1, 0, b"")
        elif kind == 6 and not flags & 1:
            self.frame(6, 1, 0, data)
        elif kind == 8:
            self.windows[0 if stream == 0 else 1] += struct.unpack(">I", data)[0]
        if kind in (3, 7) or kind in (0, 1) and flags & 1:
            raise Ended
        return kind

    def send(self, data):
        data = b"\0" + struct.pack(">I", len(data)) + data
        while data:
            room = min(*self.windows, self.frame_bytes, len(data))
            if room <= 0:
                self.take_frame()
                continue
            self.frame(0, 0, 1, data[:room])
            self.windows = [window - room for window in self.windows]
            data = data[room:]

    def receive(self):
        while len(self.messages) < 5 or len(self.messages) < 5 + struct.unpack(">I", self.messages[1:5])[0]:
            self.take_frame()
        size = struct.unpack(">I", self.messages[1:5])[0]
        out, self.messages = self.messages[5:5 + size], self.messages[5 + size:]
        return out


class WebSocket(Connection):
    def __init__(self, port, path="/"):
        super().__init__(port)
        key = base64.b64encode(os.urandom(16)).decode()
        self.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                   "Sec-WebSocket-Version: 13\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self.need(1)
        assert head.startswith(b"HTTP/1.1 101 "), head

    def send(self, data):
        size = len(data)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size) if size < 65_536 \
            else bytes([0x80 | 127]) + struct.pack(">Q", size)
        self.write(b"\x82" + length + b"\0\0\0\0" + data)

    def receive(self):
        while True:
            first, size = self.need(2)
            size = struct.unpack(">H", self.need(2))[0] if size == 126 else struct.unpack(">Q", self.need(8))[0] if size == 127 else size
            data = self.need(size)
            if first & 15 == 8:
                raise Ended
            if first & 15 == 2:
                return data


# --- a client ---------------------------------------------------------------------------------------------------------

def negotiation(link_id, public, kind=EDGE, version="2.3.0", node_id="raw", deployment="", reply=False, more=b""):
    pairs = [(1, link_id), (2, version), (3, int(reply)), (4, public), (5, kind), (6, node_id), (7, deployment)]
    return field(LINK, field(1, message([(n, v) for n, v in pairs if v not in (0, "", b"")]) + more))


class Raw:
    """A link to a node, negotiated. Signs what it sends unless told otherwise."""
    secret = bytes(range(1, 33))

    def __init__(self, port, kind=EDGE, transport=Grpc, link_id=None, **options):
        self.link_id = link_id or os.urandom(8).hex()
        self.kind = kind
        self.names = []
        self.connection = transport(port)
        self.connection.send(negotiation(self.link_id, x25519(self.secret, BASE_POINT), kind, **options))
        self.reply = dict(fields(dict(fields(dict(fields(self.connection.receive()))[LINK]))[1]))
        self.key = link_key(self.link_id, x25519(self.secret, self.reply[4]))

    def mac(self, pairs):
        return header_mac(self.key, self.link_id, pairs)

    def encode(self, said, mac=True, metadata=b""):
        kind, pairs, rest = said
        if mac and self.kind != PEER:
            pairs = [*pairs, (MAC, self.mac(pairs) if mac is True else mac)]
        return field(kind, field(1, message(pairs)) + rest) + metadata

    def send(self, said, **options):
        self.connection.send(self.encode(said, **options))

    def receive(self):
        return self.connection.receive()

    def beside_names(self):
        """The next message, but for what a peer is told of names, which told() gives."""
        while True:
            got = dict(fields(self.receive()))
            if self.kind != PEER or not {SUBSCRIBE, UNSUBSCRIBE} & set(got):
                return got
            self.names.append(got)

    def told(self):
        """The next Subscribe or Unsubscribe that a peer is told: (kind, header, number)."""
        (kind, body), = (self.names.pop(0) if self.names else dict(fields(self.receive()))).items()
        assert kind in (SUBSCRIBE, UNSUBSCRIBE), kind
        parts = dict(fields(body))
        return kind, dict(fields(parts[1])), parts.get(2, 0)

    def acknowledged(self, said, **options):
        """Sends a Subscribe or Unsubscribe; the error of its acknowledgement, empty for success."""
        self.send(said, **options)
        return self.acknowledgement()[1]

    def acknowledgement(self):
        """(subscription id, error or empty): the next message must be one."""
        got = self.beside_names()
        assert list(got) == [ACK], got
        ack = dict(fields(got[ACK]))
        assert bool(ack.get(2, 0)) == (3 not in ack), ack
        return ack.get(1, 0), ack.get(3, b"").decode()

    def text(self):
        """The payload of the next publish, whose MAC must be right."""
        return self.delivery()[1]

    def delivery(self):
        """(header pairs, payload) of the next publish."""
        parts = fields(self.beside_names()[PUBLISH])
        pairs = fields(parts[0][1])
        if self.kind != PEER:
            assert dict(pairs)[MAC] == self.mac(pairs), "the header MAC is wrong"
        body = dict(parts[1:])
        blob = dict(fields(dict(fields(body.get(3, b""))).get(1, b""))).get(2, b"")
        return pairs, blob.decode()

    def ended(self):
        """Whether the node ends the stream, and says nothing before."""
        try:
            self.receive()
        except Ended:
            return True
        return False

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
