"""One node as a process: start, ready, refusals, hostile and broken clients, stop, reload, and the end by force."""
import os
import random
import re
import resource
import signal
import socket
import struct
import subprocess
import threading
import time
import uuid
from pathlib import Path

import pytest

import native
from native import Stream
from nodes import BUILD, PATIENCE, Node, free_port, run_slipwayd, until

SANITIZED = bool(os.environ.get("SLIPWAY_SANITIZE"))


@pytest.fixture
def node(tmp_path):
    one = Node(tmp_path)
    yield one
    code = one.stop()
    assert code in (0, -signal.SIGKILL), one.log()


# --- start -----------------------------------------------------------------------------------------------------------

def test_starts_and_says_when_it_is_ready(tmp_path):
    path = str(tmp_path / "notify")
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(path)
    manager.settimeout(PATIENCE)
    one = Node(tmp_path, start=False, environment={**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "2000000"})
    one.launch()
    said = ""
    while "WATCHDOG=1" not in said:
        said += manager.recv(4096).decode() + "\n"
    assert "READY=1" in said
    print("ready after", one.get("/v1/status")["ready_ms"], "ms")
    assert one.stop() == 0
    manager.settimeout(1)
    with pytest.raises(TimeoutError):
        while True:
            said += manager.recv(4096).decode() + "\n"
    assert "STOPPING=1" in said


def test_check_says_what_would_run_and_starts_nothing(tmp_path):
    one = Node(tmp_path, start=False)
    done = run_slipwayd("--config", one.config, "--check")
    assert done.returncode == 0
    assert f"listens on tcp://127.0.0.1:{one.port}" in done.stdout
    assert not os.path.exists(one.api)


@pytest.mark.parametrize("text, expected", [
    ("slipway:\n  listn: []\n", ":2: unknown key `listn`"),
    ("services:\n  slim/0:\n    dataplane:\n      servers: [{endpoint: '0.0.0.0:46357'}]\n", ":4: TLS needs a certificate"),
    ("services:\n  slim/0:\n    controller:\n      servers: [{endpoint: '0.0.0.0:46358'}]\n", ":4: TLS needs a certificate"),
    ("services:\n  slim/0:\n    controller:\n      clients: [{endpoint: 'http://127.0.0.1:46358'}]\n", ":4: `services.*.controller.clients`"),
    ("slipway: [", "not YAML"),
])
def test_bad_configuration_names_the_line(tmp_path, text, expected):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    for arguments in (["--check"], []):
        done = run_slipwayd("--config", path, *arguments)
        assert done.returncode == 2
        assert expected in done.stderr
    assert run_slipwayd("--config", tmp_path / "none.yaml").returncode == 2
    assert run_slipwayd("--no-such-option").returncode == 2


def test_port_in_use_is_told_and_nothing_is_left(tmp_path):
    one = Node(tmp_path, start=False)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", one.port))
        taken.listen()
        done = run_slipwayd("--config", one.config)
    assert done.returncode == 3
    assert "another program has it" in done.stderr and f"{one.port}" in done.stderr
    assert len([l for l in done.stderr.splitlines() if "cannot start" in l]) == 1
    assert not os.path.exists(one.api) and not os.path.exists(one.unix)


def test_second_node_does_not_take_the_socket_files(tmp_path, node):
    other = Node(tmp_path, name="other", start=False)
    other.config.write_text(node.config.read_text().replace(str(node.port), str(other.port)))
    done = run_slipwayd("--config", other.config)
    assert done.returncode == 3
    assert "a running program listens there" in done.stderr
    assert Stream("unix://" + node.unix).subscribe("a/b/c")[1]


@pytest.mark.parametrize("device, expected", [
    ("net_af_packet0,iface=no-such", ["no-such"]),
    ("net_no_such_driver0", ["net_no_such_driver0"]),
    ("0000:ff:1f.7", ["0000:ff:1f.7", "huge pages"]),  # whichever is missed first
])
def test_device_that_cannot_be_had(tmp_path, device, expected):
    one = Node(tmp_path, start=False, extra=f"  ports:\n    - {{device: '{device}', addresses: [10.0.0.1/24]}}\n")
    done = run_slipwayd("--config", one.config)
    assert done.returncode == 4, done.stderr
    assert any(word in done.stderr for word in expected), done.stderr
    assert not os.path.exists(one.api)


