"""Unmodified applications over every transport and with every kind of credentials that upstream's file can ask for."""
import base64
import hashlib
import hmac
import json
import signal
import socket
import ssl
import subprocess
import time

import pytest

from parts import App, EdgeNode, free_port, until

SECRET = "a-key-of-the-tests-of-32-bytes-or-more"
KEEPALIVE = {"tcp_keepalive": "1s", "http2_keepalive": "1s", "timeout": "2s", "keep_alive_while_idle": True}


def openssl(*words):
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        self.authority("ca")
        self.authority("other-ca")
        self.leaf("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        self.leaf("elsewhere", "ca", "subjectAltName=DNS:elsewhere,IP:127.0.0.2")
        self.leaf("client", "ca", "extendedKeyUsage=clientAuth")
        self.leaf("stranger", "other-ca", "extendedKeyUsage=clientAuth")
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self["jwt.key"])
        openssl("pkey", "-in", self["jwt.key"], "-pubout", "-out", self["jwt.pub"])

    def __getitem__(self, name):
        return str(self.folder / name)

    def authority(self, name):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                "-keyout", self[f"{name}.key"], "-out", self[f"{name}.pem"])

    def leaf(self, name, authority, extension):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                "-keyout", self[f"{name}.key"], "-out", self[f"{name}.csr"])
        (self.folder / f"{name}.ext").write_text(f"basicConstraints=CA:FALSE\n{extension}\n")
        openssl("x509", "-req", "-in", self[f"{name}.csr"], "-CA", self[f"{authority}.pem"], "-CAkey", self[f"{authority}.key"],
                "-CAcreateserial", "-days", "2", "-extfile", self[f"{name}.ext"], "-out", self[f"{name}.pem"])

    def source(self, name):
        return {"type": "file", "cert": self[f"{name}.pem"], "key": self[f"{name}.key"]}

    def ca(self, name="ca"):
        return {"type": "file", "path": self[f"{name}.pem"]}


def jwt(kind, algorithm, **key):
    return {"type": "jwt", "claims": {"audience": ["slim"], "issuer": "the-tests", "subject": "alice"},
            "key": {"type": kind, "algorithm": algorithm, "format": "pem", "key": key}}


def servers_of(certificates, folder, ports):
    """What the node's file says: {name: entry of `servers`}. JSON is YAML."""
    tls = {"source": certificates.source("server")}
    plain = {"insecure": True}
    at = lambda name: f"127.0.0.1:{ports[name]}"  # noqa: E731
    return {
        "tls": {"endpoint": at("tls"), "tls": tls},
        "tls-elsewhere": {"endpoint": at("tls-elsewhere"), "tls": {"source": certificates.source("elsewhere")}},
        "tls12": {"endpoint": at("tls12"), "tls": {**tls, "tls_version": "tls1.2"}},
        "mtls": {"endpoint": at("mtls"), "tls": {**tls, "client_ca": certificates.ca()}},
        "ws": {"endpoint": f"ws://{at('ws')}/slim", "tls": plain},
        "wss": {"endpoint": f"wss://{at('wss')}", "tls": tls},
        "unix": {"endpoint": f"unix://{folder}/edge.sock", "tls": plain},
        "basic": {"endpoint": at("basic"), "tls": plain, "auth": {"type": "basic", "username": "alice", "password": "${env:EDGE_PASSWORD}"}},
        "hs256": {"endpoint": at("hs256"), "tls": plain, "auth": jwt("decoding", "HS256", data=SECRET)},
        "es256": {"endpoint": at("es256"), "tls": tls, "auth": jwt("decoding", "ES256", file=certificates["jwt.pub"])},
        "ws-jwt": {"endpoint": f"ws://{at('ws-jwt')}", "tls": plain, "auth": jwt("decoding", "HS256", data=SECRET)},
        "pings": {"endpoint": at("pings"), "tls": plain, "keepalive": {"time": "1s", "timeout": "2s", "max_connection_age": "2s"}},
    }


