"""Upstream's control service as its tools speak it, by gRPC's own C core: lists, commands, TLS, credentials and bounds. grpcio is
installed into a virtual environment of the test's own; where that cannot be done the tests are skipped."""
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

INTEROP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(INTEROP), str(INTEROP.parent / "process")]
from nodes import BUILD, PATIENCE, Node, free_port, until  # noqa: E402
from protobuf import field, parse  # noqa: E402
from registry import use_packages  # noqa: E402

METHOD = "/controller.proto.v1.ControllerService/OpenControlChannel"
CTL = BUILD / "tools/slipwayctl"


@pytest.fixture(scope="session", autouse=True)
def packages():
    use_packages("grpcio", "grpcio>=1.50,<2")


class Service:
    """One stream of the service: say() and hear()."""

    def __init__(self, channel, metadata=()):
        self.channel = channel
        self.requests = []
        self.ready = threading.Condition()
        self.over = False
        call = channel.stream_stream(METHOD, request_serializer=bytes, response_deserializer=bytes)
        self.answers = call(self._take(), timeout=PATIENCE, metadata=metadata)

    def _take(self):
        while True:
            with self.ready:
                while not self.requests and not self.over:
                    self.ready.wait()
                if not self.requests:
                    return
                message = self.requests.pop(0)
            yield message

    def say(self, message):
        with self.ready:
            self.requests.append(message)
            self.ready.notify()

    def hear(self):
        return parse(next(self.answers))

    def close(self):
        with self.ready:
            self.over = True
            self.ready.notify()
        list(self.answers)
        self.channel.close()

    def rows(self, request, response):
        """All entries of a list."""
        self.say(field(1, "list") + field(request, b""))
        out = []
        while True:
            answer = parse(self.hear()[response][0])
            assert answer[1] == [b"list"]
            out += [parse(row) for row in answer.get(2, [])]
            if answer.get(3) == [1]:
                return out

    def connections(self):
        return self.rows(6, 7)

    def routes(self):
        return self.rows(4, 5)

    def command(self, payload):
        self.say(field(1, "command") + field(2, payload))
        ack = parse(self.hear()[20][0])
        assert ack[1] == [b"command"]
        return [parse(c) for c in ack.get(2, [])], [parse(r) for r in ack.get(3, [])]


def name(*parts):
    """With its text alone: a node finds the hashes itself."""
    return field(2, b"".join(field(i + 1, part) for i, part in enumerate(parts)))


def route(link, *parts):
    return field(1, name(*parts)) + field(2, link)


def text(entry):
    return "/".join(part.decode() for part in (parse(parse(entry[1][0])[2][0])[i][0] for i in (1, 2, 3)))


class ControlledNode(Node):
    def __init__(self, folder, name="node", server="tls: {insecure: true}", commands=True):
        self.control_port = free_port()
        self.edge_port = free_port()
        super().__init__(folder, name=name, extra=(
            f"  controller_commands: {str(commands).lower()}\nservices:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{self.edge_port}\n"
            f"          tls: {{insecure: true}}\n    controller:\n      servers:\n        - endpoint: 127.0.0.1:{self.control_port}\n"
            f"          {server}\n"))

    def service(self, **options):
        import grpc
        return Service(grpc.insecure_channel(f"127.0.0.1:{self.control_port}"), **options)


@pytest.fixture
def node(tmp_path):
    one = ControlledNode(tmp_path)
    yield one
    one.stop()


def subscriber(node, service):
    process = subprocess.Popen([CTL, "--node", node.tcp, "sub", service], stdout=subprocess.PIPE, text=True)
    until(lambda: any(service in route["name"] for route in node.get("/v1/routes")["routes"]), "the subscription")
    return process


def test_lists_links_and_routes_as_they_are(node):
    service = node.service()
    assert service.connections() == []
    assert service.routes() == []
    process = subscriber(node, "org/ns/listed")
    rows = service.connections()
    assert [row[2] for row in rows] == [[3]]  # EDGE
    assert rows[0][3] == [b"{}"] and rows[0][5] == [1]  # incoming
    routes = service.routes()
    assert [text(entry) for entry in routes] == ["org/ns/listed"]
    assert [parse(c)[1] for entry in routes for c in entry[2]] == [rows[0][1]]
    process.terminate()
    process.wait()
    until(lambda: service.connections() == [], "the link is gone")
    service.close()


