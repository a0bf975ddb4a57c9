"""Several nodes in line: subscriptions travel, messages follow, losses heal."""
import os
import signal
import subprocess

import pytest

import native
from native import Stream
from nodes import Node, free_port, until


def connect(to, name="up", link_class="peer", extra=""):
    return f"  connect:\n    - {{name: {name}, to: '{to}', class: {link_class}, backoff: {{first_ms: 50, max_ms: 200}}}}\n{extra}"


@pytest.fixture
def line(tmp_path, request):
    """Nodes a - b - c; the transport is the test's parameter."""
    transport = request.param
    address = {"tcp": lambda n: n.tcp, "udp": lambda n: n.udp, "unix": lambda n: "unix://" + n.unix}[transport]
    quick = "  keepalive_ms: 1000\n"
    a = Node(tmp_path, "a", quick)
    b = Node(tmp_path, "b", connect(address(a)) + quick)
    c = Node(tmp_path, "c", connect(address(b)) + quick)
    until(lambda: len(b.links()) == 2, "b has both neighbours")
    yield a, b, c
    for node in (a, b, c):
        assert node.stop() == 0


@pytest.mark.parametrize("line", ["tcp", "udp", "unix"], indirect=True)
def test_message_goes_through_three_nodes_both_ways(line):
    a, b, c = line
    left, right = Stream(a.tcp), Stream(c.tcp)
    assert left.subscribe("org/ns/left")[1] and right.subscribe("org/ns/right")[1]
    until(lambda: all(n.routes() == 2 for n in line), "everybody knows both names")
    for size in (10, 1_000, 20_000):
        left.send(native.publish("org/ns/right", bytes(size)))
        frame = right.receive(native.PUBLISH)
        assert len(frame) == native.HEADER + size
        assert frame[2] == 5, "three hops less"
        right.send(native.publish("org/ns/left", bytes(size)))
        assert len(left.receive(native.PUBLISH)) == native.HEADER + size
    explained = b.get("/v1/explain?name=org/ns/right")
    assert explained["matches"][0]["class"] == "peer"
    left.close()
    until(lambda: all(n.routes() == 1 for n in line), "the name is withdrawn everywhere")
    for node in line:
        node.balanced()


@pytest.mark.parametrize("line", ["tcp", "udp"], indirect=True)
def test_node_in_the_middle_dies_and_returns(line):
    a, b, c = line
    left = Stream(a.tcp)
    assert left.subscribe("org/ns/left")[1]
    until(lambda: c.routes() == 1, "c knows the name")
    b.kill()
    until(lambda: left.tend() and c.routes() == 0, "c has forgotten it")
    b.launch()  # and not start(): left answers keepalives meanwhile
    until(lambda: left.tend() and c.routes() == 1, "c knows it again")
    right = Stream(c.tcp)
    right.send(native.publish("org/ns/left", b"again"))
    assert left.receive(native.PUBLISH)[native.HEADER:] == b"again"


def test_anycast_prefers_the_near_subscriber(tmp_path):
    a = Node(tmp_path, "a")
    b = Node(tmp_path, "b", connect(a.tcp))
    until(lambda: a.links(), "linked")
    near, far, sender = Stream(a.tcp), Stream(b.tcp), Stream(a.tcp)
    near.subscribe("org/ns/svc")
    far.subscribe("org/ns/svc")
    until(lambda: a.routes() == 2, "a knows both")
    for i in range(20):
        sender.send(native.publish("org/ns/svc", b"near"))
        assert near.receive(native.PUBLISH)[native.HEADER:] == b"near"
    sender.send(native.publish("org/ns/svc", b"all", fanout=256))
    assert near.receive(native.PUBLISH)[native.HEADER:] == b"all"
    assert far.receive(native.PUBLISH)[native.HEADER:] == b"all"
    near.close()
    until(lambda: a.routes() == 1, "the near one is gone")
    sender.send(native.publish("org/ns/svc", b"far"))
    assert far.receive(native.PUBLISH)[native.HEADER:] == b"far"
    for node in (a, b):
        node.balanced()
        assert node.stop() == 0


def test_ring_of_three_has_no_loop(tmp_path):
    a = Node(tmp_path, "a")
    b = Node(tmp_path, "b", connect(a.tcp))
    c = Node(tmp_path, "c", f"  connect:\n    - {{name: a, to: '{a.tcp}'}}\n    - {{name: b, to: '{b.tcp}'}}\n")
    until(lambda: all(len(n.links()) == 2 for n in (a, b, c)), "a ring")
    client = Stream(a.tcp)
    client.subscribe("org/ns/svc")
    until(lambda: b.routes() >= 1 and c.routes() >= 1, "all know the name")
    sender = Stream(c.tcp)
    for i in range(50):
        sender.send(native.publish("org/ns/svc", b"x", fanout=256, message=i))
        client.receive(native.PUBLISH)
    client.close()
    until(lambda: a.routes() + b.routes() + c.routes() == 0, "nothing is left")
    for node in (a, b, c):
        assert "hop_limit" not in node.drops()
        node.balanced()
        assert node.stop() == 0


