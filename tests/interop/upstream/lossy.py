"""A way between an application of upstream's and a node that loses messages: it takes HTTP/2 and gRPC apart as far as it must to lose one
whole message and nothing else, and keeps what went by."""
import socket
import struct
import threading
from dataclasses import dataclass

from protobuf import parse
from raw_edge import DATA, PREFACE, WINDOW, frame, framed

MSG, MSG_ACK, RTX_REQUEST, RTX_REPLY, DISCOVERY_REQUEST, DISCOVERY_REPLY, JOIN_REQUEST, JOIN_REPLY = range(1, 9)
FRAME_BYTES = 16384


@dataclass
class Seen:
    """One message of a session that went by."""
    from_application: bool
    kind: int      # MSG, ...
    number: int    # how many of this kind came this way before
    content: dict  # parsed
    dropped: bool = False


class Way:
    """One direction of the connection."""

    def __init__(self, lossy, source, sink, from_application):
        self.lossy, self.source, self.sink, self.from_application = lossy, source, sink, from_application
        self.other = None  # the way back
        self.writing = threading.Lock()
        self.data, self.messages = b"", {}
        self.preface = len(PREFACE) if from_application else 0

    def send(self, data):
        with self.writing:
            self.sink.sendall(data)

    def run(self):
        try:
            while more := self.source.recv(1 << 16):
                self.data += more
                self.take()
        except OSError:
            pass
        for end in (self.source, self.sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def take(self):
        if self.preface:
            if len(self.data) < self.preface:
                return
            self.send(self.data[:self.preface])
            self.data, self.preface = self.data[self.preface:], 0
        while len(self.data) >= 9:
            size = int.from_bytes(self.data[:3], "big")
            if len(self.data) < 9 + size:
                return
            whole, self.data = self.data[:9 + size], self.data[9 + size:]
            kind, flags, stream = whole[3], whole[4], struct.unpack(">I", whole[5:9])[0]
            if kind == DATA and not flags:
                self.take_data(stream, whole[9:])
            else:
                self.send(whole)

    def take_data(self, stream, data):
        """Whole messages go on; their sender is told at once that there is room again for those that do not."""
        data = self.messages.pop(stream, b"") + data
        while len(data) >= 5 and len(data) >= 5 + int.from_bytes(data[1:5], "big"):
            size = 5 + int.from_bytes(data[1:5], "big")
            message, data = data[5:size], data[size:]
            if not self.lossy.loses(self.from_application, message):
                message = framed(message)
                for at in range(0, size, FRAME_BYTES):
                    self.send(frame(DATA, 0, stream, message[at:at + FRAME_BYTES]))
            else:
                room = struct.pack(">I", size)
                self.other.send(frame(WINDOW, 0, 0, room) + frame(WINDOW, 0, stream, room))
        self.messages[stream] = data


class Lossy:
    """Listens for one kind of connection after the other; `edge` is where an application connects.

    drop(Seen): whether this one is lost."""

    def __init__(self, port, drop=lambda seen: False):
        self.port, self.drop, self.seen = port, drop, []
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.edge = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.port))
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            there, back = Way(self, near, far, True), Way(self, far, near, False)
            there.other, back.other = back, there
            for way in (there, back):
                threading.Thread(target=way.run, daemon=True).start()

    def loses(self, from_application, message):
        publish = parse(message).get(3)
        if not publish:
            return False  # subscriptions and the negotiation belong to the link
        publish = parse(publish[0])
        kind = parse(publish.get(2, [b""])[0]).get(2, [0])[0]
        with self.lock:
            number = sum(1 for one in self.seen if (one.from_application, one.kind) == (from_application, kind))
            seen = Seen(from_application, kind, number, parse(publish.get(3, [b""])[0]))
            seen.dropped = self.drop(seen)
            self.seen.append(seen)
        return seen.dropped

    def dropped(self, *kinds):
        return sum(1 for one in self.seen if one.dropped and one.kind in kinds)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