def test_cpu_that_is_not_there(tmp_path):
    one = Node(tmp_path, start=False, extra="  workers:\n    - {name: w0, cpu: 1000}\n")
    done = run_slipwayd("--config", one.config)
    assert done.returncode == 5, done.stderr
    assert "CPU 1000" in done.stderr
    assert run_slipwayd("--config", one.config, "--preflight").returncode == 1


def test_io_uring_refused_is_told(tmp_path):
    path = Path("/proc/sys/kernel/io_uring_disabled")
    try:
        before = path.read_text()
        path.write_text("2")
    except OSError as why:
        pytest.skip(f"kernel.io_uring_disabled cannot be set here: {why}")
    try:
        one = Node(tmp_path, start=False)
        done = run_slipwayd("--config", one.config)
    finally:
        path.write_text(before)
    assert done.returncode == 5
    assert "kernel.io_uring_disabled" in done.stderr
    assert not os.path.exists(one.api)


def test_idle_node_is_small_and_asleep(node):
    time.sleep(1)
    before, begun = node.cpu_seconds(), time.monotonic()
    time.sleep(5)
    share = (node.cpu_seconds() - before) / (time.monotonic() - begun)
    resident = node.resident_bytes()
    print(f"idle: {share:.2%} of a core, {resident / 2**20:.0f} MiB")
    if not SANITIZED:
        assert share < 0.01
        assert resident < 150 * 2**20


# --- traffic ---------------------------------------------------------------------------------------------------------

def test_foreign_client_over_every_stream(node):
    for address in (node.tcp, "unix://" + node.unix):
        receiver, sender = Stream(address), Stream(address)
        assert receiver.subscribe("org/ns/svc", 7) == (7, True, "")
        sender.send(native.publish("org/ns/svc", b"payload", session=3, message=4))
        frame = receiver.receive(native.PUBLISH)
        assert frame[native.HEADER:] == b"payload"
        assert frame[2] == 7, "one hop less"
        receiver.send(native.subscribe("org/ns/svc", 7, kind=native.UNSUBSCRIBE))
        assert receiver.ack()[1]
        sender.send(native.publish("org/ns/svc", b"payload"))
        while True:  # told that nobody was there
            link = native.fields(native.fields(sender.receive(native.LINK)[native.HEADER:])[5])
            if 104 in link:
                break
        receiver.close()
        sender.close()
    until(lambda: node.routes() == 0 and not node.links(), "links are gone")
    node.balanced()


def test_wrong_acks_and_limits_are_told(node):
    client = Stream(node.tcp)
    client.send(native.subscribe("org/ns/svc", 9, kind=native.UNSUBSCRIBE))
    assert client.ack() == (9, False, "subscription not found")


def test_bad_frames_are_counted_by_reason(node):
    client = Stream(node.tcp)
    client.send(native.header(native.PUBLISH, native.name_bytes("a/b/c"), version=9))
    client.send(native.header(77))
    client.send(native.header(native.PUBLISH, native.name_bytes("a/b/c"), flags=0x8000))
    client.send(native.publish("a/b/c", hop_limit=1))
    client.send(native.publish("a/b/c"))
    client.subscribe("a/b/c")
    client.send(native.publish("a/b/c"))
    expected = {"frame_version": 1, "frame_kind": 1, "frame_flags": 1, "hop_limit": 1, "no_route": 1, "only_ingress": 1}
    until(lambda: node.drops() == expected, f"drops are {expected}, are {node.drops()}")
    node.balanced()


def test_frames_before_the_hello_are_dropped(node):
    client = Stream(node.tcp, say_hello=False)
    client.send(native.publish("a/b/c"), native.subscribe("a/b/c", 1))
    until(lambda: node.drops().get("link_not_ready") == 2, "both are dropped")
    assert node.routes() == 0
    node.balanced()