GOOD = ["plain", "tls", "tls-name", "tls-address", "tls-skip-verify", "tls12", "mtls", "ws", "wss", "unix", "basic", "hs256", "es256", "static", "ws-jwt"]
BAD = {"tls-unknown-ca": "UnknownIssuer", "tls-wrong-name": "not valid for name", "tls-wrong-address": "not valid for name", "mtls-stranger": "UnknownCA", "mtls-none": "CertificateRequired", "basic-wrong": "wrong user name or password", "basic-none": "no credentials",
       "hs256-wrong": "signature", "hs256-none": "no bearer token", "ws-jwt-wrong": "401", "ws-path": "404"}


def clients_of(certificates, folder, ports, edge, token):
    trust = {"ca_source": certificates.ca()}
    plain = {"insecure": True}
    http = lambda name: f"http://127.0.0.1:{ports[name]}"  # noqa: E731
    https = lambda name: f"https://localhost:{ports[name]}"  # noqa: E731
    basic = lambda password: {"type": "basic", "username": "alice", "password": password}  # noqa: E731
    return {
        "plain": {"endpoint": edge, "tls": plain},
        "tls": {"endpoint": https("tls"), "tls": trust},
        "tls-skip-verify": {"endpoint": https("tls"), "tls": {"insecure_skip_verify": True}},
        "tls-name": {"endpoint": https("tls-elsewhere"), "tls": trust, "server_name": "elsewhere"},
        "tls-address": {"endpoint": f"https://127.0.0.1:{ports['tls']}", "tls": trust},
        "tls12": {"endpoint": https("tls12"), "tls": {**trust, "tls_version": "tls1.2"}},
        "mtls": {"endpoint": https("mtls"), "tls": {**trust, "source": certificates.source("client")}},
        "ws": {"endpoint": f"ws://127.0.0.1:{ports['ws']}/slim", "tls": plain},
        "wss": {"endpoint": f"wss://localhost:{ports['wss']}", "tls": trust},
        "unix": {"endpoint": f"unix://{folder}/edge.sock", "tls": plain},
        "basic": {"endpoint": http("basic"), "tls": plain, "auth": basic("the word")},
        "hs256": {"endpoint": http("hs256"), "tls": plain, "auth": jwt("encoding", "HS256", data=SECRET)},
        "es256": {"endpoint": https("es256"), "tls": trust, "auth": jwt("encoding", "ES256", file=certificates["jwt.key"])},
        "static": {"endpoint": http("hs256"), "tls": plain, "auth": {"type": "static_jwt", "file": str(token)}},
        "ws-jwt": {"endpoint": f"ws://127.0.0.1:{ports['ws-jwt']}", "tls": plain, "auth": jwt("encoding", "HS256", data=SECRET)},
        "tls-unknown-ca": {"endpoint": https("tls"), "tls": {"ca_source": certificates.ca("other-ca")}},
        "tls-wrong-name": {"endpoint": https("tls-elsewhere"), "tls": trust},
        "tls-wrong-address": {"endpoint": f"https://127.0.0.1:{ports['tls-elsewhere']}", "tls": trust},
        "mtls-stranger": {"endpoint": https("mtls"), "tls": {**trust, "source": certificates.source("stranger")}},
        "mtls-none": {"endpoint": https("mtls"), "tls": trust},
        "basic-wrong": {"endpoint": http("basic"), "tls": plain, "auth": basic("another word")},
        "basic-none": {"endpoint": http("basic"), "tls": plain},
        "hs256-wrong": {"endpoint": http("hs256"), "tls": plain, "auth": jwt("encoding", "HS256", data=SECRET + "!")},
        "hs256-none": {"endpoint": http("hs256"), "tls": plain},
        "ws-jwt-wrong": {"endpoint": f"ws://127.0.0.1:{ports['ws-jwt']}", "tls": plain, "auth": jwt("encoding", "HS256", data=SECRET + "!")},
        "ws-path": {"endpoint": f"ws://127.0.0.1:{ports['ws']}/elsewhere", "tls": plain},
    }


def token_of(secret):
    coded = lambda raw: base64.urlsafe_b64encode(raw).rstrip(b"=").decode()  # noqa: E731
    head = coded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    body = coded(json.dumps({"sub": "alice", "iss": "the-tests", "aud": ["slim"], "exp": int(time.time()) + 600}).encode())
    return f"{head}.{body}.{coded(hmac.new(secret.encode(), f'{head}.{body}'.encode(), hashlib.sha256).digest())}"


