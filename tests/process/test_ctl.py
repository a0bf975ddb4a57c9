"""slipwayctl against a running node: every verb, as text and as JSON, and each exit code that a node can cause."""
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

BUILD = Path(os.environ.get("SLIPWAY_BUILD", "build"))
CTL = str(BUILD / "tools/slipwayctl")
PATIENCE = 60


def free_port():
    with socket.socket() as tcp:
        tcp.bind(("127.0.0.1", 0))
        return tcp.getsockname()[1]


def until(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"not within {PATIENCE} s: {what}"
        time.sleep(0.05)


class Node:
    def __init__(self, folder):
        self.port = free_port()
        self.folder = folder
        (folder / "slipwayd.yaml").write_text(
            f"slipway:\n  node_id: test\n  listen:\n    - tcp: 127.0.0.1:{self.port}\n    - udp: 127.0.0.1:{self.port}\n"
            f"    - unix: {folder}/native.sock\n  api:\n    unix: {folder}/control.sock\n")
        self.environment = dict(os.environ, SLIPWAY_API=f"unix://{folder}/control.sock", SLIPWAY_NODE=f"tcp://127.0.0.1:{self.port}")
        self.start()

    def start(self):
        with open(self.folder / "log", "w") as log:
            self.process = subprocess.Popen([str(BUILD / "tools/slipwayd"), "--config", str(self.folder / "slipwayd.yaml")], stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE
        while self.ctl("status").returncode != 0:
            assert self.process.poll() is None and time.monotonic() < end, (self.folder / "log").read_text()
            time.sleep(0.05)

    def ctl(self, *words, **options):
        return subprocess.run([CTL, *map(str, words)], capture_output=True, text=True, env=self.environment, timeout=PATIENCE, **options)

    def json(self, *words):
        done = self.ctl("--json", *words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def subscriber(self, *words):
        process = subprocess.Popen([CTL, "--json", "sub", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        name = json.loads(process.stdout.readline())["subscribed"]
        return process, name


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    one = Node(tmp_path_factory.mktemp("node"))
    yield one
    if one.process.poll() is None:
        one.process.terminate()
        one.process.wait(PATIENCE)


@pytest.mark.parametrize("verb", ["status", "ports", "links", "routes", "drops", "books", "workers", "memory", "config", "version"])
def test_questions_as_text_and_json(node, verb):
    text = node.ctl(verb)
    assert text.returncode == 0 and text.stdout.strip(), text.stderr
    assert isinstance(node.json(verb), dict)


def test_stable_field_names(node):
    assert {"node_id", "version", "state", "uptime_ms", "links", "routes", "frames_in", "dropped"} <= node.json("status").keys()
    assert {"workers", "control"} <= node.json("workers").keys()
    assert node.json("books")["balanced"] is True
    assert node.json("memory")["routing"]["route_limit"] == 4_000_000


def test_publish_subscribe_explain_and_routes(node):
    subscriber, name = node.subscriber("test/ctl/echo", "-n", "2", "--seconds", "60")
    explained = node.json("explain", "test/ctl/echo")
    assert explained["total"] == 1 and explained["drop"] is None
    link = explained["matches"][0]["link"]
    assert "only_ingress" in node.ctl("explain", "test/ctl/echo", "--from", link).stdout
    assert any(r["name"].startswith("test/ctl/echo") for r in node.json("routes")["routes"])
    assert node.json("instances", "test/ctl/echo")["instances"] == [name.rsplit("/", 1)[1]]
    assert node.ctl("pub", "test/ctl/echo", "one").returncode == 0
    assert node.ctl("pub", name, "two", "--node", f"udp://127.0.0.1:{node.port}").returncode == 0
    out, _ = subscriber.communicate(timeout=PATIENCE)
    assert subscriber.returncode == 0
    assert [json.loads(line)["payload"] for line in out.splitlines()] == ["one", "two"]


def test_nobody_is_exit_code_8(node):
    done = node.ctl("pub", "test/ctl/nobody", "x")
    assert done.returncode == 8 and "no_route" in done.stdout
    assert node.ctl("instances", "test/ctl/nobody").returncode == 5
    assert any(d["reason"] == "no_route" and d["count"] > 0 for d in node.json("drops")["drops"])
    assert "nobody has subscribed to test/ctl/nobody" in node.ctl("explain", "test/ctl/nobody").stdout


@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_every_message_that_nobody_received_is_told(node, scheme):
    # Far more than the node's rate of notices: what it holds back is summed up.
    done = node.ctl("--json", "--node", f"{scheme}://127.0.0.1:{node.port}", "pub", "test/ctl/nobody", "x", "-n", "3000", "--wait-ms", "3000")
    assert done.returncode == 8
    assert json.loads(done.stdout)["dropped"] == 3000


def test_datagram_links_count_as_accepted(node):
    def accepted():
        return next(row["accepted"] for row in node.json("ports")["listeners"] if row["address"].startswith("udp"))
    before = accepted()
    node.ctl("--node", f"udp://127.0.0.1:{node.port}", "pub", "test/ctl/nobody", "x")
    assert accepted() == before + 1


@pytest.mark.parametrize("scheme", ["tcp", "udp", "unix"])
def test_a_goodbye_is_heard_before_the_end(node, scheme):
    # What a client says last and its end arrive together: the first is not lost for the second.
    way = f"unix://{node.folder}/native.sock" if scheme == "unix" else f"{scheme}://127.0.0.1:{node.port}"
    for i in range(20):
        node.ctl("--node", way, "pub", "test/ctl/nobody", "x", "--from", f"test/ctl/leaver{scheme}{i}", "--wait-ms", "0")
    until(lambda: f"test/ctl/leaver{scheme}19" in {row["node_id"] for row in node.json("links")["recent"]}, "all have left")
    reasons = {row["reason"] for row in node.json("links")["recent"] if row["node_id"].startswith(f"test/ctl/leaver{scheme}")}
    assert reasons == {"the peer said goodbye: closed by the application"}


def test_echo_answers_the_sender(node):
    answers, name = node.subscriber("test/ctl/asker", "-n", "1", "--seconds", "60")
    echo, _ = node.subscriber("test/ctl/mirror", "--echo", "-n", "1", "--seconds", "60")
    assert node.ctl("pub", "test/ctl/mirror", "ping", "--from", name).returncode == 0
    # The publisher's own link does not get it back, and is gone: the other holder of the name is.
    out, _ = answers.communicate(timeout=PATIENCE)
    assert json.loads(out)["payload"] == "ping"
    echo.communicate(timeout=PATIENCE)


def test_trace_and_capture(node):
    trace = subprocess.Popen([CTL, "--json", "trace", "test/ctl/traced", "-n", "1", "--seconds", "60"], stdout=subprocess.PIPE, text=True, env=node.environment)
    target = node.folder / "frames.pcapng"
    capture = subprocess.Popen([CTL, "capture", "test/ctl/traced", "-n", "1", "--seconds", "60", "-o", str(target)], stdout=subprocess.PIPE, text=True, env=node.environment)
    end = time.monotonic() + PATIENCE
    while (trace.poll() is None or capture.poll() is None) and time.monotonic() < end:
        node.ctl("pub", "test/ctl/traced", "look", "--wait-ms", "10")
    assert trace.wait(PATIENCE) == 0 and capture.wait(PATIENCE) == 0
    line = json.loads(trace.stdout.readline())
    assert line["dropped"] == "no_route" and "dropped" in line["verdict"]
    assert target.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"


def test_top(node):
    assert "WORKER" in node.ctl("top", "-n", "1", "--interval", "0.1").stdout
    rates = json.loads(node.ctl("--json", "top", "-n", "1", "--interval", "0.1").stdout)
    assert {"frames_in", "sent", "dropped", "workers", "links"} <= rates.keys()


@pytest.mark.parametrize("pattern", ["1:1", "1:4", "3:1", "request"])
def test_bench(node, pattern):
    result = node.json("bench", pattern, "--count", "2000", "--size", "100")
    assert result["sent"] == 2000
    assert result["missing"] == 0 and result["delivered"] == 2000 * (4 if pattern == "1:4" else 1)
    assert result["latency_us"]["p50"] > 0 and result["limited_by"]
    assert node.ctl("books").returncode == 0


def test_bench_at_a_rate_and_as_csv(node):
    result = node.json("bench", "1:1", "--rate", "1000", "--count", "300")
    assert result["delivered"] == 300
    assert result["latency_us"]["p99"] >= result["latency_from_sending_us"]["p99"] * 0.5
    header, line = node.ctl("bench", "1:1", "--count", "100", "--csv").stdout.splitlines()
    assert len(header.split(",")) == len(line.split(","))


def test_log_level_and_reload(node):
    assert node.ctl("log-level", "debug").returncode == 0
    assert node.json("status")["log_level"] == "debug"
    assert node.ctl("log-level", "info").returncode == 0
    assert node.ctl("reload").returncode == 0


def test_close_and_not_found(node):
    subscriber, _ = node.subscriber("test/ctl/closed", "--seconds", "60", "-n", "1")
    link = node.json("explain", "test/ctl/closed")["matches"][0]["link"]
    assert node.ctl("close", link).returncode == 0
    # It comes back by itself and subscribes again.
    end = time.monotonic() + PATIENCE
    while node.json("explain", "test/ctl/closed")["total"] == 0 or node.json("explain", "test/ctl/closed")["matches"][0]["link"] == link:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert node.ctl("pub", "test/ctl/closed", "back").returncode == 0
    out, _ = subscriber.communicate(timeout=PATIENCE)
    assert json.loads(out)["payload"] == "back"
    missing = node.ctl("close", 9999)
    assert missing.returncode == 5 and "try:" in missing.stderr


def test_route_to_nowhere_is_refused(node):
    done = node.ctl("route", "add", "test/ctl/static", "--to", "nosuch")
    assert done.returncode in (4, 5), done.stderr


def test_preflight(node):
    done = node.ctl("preflight")
    assert "io_uring" in done.stdout and done.returncode in (0, 7)
    assert {"good", "checks"} <= json.loads(node.ctl("--json", "preflight").stdout).keys()
    wrong = node.folder / "wrong.yaml"
    wrong.write_text("slipway:\n  nonsense: 1\n")
    assert node.ctl("preflight", "--config", wrong).returncode == 2


def test_usage_and_unreachable():
    assert subprocess.run([CTL, "explain"], capture_output=True).returncode == 2
    done = subprocess.run([CTL, "--json", "--api", "unix:///nonexistent/x", "status"], capture_output=True, text=True)
    assert done.returncode == 3 and json.loads(done.stderr)["exit_code"] == 3


def test_a_node_that_dies_and_returns(node):
    """kill -9 under load: over every transport clients reconnect and subscribe again by themselves."""
    ways = [f"tcp://127.0.0.1:{node.port}", f"udp://127.0.0.1:{node.port}", f"unix://{node.folder}/native.sock"]
    subscribers = [node.subscriber("--node", way, f"test/ctl/survivor{i}", "--seconds", "120", "-n", "1") for i, way in enumerate(ways)]
    load = [subprocess.Popen([CTL, "--timeout", "60", "--node", way, "pub", "test/ctl/load", "x", "-n", "1000000", "--rate", "500", "--from", f"test/ctl/loader{i}"],
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=node.environment) for i, way in enumerate(ways)]
    wanted = {f"test/ctl/loader{i}" for i in range(len(load))}

    def all_send():
        return wanted <= {link["node_id"] for link in node.json("links")["links"] if link["frames_in"] > 10}

    until(all_send, "every publisher sends")
    node.process.send_signal(signal.SIGKILL)
    node.process.wait(PATIENCE)
    assert node.ctl("status").returncode == 3
    node.start()
    for subscriber, name in subscribers:
        until(lambda: node.json("explain", name)["total"] == 1, f"{name} is known again")
        assert node.ctl("pub", name, "welcome back").returncode == 0
        out, _ = subscriber.communicate(timeout=PATIENCE)
        assert json.loads(out)["payload"] == "welcome back"
    until(all_send, "every publisher sends again")
    for process in load:
        assert process.poll() is None
        process.terminate()
        process.wait(PATIENCE)
        assert "connected again" in process.stderr.read()
    assert node.ctl("books").returncode == 0


def test_stop_comes_last(node):
    assert node.ctl("stop", "--drain-ms", "500").returncode == 0
    assert node.process.wait(PATIENCE) == 0
    assert node.ctl("status").returncode == 3
