#!/usr/bin/env python3
"""Makes a first corpus for a fuzz target: out of the test vectors, the shipped configuration, requests as slipwayctl makes them.

  tests/fuzz/seeds.py mls-message FOLDER

Targets: api, config, edge-message, mls-message, mls-structs, mls-tree-extension, mls-tree. The others find their way from nothing.
"""
import hashlib
import json
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


SEEDS = {"api": api_seeds, "config": config_seeds, "edge-message": edge_message_seeds, "mls-message": message_seeds, "mls-structs": struct_seeds, "mls-tree-extension": tree_seeds,
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
