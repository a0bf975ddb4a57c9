"""The demonstration: installs, builds, starts a node, and sends messages through it in every way there is.

  tools/run            show it, then stop the node
  tools/run --stay     leave the node running, and say how to look at it and how to stop it

The node runs the embedded default: one socket worker, native TCP and UDP on loopback, a Unix socket. No NIC is
needed. Run as root where network namespaces are to be had, it also gets a poll worker with a DPDK port (af_packet
on a veth pair), with an ordinary UDP client in a namespace at the other end of the wire.

Clients are separate processes: slipwayctl sub and pub, then applications with sessions (slipwayctl session), encrypted from end to end
by MLS, and beside them an unmodified Python application of upstream's, where its bindings can be installed within half a minute.
Exit code 0 only if every step did what it should.
SLIPWAY_BUILD=FOLDER uses that build instead of making the release build in build/.
"""
import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
PATIENCE = 60  # seconds; only ever waited for in full when something is wrong
SERVICE = "demo/shop/orders"
CHANNEL = "demo/shop/news/0x1"
SECRET = "the secret of this demonstration's applications"
UPSTREAM = "slim-bindings==3.3.8"
INSTALL_SECONDS = 30
failures = []


def say(text=""):
    print(text, flush=True)


def step(text):
    say(f"\n== {text}")


def check(good, text):
    say(f"   {'ok    ' if good else 'FAILED'} {text}")
    if not good:
        failures.append(text)
    return good


