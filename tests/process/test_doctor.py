"""slipwayctl doctor against the shipped node and against servers that are none: which step fails, what is said, the exit code."""
import json
import socket
import struct
import subprocess
import threading

import pytest

from nodes import BUILD, PATIENCE, Node, free_port
from raw_edge import END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame, literal

CTL = str(BUILD / "tools/slipwayctl")
EDGE_STEPS = ["dns", "tcp", "tls", "http", "method", "negotiation", "mac", "subscribe", "echo"]
NATIVE_STEPS = ["dns", "tcp", "hello", "subscribe", "echo"]


def doctor(endpoint, *options):
    done = subprocess.run([CTL, "--json", "doctor", endpoint, *map(str, options)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else json.loads(done.stderr)


def expect(endpoint, step, code, *options, timeout=1):
    got, report = doctor(endpoint, "--timeout", timeout, *options)
    assert (got, report["failed"]) == (code, step), report
    failed = next(s for s in report["steps"] if s["name"] == step)
    assert failed["result"] == "bad" and failed["found"] and failed["try"], report
    assert not report["good"]
    return failed


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl("req", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{who}.pem", "-days", "2",
                "-extfile", "names")
    return folder


class Servers(Node):
    """Every kind of listener."""

    def __init__(self, folder, certificates):
        self.ports = {kind: free_port() for kind in ("plain", "tls", "mutual", "basic", "ws", "control")}
        source = f"source: {{type: file, cert: {certificates}/server.pem, key: {certificates}/server.key}}"
        servers = [(f"127.0.0.1:{self.ports['plain']}", "tls: {insecure: true}"),
                   (f"127.0.0.1:{self.ports['tls']}", f"tls: {{{source}}}"),
                   (f"127.0.0.1:{self.ports['mutual']}", f"tls: {{{source}, client_ca: {{type: file, path: {certificates}/ca.pem}}}}"),
                   (f"127.0.0.1:{self.ports['basic']}", "tls: {insecure: true}\n          auth: {type: basic, username: user, password: secret}"),
                   (f"ws://127.0.0.1:{self.ports['ws']}/slim", "tls: {insecure: true}"),
                   (f"unix://{folder}/edge.sock", "tls: {insecure: true}")]
        text = "".join(f"        - endpoint: {endpoint}\n          {rest}\n" for endpoint, rest in servers)
        super().__init__(folder, extra=f"services:\n  slim/0:\n    dataplane:\n      servers:\n{text}    controller:\n      servers:\n"
                                       f"        - endpoint: 127.0.0.1:{self.ports['control']}\n          tls: {{insecure: true}}\n")

    def at(self, scheme, kind, host="127.0.0.1"):
        return f"{scheme}://{host}:{self.ports[kind]}"


@pytest.fixture(scope="module")
def node(tmp_path_factory, certificates):
    one = Servers(tmp_path_factory.mktemp("node"), certificates)
    yield one
    assert one.links() == [] and one.routes() == 0  # doctor leaves nothing behind
    one.stop()


def test_finds_every_listener_well(node, certificates, tmp_path):
    (tmp_path / "credentials").write_text("user:secret\n")
    ca = ("--ca", certificates / "ca.pem")
    for endpoint, options in ((node.at("http", "plain"), ()), (node.at("grpc", "plain"), ()), (node.at("http", "plain", "localhost"), ()),
                              (node.at("https", "tls", "localhost"), ca), (node.at("https", "tls"), ca), (node.at("https", "tls"), ("--insecure",)),
                              (node.at("https", "mutual"), (*ca, "--cert", certificates / "client.pem", "--key", certificates / "client.key")),
                              (node.at("http", "basic"), ("--basic", tmp_path / "credentials")), (node.at("ws", "ws") + "/slim", ()),
                              (f"unix://{node.folder}/edge.sock", ())):
        code, report = doctor(endpoint, *options)
        assert code == 0 and report["good"] and report["failed"] is None, report
        assert [step["name"] for step in report["steps"]] == EDGE_STEPS
        assert all(step["result"] == "ok" and step["ms"] >= 0 for step in report["steps"]), report
    for endpoint, options in ((node.tcp, ()), (node.udp, ()), (f"unix://{node.unix}", ("--native",))):
        code, report = doctor(endpoint, *options)
        assert code == 0 and [step["name"] for step in report["steps"]] == NATIVE_STEPS, report


def test_says_so_in_words(node):
    done = subprocess.run([CTL, "doctor", node.at("http", "plain")], capture_output=True, text=True, timeout=PATIENCE, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and len(lines) == len(EDGE_STEPS) and all(line.startswith("ok ") for line in lines), done.stdout
    done = subprocess.run([CTL, "doctor", "http://127.0.0.1:1"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 11
    assert done.stdout.splitlines()[1].startswith("BAD  tcp") and "try: " in done.stdout.splitlines()[2] and "not tried" in done.stdout


def test_names_the_step_that_a_node_refuses(node, certificates, tmp_path):
    expect("http://no-such-host.invalid:1", "dns", 10, timeout=3)
    expect("http://127.0.0.1:1", "tcp", 11)
    expect(f"unix://{tmp_path}/nothing", "tcp", 11)
    expect("tcp://127.0.0.1:1", "tcp", 11)
    assert "http://" in expect(node.at("https", "plain"), "tls", 12, timeout=5)["try"]
    assert "--ca" in expect(node.at("https", "tls"), "tls", 12, timeout=5)["try"]
    expect(node.at("https", "tls"), "tls", 12, "--ca", certificates / "ca.pem", "--server-name", "other.example", timeout=5)
    assert "https://" in expect(node.at("http", "tls"), "http", 13, timeout=5)["try"]
    assert "--basic" in expect(node.at("http", "basic"), "method", 14, timeout=5)["try"]
    (tmp_path / "wrong").write_text("user:guess\n")
    assert "401" in expect(node.at("http", "basic"), "method", 14, "--basic", tmp_path / "wrong", timeout=5)["found"]
    assert "controller" in expect(node.at("http", "control"), "method", 14, timeout=5)["try"]
    assert "404" in expect(node.at("ws", "ws") + "/other", "http", 13, timeout=5)["found"]
    expect(f"tcp://127.0.0.1:{node.ports['plain']}", "hello", 15)
    got, report = doctor(node.at("https", "mutual"), "--ca", certificates / "ca.pem", "--timeout", 5)  # refused with or after the handshake
    assert got in (12, 13) and report["failed"] in ("tls", "http"), report


class Fake:
    """Accepts, says something, and listens."""

    def __init__(self, *answers):
        self.answers = answers  # one for each time that something comes; None: closes
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        connections = []
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connections.append(connection)
            for answer in self.answers:
                if not connection.recv(65536):
                    break
                if answer is None:
                    connection.close()
                    break
                connection.sendall(answer)

    def __enter__(self):
        return self.url

    def __exit__(self, *_):
        self.listener.close()


OPEN = frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0)
ANSWER = frame(HEADERS, END_HEADERS, 1, b"\x88" + literal("content-type", "application/grpc"))
STATUS = frame(HEADERS, END_HEADERS | END_STREAM, 1, literal("grpc-status", "0"))


def test_names_the_step_at_which_something_else_fails(tmp_path):
    with Fake() as url:
        assert "says nothing" in expect(url, "http", 13)["try"]
    with Fake(b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        assert "HTTP/1" in expect(url, "http", 13)["try"]
    with Fake(None) as url:
        expect(url, "http", 13)
    with Fake(b"\x15\x03\x01\x00\x02\x02\x46") as url:
        assert "https://" in expect(url, "http", 13)["try"]
    with Fake(b"220 mail.example ESMTP\r\n") as url:
        expect(url, "http", 13)
    with Fake(OPEN) as url:
        expect(url, "method", 14)
    with Fake(OPEN, ANSWER) as url:
        expect(url, "negotiation", 15)
    with Fake(OPEN, ANSWER, STATUS) as url:
        assert "upstream" in expect(url, "negotiation", 15)["try"]
    with Fake(OPEN, frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x88" + literal("grpc-status", "14") + literal("grpc-message", "going%20down"))) as url:
        assert "going down" in expect(url, "method", 14)["found"]
    message = b"\0" + struct.pack(">I", 3) + b"\xff\xff\xff"
    with Fake(OPEN, ANSWER, frame(0, 0, 1, message)) as url:
        expect(url, "negotiation", 15)


def test_wrong_arguments_are_told_apart(tmp_path):
    for words in (["nonsense"], ["ftp://x"], ["http://h", "--cert", "x"], ["http://h", "--basic", "/nonexistent"], ["http://h", "--name", "a"]):
        done = subprocess.run([CTL, "doctor", *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == 2 and done.stderr, (words, done)
