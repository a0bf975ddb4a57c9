"""The byte-stream half of an edge against other implementations over loopback: gRPC's own C core by its Python
package, and the `websockets` package. Both are installed into a virtual environment of the test's own; where that
cannot be done the tests are skipped."""
import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import threading
import time
from concurrent import futures
from pathlib import Path

import pytest

INTEROP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(INTEROP), str(INTEROP.parent / "process")]
from nodes import BUILD  # noqa: E402
from registry import use_packages  # noqa: E402

PEER = BUILD / "tests/interop/edge/edge-peer"
PATH = "/dataplane.proto.v1.DataPlaneService/OpenChannel"


@pytest.fixture(scope="session", autouse=True)
def packages():
    use_packages("grpcio-websockets", "grpcio>=1.50,<2", "websockets>=12,<16")


class Server:
    """Our side, listening."""

    def __init__(self, *options):
        self.process = subprocess.Popen([PEER, "serve", *map(str, options)], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline().split()[1])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.output = self.process.communicate()[0]


def call(port, *arguments):
    done = subprocess.run([PEER, "call", str(port), *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.splitlines()


def stream(channel, messages, metadata=None):
    return channel.stream_stream(PATH, request_serializer=None, response_deserializer=None)(iter(messages), metadata=metadata, timeout=30)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test CA", "-keyout", "ca.key", "-out", "ca.pem", "-days", "1")
    for name in ("node", "client"):
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem", "-days", "1")
    return folder


def test_grpc_client_echo():
    import grpc
    with Server() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        sent = [b"", b"x", b"y" * 500, b"z" * 16_384, b"w" * 1_000_000, os.urandom(4_000_000)]
        # The client half-closes after its last message: what is still on its way back is then dropped, as upstream does.
        # So it waits for each answer before it goes on.
        replies = []

        def messages():
            for at, message in enumerate(sent):
                while len(replies) < at:
                    time.sleep(0.001)
                yield message
            while len(replies) < len(sent):
                time.sleep(0.001)

        for reply in stream(channel, messages()):
            replies.append(reply)
        assert replies == sent


def test_grpc_client_many_streams_on_one_connection():
    import grpc
    with Server() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        def one(number):
            text = f"stream {number} ".encode() * 1000
            done = []

            def messages():
                for at in range(20):
                    yield text
                    while len(done) <= at:
                        time.sleep(0.001)
            for reply in stream(channel, messages()):
                done.append(reply)
            return done == [text] * 20
        with futures.ThreadPoolExecutor(8) as pool:
            assert all(pool.map(one, range(8)))


def test_grpc_client_sees_status_and_message():
    import grpc
    ended = threading.Event()

    def messages():  # the client's end would be answered with status 0
        yield b"status:7:self-connection rejected: same node_id \xe2\x82\xac"
        ended.wait(30)

    with Server() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.RpcError) as error:
            list(stream(channel, messages()))
        ended.set()
        assert error.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert error.value.details() == "self-connection rejected: same node_id \u20ac"


def test_grpc_client_unknown_method():
    import grpc
    with Server() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        with pytest.raises(grpc.RpcError) as error:
            list(channel.stream_stream("/a.B/C", request_serializer=None, response_deserializer=None)(iter([b"x"]), timeout=10))
        assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_grpc_client_compressed_message_ends_the_stream():
    import grpc
    with Server() as server, grpc.insecure_channel(f"127.0.0.1:{server.port}", compression=grpc.Compression.Gzip) as channel:
        assert list(stream(channel, [b"a" * 10_000])) == []  # ended with status 0, as upstream's node does


def test_grpc_client_credentials():
    import grpc
    right = "Basic " + base64.b64encode(b"admin:secret").decode()
    with Server("--basic", "admin:secret") as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        for metadata in (None, [("authorization", "Basic d3Jvbmc=")]):
            with pytest.raises(grpc.RpcError) as error:
                list(stream(channel, [b"x"], metadata))
            assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
        assert next(iter(stream(channel, waiting(b"x"), [("authorization", right)]))) == b"x"


def waiting(message):
    """A message, and then an open stream for a while."""
    yield message
    time.sleep(1)


def test_grpc_client_jwt():
    import grpc

    def encode(value):
        return base64.urlsafe_b64encode(value).rstrip(b"=")
    text = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()) + b"." + encode(json.dumps({"sub": "me", "exp": int(time.time()) + 60}).encode())
    token = text + b"." + encode(hmac.new(b"shared", text, hashlib.sha256).digest())
    with Server("--jwt", "shared") as server, grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        assert next(iter(stream(channel, waiting(b"x"), [("authorization", "Bearer " + token.decode())]))) == b"x"
        with pytest.raises(grpc.RpcError):
            list(stream(channel, [b"x"], [("authorization", "Bearer " + token.decode() + "x")]))


