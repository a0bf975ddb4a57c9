#!/usr/bin/env python3
"""Makes a first corpus for a fuzz target: out of the test vectors, the shipped configuration, requests as slipwayctl makes them.

  tests/fuzz/seeds.py mls-message FOLDER

Targets: api, config, edge-link, edge-message, edge-transport, edge-websocket, mls-message, mls-structs, mls-tree-extension, mls-tree. The others find their way from nothing.
"""
import hashlib
import json
import random
import re
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
VECTORS = TOP / "tests" / "vectors" / "mls"

# Fields of messages.json, by the number that mls_structs_fuzz.cc gives the struct.
STRUCTS = {"group_secrets": 2, "commit": 6}
MLS_MESSAGE_BODIES = {"mls_key_package": 3, "mls_welcome": 4, "mls_group_info": 5}


def entries(name):
    return json.loads((VECTORS / name).read_text())


def message_seeds():
    for entry in entries("messages.json"):
        for field, value in entry.items():
            if field.startswith(("mls_", "public_message", "private_message")):
                yield bytes.fromhex(value)
    for entry in entries("passive-client-handling-commit.json"):
        yield bytes.fromhex(entry["welcome"])
        for epoch in entry["epochs"]:
            yield bytes.fromhex(epoch["commit"])
            for proposal in epoch["proposals"]:
                yield bytes.fromhex(proposal)


def struct_seeds():
    for entry in entries("messages.json"):
        for field, number in STRUCTS.items():
            yield bytes([number]) + bytes.fromhex(entry[field])
        for field, number in MLS_MESSAGE_BODIES.items():
            yield bytes([number]) + bytes.fromhex(entry[field])[4:]
    for entry in entries("transcript-hashes.json"):
        yield bytes([9]) + bytes.fromhex(entry["authenticated_content"])
    for entry in entries("treekem.json"):
        for path in entry["update_paths"][:4]:
            yield bytes([8]) + bytes.fromhex(path["update_path"])
    for entry in entries("message-protection.json"):
        yield bytes([7]) + bytes.fromhex(entry["proposal"])
    for entry in entries("key-schedule.json"):
        yield bytes([15]) + bytes.fromhex(entry["epochs"][0]["group_context"])


def tree_seeds():
    for entry in entries("tree-validation.json"):
        yield bytes.fromhex(entry["tree"])


# Two configurations beside the shipped one: what most keys look like, and upstream's own form.
CONFIGURATIONS = ["""
slipway:
  node_id: a
  deployment: d
  workers: [{name: w0, kind: socket, cpu: 0}, {name: w1, kind: poll, idle: spin}]
  listen: [{tcp: 127.0.0.1:1}, {udp: "[::1]:2"}, {unix: /tmp/x.sock, worker: w0}]
  ports: [{name: p0, device: net_null0, addresses: [10.0.0.1/24, "fd00::1/64"], vlan: 5, mtu: 1500, routes: [{to: 10.1.0.0/16, via: 10.0.0.2}]}]
  connect: [{name: b, to: udp://10.0.0.2:46367, port: p0, class: peer, backoff: {first_ms: 10, max_ms: 100}}]
  limits: {node_bytes: 64MiB, links: 100, buffers: 4096}
  routes: [{name: org/ns/svc, to: b}]
  api: {unix: /tmp/api.sock, tcp: 127.0.0.1:3}
  stop: {drain_ms: 10}
""", """
tracing: {log_level: info}
runtime: {n_cores: 0, drain_timeout: 10s}
services:
  slim/0:
    node_id: n
    dataplane:
      servers: [{endpoint: "0.0.0.0:46357", tls: {insecure: true}}]
      clients: []
"""]


def config_seeds():
    yield (TOP / "tools" / "packaging" / "slipwayd.yaml").read_bytes()
    for text in CONFIGURATIONS:
        yield text.encode()


def api_seeds():
    """Every endpoint that control/api/api.cc lists, alone and with some of its parameters; the first byte is the size of the pieces."""
    endpoints = re.findall(r'\{"(GET|POST)", "(/[^"]*)"', (TOP / "control" / "api" / "api.cc").read_text())
    body = json.dumps({"name": "org/ns/svc/7", "to": "b", "level": "debug", "count": 3, "link": 1, "drain_ms": 5, "seconds": 2,
                       "snap_bytes": 64, "limit_bytes": 4096, "drops_only": True, "kind": "publish"})
    for method, path in endpoints:
        yield b"\xff" + f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        if method == "GET":
            for query in ("after=1&limit=5", "name=org%2Fns%2Fsvc&from=1&hop_limit=3", "link=2&name=org/ns/svc"):
                yield b"\x07" + f"GET {path}?{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        else:
            yield b"\x1f" + f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def edge_message_seeds():
    """The golden conversation, whole and in pieces of seven bytes; and a publish's frame, of which two bytes are set by the target."""
    for line in (TOP / "tests" / "vectors" / "edge" / "golden.txt").read_text().splitlines():
        name, _, value = line.partition(" ")
        if name not in ("#", "link_key"):
            yield b"\x00\x01" + bytes.fromhex(value)
            yield b"\x07\x01" + bytes.fromhex(value)
    yield b"\x03\x00" + bytes(104) + bytes.fromhex("1a0e0a041a026d651a060a041202686922060a016b120176")