def test_garbage_on_every_listener(node):
    seed = random.randrange(2**32)
    print("seed", seed)
    source = random.Random(seed)
    api_socket = socket.socket(socket.AF_UNIX)
    for round_ in range(30):
        data = source.randbytes(source.choice([1, 3, 100, 5000]))
        for family, address in ((socket.AF_INET, ("127.0.0.1", node.port)), (socket.AF_UNIX, node.unix), (socket.AF_UNIX, node.api)):
            with socket.socket(family) as one:
                one.connect(address)
                try:
                    one.sendall(data)
                except OSError:
                    pass
        with socket.socket(type=socket.SOCK_DGRAM) as one:
            one.sendto(data[:1400], ("127.0.0.1", node.port))
            # A proper shim and hello, then nonsense.
            one.sendto(struct.pack("<IQI", 0, 0, 0) + struct.pack("<I", len(data))[:3] + b"\2" + bytes(18) + data[:1400], ("127.0.0.1", node.port))
    api_socket.close()
    client = Stream(node.tcp)
    assert client.subscribe("a/b/c")[1]
    node.balanced()
    assert node.process.poll() is None


def test_garbage_after_a_proper_hello(node):
    seed = random.randrange(2**32)
    print("seed", seed)
    source = random.Random(seed)
    for _ in range(50):
        client = Stream(node.tcp)
        frames = []
        for _ in range(source.randrange(1, 20)):
            frame = bytearray(native.subscribe("a/b/c", 5) if source.random() < 0.5 else native.hello())
            for _ in range(source.randrange(4)):
                frame[source.randrange(len(frame))] = source.randrange(256)
            frames.append(bytes(frame[:source.randrange(1, len(frame) + 1)]) + source.randbytes(source.randrange(50)))
        try:
            client.send(*frames)
        except OSError:
            pass
        client.close()
    until(lambda: not node.links(), "links are gone")
    assert node.routes() == 0
    node.balanced()


def test_half_open_connections_are_bounded_and_timed_out(tmp_path):
    one = Node(tmp_path, extra="  limits: {half_open_links: 5}\n")
    waiting = [Stream(one.tcp, say_hello=False) for _ in range(8)]
    until(lambda: one.get("/v1/status")["links"]["greeting"] == 5, "five are being served")
    time.sleep(0.3)
    assert one.get("/v1/status")["links"]["greeting"] == 5, "the others wait to be accepted"
    assert one.get("/v1/workers")["control"]["links_refused"] == 0
    for client in waiting:
        assert client.ended(), "closed after the hello's deadline"
    assert Stream(one.tcp).subscribe("a/b/c")[1]
    assert one.stop() == 0


def test_flood_of_subscriptions_is_bounded_and_told(tmp_path):
    one = Node(tmp_path, extra="  limits: {subscriptions_per_link: 1000}\n")
    client = Stream(one.tcp)
    other = Stream(one.tcp)
    count = 3000
    threading.Thread(target=lambda: client.send(*(native.subscribe(f"org/ns/s{i}", i + 1) for i in range(count)))).start()
    acks = [client.ack() for _ in range(count)]
    assert sum(ok for _, ok, _ in acks) == 1000
    refusal = next(error for _, ok, error in acks if not ok)
    print("told:", refusal)
    assert refusal
    assert other.subscribe("org/ns/other")[1], "the others are served"
    assert one.routes() == 1001
    client.close()
    until(lambda: one.routes() == 1, "a lost link takes its subscriptions with it")
    one.balanced()
    assert one.stop() == 0


@pytest.mark.parametrize("links", [1, 4])
def test_every_subscription_of_a_flood_is_answered(node, links):
    """More at once than any ring between threads holds: the streams wait, nothing is dropped."""
    count = 50_000 // links

    def flood(number, results):
        client = Stream(node.tcp, timeout=PATIENCE)
        frames = [native.subscribe(f"org/flood{number}/s{i}", i + 1) for i in range(count)]
        writer = threading.Thread(target=client.send, args=frames)  # one write, as fast as the node reads
        writer.start()
        acks = [client.ack() for _ in range(count)]
        writer.join()
        results.append((client, [identifier for identifier, ok, _ in acks if ok]))

    results = []
    threads = [threading.Thread(target=flood, args=(number, results)) for number in range(links)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sorted(acked) == list(range(1, count + 1)) for _, acked in results] == [True] * links
    assert node.routes() == count * links
    assert not any(node.drops().values())
    node.balanced()
    for client, _ in results:
        client.close()


