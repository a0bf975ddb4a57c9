"""Upstream's node and its slimctl, built from their crates, beside and against our node: `tools/interop reference`."""
import os
import re
import signal
import socket
import struct
import subprocess
import time
import uuid

import pytest

from parts import PATIENCE, App, EdgeNode, UpstreamNode, client_entry, free_port, until
from protobuf import field, parse
from raw import name
from raw_edge import END_HEADERS, HEADERS, PREFACE, SETTINGS, WINDOW, Raw, frame, request

pytestmark = pytest.mark.skipif(not os.environ.get("SLIPWAY_INTEROP_REFERENCE"), reason="with upstream's own node: tools/interop reference")

STUCK_SECONDS = 120  # without a message through the node or a line of output
SERVICE = "/controller.proto.v1.ControllerService/OpenControlChannel"


def taken(port):
    """Upstream's node opens its control service some time after it says that it has started."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Control(Raw):
    """Upstream's control service, by hand."""

    def __init__(self, port):
        until(lambda: taken(port), "the control service listens")
        super().__init__(port, opens=False)
        self.send(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)) + frame(HEADERS, END_HEADERS, 1, request(path=SERVICE)))
        self.until(lambda: self.headers or self.closed, "response headers")

    def ask(self, payload, answer):
        self.say(field(1, "request") + payload)
        while True:  # announcements of names come between
            self.until(lambda: self.messages or self.over, "the answer")
            said = parse(self.messages.pop(0))
            if answer in said:
                return parse(said[answer][0])

    def route(self, to, link_id):
        ack = self.ask(field(2, field(2, field(1, to) + field(2, link_id))), 20)
        return [parse(one)[2] for one in ack[3]] == [[1]]

    def ids(self, service):
        """Of the instances of a service that the node knows."""
        out = []
        for entry in self.ask(field(4, b""), 5).get(2, []):
            known = parse(parse(entry)[1][0])
            if [parse(known[2][0])[i][0].decode() for i in (1, 2, 3)] == service.split("/"):
                number = parse(parse(known[1][0])[4][0])
                high, low = (int.from_bytes(value, "little") if isinstance(value, bytes) else value for value in (number[1][0], number[2][0]))
                out.append(uuid.UUID(int=high << 64 | low))
        return out


def control_section(port):
    return f"    controller:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n          tls: {{insecure: true}}\n"


def instance(node, service):
    """The id of its one instance, as our node knows it."""
    found = until(lambda: [row["name"] for row in node.get("/v1/routes")["routes"] if row["name"].startswith(service + "/")], f"our node knows {service}")
    return uuid.UUID(found[0].split("/")[3])


@pytest.mark.parametrize("dialer", ["ours", "theirs"])
def test_a_remote_link_carries_chats_both_ways(reference, python, tmp_path, dialer):
    """Nothing is synchronised between domains: each node is told a route, theirs by its control service."""
    ours_port, control_port = free_port(), free_port()
    theirs = UpstreamNode(python, tmp_path, service=control_section(control_port),
                          clients=client_entry(f"http://127.0.0.1:{ours_port}", "remote") if dialer == "theirs" else "", start=False)
    ours = EdgeNode(tmp_path, name="ours", edge_port=ours_port, clients=client_entry(theirs.edge, "remote") if dialer == "ours" else "")
    try:
        theirs.start()
        link = until(lambda: ours.link_rows("remote"), "the nodes are linked")[0]
        assert link["edge"]["mac"] and link["dialed"] == (dialer == "ours") and link["node_id"] == "theirs", link
        control = Control(control_port)
        for near, far in ((ours, theirs), (theirs, ours)):
            tag = "far" if near is ours else "near"
            with App(python, tmp_path, "listen", f"org/ns/bob-{tag}", far, mls=True).ready() as bob, \
                    App(python, tmp_path, "talk", f"org/ns/alice-{tag}", near, f"org/ns/bob-{tag}", mls=True, wait=True) as alice:
                alice_id = uuid.UUID(alice.line("id "))
                bob_id = control.ids(f"org/ns/bob-{tag}")[0] if far is theirs else instance(ours, f"org/ns/bob-{tag}")
                told_ours, told_theirs = ((f"bob-{tag}", bob_id), (f"alice-{tag}", alice_id)) if near is ours else ((f"alice-{tag}", alice_id), (f"bob-{tag}", bob_id))
                for suffix in ("", f"/{told_ours[1]}"):
                    ours.post("/v1/route/add", {"name": f"org/ns/{told_ours[0]}{suffix}", "to": theirs.edge if dialer == "ours" else str(link["link"])})
                assert control.route(name(f"org/ns/{told_theirs[0]}", told_theirs[1].int), link["edge"]["link_id"])
                assert control.route(name(f"org/ns/{told_theirs[0]}"), link["edge"]["link_id"])
                alice.order("go")
                assert alice.result()["messages"] == 50, alice.tail()
                assert bob.result() == {"answered": 50}, bob.tail()
        control.close()
        ours.balanced()
    finally:
        ours.stop()
        theirs.stop()


