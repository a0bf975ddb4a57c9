"""Links that our node makes to upstream's: every transport, every kind of credentials, and through a proxy."""
import base64
import json
import socket
import ssl
import threading

import pytest

from parts import EdgeNode, UpstreamNode, free_port, until
from test_transport import SECRET, Certificates, clients_of, servers_of, token_of

GOOD = ["plain", "tls", "tls-name", "tls-address", "tls-skip-verify", "tls12", "mtls", "ws", "wss", "unix", "basic", "hs256", "es256", "static", "ws-jwt", "proxy", "proxy-tls", "tls-proxy", "tls-proxy-tls", "tls-proxy-wss"]
BAD = {"tls-unknown-ca": "certificate", "tls-wrong-name": "certificate", "tls-wrong-address": "certificate", "mtls-stranger": "", "mtls-none": "", "basic-wrong": "credentials", "basic-none": "credentials",
       "hs256-wrong": "credentials", "hs256-none": "credentials", "ws-jwt-wrong": "credentials", "ws-path": "404", "proxy-wrong": "407", "tls-proxy-unknown-ca": "proxy.tls"}


class Proxy:
    """An HTTP proxy that makes tunnels for who says the word. With a context it is spoken to over TLS."""
    word = "Basic " + base64.b64encode(b"me:the word").decode()

    def __init__(self, context=None):
        self.context = context
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.targets = []
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        if self.context:
            try:
                connection = self.context.wrap_socket(connection, server_side=True)
            except (ssl.SSLError, OSError):
                return
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (got := connection.recv(1)):
                return
            head += got
        lines = head.decode().split("\r\n")
        if f"proxy-authorization: {self.word}".lower() not in [line.lower() for line in lines]:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
            connection.close()
            return
        target = lines[0].split()[1]
        self.targets.append(target)
        host, port = target.rsplit(":", 1)
        onward = socket.create_connection((host, int(port)))
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        threading.Thread(target=self.pump, args=[onward, connection], daemon=True).start()
        self.pump(connection, onward)

    @staticmethod
    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Outgoing:
    def __init__(self, python, folder, monkeypatch):
        monkeypatch.setenv("EDGE_PASSWORD", "the word")
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)
        certificates = Certificates(folder)
        ports = {name: free_port() for name in ("tls", "tls-elsewhere", "tls12", "mtls", "ws", "wss", "basic", "hs256", "es256", "ws-jwt", "pings")}
        servers = servers_of(certificates, folder, ports)
        self.theirs = UpstreamNode(python, folder, clients="".join(f"        - {json.dumps(entry)}\n" for entry in servers.values()))
        (folder / "token").write_text(token_of(SECRET) + "\n")
        clients = clients_of(certificates, folder, ports, self.theirs.edge, folder / "token")
        self.proxy = Proxy()
        url = f"http://127.0.0.1:{self.proxy.port}"
        clients["proxy"] = {**clients["plain"], "proxy": {"url": url, "username": "me", "password": "the word"}}
        clients["proxy-tls"] = {**clients["tls"], "proxy": {"url": f"http://me:the%20word@127.0.0.1:{self.proxy.port}".replace("%20", " ")}}
        clients["proxy-wrong"] = {**clients["plain"], "proxy": {"url": url}}
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates["server.pem"], certificates["server.key"])
        self.tls_proxy = Proxy(context)
        tls_proxy = {"url": f"https://localhost:{self.tls_proxy.port}", "username": "me", "password": "the word",
                     "tls": {"ca_source": certificates.ca()}}
        for name in ("plain", "tls", "wss"):
            clients["tls-proxy" if name == "plain" else f"tls-proxy-{name}"] = {**clients[name], "proxy": tls_proxy}
        clients["tls-proxy-unknown-ca"] = {**clients["plain"], "proxy": {**tls_proxy, "tls": {}}}
        for name, entry in clients.items():
            entry.update(connection_type="remote", link_id=name, backoff={"type": "fixed_interval", "interval": "200ms"})
        section = "      clients:\n" + "".join(f"        - {json.dumps(entry)}\n" for entry in clients.values())
        self.ours = EdgeNode(folder, name="ours", clients=section)
        self.order = list(clients)

    def stop(self):
        self.ours.stop()
        self.theirs.stop()

    def row(self, name):
        """The entry of `connect`, in the order of the file."""
        return self.ours.get("/v1/links")["connect"][self.order.index(name)]


@pytest.fixture(scope="module")
def outgoing(python, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        outgoing = Outgoing(python, tmp_path_factory.mktemp("outgoing"), monkeypatch)
        yield outgoing
    outgoing.stop()


@pytest.mark.parametrize("way", GOOD)
def test_our_node_is_let_in_by(outgoing, way):
    until(lambda: outgoing.row(way)["state"] == "up", f"{way} is up: {outgoing.row(way)}")
    link = next(link for link in outgoing.ours.links() if link["edge"]["link_id"] == way)
    assert link["edge"]["mac"] and link["node_id"] == "theirs", link
    assert bool(link["edge"]["tls"]) == (way in ("tls", "tls-name", "tls-address", "tls-skip-verify", "tls12", "mtls", "wss", "es256", "proxy-tls", "tls-proxy-tls", "tls-proxy-wss")), link


@pytest.mark.parametrize("way", BAD)
def test_our_node_says_why_it_was_not_let_in_with(outgoing, way):
    row = until(lambda: outgoing.row(way)["last_error"] and outgoing.row(way), f"{way} fails")
    assert row["state"] != "up" and BAD[way] in row["last_error"].lower(), row


def test_the_proxy_was_asked_for_the_node(outgoing):
    assert any(target.startswith("localhost:") for target in outgoing.proxy.targets), outgoing.proxy.targets
    for proxy in (outgoing.proxy, outgoing.tls_proxy):
        assert f"127.0.0.1:{outgoing.theirs.edge_port}" in proxy.targets