class Everything:
    """One node with all listeners, one application that answers, and what came of each way to reach it."""

    def __init__(self, python, folder, monkeypatch):
        monkeypatch.setenv("EDGE_PASSWORD", "the word")
        certificates = Certificates(folder)
        names = ["tls", "tls-elsewhere", "tls12", "mtls", "ws", "wss", "basic", "hs256", "es256", "ws-jwt", "pings"]
        ports = {name: free_port() for name in names}
        servers = servers_of(certificates, folder, ports)
        more = "".join(f"        - {json.dumps(entry)}\n" for entry in servers.values())
        self.node = EdgeNode(folder, clients=more)
        self.ports = ports
        token = folder / "token"
        token.write_text(token_of(SECRET))
        self.clients = clients_of(certificates, folder, ports, self.node.edge, token)
        for entry in self.clients.values():
            entry["backoff"] = {"type": "fixed_interval", "interval": "100ms", "max_attempts": 1}
        plan = folder / "plan.json"
        plan.write_text(json.dumps(self.clients))
        self.bob = App(python, folder, "serve", "org/ns/bob", self.node).ready()
        with App(python, folder, "attempt", "org/ns/alice", str(plan), "org/ns/bob", mls=True, messages=3) as alice:
            self.results = alice.result()
        links = self.node.get("/v1/links")
        self.closed = {row["peer"]: row["reason"] for row in links["recent"]}

    def stop(self):
        self.bob.__exit__()
        self.node.stop()


@pytest.fixture(scope="module")
def everything(python, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        everything = Everything(python, tmp_path_factory.mktemp("transports"), monkeypatch)
    yield everything
    everything.stop()


@pytest.mark.parametrize("way", GOOD)
def test_an_application_talks_by(everything, way):
    assert everything.results[way].get("messages") == 3, everything.results[way]


@pytest.mark.parametrize("way", BAD)
def test_an_application_is_refused_that_comes_with(everything, way):
    assert "error" in everything.results[way], everything.results[way]
    # With TLS 1.3 the refusal of a client's certificate comes behind the handshake: upstream's client tells the alert, or, where its
    # connection ended before it had a request to answer, that it was closed.
    told = [BAD[way], "connection closed"] if way.startswith("mtls") else [BAD[way]]
    assert any(words.lower() in everything.results[way]["error"].lower() for words in told), everything.results[way]


def test_the_node_says_why_it_refused(everything):
    said = " | ".join(everything.closed.values())
    for reason in ("credentials", "certificate", "unknown ca"):
        assert reason in said.lower(), said
    everything.node.balanced()


def test_pings_and_age_leave_a_talk_alone(python, everything, tmp_path):
    """A connection older than it may be is told so (GOAWAY); its stream and what is said on it go on, with pings both ways."""
    config = {"endpoint": f"http://127.0.0.1:{everything.ports['pings']}", "tls": {"insecure": True}, "keepalive": KEEPALIVE}
    with App(python, tmp_path, "talk", "org/ns/carol", config, "org/ns/bob", messages=8, pause=0.5) as carol:
        assert carol.result()["messages"] == 8


def certificate_of(port):
    """What the listener shows, as a hash."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port)) as plain, context.wrap_socket(plain) as wrapped:
        return hashlib.sha256(wrapped.getpeercert(True)).hexdigest()


def test_a_reload_reads_certificates_again(python, tmp_path):
    """New connections get the new certificate; who is connected stays."""
    certificates = Certificates(tmp_path)
    port = free_port()
    entry = {"endpoint": f"127.0.0.1:{port}", "tls": {"source": certificates.source("server")}}
    node = EdgeNode(tmp_path, clients=f"        - {json.dumps(entry)}\n")
    try:
        config = {"endpoint": f"https://localhost:{port}", "tls": {"ca_source": certificates.ca()}}
        with App(python, tmp_path, "serve", "org/ns/bob", config).ready():
            before = certificate_of(port)
            certificates.leaf("server", "ca", "subjectAltName=DNS:localhost,IP:127.0.0.1")
            assert certificate_of(port) == before
            node.signal(signal.SIGHUP)
            until(lambda: certificate_of(port) != before, "the new certificate is shown")
            with App(python, tmp_path, "talk", "org/ns/carol", config, "org/ns/bob", messages=3) as carol:
                assert carol.result()["messages"] == 3
        assert node.process.poll() is None
    finally:
        node.stop()
