"""The PCI path, on emulated NICs behind an emulated IOMMU (tools/nic-lab): ports resolve and are resolved, answer
pings, carry native traffic from one NIC to the other, follow their wires, and give the devices back."""
import importlib.machinery
import importlib.util
import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build-test"))
CTL = BUILD / "tools/slipwayctl"
KERNEL_DRIVERS = {"e1000e": "e1000e", "virtio": "virtio-pci"}


def load_nic_lab():
    loader = importlib.machinery.SourceFileLoader("nic_lab", str(TOP / "tools/nic-lab"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("nic_lab", loader))
    loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lab():
    if os.environ.get("SLIPWAY_SANITIZE"):
        pytest.skip("sanitized programs are too slow for software emulation")
    nic_lab = load_nic_lab()
    programs = [BUILD / "tools/slipwayd", CTL, BUILD / "tests/dataplane/port/answering_port"]
    made = nic_lab.NicLab(programs)
    made.files["/etc/slipway.yaml"] = nic_lab.configuration(made.nics)
    try:
        made.__enter__()
    except nic_lab.LabError as error:
        pytest.skip(str(error))
    yield made
    made.close()


def eventually(what, seconds=30):
    """Waits until what() is true, and says what it was in the end."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, "it did not come to pass in time"
        time.sleep(0.3)


def ping(lab, address, options="-c 3 -i 0.3 -W 5"):
    for _ in range(3):  # an emulated wire may lose a packet just after it came up
        done = lab.outside(f"ping {options} {address}", check=False)
        if " 0% packet loss" in done.stdout:
            return
    raise AssertionError(done.stdout + done.stderr)


def give_back(lab):
    """The kernel's drivers take the devices again: nobody holds them."""
    for nic in lab.nics:
        lab.bind(nic, KERNEL_DRIVERS[nic.model])
    interfaces = lab.inside("sleep 1; cat /sys/class/net/*/address").split()
    for nic in lab.nics:
        assert f"52:54:00:00:00:0{nic.number}" in interfaces


def start_answering(lab):
    arguments = " ".join(f"{n.pci} {n.address4}/24,{n.address6}/64 {n.peer4},{n.peer6}" for n in lab.nics)
    lab.inside(f"answering_port {arguments} > /tmp/answers 2>&1 & echo $! > /tmp/pid")


def test_a_device_with_its_kernel_driver_is_refused_in_one_sentence(lab):
    nic = lab.nics[0]
    code, text = lab.inside(f"answering_port {nic.pci} {nic.address4}/24 {nic.peer4}", check=False)
    assert code == 1
    assert f"{nic.pci} is bound to the kernel's driver e1000e as eth" in text
    assert f"--bind=vfio-pci {nic.pci}`" in text


def test_without_huge_pages_it_says_which_command_helps(lab):
    nic = lab.nics[0]
    lab.inside("echo 0 > /proc/sys/vm/nr_hugepages")
    try:
        lab.bind(nic, "vfio-pci")
        code, text = lab.inside(f"answering_port {nic.pci} {nic.address4}/24 {nic.peer4}", check=False)
        assert code == 1
        assert re.search(r"\d+ MiB of huge pages are needed for PCI ports and 0 MiB are free: .*sysctl vm.nr_hugepages=\d+", text)
    finally:
        lab.inside("echo 192 > /proc/sys/vm/nr_hugepages")


def test_ports_resolve_answer_and_follow_their_wires(lab):
    for nic in lab.nics:
        lab.bind(nic, "vfio-pci")
    start_answering(lab)
    said = lambda text: eventually(lambda: text in lab.inside("cat /tmp/answers"))
    said("ready")
    assert "driver net_e1000_em" in lab.inside("cat /tmp/answers")
    assert "driver net_virtio" in lab.inside("cat /tmp/answers")
    for nic in lab.nics:
        for address in (nic.peer4, nic.peer6):
            said(f"neighbour {address} ")
        for address in (nic.address4, nic.address6):
            ping(lab, address)
        ping(lab, nic.address4, "-c 2 -s 1472 -M do -W 5")
        neighbours = lab.outside(f"ip neigh show dev {nic.tap}").stdout
        assert re.search(rf"{nic.address4} lladdr 52:54:00:00:00:0{nic.number}", neighbours)
        assert re.search(rf"{nic.address6} lladdr 52:54:00:00:00:0{nic.number}", neighbours)
    for nic in lab.nics:
        lab.set_wire(nic, False)
        said(f"{nic.pci}: down")
        lab.set_wire(nic, True)
        eventually(lambda: lab.inside("cat /tmp/answers").rstrip().endswith(f"{nic.pci}: up"))
        ping(lab, nic.address4)
    lab.inside("kill $(cat /tmp/pid)")
    eventually(lambda: "mbufs missing" in lab.inside("cat /tmp/answers"))
    assert "mbufs missing 0" in lab.inside("cat /tmp/answers")
    give_back(lab)


# --- the node ---------------------------------------------------------------------------------------

class Receiver:
    """`slipwayctl sub` outside, whose lines are what it received."""

    def __init__(self, lab, node, name, *options):
        self.output = tempfile.NamedTemporaryFile("w+")
        self.process = lab.outside_popen([CTL, "--node", node, "sub", name, "--raw", *options], stdout=self.output, stderr=subprocess.STDOUT)

    def lines(self):
        return Path(self.output.name).read_text().splitlines()

    def close(self):
        self.process.kill()
        self.process.wait()


def node_of(nic, v6=False):
    return f"udp://[{nic.address6}]:46367" if v6 else f"udp://{nic.address4}:46367"


def ctl_inside(lab, verb):
    return json.loads(lab.inside(f"slipwayctl --json {verb}"))


def publish(lab, node, name, *options):
    done = lab.outside_popen([CTL, "--node", node, "--timeout", "20", "pub", name, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    output = done.communicate(timeout=60)[0]
    assert done.returncode == 0, output
    return output


def subscribed(lab, name, links):
    """Waits until so many links hold a subscription of the name."""
    eventually(lambda: lab.inside("slipwayctl links").count(name) >= links)


@pytest.fixture(scope="module")
def node(lab):
    for nic in lab.nics:
        lab.bind(nic, "vfio-pci")
    lab.inside("(slipwayd --config /etc/slipway.yaml > /tmp/slipwayd 2>&1; echo exit $? >> /tmp/slipwayd) &")
    eventually(lambda: lab.inside("slipwayctl status", check=False)[0] == 0 or "exit" in lab.inside("cat /tmp/slipwayd"))
    code, _ = lab.inside("slipwayctl status", check=False)
    assert code == 0, lab.inside("cat /tmp/slipwayd")
    return lab


def test_the_node_answers_on_both_nics(node):
    for nic in node.nics:
        for address in (nic.address4, nic.address6):
            ping(node, address)


def test_anycast_unicast_and_channel_cross_from_one_nic_to_the_other(node):
    first, second = node.nics
    receivers = [Receiver(node, node_of(first), "org/lab/any"), Receiver(node, node_of(first, v6=True), "org/lab/any"),
                 Receiver(node, node_of(second, v6=True), "org/lab/any")]
    alone = Receiver(node, node_of(first, v6=True), "org/lab/one/0x7")
    try:
        subscribed(node, "org/lab/any", 3)
        subscribed(node, "org/lab/one", 1)
        publish(node, node_of(second), "org/lab/any", "m-any", "-n", "30")
        eventually(lambda: sum(len(r.lines()) for r in receivers) == 30)
        assert all(len(r.lines()) > 0 for r in receivers), [len(r.lines()) for r in receivers]
        publish(node, node_of(second), "org/lab/one/0x7", "m-one", "-n", "5")
        eventually(lambda: len(alone.lines()) == 5)
        publish(node, node_of(second), "org/lab/any", "m-all", "--all", "-n", "4")
        eventually(lambda: all(r.lines().count("m-all") == 4 for r in receivers))
    finally:
        for receiver in [*receivers, alone]:
            receiver.close()


def test_large_messages_are_cut_and_joined(node):
    first, second = node.nics
    receiver = Receiver(node, node_of(second), "org/lab/large", "-n", "3")
    try:
        subscribed(node, "org/lab/large", 1)
        publish(node, node_of(first, v6=True), "org/lab/large", "--size", "30000", "-n", "3")
        eventually(lambda: receiver.process.poll() is not None)
        assert receiver.process.returncode == 0
        assert [len(line) for line in receiver.lines()] == [30000] * 3
    finally:
        receiver.close()


def test_a_wire_that_was_out_carries_again(node):
    first, second = node.nics
    carrier = lambda: {p["name"]: p for p in ctl_inside(node, "ports")["ports"]}["e1000e"]["up"]
    assert carrier()
    node.set_wire(first, False)
    eventually(lambda: not carrier())
    node.set_wire(first, True)
    eventually(carrier)
    ping(node, first.address4)
    receiver = Receiver(node, node_of(first), "org/lab/again")
    try:
        subscribed(node, "org/lab/again", 1)
        publish(node, node_of(second), "org/lab/again", "m-again")
        eventually(lambda: receiver.lines() == ["m-again"])
    finally:
        receiver.close()


def test_the_books_balance(node):
    code, text = node.inside("slipwayctl books", check=False)
    assert code == 0, text


def test_stopping_gives_the_nics_back(node):
    node.inside("slipwayctl stop")
    eventually(lambda: "exit 0" in node.inside("cat /tmp/slipwayd"))
    give_back(node)
