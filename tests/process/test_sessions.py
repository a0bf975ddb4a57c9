"""Sessions between processes through a real node: slipwayctl's listeners and senders are applications on the endpoint library."""
import subprocess
import time

import pytest

from nodes import PATIENCE, Node, free_port
from sessions import CTL, SECRET, Application, by_jwt, jwt_keys, listener


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()


@pytest.mark.parametrize("transport", ["tcp", "unix", "udp"])
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_unicast(node, transport, mls):
    address = {"tcp": node.tcp, "unix": f"unix://{node.unix}", "udp": node.udp}[transport]
    with listener(address, "org/ns/bob", "--answer", "echo ", "--until", "bye") as bob, \
            Application(address, "send", "org/ns/bob", "hello", "-n", 50, "--answers", 1, "--last", "bye", *([] if mls else ["--no-mls"])) as alice:
        done = alice.result()
        assert done["sent"] == 50 and done["answers"] == 50 and done["undelivered"] == []
        assert set(alice.payloads()) == {"echo hello"}
        heard = bob.result()
        assert heard == {"messages": 51, "answered": 50}
        opened = next(line for line in bob.lines if "opened" in line)
        assert opened["kind"] == "unicast" and opened["mls"] is mls
        print(done)
    node.balanced()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_multicast_of_three(node, mls):
    with listener(node.tcp, "org/ns/bob", "--answer", "echo ", "--until", "bye", "--quiet") as bob, \
            listener(node.tcp, "org/ns/carol", "--answer", "echo ", "--until", "bye", "--quiet") as carol, \
            Application(node.tcp, "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--payload", "hello", "-n", 1, "--answers", 2,
                        "--last", "bye", *([] if mls else ["--no-mls"])) as alice:
        done = alice.result()
        assert done["sent"] == 1 and done["undelivered"] == []
        assert alice.payloads() == ["echo hello"] * 2
        assert {line["source"] for line in alice.lines if "payload" in line} == {bob.name, carol.name}
        for member in (bob, carol):
            assert member.result() == {"messages": 3, "answered": 1}  # the other's answer and "bye" too
    node.balanced()


def test_anycast_is_acknowledged_and_spread(node):
    workers = [listener(node.tcp, "org/ns/worker", "--answer", "done ", "-n", 1_000_000) for _ in range(2)]
    try:
        with Application(node.tcp, "send", "org/ns/worker", "job", "--anycast", "-n", 40, "--answers", 1) as client:
            done = client.result()
            assert done["sent"] == 40 and done["answers"] == 40
        for worker in workers:
            worker.process.terminate()
        heard = [worker.result(code=6)["messages"] for worker in workers]
        assert sum(heard) == 40 and min(heard) > 0, heard
    finally:
        for worker in workers:
            worker.process.kill()
    node.balanced()


def test_nobody_there(node):
    with Application(node.tcp, "send", "org/ns/nobody", "hello", "--ack-ms", 50, "--retries", 2) as alice:
        alice.result(code=8)
    with Application(node.tcp, "send", "org/ns/nobody", "hello", "--anycast", "--ack-ms", 50, "--retries", 2) as alice:
        alice.result(code=8)


def test_another_secret_is_nobody(node):
    with listener(node.tcp, "org/ns/bob"), \
            Application(node.tcp, "send", "org/ns/bob", "hello", "--ack-ms", 50, "--retries", 2, secret="another-secret-of-at-least-32-bytes!!") as mallory:
        mallory.result(code=8)
    with Application(node.tcp, "listen", "org/ns/x", secret="short") as short:
        short.result(code=4)


def test_the_node_is_killed_under_load(node):
    with listener(node.tcp, "org/ns/bob", "--until", "bye", "--raw") as bob:
        alice = Application(node.tcp, "send", "org/ns/bob", "--lines", "--last", "bye", "--ack-ms", 200, "--retries", 100)
        try:
            for i in range(400):
                alice.process.stdin.write(f"{i}\n")
                alice.process.stdin.flush()
                if i == 150:
                    node.kill()
                    node.start()
                time.sleep(0.002)
            done = alice.result()
            assert done["sent"] == 400 and done["undelivered"] == []
            out, _ = bob.process.communicate(timeout=PATIENCE)
            heard = [int(line) for line in out.splitlines() if line.isdigit()]
            assert heard == list(range(400))
        finally:
            alice.process.kill()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=node",
                    "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "node.key", "-out", "node.pem"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
