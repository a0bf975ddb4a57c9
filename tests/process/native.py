"""A native client in plain Python, written from the frame's description and not from the library: what a foreign
program may send. Frames, the hello, subscriptions, keepalive answers; streams and datagrams."""
import socket
import struct
import subprocess
import ctypes
import ctypes.util

from protobuf import entries, field

HEADER = 104
PUBLISH, SUBSCRIBE, UNSUBSCRIBE, ACK, LINK = 1, 2, 3, 4, 5
NO_NAMES = 1 << 6
NULL = (1 << 64) - 1

_xxhash = ctypes.CDLL(ctypes.util.find_library("xxhash") or "libxxhash.so.0")
_xxhash.XXH64.restype = ctypes.c_uint64
_xxhash.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]


def component(text):
    data = text.encode() + b"\xff"
    return _xxhash.XXH64(data, len(data), 0)


def name_bytes(name, low=NULL, high=NULL):
    return struct.pack("<5Q", *(component(part) for part in name.split("/")), low, high)


def header(kind, destination=bytes(40), source=bytes(40), hop_limit=8, fanout=1, flags=0, session=0, message=0, version=1):
    out = struct.pack("<4B3I", version, kind, hop_limit, 0, fanout, session, message) + destination + source
    return out + struct.pack("<BBHI", 0, 0, flags, 0)


def fields(data):
    """Field number -> last value."""
    return {number: value for number, _, value in entries(data)}


def hello(node_id="python", link_class=3, receive_link_id=0, cookie=b"", keepalive_ms=0):
    body = field(1, "0") + field(2, node_id) + field(3, link_class) + field(5, 4 << 20)
    if receive_link_id:
        body += field(4, receive_link_id) + field(6, 1400)
    if keepalive_ms:
        body += field(7, keepalive_ms)
    if cookie:
        body += field(10, cookie)
    return header(LINK, flags=NO_NAMES) + field(5, field(100, body))


def subscribe(name, subscription_id, kind=SUBSCRIBE, **options):
    at = name_bytes(name)
    texts = b"".join(field(i + 1, part) for i, part in enumerate(name.split("/")))
    inner = field(1, field(2, field(2, texts))) + field(2, subscription_id)
    return header(kind, at, at, **options) + field(1 if kind == SUBSCRIBE else 2, inner)


def publish(name, payload=b"", **options):
    return header(PUBLISH, name_bytes(name), **options) + payload


class Stream:
    """A stream link; hello=False leaves it half open."""

    def __init__(self, address, say_hello=True, timeout=30, **options):
        if address.startswith("unix://"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(address[7:])
        else:
            host, port = address.removeprefix("tcp://").rsplit(":", 1)
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(timeout)
        self.buffer = b""
        self.inbox = []
        if say_hello:
            self.send(hello(**options))
            self.reply = fields(fields(self.receive(LINK)[HEADER:])[5])[101]

    def send(self, *frames):
        self.socket.sendall(b"".join(struct.pack("<I", len(f)) + f for f in frames))

    def _more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed by the node")
        self.buffer += data

    def tend(self):
        """Answers keepalives that have come; keeps the rest for receive(). For waits in between."""
        timeout = self.socket.gettimeout()
        self.socket.settimeout(0.001)
        try:
            while True:
                self.inbox.append(self._read())
                self.answer(self.inbox[-1])
        except TimeoutError:
            pass
        finally:
            self.socket.settimeout(timeout)
        return True

    def next(self):
        if self.inbox:
            return self.inbox.pop(0)
        frame = self._read()
        self.answer(frame)
        return frame

    def _read(self):
        while len(self.buffer) < 4 or len(self.buffer) < 4 + struct.unpack_from("<I", self.buffer)[0]:
            self._more()
        length = struct.unpack_from("<I", self.buffer)[0]
        frame, self.buffer = self.buffer[4:4 + length], self.buffer[4 + length:]
        return frame

    def receive(self, kind):
        """The next frame of this kind; keepalives are answered on the way."""
        while True:
            frame = self.next()
            if frame[1] == kind:
                return frame

    def answer(self, frame):
        if frame[1] == LINK:
            link = fields(fields(frame[HEADER:])[5])
            if 102 in link and not fields(link[102]).get(2):
                stamp = fields(link[102]).get(1, 0)
                self.send(header(LINK, flags=NO_NAMES) + field(5, field(102, field(1, stamp) + field(2, 1))))

    def ack(self):
        got = fields(fields(self.receive(ACK)[HEADER:])[6])
        identifier = got.get(1, 0)
        if isinstance(identifier, bytes):
            identifier = int.from_bytes(identifier, "little")
        return identifier, bool(got.get(2, 0)), got.get(3, b"").decode()

    def subscribe(self, name, identifier=1):
        self.send(subscribe(name, identifier))
        return self.ack()

    def ended(self, patience=30):
        self.socket.settimeout(patience)
        try:
            while self.socket.recv(1 << 16):
                pass
            return True
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False

    def close(self):
        self.socket.close()