def test_who_does_not_read_answers_is_not_asked_for_more(node):
    """A client that writes for ever and never reads: what the node holds for it is bounded, the others are served."""
    deaf = Stream("unix://" + node.unix)
    frame = native.subscribe("org/deaf/s", 1)
    data = (struct.pack("<I", len(frame)) + frame) * 1000
    deaf.socket.setblocking(False)
    end, at = time.monotonic() + 3, 0
    while time.monotonic() < end:
        try:
            at = (at + deaf.socket.send(data[at:])) % len(data)
        except BlockingIOError:
            time.sleep(0.01)
    other = Stream(node.tcp)
    assert other.subscribe("org/ns/other")[1]
    if not SANITIZED:
        assert node.resident_bytes() < 300 << 20
    deaf.close()
    until(lambda: node.routes() == 1, "what it subscribed goes with it")
    node.balanced()


def test_silent_link_is_closed(tmp_path):
    one = Node(tmp_path, extra="  keepalive_ms: 200\n")
    client = Stream(one.tcp)
    assert client.subscribe("a/b/c")[1]
    assert client.ended()
    until(lambda: one.routes() == 0, "its subscriptions are gone")
    assert "dead: silent" in one.get("/v1/links")["recent"][-1]["reason"]
    assert one.stop() == 0


def test_receiver_that_stops_reading_harms_nobody_else(node):
    stuck, good, sender, other = (Stream(node.tcp) for _ in range(4))
    stuck.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert stuck.subscribe("org/ns/stuck")[1] and good.subscribe("org/ns/good")[1]
    payload = bytes(60_000)
    stop = threading.Event()

    def flood():
        try:
            while not stop.is_set():
                sender.send(native.publish("org/ns/stuck", payload))
        except OSError:
            pass

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        until(lambda: any(link["stalled"] for link in node.links()), "the receiver is named in links")
        for i in range(200):
            other.send(native.publish("org/ns/good", b"x" * 100, message=i))
            assert struct.unpack_from("<I", good.receive(native.PUBLISH), 12)[0] == i
        assert node.drops().get("receiver_stalled", 0) > 0
        node.balanced()
    finally:
        stop.set()
        thread.join(PATIENCE)
        for client in (stuck, good, sender, other):
            client.close()


# --- what an operator does ---------------------------------------------------------------------------------------------

def test_trace_and_capture(node):
    receiver, sender = Stream(node.tcp), Stream(node.tcp)
    receiver.subscribe("org/ns/svc")
    results = {}

    def watch(what, body):
        results[what] = node.request("POST", f"/v1/{what}", body)

    threads = [threading.Thread(target=watch, args=("trace", {"count": 3, "name": "org/ns/svc"})),
               threading.Thread(target=watch, args=("capture", {"count": 3, "kind": 1, "snap_bytes": 120}))]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    while any(thread.is_alive() for thread in threads):
        sender.send(native.publish("org/ns/svc", b"hello"))
        receiver.receive(native.PUBLISH)
    status, lines = results["trace"]
    assert status == 200
    lines = [__import__("json").loads(line) for line in lines.splitlines()]
    assert len(lines) == 3
    assert lines[0]["verdict"].startswith("sent to link")
    assert lines[0]["destination"].startswith("org/ns/svc")
    status, data = results["capture"]
    assert status == 200 and data.startswith(b"\x0a\x0d\x0d\x0a")
    packets = at = 0
    while at < len(data):
        kind, length = struct.unpack_from("<II", data, at)
        packets += kind == 6
        at += length
    assert packets == 3


def test_reload_under_traffic_loses_no_frame(node):
    receiver, sender = Stream(node.tcp), Stream(node.tcp)
    receiver.subscribe("org/ns/svc")
    count = 20_000
    got = []

    def receive():
        for _ in range(count):
            got.append(struct.unpack_from("<I", receiver.receive(native.PUBLISH), 12)[0])

    reader = threading.Thread(target=receive)
    reader.start()
    extra_port = free_port()

    def reload_often():
        for i in range(10):
            node.write(f"  keepalive_ms: {6000 + i}\n  routes: []\n  connect:\n    - {{name: x{i}, to: 'tcp://127.0.0.1:{extra_port}'}}\n")
            if i % 2:
                node.signal(signal.SIGHUP)
            else:
                assert node.post("/v1/reload")["ok"]
            time.sleep(0.05)

    writer = threading.Thread(target=reload_often)
    writer.start()
    for i in range(0, count, 50):
        sender.send(*(native.publish("org/ns/svc", b"x" * 100, message=n) for n in range(i, i + 50)))
        time.sleep(0.001)
    writer.join(PATIENCE)
    reader.join(PATIENCE)
    assert got == list(range(count)), "all, in order"
    until(lambda: node.get("/v1/workers")["control"]["reloads"] == 10, "ten reloads")
    node.balanced()


