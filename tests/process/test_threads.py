"""All that threads of the node share, at once: two workers behind the same listeners, under load by every protocol, names that come and go,
neighbours that are lost, sessions and a channel that the node hosts, while certificates are reloaded and an operator asks for everything.
In any build the books must balance at the end; a build with a thread sanitizer (`tools/test --sanitize=thread process-threads`) finds races.
SLIPWAY_ROUNDS: how often each of them does its turn."""
import os
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import channels
import native
from nodes import BUILD, PATIENCE, Node, free_port, until
from protobuf import field, parse
from raw_edge import END_HEADERS, HEADERS, PREFACE, SETTINGS, WINDOW, Raw, frame, name, publish, request, subscribe, unsubscribe
from sessions import SECRET, Application, listener

CTL = BUILD / "tools/slipwayctl"
ROUNDS = int(os.environ.get("SLIPWAY_ROUNDS", "3"))
SERVICE = "/controller.proto.v1.ControllerService/OpenControlChannel"


def certificate(folder):
    """A new one in place of the last."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", "new.key", "-out", "new.pem"], cwd=folder, check=True, capture_output=True)
    for ending in ("key", "pem"):
        os.replace(folder / f"new.{ending}", folder / f"server.{ending}")


class BusyNode(Node):
    """Two workers, and every kind of listener."""

    def __init__(self, folder):
        self.ports = {kind: free_port() for kind in ("edge", "tls", "control")}
        certificate(folder)
        tls = f"tls: {{source: {{type: file, cert: {folder}/server.pem, key: {folder}/server.key}}}}"
        super().__init__(folder, extra="  workers: [{name: one}, {name: two}]\n  controller_commands: true\n" + channels.section(folder, SECRET) + (
            "services:\n  slim/0:\n    dataplane:\n      servers:\n"
            f"        - endpoint: 127.0.0.1:{self.ports['edge']}\n          tls: {{insecure: true}}\n          require_header_mac: false\n"
            "          negotiation_timeout_secs: 600\n"  # a sanitized node on a busy machine is slow
            f"        - endpoint: 127.0.0.1:{self.ports['tls']}\n          {tls}\n"
            f"    controller:\n      servers:\n        - endpoint: 127.0.0.1:{self.ports['control']}\n          tls: {{insecure: true}}\n"))


def neighbour(folder, kind, node):
    """Another node that is linked with it, and tells it what it knows."""
    if kind == "native":
        return Node(folder, name="native", extra=f"  connect:\n    - {{name: up, to: '{node.tcp}', class: peer, backoff: {{first_ms: 50, max_ms: 200}}}}\n")
    return Node(folder, name="edge", extra=(
        f"services:\n  slim/0:\n    dataplane:\n      servers: []\n      clients:\n        - endpoint: http://127.0.0.1:{node.ports['edge']}\n"
        "          tls: {insecure: true}\n          connection_type: peer\n          backoff: {type: fixed_interval, interval: 50ms}\n"))


# --- what happens at once: each is one turn, numbered ---------------------------------------------------------------------


def applications_of_upstream_come_and_go(node, turn):
    links = [Raw(node.ports["edge"]) for _ in range(8)]
    for number, link in enumerate(links):
        link.negotiate(key=b"")
        assert link.subscribe(name(number)) == (True, "")
    for number, link in enumerate(links):
        for count in range(20):
            link.say(publish(name((number + 1) % len(links)), b"%d" % count))
    for link in links:
        link.until(lambda: b"19" in link.payloads(), "the neighbour's messages")
    for number, link in enumerate(links):
        if number % 2:
            link.say(unsubscribe(name(number), number=8))
        link.close()


def native_applications_come_and_go(node, turn):
    links = [native.Stream(address) for address in (node.tcp, "unix://" + node.unix) * 3]
    for number, link in enumerate(links):
        for count in range(30):
            link.send(native.subscribe(f"org/threads/s{number}-{count}", count + 1))
        for _ in range(30):
            assert link.ack()[1]
    for link in links:
        link.send(*(native.publish(f"org/threads/s{number}-{count}", b"x" * 200) for number in range(len(links)) for count in range(30)))
    for link in links:
        for _ in range(30):
            link.receive(native.PUBLISH)
        link.close()


NOBODY_HEARD = 8  # within the second that is measured: a sanitized node with all this to do


def load(pattern, *words):
    def run(node, turn):
        ctl(node, "bench", pattern, "--size", "256", "--duration", "1", *words, codes=(0, NOBODY_HEARD))
    return run


def sessions_over_tls(node, turn):
    """A listener in one protocol, a sender in the other, with MLS."""
    with listener(node.tcp, f"org/ns/bob-{turn}", "--answer", "echo ", "--until", "bye", "--quiet"), \
            Application(f"https://127.0.0.1:{node.ports['tls']}", "send", f"org/ns/bob-{turn}", "hello", "-n", 20, "--answers", 1, "--last", "bye",
                        "--insecure", "--quiet") as alice:
        assert alice.result()["undelivered"] == []


def hosted_channel(node, turn):
    room = f"org/ns/room-{turn}"
    channels.ctl(node, "create", room)
    with listener(node.tcp, f"org/ns/carol-{turn}") as carol:
        channels.ctl(node, "invite", room, f"org/ns/carol-{turn}")
        carol.read("opened")
        channels.ctl(node, "show", room)
        channels.ctl(node, "remove", room, f"org/ns/carol-{turn}")
        carol.read("closed")
    channels.ctl(node, "delete", room)


def certificates_are_reloaded(node, turn):
    certificate(node.folder)
    before = node.get("/v1/workers")["control"]["reloads"]
    node.signal(signal.SIGHUP)
    until(lambda: node.get("/v1/workers")["control"]["reloads"] > before, "the reload")
    with socket.create_connection(("127.0.0.1", node.ports["tls"])) as plain, \
            ssl._create_unverified_context().wrap_socket(plain) as secure:
        assert secure.version() == "TLSv1.3"


def controller_is_asked(node, turn):
    service = Raw(node.ports["control"], opens=False)
    service.send(PREFACE + frame(SETTINGS, 0, 0) + frame(WINDOW, 0, 0, struct.pack(">I", 1 << 30)) + frame(HEADERS, END_HEADERS, 1, request(path=SERVICE)))
    for _ in range(10):
        for number, answer in ((4, 5), (6, 7)):  # routes, connections
            service.say(field(1, "ask") + field(number, b""))
            service.until(lambda: any(parse(parse(m).get(answer, [b""])[0]).get(3) == [1] for m in service.messages) or service.over, "the whole list")
            assert not service.over
            service.messages.clear()
    service.close()


def ctl(node, *words, codes=(0,)):
    done = subprocess.run([CTL, "--api", f"unix://{node.api}", "--node", node.tcp, *words], capture_output=True, text=True, timeout=4 * PATIENCE, check=False)
    assert done.returncode in codes, " ".join(map(str, words)) + done.stdout + done.stderr
    return done.stdout


def operator_asks_for_everything(node, turn):
    for verb in ("status", "ports", "links", "routes", "drops", "workers", "memory", "config", "version"):
        ctl(node, verb)
    ctl(node, "explain", "org/threads/s1-1")
    ctl(node, "channel", "list")
    ctl(node, "log-level", "debug" if turn % 2 else "info")
    for path in ("/metrics", "/v1/books", "/healthz"):
        node.request("GET", path)
    for what in ("trace", "capture"):
        assert node.request("POST", f"/v1/{what}", {"count": 20, "seconds": 1})[0] == 200


def links_are_closed_and_routes_set(node, turn):
    one = native.Stream(node.tcp, node_id=f"closed-{turn}")
    link = until(lambda: [row["link"] for row in node.links() if row["node_id"] == f"closed-{turn}"], "its link")[0]
    node.post("/v1/route/add", {"name": "org/ns/static", "to": str(link)})
    node.post("/v1/route/del", {"name": "org/ns/static", "to": str(link)})
    node.post("/v1/links/close", {"link": link})
    assert one.ended()


def neighbours_are_lost_and_return(others):
    def run(node, turn):
        for other in others:
            if turn % 2:
                other.kill()
            else:
                assert other.stop() == 0, other.log()
            other.start()
            until(lambda: [row for row in node.links() if row["node_id"] == other.name], f"{other.name} is back")
            lodger = native.Stream(other.tcp)
            assert lodger.subscribe(f"org/far/{other.name}")[1]
            until(lambda: lodger.tend() and node.get(f"/v1/explain?name=org/far/{other.name}")["total"], "the name is known")
            lodger.close()
    return run


def test_everything_at_once(tmp_path):
    node = BusyNode(tmp_path)
    others = [neighbour(tmp_path, kind, node) for kind in ("native", "edge")]
    doings = [applications_of_upstream_come_and_go, native_applications_come_and_go, load("1:1"), load("1:4"), load("request", "--window", "32"),
              sessions_over_tls, hosted_channel, certificates_are_reloaded, controller_is_asked, operator_asks_for_everything,
              links_are_closed_and_routes_set, neighbours_are_lost_and_return(others)]
    try:
        with ThreadPoolExecutor(len(doings)) as pool:
            for done in [pool.submit(lambda doing=doing: [doing(node, turn) for turn in range(ROUNDS)]) for doing in doings]:
                done.result()
        workers = node.get("/v1/workers")["workers"]
        assert len(workers) == 2 and all(row["counters"]["frames_in"] > 1000 for row in workers), workers
        until(lambda: not [row for row in node.links() if row["class"] not in ("peer", "local")], "all applications are gone")
        time.sleep(0.2)
        node.balanced()
    finally:
        codes = [one.stop() for one in (*others, node)]
    assert codes == [0, 0, 0], node.log()[-10000:]