def edges(tmp_path, certificates):
    """A node with listeners of upstream's protocol: {scheme: address}."""
    source = f"{{source: {{type: file, cert: {certificates}/node.pem, key: {certificates}/node.key}}}}"
    ports = {scheme: free_port() for scheme in ("http", "https", "ws", "wss")}
    servers = "".join(f"        - endpoint: {'' if scheme in ('http', 'https') else scheme + '://'}127.0.0.1:{port}\n"
                      f"          tls: {source if scheme in ('https', 'wss') else '{insecure: true}'}\n" for scheme, port in ports.items())
    node = Node(tmp_path, extra=f"services:\n  slim/0:\n    dataplane:\n      servers:\n{servers}")
    yield {**{scheme: f"{scheme}://127.0.0.1:{port}" for scheme, port in ports.items()}, "tcp": node.tcp}
    node.balanced()
    node.stop()


@pytest.mark.parametrize("scheme", ["http", "https", "ws", "wss"])
def test_over_upstreams_protocol(edges, certificates, scheme):
    ca = ["--ca", certificates / "node.pem"] if scheme in ("https", "wss") else []
    with listener(edges[scheme], "org/ns/bob", "--answer", "echo ", "--until", "bye", "--quiet", *ca) as bob, \
            listener(edges["tcp"], "org/ns/carol", "--answer", "echo ", "--until", "bye", "--quiet") as carol, \
            Application(edges[scheme], "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--payload", "hello", "-n", 20, "--answers", 2,
                        "--last", "bye", "--quiet", *ca) as alice:
        done = alice.result()
        assert done["sent"] == 20 and done["answers"] == 40 and done["undelivered"] == []
        assert bob.result()["answered"] == carol.result()["answered"] == 20


def test_tls_that_is_not_trusted(edges):
    for scheme in ("https", "wss"):
        done = subprocess.run([CTL, "--timeout", "2", "--node", edges[scheme], "session", "listen", "org/ns/bob"], capture_output=True, text=True,
                              env={"SLIPWAY_SECRET": SECRET}, timeout=PATIENCE)
        assert done.returncode == 3 and "certificate" in done.stderr, done.stderr
        with Application(edges[scheme], "send", "org/ns/nobody", "x", "--insecure", "--ack-ms", 50, "--retries", 1) as alice:
            alice.result(code=8)


def test_tokens_expire_and_sessions_go_on(node, tmp_path):
    """Both sign with tokens that live four seconds; an hour would pass like this."""
    keys = jwt_keys(tmp_path, "alice", "bob", "mallory")
    trusted = {name: keys[name] for name in ("alice", "bob")}
    with listener(node.tcp, "org/ns/bob", "--answer", "echo ", "--until", "bye", *by_jwt(trusted, "bob", "--jwt-seconds", 4), secret=None) as bob, \
            Application(node.tcp, "send", "org/ns/bob", "--lines", "--answers", 1, "--last", "bye", *by_jwt(trusted, "alice", "--jwt-seconds", 4), secret=None) as alice:
        for i in range(26):
            alice.process.stdin.write(f"{i}\n")
            alice.process.stdin.flush()
            time.sleep(0.5)
        done = alice.result()
        assert done["sent"] == done["answers"] == 26 and done["undelivered"] == []
        assert bob.result()["answered"] == 26
        for who in (alice, bob):
            epochs = [line["epoch"] for line in who.lines if "payload" in line]
            assert epochs[-1] - epochs[0] >= 3, epochs
    with listener(node.tcp, "org/ns/bob", *by_jwt(trusted, "bob"), secret=None), \
            Application(node.tcp, "send", "org/ns/bob", "x", "--ack-ms", 50, "--retries", 2, *by_jwt({**trusted, "mallory": keys["mallory"]}, "mallory"), secret=None) as mallory:
        mallory.result(code=8)  # nobody trusts that key
    with Application(node.tcp, "listen", "org/ns/x", "--jwt-key", "/nonexistent", "--jwt-trust", keys["alice"][1], secret=None) as nobody:
        nobody.result(code=5)
    with Application(node.tcp, "listen", "org/ns/x", secret=None) as nobody:
        nobody.result(code=2)


def test_several_nodes(node, tmp_path):
    """Alice is on two nodes that know nothing of each other, and finds whom she looks for on either."""
    (tmp_path / "other").mkdir()
    other = Node(tmp_path / "other", name="other")
    try:
        with listener(other.tcp, "org/ns/bob", "--answer", "echo ", "--until", "bye", "--quiet") as bob, \
                Application(node.tcp, "send", "org/ns/bob", "hello", "-n", 20, "--answers", 1, "--last", "bye", "--quiet", "--also", other.tcp) as alice:
            assert alice.result()["answers"] == 20
            assert bob.result()["answered"] == 20
        other.balanced()
    finally:
        other.stop()