def test_reload_changes_listeners_and_refuses_what_is_wrong(node):
    client = Stream(node.tcp)
    new_port = free_port()
    good = node.config.read_text()
    node.config.write_text(good.replace("  listen:\n", f"  listen:\n    - tcp: 127.0.0.1:{new_port}\n"))
    row = node.post("/v1/reload")
    assert any(str(new_port) in change for change in row["changed"]), row
    assert Stream(f"tcp://127.0.0.1:{new_port}").subscribe("a/b/c")[1]
    node.config.write_text(good + "  nonsense: 1\n")
    answer = node.post("/v1/reload", status=409)
    assert "nonsense" in answer["error"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        node.config.write_text(good.replace("  listen:\n", f"  listen:\n    - tcp: 127.0.0.1:{taken.getsockname()[1]}\n"))
        assert "another program has it" in node.post("/v1/reload", status=409)["error"]
    assert Stream(f"tcp://127.0.0.1:{new_port}").subscribe("a/b/c")[1], "refused: nothing has changed"
    node.config.write_text(good + "  anycast_order: upstream\n")
    row = node.post("/v1/reload")
    assert row["needs_restart"] == ["slipway.anycast_order"]
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", new_port))
    assert client.subscribe("a/b/d")[1], "links that were there stay"


def test_routes_links_and_log_level(node):
    client = Stream(node.tcp)
    link = node.links()[0]["link"]
    node.post("/v1/route/add", {"name": "org/ns/static", "to": str(link)})
    assert node.get("/v1/explain?name=org/ns/static")["total"] == 1
    node.post("/v1/route/del", {"name": "org/ns/static", "to": str(link)})
    assert node.get("/v1/explain?name=org/ns/static")["drop"]
    assert node.post("/v1/route/add", {"name": "org/ns/static", "to": "nobody"}, status=404)["try"]
    node.post("/v1/log-level", {"level": "debug"})
    assert node.get("/v1/status")["log_level"] == "debug"
    node.post("/v1/links/close", {"link": link})
    assert client.ended()
    assert node.get("/v1/links")["recent"][-1]["reason"] == "closed by an operator"


# --- the end -----------------------------------------------------------------------------------------------------------

def test_stop_sends_what_is_held(node):
    receiver, sender = Stream(node.tcp), Stream(node.tcp)
    receiver.subscribe("org/ns/svc")
    count = 2_000
    sender.send(*(native.publish("org/ns/svc", bytes(1000), message=i) for i in range(count)))
    until(lambda: node.get("/v1/status")["frames_in"] >= count, "all are in the node")
    node.post("/v1/stop", {"drain_ms": 20_000}, status=202)
    for i in range(count):
        assert struct.unpack_from("<I", receiver.receive(native.PUBLISH), 12)[0] == i
    assert node.process.wait(PATIENCE) == 0
    assert "stopped; nothing was dropped" in node.log()
    assert not os.path.exists(node.api) and not os.path.exists(node.unix)


def test_restart_after_kill_takes_over_its_socket_files(node):
    for _ in range(3):
        assert Stream("unix://" + node.unix).subscribe("a/b/c")[1]
        node.kill()
        assert os.path.exists(node.unix), "nobody cleaned up"
        node.start()
    client = Stream("unix://" + node.unix)
    assert client.subscribe("a/b/c")[1]
    assert node.routes() == 1


def test_runs_out_of_descriptors_and_recovers(tmp_path):
    one = Node(tmp_path, start=False)
    one.log_file = open(one.log_path, "ab")
    one.process = subprocess.Popen([BUILD / "tools/slipwayd", "--config", one.config], stdin=subprocess.DEVNULL, stdout=one.log_file,
                                   stderr=one.log_file, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (160, 160)))
    until(lambda: one.process.poll() is not None or one.answers(), "it answers")
    assert one.process.poll() is None, one.log()
    crowd = []
    for _ in range(200):
        crowd.append(socket.create_connection(("127.0.0.1", one.port)))
    until(lambda: "raise `ulimit -n`" in one.log(), "it says what is short")
    for client in crowd:
        client.close()
    until(lambda: Stream(one.tcp, timeout=5).subscribe("a/b/c")[1], "it recovers")
    assert one.stop() == 0