def test_a_tool_that_ends_its_side_at_once_is_answered(tmp_path, node):
    """As slimctl does: one request, the end of its side, then it reads."""
    import grpc
    other = ControlledNode(tmp_path, name="other")
    try:
        config = json.dumps({"endpoint": f"http://127.0.0.1:{other.edge_port}", "tls_required": False, "auth_method": "none"})
        command = field(2, field(1, field(1, "link-a") + field(2, config)))
        with grpc.insecure_channel(f"127.0.0.1:{node.control_port}") as channel:
            call = channel.stream_stream(METHOD, request_serializer=bytes, response_deserializer=bytes)
            said = [parse(answer) for answer in call(iter([field(1, "a") + command, field(1, "b") + field(6, b""), field(1, "c") + field(4, b"")]),
                                                     timeout=PATIENCE)]
            assert [next(kind for kind in answer if kind != 1) for answer in said] == [20, 7, 5]
            assert list(call(iter([]), timeout=PATIENCE)) == []
            with pytest.raises(grpc.RpcError) as refused:
                list(channel.stream_stream(METHOD + "s", request_serializer=bytes, response_deserializer=bytes)(iter([]), timeout=PATIENCE))
            assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    finally:
        other.stop()


def test_a_list_of_many_names_comes_in_chunks(node):
    words = [f"org/ns/s{i}" for i in range(250)]
    process = subprocess.Popen([CTL, "--node", node.tcp, "sub", *words], stdout=subprocess.PIPE)
    until(lambda: node.get("/v1/routes")["total"] == 250, "all subscriptions")
    service = node.service()
    service.say(field(1, "x") + field(4, b""))
    sizes, done = [], []
    while not done or done[-1] != [1]:
        answer = parse(service.hear()[5][0])
        sizes.append(len(answer.get(2, [])))
        done.append(answer.get(3, [0]))
    assert sizes == [100, 100, 50] and done[:2] == [[0], [0]]
    service.close()
    process.terminate()
    process.wait()


def test_makes_and_unmakes_links_and_routes(tmp_path, node):
    other = ControlledNode(tmp_path, name="other")
    try:
        service = node.service()
        config = json.dumps({"endpoint": f"http://127.0.0.1:{other.edge_port}", "tls_required": False, "auth_method": "none", "timeout": None})
        connections, _ = service.command(field(1, field(1, "link-a") + field(2, config)))
        assert connections == [{1: [b"link-a"], 2: [1], 3: [b""]}]
        up = until(lambda: [row for row in service.connections() if row.get(4) == [b"link-a"]], "the link is up")
        assert up[0][2] == [1] and up[0][5] == [0] and up[0][6] == [b"other"]  # REMOTE, outgoing
        assert json.loads(up[0][3][0])["endpoint"].endswith(str(other.edge_port))
        # Again: it is there. With a route over it, and one over a link that nobody knows.
        connections, routes = service.command(field(1, field(1, "link-a") + field(2, config)) + field(2, route("link-a", "org", "ns", "far")) +
                                              field(2, route("link-b", "org", "ns", "far")))
        assert connections[0][2] == [1]
        assert routes[0][2] == [1] and routes[1][2] == [0] and b"connection not found" in routes[1][3][0]
        assert text(service.routes()[0]) == "org/ns/far"
        _, routes = service.command(field(3, route("link-a", "org", "ns", "far")))
        assert routes[0][2] == [1]
        assert service.routes() == []
        connections, _ = service.command(field(4, "link-a") + field(4, "link-b"))
        assert [c[2] for c in connections] == [[1], [0]] and b"not found" in connections[1][3][0]
        until(lambda: not service.connections(), "the link is gone")
        # The node's own form, and what it cannot be.
        for config, reason in (({"endpoint": "http://h:1", "tls_required": False, "auth_method": "basic"}, b"no local credentials"),
                               ({"endpoint": "nonsense://h:1"}, b"endpoint"), ({"endpoint": "http://h:1", "color": "red"}, b"color")):
            connections, _ = service.command(field(1, field(1, "c") + field(2, json.dumps(config))))
            assert connections[0][2] == [0] and reason in connections[0][3][0]
        service.close()
    finally:
        other.stop()