def test_static_route_over_a_remote_link(tmp_path):
    a = Node(tmp_path, "a")
    b = Node(tmp_path, "b", connect(a.tcp, link_class="remote", extra="  routes:\n    - {name: org/ns/svc, to: up}\n"))
    until(lambda: b.routes() == 1, "the route is there when the link is up")
    receiver, sender = Stream(a.tcp), Stream(b.tcp)
    receiver.subscribe("org/ns/svc")
    assert b.routes() == 1, "a remote node is told nothing"
    sender.send(native.publish("org/ns/svc", b"far"))
    assert receiver.receive(native.PUBLISH)[native.HEADER:] == b"far"
    a.kill()
    until(lambda: b.routes() == 0, "gone with the link")
    a.start()
    until(lambda: b.routes() == 1, "and back with it")
    for node in (a, b):
        assert node.stop() == 0


def test_node_does_not_link_to_itself_and_refuses_other_deployments(tmp_path):
    port = free_port()
    a = Node(tmp_path, "a", start=False)
    a.write(connect(f"tcp://127.0.0.1:{a.port}"))
    a.start()
    until(lambda: "own" in a.get("/v1/links")["connect"][0]["last_error"], "it says why")
    b = Node(tmp_path, "b", connect(a.tcp) + "  deployment: other\n")
    until(lambda: "deployment" in b.get("/v1/links")["connect"][0]["last_error"], "it says why")
    for node in (a, b):
        assert node.stop() == 0


def own_hosts_file(tmp_path, text):
    """Words before a command that give it a /etc/hosts of its own, which the test may change; or a skip."""
    hosts = tmp_path / "hosts"
    hosts.write_text(text)
    words = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', str(hosts)]
    done = subprocess.run([*words, "true"], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"no mount namespace to be had: {done.stderr.strip()}")
    return hosts, words


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_names_of_nodes_are_looked_up_anew(tmp_path, transport):
    """The other node moves to another address; its name follows it."""
    hosts, before = own_hosts_file(tmp_path, "127.0.0.1 localhost\n127.0.0.2 other.test\n")
    port = free_port()
    listen = f"  keepalive_ms: 300\n  listen:\n    - {transport}: '%s:{port}'\n"
    there = Node(tmp_path, "there", listen % "127.0.0.2", listen=False)
    extra = connect(f"{transport}://other.test:{port}", extra="  keepalive_ms: 300\n")
    here = Node(tmp_path, "here", extra, before=before)
    until(lambda: len(here.links()) == 1, "linked by name")
    row = here.get("/v1/links")["connect"][0]
    assert row["address"] == f"{transport}://other.test:{port}" and row["state"] == "up"
    assert there.stop() == 0
    until(lambda: not here.links(), "the loss is seen")
    hosts.write_text("127.0.0.1 localhost\n")
    until(lambda: "cannot be resolved" in here.get("/v1/links")["connect"][0]["last_error"], "an unknown name is told")
    # Two addresses, of which one does not answer, and of two families for a datagram socket.
    hosts.write_text("127.0.0.1 localhost\n127.0.0.9 other.test\n::1 other.test\n")
    moved = Node(tmp_path, "moved", listen % "[::1]", listen=False)
    until(lambda: len(here.links()) == 1, "linked again, at another address")
    assert here.links()[0]["node_id"] == "moved"
    assert all(link["peer"] for node in (here, moved) for link in node.links())
    for node in (here, moved):
        assert node.stop() == 0, node.log()


def test_nodes_by_upstreams_files_share_a_machine(tmp_path):
    """Their files say nothing of native listeners and the control API: whoever comes second does without, and names its own."""
    ports = [free_port(), free_port()]
    sections = [f"services:\n  slim/0:\n    node_id: slim-{i}\n    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n"
                "          tls: {insecure: true}\n" for i, port in enumerate(ports)]
    if os.path.exists("/run/slipway/control.sock"):
        pytest.skip("a node runs on this machine already")
    nodes = []
    try:
        for i, text in enumerate(sections):
            node = Node(tmp_path, name=f"slim-{i}", start=False)
            node.config.write_text(text)
            node.api = ["/run/slipway/control.sock", "/run/slipway/control-slim-1.sock"][i]
            nodes.append(node.start())
        assert [node.get("/v1/status")["node_id"] for node in nodes] == ["slim-0", "slim-1"]
        assert nodes[1].log().count("no native links there") == 2
        assert nodes[1].post("/v1/reload")["ok"]
        assert nodes[1].get("/v1/status")["node_id"] == "slim-1"
    finally:
        for node in nodes:
            node.stop()