@pytest.mark.parametrize("mutual", [False, True])
def test_grpc_client_tls(certificates, mutual):
    import grpc
    ca = (certificates / "ca.pem").read_bytes()
    options = ["--tls", certificates / "node.pem", certificates / "node.key"] + (["--client-ca", certificates / "ca.pem"] if mutual else [])
    own = {"private_key": (certificates / "client.key").read_bytes(), "certificate_chain": (certificates / "client.pem").read_bytes()} if mutual else {}
    with Server(*options) as server:
        with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials(ca, **own)) as channel:
            big = os.urandom(2_000_000)
            assert next(iter(stream(channel, waiting(big)))) == big
        if mutual:
            with grpc.secure_channel(f"localhost:{server.port}", grpc.ssl_channel_credentials(ca)) as channel:
                with pytest.raises(grpc.RpcError) as error:
                    list(stream(channel, [b"x"]))
                assert error.value.code() == grpc.StatusCode.UNAVAILABLE


class GrpcServer:
    """gRPC's own server with a handler of raw bytes, for our client."""

    def __init__(self, handler, credentials=None):
        import grpc
        self.server = grpc.server(futures.ThreadPoolExecutor(4))

        class Generic(grpc.GenericRpcHandler):
            def service(self, details):
                return grpc.stream_stream_rpc_method_handler(handler) if details.method == PATH else None
        self.server.add_generic_rpc_handlers((Generic(),))
        self.port = self.server.add_secure_port("127.0.0.1:0", credentials) if credentials else self.server.add_insecure_port("127.0.0.1:0")

    def __enter__(self):
        self.server.start()
        return self

    def __exit__(self, *_):
        self.server.stop(0)


def echo(messages, _):
    yield from messages


def eager(handler):
    """Answers with headers before the first message, as a node does."""
    def handle(messages, context):
        context.send_initial_metadata(())
        yield from handler(messages, context)
    return handle


def test_our_client_with_a_grpc_server():
    with GrpcServer(eager(echo)) as server:
        lines = call(server.port, "hello", "fill:3000000", "last")
    assert lines[0] == "message 5 hello"
    assert lines[1].startswith("message 3000000 ffff")
    assert lines[2] == "message 4 last"
    assert lines[3] == "closed 0 0 "


def test_our_client_sees_a_grpc_servers_status():
    import grpc

    def refuse(_, context):
        context.abort(grpc.StatusCode.PERMISSION_DENIED, "not you: 100 % sure")
    with GrpcServer(refuse) as server:
        lines = call(server.port, "hello")
    assert lines[0].endswith(" 7 not you: 100 % sure")


def test_our_client_with_tls(certificates):
    import grpc
    credentials = grpc.ssl_server_credentials([((certificates / "node.key").read_bytes(), (certificates / "node.pem").read_bytes())])
    with GrpcServer(eager(echo), credentials) as server:
        assert call(server.port, "--tls", certificates / "ca.pem", "localhost", "secret")[0] == "message 6 secret"
        assert "certificate was refused" in "\n".join(call(server.port, "--tls", certificates / "client.pem", "localhost", "secret"))
        assert "hostname mismatch" in "\n".join(call(server.port, "--tls", certificates / "ca.pem", "elsewhere", "secret"))


def test_websocket_client():
    from websockets.sync.client import connect
    with Server("--websocket") as server, connect(f"ws://127.0.0.1:{server.port}/", max_size=None, compression=None) as socket:
        for message in (b"", b"x", b"y" * 126, b"z" * 70_000, os.urandom(5_000_000)):
            socket.send(message)
            assert socket.recv() == message
        socket.send([b"in ", b"three ", b"parts"])
        assert socket.recv() == b"in three parts"
        assert socket.ping(b"still there").wait(10)


def test_websocket_client_offering_compression_gets_none():
    from websockets.sync.client import connect
    with Server("--websocket") as server, connect(f"ws://127.0.0.1:{server.port}/") as socket:
        socket.send(b"a" * 10_000)
        assert socket.recv() == b"a" * 10_000


def test_websocket_client_text_is_refused():
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect
    with Server("--websocket") as server, connect(f"ws://127.0.0.1:{server.port}/") as socket:
        socket.send("text")
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv()
        assert closed.value.rcvd.code == 1003


def test_websocket_client_refusals():
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect
    with Server("--websocket", "--basic", "a:b") as server:
        for path, header, status in (("/x", {}, 404), ("/", {}, 401), ("/", {"Authorization": "Basic d3Jvbmc="}, 401)):
            with pytest.raises(InvalidStatus) as refused:
                connect(f"ws://127.0.0.1:{server.port}{path}", additional_headers=header)
            assert refused.value.response.status_code == status


def test_our_websocket_client():
    from websockets.sync.server import serve

    def handler(socket):
        for message in socket:
            socket.send(message)
    with serve(handler, "127.0.0.1", 0, max_size=None) as server:
        port = server.socket.getsockname()[1]
        pool = futures.ThreadPoolExecutor(1)
        pool.submit(server.serve_forever)
        lines = call(port, "--websocket", "hello", "fill:100000")
        server.shutdown()
    assert lines[0] == "message 5 hello"
    assert lines[1].startswith("message 100000 ffff")