def test_commands_are_refused_unless_the_configuration_allows_them(tmp_path):
    node = ControlledNode(tmp_path, commands=False)
    try:
        service = node.service()
        config = json.dumps({"endpoint": "http://127.0.0.1:1", "tls_required": False, "auth_method": "none"})
        connections, routes = service.command(field(1, field(1, "link-a") + field(2, config)) + field(2, route("link-a", "a", "b", "c")) +
                                              field(3, route("link-a", "a", "b", "c")) + field(4, "link-a"))
        assert [c[2] for c in connections + routes] == [[0]] * 4
        assert all(b"`slipway: {controller_commands: true}`" in c[3][0] for c in connections + routes)
        service.command(field(5, 1))
        assert service.connections() == [] and service.routes() == []  # lists are served
        node.config.write_text(node.config.read_text().replace("controller_commands: false", "controller_commands: true"))
        assert node.post("/v1/reload")["ok"]
        connections, _ = service.command(field(1, field(1, "link-a") + field(2, config)))
        assert connections[0][2] == [1]
        service.close()
    finally:
        node.stop()


def test_a_desired_state_is_all_there_is(tmp_path, node):
    other = ControlledNode(tmp_path, name="other")
    try:
        service = node.service()
        config = json.dumps({"endpoint": f"http://127.0.0.1:{other.edge_port}", "tls_required": False, "auth_method": "none"})
        service.command(field(1, field(1, "link-a") + field(2, config)) + field(5, 1))
        until(lambda: service.connections(), "the link is up")
        service.command(field(1, field(1, "link-a") + field(2, config)) + field(2, route("link-a", "a", "b", "c")) + field(5, 1))
        assert len(service.routes()) == 1
        _, routes = service.command(field(1, field(1, "link-a") + field(2, config)) + field(5, 1))
        assert len(routes) == 1 and service.routes() == []
        service.command(field(5, 1))
        until(lambda: not service.connections(), "the link is gone")
        service.close()
    finally:
        other.stop()


def test_a_reload_keeps_what_commands_made_and_moves_the_service(tmp_path, node):
    other = ControlledNode(tmp_path, name="other")
    try:
        service = node.service()
        config = json.dumps({"endpoint": f"http://127.0.0.1:{other.edge_port}", "tls_required": False, "auth_method": "none"})
        service.command(field(1, field(1, "link-a") + field(2, config)))
        until(lambda: service.connections(), "the link is up")
        moved = free_port()
        node.config.write_text(node.config.read_text().replace(f"127.0.0.1:{node.control_port}", f"127.0.0.1:{moved}"))
        answer = node.post("/v1/reload")
        assert answer["ok"], answer
        assert len(service.connections()) == 1  # streams that are open stay
        service.close()
        node.control_port = moved
        service = node.service()
        assert len(service.connections()) == 1
        service.close()
    finally:
        other.stop()


def test_wants_credentials_where_they_are_configured(tmp_path):
    import grpc
    node = ControlledNode(tmp_path, server="auth: {type: basic, username: operator, password: secret}\n          tls: {insecure: true}")
    try:
        with pytest.raises(grpc.RpcError) as refused:
            service = node.service()
            service.say(field(1, "x") + field(6, b""))
            service.hear()
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        service = node.service(metadata=[("authorization", "Basic b3BlcmF0b3I6c2VjcmV0")])
        assert service.connections() == []
        service.close()
    finally:
        node.stop()


def test_wants_a_client_certificate_where_it_is_configured(tmp_path):
    import grpc

    def openssl(*words):
        subprocess.run(["openssl", *words], cwd=tmp_path, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca",
            "-days", "2")
    for who in ("server", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        (tmp_path / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-out", f"{who}.pem", "-days", "2",
                "-extfile", "names")
    tls = (f"tls:\n            source: {{type: file, cert: {tmp_path}/server.pem, key: {tmp_path}/server.key}}\n"
           f"            client_ca: {{type: file, path: {tmp_path}/ca.pem}}")
    node = ControlledNode(tmp_path, server=tls)
    try:
        ca = (tmp_path / "ca.pem").read_bytes()
        own = ((tmp_path / "client.key").read_bytes(), (tmp_path / "client.pem").read_bytes())
        with pytest.raises(grpc.RpcError):
            service = Service(grpc.secure_channel(f"localhost:{node.control_port}", grpc.ssl_channel_credentials(ca)))
            service.say(field(1, "x") + field(6, b""))
            service.hear()
        service = Service(grpc.secure_channel(f"localhost:{node.control_port}", grpc.ssl_channel_credentials(ca, *own)))
        assert service.connections() == []
        service.close()
    finally:
        node.stop()