def wait_for(condition, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return bool(condition())


def run(*words, **options):
    return subprocess.run([str(w) for w in words], capture_output=True, text=True, **options)


class Wire:
    """A veth pair: one end for the node's DPDK port, the other in a namespace with an ordinary IP address."""

    NODE_IP, CLIENT_IP = "10.77.0.1", "10.77.0.2"

    def __init__(self):
        tag = str(os.getpid())
        self.namespace, self.ours, self.theirs = f"slipway-demo-{tag}", f"sdn{tag}", f"sdc{tag}"

    @staticmethod
    def possible():
        """Why there can be none, or nothing."""
        if os.geteuid() != 0:
            return "not root"
        if shutil.which("ip") is None:
            return "no `ip` command (package iproute2)"
        probe = f"slipway-probe-{os.getpid()}"
        made = run("ip", "netns", "add", probe)
        if made.returncode != 0:
            return "network namespaces are refused here: " + made.stderr.strip()
        run("ip", "netns", "delete", probe)
        return None

    def make(self):
        steps = [
            ["ip", "netns", "add", self.namespace],
            ["ip", "link", "add", self.ours, "type", "veth", "peer", "name", self.theirs, "netns", self.namespace],
            ["ip", "link", "set", self.ours, "up"],
            ["ip", "-n", self.namespace, "link", "set", "lo", "up"],
            ["ip", "-n", self.namespace, "addr", "add", f"{self.CLIENT_IP}/24", "dev", self.theirs],
            ["ip", "-n", self.namespace, "link", "set", self.theirs, "up"],
        ]
        for words in steps:
            done = run(*words)
            if done.returncode != 0:
                self.remove()
                return f"{' '.join(words)}: {done.stderr.strip()}"
        # A veth leaves checksums to a NIC that is not there; what reads the other end would find them wrong.
        script = ("import fcntl,socket,struct,array;s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);"
                  "v=array.array('B',struct.pack('II',0x17,0));"
                  f"fcntl.ioctl(s,0x8946,struct.pack('16sQ',b'{self.theirs}',v.buffer_info()[0])+bytes(16))")
        done = run("ip", "netns", "exec", self.namespace, sys.executable, "-c", script)
        if done.returncode != 0:
            self.remove()
            return "cannot turn checksum offload off: " + done.stderr.strip()
        return None

    def remove(self):
        run("ip", "link", "delete", self.ours)
        run("ip", "netns", "delete", self.namespace)


class Node:
    """slipwayd on the embedded default, with a DPDK port beside it if there is a wire."""

    def __init__(self, build, folder, wire):
        self.build, self.folder, self.wire = build, folder, wire
        self.ctl = str(build / "tools/slipwayctl")
        self.port = self.free_port()
        self.edge_port = self.any_port()
        self.api = f"unix://{folder}/control.sock"
        self.log = folder / "slipwayd.log"
        self.config = folder / "slipwayd.yaml"
        self.process = None

    @staticmethod
    def free_port():
        """The default port, or another one if something has it."""
        for port in (46367, 0):
            with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
                try:
                    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    tcp.bind(("127.0.0.1", port))
                    udp.bind(("127.0.0.1", tcp.getsockname()[1]))
                    return tcp.getsockname()[1]
                except OSError:
                    continue
        return 46367

    @staticmethod
    def any_port():
        with socket.socket() as tcp:
            tcp.bind(("127.0.0.1", 0))
            return tcp.getsockname()[1]

    def start(self):
        text = ["# The embedded default, with sockets in a folder of its own.", "slipway:", "  node_id: demo", "  workers:",
                "    - {name: sockets, kind: socket}"]
        if self.wire:
            text += ["    - {name: poll, kind: poll}"]
        text += ["  listen:", f"    - tcp: 127.0.0.1:{self.port}", f"    - udp: 127.0.0.1:{self.port}",
                 f"    - unix: {self.folder}/native.sock", "  api:", f"    unix: {self.folder}/control.sock"]
        if self.wire:
            text += ["  ports:", "    - name: wire", f"      device: net_af_packet0,iface={self.wire.ours}",
                     f"      addresses: [{Wire.NODE_IP}/24]"]
        # Upstream's own section: a listener for its applications.
        text += ["services:", "  slim/0:", "    dataplane:", "      servers:", f"        - endpoint: 127.0.0.1:{self.edge_port}",
                 "          tls: {insecure: true}"]
        self.config.write_text("\n".join(text) + "\n")
        with open(self.log, "w") as log:
            self.process = subprocess.Popen([str(self.build / "tools/slipwayd"), "--config", str(self.config)],
                                            stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)
        return wait_for(lambda: self.process.poll() is not None or self.ask("status") is not None) and self.process.poll() is None

    def ask(self, *words):
        """The answer of slipwayctl --json, or None."""
        done = run(self.ctl, "--api", self.api, "--json", *words)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def show(self, *words):
        done = run(self.ctl, "--api", self.api, *words)
        say(f"\n$ slipwayctl {' '.join(words)}")
        for line in (done.stdout + done.stderr).rstrip().splitlines():
            say("  " + line)
        return done.returncode

    def addresses(self):
        """How clients reach it: name, address, words before the command."""
        ways = {"TCP": (f"tcp://127.0.0.1:{self.port}", []),
                "Unix": (f"unix://{self.folder}/native.sock", []),
                "UDP": (f"udp://127.0.0.1:{self.port}", [])}
        if self.wire:
            ways["DPDK"] = (f"udp://{Wire.NODE_IP}:46367", ["ip", "netns", "exec", self.wire.namespace])
        return ways

    @property
    def tcp(self):
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def edge(self):
        return f"http://127.0.0.1:{self.edge_port}"

    def publish(self, way, *words):
        address, before = self.addresses()[way]
        return run(*before, self.ctl, "--node", address, "pub", *words)

    def stop(self):
        run(self.ctl, "--api", self.api, "stop", "--drain-ms", "2000")
        try:
            return self.process.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            return False


class Member:
    """One subscriber: a process of slipwayctl sub, whose lines a thread collects."""

    def __init__(self, node, label, way, names):
        address, before = node.addresses()[way]
        self.label, self.way, self.wanted = label, way, names
        self.names, self.messages = [], []
        self.process = subprocess.Popen([*before, node.ctl, "--node", address, "--json", "sub", *names],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.collect, daemon=True)
        self.thread.start()

    def collect(self):
        for line in self.process.stdout:
            row = json.loads(line)
            (self.names.append(row["subscribed"]) if "subscribed" in row else self.messages.append(row))

    def ready(self):
        return len(self.names) == len(self.wanted)

    def got(self, payload):
        return [m for m in self.messages if m.get("payload") == payload]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)