def bench(slimctl, folder, node, side, *words):
    """side: sub, pub, channel sub or channel pub."""
    log = open(folder / f"bench-{side.replace(' ', '-')}.log", "w+")
    return subprocess.Popen([slimctl, "bench", *side.split(), "--server", node.edge, *map(str, words)], stdout=log, stderr=log, cwd=folder), log


def said(log):
    log.seek(0)
    return log.read()


def ended(process, log, node):
    """Its exit code. However long it takes: a slow machine is no fault, standing still is one."""
    seen, since = None, time.monotonic()
    while process.poll() is None:
        now = (len(said(log)), node.get("/v1/books")["total"])
        if now != seen:
            seen, since = now, time.monotonic()
        assert time.monotonic() - since < STUCK_SECONDS, f"nothing moves: {said(log)}"
        time.sleep(0.2)
    return process.returncode


def run_bench(reference, folder, node, count, sub, pub, messages, *words, endless=False):
    """Upstream's bench between two of its processes through our node; what both said. Endless: the receivers do not count, and are stopped."""
    words = ("--count", count, *words)
    receiving, heard = bench(reference / "slimctl", folder, node, *sub, "--msgs", 0 if endless else messages, *words)
    try:
        until(lambda: said(heard).count("] ready at ") == count or receiving.poll() is not None, "the receivers are ready")
        sending, told = bench(reference / "slimctl", folder, node, *pub, "--msgs", messages, *words)
        try:
            assert ended(sending, told, node) == 0, said(told)
            if endless:
                receiving.send_signal(signal.SIGINT)
            assert ended(receiving, heard, node) == 0, said(heard)
        finally:
            sending.kill()
    finally:
        receiving.kill()
    print(said(told), said(heard))
    return said(heard), said(told)


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "unreliable"])
def test_upstreams_bench_point_to_point(reference, tmp_path, node, reliable):
    messages = 2_000 if reliable else 20_000  # reliable ones wait for each acknowledgement
    heard, _ = run_bench(reference, tmp_path, node, 2, ("sub",), ("pub", *(["--reliable"] if reliable else [])), messages, "--size", 512)
    assert sum(int(number) for number in re.findall(r"\] received (\d+) messages", heard)) == messages, heard
    node.balanced()


def test_upstreams_bench_measures_round_trips(reference, tmp_path, node):
    # A receiver that counts ends with the last message, often before it has sent the answer.
    _, told = run_bench(reference, tmp_path, node, 1, ("sub", "--reply"), ("pub", "--request"), 1_000, endless=True)
    assert "p99" in told.lower(), told
    node.balanced()


def test_upstreams_bench_of_a_channel(reference, tmp_path, node):
    heard, told = run_bench(reference, tmp_path, node, 3, ("channel sub",), ("channel pub",), 1_000)
    assert len(re.findall(r"\[ch-sub-\d\] .*\(1,000 msgs\)", heard)) == 3, heard
    assert "Channel pub stats" in told, told
    node.balanced()


@pytest.mark.parametrize("kind", ["ours", "theirs"])
def test_slimctl_lists_routes_and_connections(reference, python, tmp_path, kind):
    """The same lines of either node."""
    port = free_port()
    node = EdgeNode(tmp_path, service=control_section(port)) if kind == "ours" else UpstreamNode(python, tmp_path, service=control_section(port))

    def slimctl(*words):
        done = subprocess.run([reference / "slimctl", "--server", f"127.0.0.1:{port}", "node", *words, "list"], capture_output=True, text=True,
                              timeout=PATIENCE, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        until(lambda: taken(port), "the control service listens")
        with App(python, tmp_path, "serve", "org/ns/bob", node).ready():
            routes, connections = slimctl("route"), slimctl("connection")
            assert "1 route(s)" in routes and re.search(r"^ +org/ns/bob/[0-9a-f-]{36} +Edge +APP +[0-9a-f-]{36} *$", routes, re.M), routes
            assert re.search(r"^ +\d+ +Edge +Incoming +APP +[0-9a-f-]{36} *$", connections, re.M), connections
        until(lambda: "0 route(s)" in slimctl("route"), "the name is gone")
    finally:
        node.stop()