def edge_commands(role, *steps):
    """The input format of edge_transport_fuzz.cc: a choice, then bytes to feed (in pieces) or commands of two bytes."""
    out = bytes([role])
    for step in steps:
        if isinstance(step, tuple):
            out += bytes(step)
        else:
            for at in range(0, len(step), 128):
                piece = step[at:at + 128]
                out += bytes([len(piece) - 1]) + piece
    return out


def http2_frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def edge_transport_seeds():
    """A client's and a server's first bytes as captured, messages whole and cut, ends of streams, keepalive, floods."""
    settings = bytes.fromhex("000018040000000000000200000000000400200000000500004000000600004000000004080000000000004f0001")[:33] + http2_frame(8, 0, 0, bytes.fromhex("004f0001"))
    block = bytes.fromhex("8386418b089d5c0b8170dc69c7df0f04a36241a475d03a8abd761d275fb857be348f5d03a8bb8b677310ac6aacb55e9c75545a3f4082497f864d833505b11f5f8b1d75d0620d"
                          "263d4c4d65647a8949ea311802e169773f")
    start = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings + http2_frame(1, 4, 1, block)
    message = b"\0" + (200).to_bytes(4, "big") + b"m" * 200
    send, write, large, huge, release, finish, reset, time = ((0xF0, 255), (0xF1, 90), (0xF2, 50), (0xF3, 128), (0xF4, 0), (0xF5, 7), (0xF6, 0), (0xFB, 125))
    yield edge_commands(0, start, send, http2_frame(0, 0, 1, message * 3), release, write, large, send, finish, send)
    yield edge_commands(0, start, http2_frame(0, 8, 1, b"\3" + message + b"\0\0\0"), http2_frame(0, 1, 1, message[:50]), send)
    yield edge_commands(0, start, http2_frame(1, 4, 3, block), huge, send, reset, send, time, send, time, send)
    yield edge_commands(0, start, http2_frame(6, 0, 0, b"12345678") * 9, http2_frame(4, 0, 0), http2_frame(3, 0, 1, b"\0\0\0\x08"), http2_frame(7, 0, 0, bytes(8)), send)
    yield edge_commands(0, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", send)
    answer = http2_frame(4, 0, 0, bytes.fromhex("000400100000000500400000000600004000")) + http2_frame(4, 1, 0) + http2_frame(8, 0, 0, bytes.fromhex("000f0001"))
    headers = http2_frame(1, 4, 1, bytes.fromhex("885f8b1d75d0620d263d4c4d6564"))
    trailers = http2_frame(1, 5, 1, b"\x40\x0bgrpc-status\x017\x40\x0cgrpc-message\x05a%20b")
    yield edge_commands(1, send, answer, headers, write, large, send, http2_frame(0, 0, 1, message * 2), release, trailers, send)
    yield edge_commands(1, send, answer, http2_frame(1, 5, 1, b"\x48\x03401"), send, (0xF7, 0), send)
    yield edge_commands(9, send, b"HTTP/1.1 200 OK\r\n\r\n", answer, headers, send)
    yield edge_commands(5, send, bytes.fromhex("160303007a"), send)


def edge_websocket_seeds():
    request = (b"GET /?a=b HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
               b"Sec-WebSocket-Version: 13\r\n\r\n")
    key = b"\0\0\0\0"

    def frame(first, payload):
        return bytes([first, 0x80 | len(payload)]) + key + payload
    send, write, large, finish, time = ((0xF0, 255), (0xF1, 90), (0xF2, 9), (0xF5, 0), (0xFB, 125))
    yield edge_commands(2, request, send, frame(0x82, b"message"), write, large, send, finish, send, frame(0x88, b"\x03\xe8"))
    yield edge_commands(2, request + frame(2, b"one") + frame(0x89, b"ping") + frame(0, b"two") + frame(0x80, b"") + frame(0x81, b"text"), send)
    yield edge_commands(2, request, b"\x82\xfe\x01\x00" + key + b"p" * 256, time, send, time, send)
    yield edge_commands(3, (0xFC, 0), b"\x82\x07message", b"\x02\x01a\x89\x01p\x80\x01b", write, large, send, finish, send, b"\x88\x02\x03\xe8")
    yield edge_commands(3, send, b"HTTP/1.1 401 x\r\n\r\n", send)


def edge_link_seeds():
    """Conversations: the shape of the link, then commands of edge_link_fuzz.cc with what they take."""
    source = random.Random(1)
    for shape in range(8):
        for commands in ([14] * 6, [12, 12, 2, 3] * 4, [0, 12, 2, 3, 8, 14], [14, 4, 2, 3] * 3, [1, 2, 14, 5, 14], [12, 6, 2, 3], [14, 9, 14, 11],
                         [source.randrange(16) for _ in range(20)]):
            yield bytes([shape]) + b"".join(bytes([command]) + source.randbytes(40) for command in commands)


SEEDS = {"edge-link": edge_link_seeds, "edge-transport": edge_transport_seeds, "edge-websocket": edge_websocket_seeds, "api": api_seeds, "config": config_seeds, "edge-message": edge_message_seeds, "mls-message": message_seeds, "mls-structs": struct_seeds, "mls-tree-extension": tree_seeds,
         "mls-tree": tree_seeds}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for seed in SEEDS.get(name, lambda: [])():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        count += 1
    print(f"{count} seeds for {name} in {folder}")


if __name__ == "__main__":
    main()