def everyone_connects(node):
    step(f"Subscribers, each a process of its own: all are members of the channel {CHANNEL},\n"
         f"   and all but the first are instances of the service {SERVICE}")
    ways = ["TCP", "Unix", "UDP", "DPDK" if node.wire else "TCP"]
    members = [Member(node, f"subscriber {i + 1}", way, [SERVICE, CHANNEL] if i > 0 else [CHANNEL]) for i, way in enumerate(ways)]
    wait_for(lambda: all(m.ready() or m.process.poll() is not None for m in members))
    for m in members:
        where = " (from the namespace, to the DPDK port)" if m.way == "DPDK" else ""
        if not check(m.ready(), f"{m.label} over {m.way}{where}: {m.names[0] if m.names else 'not subscribed'}"):
            m.process.kill()
            say("          " + m.process.stderr.read().strip())
    return members


def anycast(node, members):
    instances = members[1:]
    count = 4 * len(instances)
    step(f"Anycast: {count} messages to {SERVICE}, each to any one of its {len(instances)} instances")
    sent = node.publish("DPDK" if node.wire else "TCP", SERVICE, "an order", "-n", str(count))
    say("   " + sent.stdout.strip())
    wait_for(lambda: sum(len(m.got("an order")) for m in members) >= count, 10)
    for m in instances:
        say(f"   {m.label} ({m.way}) got {len(m.got('an order'))}")
    spread = [len(m.got("an order")) for m in instances]
    check(not members[0].got("an order") and sent.returncode == 0 and sum(spread) == count and min(spread) > 0, f"all {count} arrived, spread over all instances: {spread}")


def unicast(node, members):
    one = members[3]
    step(f"Unicast: one message to exactly {one.label}")
    sent = node.publish("TCP", one.names[0], "for you alone")
    say("   " + sent.stdout.strip())
    wait_for(lambda: one.got("for you alone"), 10)
    time.sleep(0.2)
    counts = [len(m.got("for you alone")) for m in members]
    check(sent.returncode == 0 and counts == [int(m is one) for m in members], f"{one.label} got it, nobody else: {counts}")


def channel(node, members):
    step(f"Channel: one message to all {len(members)} members of {CHANNEL}, over four kinds of link")
    sent = node.publish("Unix", CHANNEL, "news for all", "--all")
    say("   " + sent.stdout.strip())
    wait_for(lambda: all(m.got("news for all") for m in members), 10)
    counts = [len(m.got("news for all")) for m in members]
    check(sent.returncode == 0 and counts == [1] * len(members), f"each member got it once: {counts}")
    long = "long " * 4000
    sent = node.publish("DPDK" if node.wire else "UDP", CHANNEL, long, "--all")
    wait_for(lambda: all(m.got(long) for m in members), 10)
    counts = [len(m.got(long)) for m in members]
    check(sent.returncode == 0 and counts == [1] * len(members), f"one of {len(long)} bytes, cut into datagrams and joined again: {counts}")


def nobody(node):
    step("Nobody: one message to a name without subscribers")
    sent = node.publish("TCP", "demo/shop/closed", "hello?")
    for line in sent.stdout.strip().splitlines():
        say("   the sender sees: " + line)
    check(sent.returncode == 8 and "no_route" in sent.stdout, "the sender was told (exit code 8)")


