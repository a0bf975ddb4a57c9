"""Two nodes whose DPDK ports (af_packet) are the ends of one veth, in network namespaces of the test's own: next hops
by ARP and neighbour discovery, a link through the ports, cut and joined frames, carrier lost and regained."""
import os
import subprocess
import uuid
from pathlib import Path

import pytest

import native
from native import Stream
from nodes import Node, until


@pytest.fixture
def wire():
    """Names of two interfaces that are joined."""
    tag = uuid.uuid4().hex[:6]
    names = (f"sw{tag}a", f"sw{tag}b")
    try:
        subprocess.run(["ip", "link", "add", names[0], "type", "veth", "peer", "name", names[1]], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as why:
        pytest.skip(f"no veth is to be had here: {why}")
    for name in names:
        # Nothing of the kernel's own: the node owns the addresses.
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        subprocess.run(["ip", "link", "set", name, "up"], check=True)
    yield names
    subprocess.run(["ip", "link", "del", names[0]], check=False, capture_output=True)


def port(interface, addresses, **keys):
    more = "".join(f", {key}: {value}" for key, value in keys.items())
    return f"  ports:\n    - {{name: wire, device: 'net_af_packet0,iface={interface}', addresses: [{addresses}]{more}}}\n  limits: {{buffers: 8192}}\n  keepalive_ms: 1000\n"


@pytest.mark.parametrize("addresses, to, vlan", [
    (("10.77.0.1/24", "10.77.0.2/24"), "10.77.0.1:46367", 0),
    (("'fd77::1/64'", "'fd77::2/64'"), "[fd77::1]:46367", 0),
    (("10.77.0.1/24", "10.77.0.2/24"), "10.77.0.1:46367", 7),
])
def test_link_through_dpdk_ports(tmp_path, wire, addresses, to, vlan):
    a = Node(tmp_path, "a", port(wire[0], addresses[0], vlan=vlan))
    b = Node(tmp_path, "b", port(wire[1], addresses[1], vlan=vlan) + f"  connect:\n    - {{name: up, to: 'udp://{to}', port: wire, backoff: {{first_ms: 50, max_ms: 300}}}}\n")
    until(lambda: a.links() and b.links(), "the nodes are linked")
    assert b.links()[0]["transport"] == "ethernet"
    left, right = Stream(a.tcp), Stream(b.tcp)
    assert left.subscribe("org/ns/left")[1] and right.subscribe("org/ns/right")[1]
    until(lambda: left.tend() and right.tend() and a.routes() == 2 and b.routes() == 2, "both know both names")
    for size in (1, 1_300, 1_400, 30_000):
        left.send(native.publish("org/ns/right", bytes(size)))
        assert len(right.receive(native.PUBLISH)) == native.HEADER + size
        right.send(native.publish("org/ns/left", bytes(size)))
        assert len(left.receive(native.PUBLISH)) == native.HEADER + size
    neighbors = b.get("/v1/ports")["ports"][0]["neighbors"]
    assert any(n["resolved"] for n in neighbors)
    # The wire is cut: the link dies by silence, and comes back by itself.
    subprocess.run(["ip", "link", "set", wire[0], "down"], check=True)
    until(lambda: left.tend() and right.tend() and a.routes() == 1 and b.routes() == 1, "each has forgotten the other")
    subprocess.run(["ip", "link", "set", wire[0], "up"], check=True)
    until(lambda: left.tend() and right.tend() and a.routes() == 2 and b.routes() == 2, "both know both names again")
    left.send(native.publish("org/ns/right", b"again"))
    assert right.receive(native.PUBLISH)[native.HEADER:] == b"again"
    for node in (a, b):
        node.balanced()
        assert node.stop() == 0, node.log()
