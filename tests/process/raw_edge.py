"""An application of upstream's by hand: HTTP/2, gRPC and protobuf as bytes, so that each of them can be wrong."""
import os
import socket
import struct
import time

from nodes import PATIENCE
from protobuf import field, parse, varint

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


# --- messages: a name is its hashes, which is all that routes ------------------------------------------

def name(number, instance=1, text=True):
    encoded = field(1, 1000 + number) + field(2, 2) + field(3, 3) + field(4, field(1, 0) + field(2, instance))
    return field(1, encoded) + (field(2, field(1, "o") + field(2, "n") + field(3, f"s{number}")) if text else b"")


def header(to, source=b"", ttl=8, more=b""):
    return field(1, source or to) + field(2, to) + field(4, 1) + field(6, ttl) + more


def negotiation(link_id="link", version="3.4.6", reply=0, key=os.urandom(32), kind=2, node_id="", deployment="", more=b""):
    return field(5, field(1, field(1, link_id) + field(2, version) + field(3, reply) + field(4, key) + field(5, kind) + field(6, node_id) +
                          field(7, deployment) + more))


def subscribe(to, number=7, ttl=8, more=b""):
    return field(1, field(1, header(to, ttl=ttl, more=more)) + field(2, number))


def unsubscribe(to, number=7):
    return field(2, field(1, header(to)) + field(2, number))


def publish(to, payload=b"hello", ttl=8, session=True, content=True, more=b""):
    return field(3, field(1, header(to, ttl=ttl, more=more)) + (field(2, field(1, 1) + field(2, 1) + field(3, 5)) if session else b"") +
                 (field(3, field(1, field(1, "msg") + field(2, payload))) if content else b""))


def framed(message, flag=0):
    return bytes([flag]) + struct.pack(">I", len(message)) + message


# --- HTTP/2 --------------------------------------------------------------------------------------------

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(key, value):
    """HPACK: never indexed, not compressed."""
    def text(word):
        size = len(word)
        return (bytes([size]) if size < 127 else b"\x7f" + varint(size - 127)) + word
    return b"\x10" + text(key.encode()) + text(value.encode())


def request(path="/dataplane.proto.v1.DataPlaneService/OpenChannel", method="POST", more=()):
    words = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "node"), ("te", "trailers"),
             ("content-type", "application/grpc"), *more]
    return b"".join(literal(*word) for word in words)


class Raw:
    """One connection. What comes is kept: frames, messages of stream 1, whether the stream or the connection ended."""

    def __init__(self, port, opens=True, receive_bytes=None):
        self.socket = socket.socket()
        if receive_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", port))
        self.buffer = b""
        self.message_bytes = b""
        self.messages = []
        self.kinds = []
        self.goaway = None
        self.headers = 0
        self.ended = False    # the stream
        self.closed = False   # the connection
        if opens:
            self.send(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)) + frame(HEADERS, END_HEADERS, 1, request()))
            self.until(lambda: self.headers or self.closed, "response headers")

    def send(self, data):
        """False: the other side is gone."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            self.closed = True
            return False

    def say(self, message, flag=0):
        return self.raw_message(framed(message, flag))

    def raw_message(self, data):
        return all(self.send(frame(DATA, 0, 1, data[at:at + 16384])) for at in range(0, len(data), 16384))

    def pump(self, seconds):
        """Reads what is there, waiting for at most so long."""
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except (TimeoutError, BlockingIOError):
            return
        except OSError:
            data = b""
        finally:
            self.socket.settimeout(PATIENCE)
        if not data:
            self.closed = True
            return
        self.buffer += data
        while len(self.buffer) >= 9 and len(self.buffer) >= 9 + int.from_bytes(self.buffer[:3], "big"):
            size = int.from_bytes(self.buffer[:3], "big")
            self.take(self.buffer[3], self.buffer[4], self.buffer[9:9 + size])
            self.buffer = self.buffer[9 + size:]

    def take(self, kind, flags, payload):
        self.kinds.append(kind)
        if kind == HEADERS:
            self.headers += 1
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended = True
        if kind == GOAWAY:
            self.goaway = struct.unpack(">I", payload[4:8])[0]
        if kind == SETTINGS and not flags & ACK:
            self.send(frame(SETTINGS, ACK, 0))
        if kind == DATA and payload:
            self.send(frame(WINDOW, 0, 1, struct.pack(">I", len(payload))))
            self.message_bytes += payload
            while len(self.message_bytes) >= 5 and len(self.message_bytes) >= 5 + struct.unpack(">I", self.message_bytes[1:5])[0]:
                size = struct.unpack(">I", self.message_bytes[1:5])[0]
                self.messages.append(self.message_bytes[5:5 + size])
                self.message_bytes = self.message_bytes[5 + size:]

    def until(self, condition, what, patience=PATIENCE):
        end = time.monotonic() + patience
        while not condition():
            assert time.monotonic() < end, f"not within {patience} s: {what}"
            self.pump(0.05)
        return self

    @property
    def over(self):
        return self.ended or self.closed

    def negotiate(self, **options):
        self.say(negotiation(**options))
        self.until(lambda: self.messages or self.over, "the negotiation's answer")
        assert self.messages, "the negotiation was refused"
        return parse(parse(parse(self.messages.pop(0))[5][0])[1][0])

    def subscribe(self, to, number=7, **options):
        """The acknowledgement: success, error."""
        self.say(subscribe(to, number, **options))
        return self.acknowledged(number)

    def acknowledged(self, number):
        def ack():
            return next((m for m in self.messages if 6 in parse(m) and parse(parse(m)[6][0]).get(1) == [number]), None)
        self.until(lambda: ack() or self.over, "an acknowledgement")
        found = ack()
        assert found, "the stream ended"
        self.messages.remove(found)
        fields = parse(parse(found)[6][0])
        return fields.get(2, [0]) == [1], fields.get(3, [b""])[0].decode()

    def payloads(self):
        """Of publishes that came."""
        out = []
        for message in self.messages:
            if 3 in parse(message):
                content = parse(parse(message)[3][0]).get(3, [b""])[0]
                out.append(parse(parse(content)[1][0]).get(2, [b""])[0] if content else None)
        return out

    def close(self):
        self.socket.close()