class Application:
    """A process with sessions."""

    def __init__(self, command, address):
        environment = dict(os.environ, SLIPWAY_SECRET=SECRET, SLIPWAY_NODE=address)
        self.process = subprocess.Popen([str(word) for word in command], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.thread = threading.Thread(target=lambda: self.lines.extend(iter(self.process.stdout.readline, "")), daemon=True)
        self.thread.start()

    def ready(self):
        return wait_for(lambda: any("ready" in line for line in self.lines) or self.process.poll() is not None, 20) and self.process.poll() is None

    def end(self):
        """The lines of JSON that it said, when it has ended."""
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.thread.join()
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def trouble(self):
        return self.process.stderr.read().strip()


def application(node, address, *words):
    return Application([node.ctl, "--json", "--timeout", "20", "session", *words], address)


def listeners(node, *names, answer="heard: "):
    """Applications that answer, over TCP and Unix in turn; only when all are ready."""
    started = [application(node, [node.tcp, f"unix://{node.folder}/native.sock"][i % 2], "listen", name, "--answer", answer, "--once")
               for i, name in enumerate(names)]
    for name, one in zip(names, started):
        if not one.ready():
            check(False, f"{name} is ready: {one.trouble()}")
    return started


def said(lines):
    return [line["payload"] for line in lines if "payload" in line]


def session_result(client, members, expected):
    """Prints what came back; whether it is what should."""
    lines = client.end()
    members_lines = [member.end() for member in members]
    result = lines[-1] if lines and "sent" in lines[-1] else {}
    if not result:
        say("   " + client.trouble())
    for source in sorted({line["source"] for line in lines if "payload" in line}):
        of = [line["payload"] for line in lines if line.get("source") == source]
        say(f"   {'/'.join(source.split('/')[:3])} answered {len(of)} times: {of[0]!r}")
    encrypted = all(line["mls"] for one in members_lines for line in one if "opened" in line)
    good = result.get("answers") == expected and result.get("undelivered") == []
    return good, encrypted, result


def sessions_unicast(node):
    step("A unicast session: discovery, invitation, keys, then 5 messages that only the two can read, each acknowledged and answered")
    members = listeners(node, "demo/shop/bob")
    good, encrypted, result = session_result(application(node, node.tcp, "send", "demo/shop/bob", "an order", "--from", "demo/shop/alice", "-n", "5",
                                                         "--answers", "1"), members, 5)
    check(good and encrypted, f"5 answers with MLS; set up in {result.get('setup_ms', 0):.0f} ms, round trip {result.get('round_trip_p50_ms', 0):.1f} ms")


def sessions_multicast(node, python):
    names = ["demo/shop/bob", "demo/shop/carol"]
    step("A channel: alice invites bob and carol" + (", and dave, who is an unmodified Python application of upstream's" if python else ""))
    members = listeners(node, *names)
    dave = None
    if python:
        dave = Application([python, TOP / "tools/dev/upstream_member.py", "demo/shop/dave", node.edge], node.tcp)
        if check(dave.ready(), "dave is connected over gRPC, as upstream's applications are"):
            names.append("demo/shop/dave")
        else:
            say("          " + dave.trouble())
    good, encrypted, result = session_result(application(node, node.tcp, "invite", "demo/shop/room", *names, "--from", "demo/shop/alice", "--payload", "the news",
                                                         "-n", "3", "--answers", str(len(names))), members, 3 * len(names))
    check(good and encrypted, f"3 messages, {result.get('answers')} answers with MLS; {len(names)} members invited in {result.get('setup_ms', 0):.0f} ms")
    if dave:
        dave.end()
        heard = [line.strip() for line in dave.lines if line.startswith("heard")]
        check(heard == ["heard the news"] * 3, f"dave read them too: {heard}")


def sessions_anycast(node):
    step("Anycast with acknowledgements: 8 jobs for any one of two workers (the nodes balance, so MLS cannot be)")
    workers = listeners(node, *["demo/shop/worker"] * 2, answer="done: ")
    client = application(node, node.tcp, "send", "demo/shop/worker", "a job", "--anycast", "--from", "demo/shop/alice", "-n", "8", "--answers", "1")
    lines = client.end()
    for worker in workers:
        worker.process.send_signal(signal.SIGTERM)
    spread = [len(said(worker.end())) for worker in workers]
    good = bool(lines) and lines[-1].get("answers") == 8
    check(good and sum(spread) == 8 and min(spread) > 0, f"8 answers; the workers did {spread}")


class Bindings(threading.Thread):
    """Installs upstream's Python bindings beside the demonstration. `python` and `why_not` when it has ended."""

    def __init__(self, build):
        super().__init__(daemon=True)
        self.folder = build.resolve() / "interop" / UPSTREAM.replace("==", "-")
        self.python, self.why_not = None, "that took too long"
        self.start()

    def run(self):
        given = os.environ.get("SLIPWAY_SLIM_BINDINGS")
        if given or (self.folder / "installed").exists():
            self.python = given or self.folder / "bin/python"
            return
        try:
            venv.create(self.folder, with_pip=True, clear=True)
            done = run(self.folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", UPSTREAM, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as fault:
            self.why_not = str(fault).splitlines()[0]
            return
        if done.returncode == 0:
            (self.folder / "installed").touch()
            self.python = self.folder / "bin/python"
        else:
            self.why_not = (done.stderr.strip().splitlines() or ["pip failed"])[-1]

    def wait(self):
        self.join(INSTALL_SECONDS)
        if self.python is None:
            say(f"\n(no application of upstream's in this run: {self.why_not})")
        return self.python


def what_the_node_says(node):
    step("What the node says of it")
    check(node.show("status") == 0, "status")
    check(node.show("links") == 0, "links")
    if node.wire:
        check(node.show("ports") == 0, "ports")
    check(node.show("explain", SERVICE) == 0, "explain")
    check(node.show("drops") == 0, "drops")
    check(node.show("books") == 0, "books balance")


def demonstrate(node, stay):
    step("The node")
    if not node.start():
        check(False, "slipwayd starts")
        say(node.log.read_text())
        return
    status = node.ask("status")
    check(True, f"slipwayd is ready after {status['ready_ms']} ms (process {status['pid']})")
    for way, (address, before) in node.addresses().items():
        say(f"          {way:5} {address}{'  from namespace ' + node.wire.namespace if before else ''}")
    say(f"          gRPC  {node.edge}  for upstream's applications")
    members = []
    bindings = Bindings(node.build)
    try:
        members = everyone_connects(node)
        if not failures:
            anycast(node, members)
            unicast(node, members)
            channel(node, members)
            nobody(node)
            sessions_unicast(node)
            sessions_anycast(node)
            sessions_multicast(node, bindings.wait())
        what_the_node_says(node)
    finally:
        for m in members:
            m.stop()
    if stay:
        say(f"\nThe node goes on running.\n  look at it:  {node.ctl} --api {node.api} top\n"
            f"  talk to it:  {node.ctl} --node tcp://127.0.0.1:{node.port} sub {SERVICE}\n"
            f"  stop it:     {node.ctl} --api {node.api} stop")
        wire = f"ip link delete {node.wire.ours}; ip netns delete {node.wire.namespace}; " if node.wire else ""
        say(f"  then:        {wire}rm -r {node.folder}")
        return
    step("The end")
    check(node.stop(), "the node stopped in good order (exit code 0)")


def find_build():
    if "SLIPWAY_BUILD" in os.environ:
        return Path(os.environ["SLIPWAY_BUILD"])
    step("Install what the build needs, and build")
    subprocess.run([str(TOP / "tools/build")], check=True)
    return TOP / "build"


def main():
    parser = argparse.ArgumentParser(prog="tools/run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", action="store_true", help="leave the node running")
    stay = parser.parse_args().stay
    build = find_build()
    wire, why_not = None, Wire.possible()
    if why_not is None:
        wire = Wire()
        why_not = wire.make()
        wire = wire if why_not is None else None
    if wire is None:
        say(f"\n(no DPDK port in this run: {why_not})")
    folder = Path(tempfile.mkdtemp(prefix="slipway-demo-"))
    node = Node(build, folder, wire)
    try:
        demonstrate(node, stay)
    finally:
        if not stay or failures:
            if node.process and node.process.poll() is None:
                node.process.kill()
                node.process.wait()
            if failures and node.log.exists():
                say(f"\nthe node's log:\n{node.log.read_text()}")
            shutil.rmtree(folder, ignore_errors=True)
            if wire:
                wire.remove()
    say(f"\n{'Every step did what it should.' if not failures else 'FAILED: ' + '; '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
