"""Upstream's channel manager as its tools speak it, by gRPC's own C core and, where there is one, by upstream's slimctl itself: channels
with and without owners, members that are real applications with MLS, restarts. Requests are signed by Python's cryptography."""
import base64
import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest

INTEROP = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(INTEROP), str(INTEROP / "upstream"), str(INTEROP.parent / "process")]
from channels import by_tokens  # noqa: E402
from nodes import PATIENCE, Node, free_port, until  # noqa: E402
from parts import EdgeNode, UpstreamNode, bindings, client_entry  # noqa: E402
from protobuf import field, parse  # noqa: E402
from registry import use_packages  # noqa: E402
from sessions import SECRET, by_jwt, jwt_keys, listener  # noqa: E402
from test_transport import Certificates  # noqa: E402

SERVICE = "/channel_manager.proto.v1.ChannelManagerService/"
MANAGER = "org/ns/manager"
ROOM = "org/ns/room"
BOB = "org/ns/bob"


@pytest.fixture(scope="session", autouse=True)
def packages():
    use_packages("grpcio-cryptography", "grpcio>=1.50,<2", "cryptography>=41")


class Key:
    """An owner: its did:key, and what it signs."""

    ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"

    def __init__(self):
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
        self.key = Ed25519PrivateKey.generate()
        self.pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        number = int.from_bytes(b"\xed\x01" + self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw), "big")
        text = ""
        while number:
            number, digit = divmod(number, 58)
            text = self.ALPHABET[digit] + text
        self.did = "did:key:z" + text

    def _signed(self, tag, *texts, **fields):
        """The texts are what is signed; fields that are None are left out of what is sent."""
        signature = base64.b64encode(self.key.sign("\0".join([tag, *texts]).encode())).decode()
        return json.dumps({name: value for name, value in fields.items() if value is not None} | {"signature": signature}).encode()

    def creation(self, channel=ROOM, mls=True, ttl=None, callback=None, audience=MANAGER):
        end, nonce = int(time.time()) + 300, str(uuid.uuid4())
        return self._signed("SLIM-CHANNEL-CREATE/1", audience, channel, self.did, "true" if mls else "false", "" if ttl is None else str(ttl),
                            callback or "", str(end), nonce, audience=audience, channel=channel, owner=self.did, mls_enabled=mls, ttl_seconds=ttl,
                            owner_callback_name=callback, not_after=end, nonce=nonce)

    def deletion(self, channel=ROOM, audience=MANAGER):
        end, nonce = int(time.time()) + 300, str(uuid.uuid4())
        return self._signed("SLIM-CHANNEL-DELETE/1", audience, channel, str(end), nonce, audience=audience, channel=channel, not_after=end, nonce=nonce)

    def grant(self, invitee=BOB, channel=ROOM, action="add"):
        end, nonce = int(time.time()) + 300, str(uuid.uuid4())
        return self._signed("SLIM-CHANNEL-GRANT/1", channel, invitee, action, "member", str(end), nonce, channel=channel, invitee=invitee,
                            action=action, role="member", not_after=end, nonce=nonce)


class ManagedNode(Node):
    def __init__(self, folder, options="", server="tls: {insecure: true}", identity=""):
        self.manager_port = free_port()
        for name, text in {"secret": SECRET + "\n", "key": os.urandom(32).hex() + "\n"}.items():
            path = Path(folder) / name
            path.write_text(text)
            path.chmod(0o600)
        super().__init__(folder, extra=(
            f"  channels:\n    name: {MANAGER}\n    identity: {identity or f'{{secret_file: {folder}/secret}}'}\n    store: {folder}/channels.sqlite\n    key_file: {folder}/key\n"
            f"channel-manager:\n  api-server:\n    endpoint: 127.0.0.1:{self.manager_port}\n    {server}\n{options}"))

    def call(self, method, *fields, metadata=(), tls=None):
        """The answer's fields."""
        import grpc
        target = f"localhost:{self.manager_port}"
        with grpc.secure_channel(target, tls) if tls else grpc.insecure_channel(target) as channel:
            ask = channel.unary_unary(SERVICE + method, request_serializer=bytes, response_deserializer=bytes)
            return parse(ask(b"".join(field(number, value) for number, value in fields), timeout=2 * PATIENCE, metadata=metadata))

    def command(self, method, *fields):
        """None, or why not."""
        answer = self.call(method, *fields)
        assert (answer.get(2) == [1]) != (3 in answer), answer
        return answer[3][0].decode() if 3 in answer else None

    def create(self, channel=ROOM, mls=True, proof=None, ttl=None, callback=None):
        optional = [(3, callback), (4, ttl), (5, proof)]
        return self.command("CreateChannel", (1, channel), (2, int(mls)), *[(n, v) for n, v in optional if v is not None])

    def delete(self, channel=ROOM, proof=None):
        return self.command("DeleteChannel", (1, channel), *([(2, proof)] if proof else []))

    def add(self, participant=BOB, channel=ROOM, grant=None):
        return self.command("AddParticipant", (1, channel), (2, participant), *([(3, grant)] if grant else []))

    def take(self, participant=BOB, channel=ROOM, grant=None):
        return self.command("DeleteParticipant", (1, channel), (2, participant), *([(3, grant)] if grant else []))

    def channels(self):
        """(name, owner, has an end) of each."""
        answer = self.call("ListChannels")
        assert answer[1] == [1]
        rows = [parse(row) for row in answer.get(4, [])]
        assert [row[1][0] for row in rows] == answer.get(3, [])
        return [(row[1][0].decode(), row[2][0].decode() if 2 in row else None, 3 in row) for row in rows]

    def participants(self, channel=ROOM):
        answer = self.call("ListParticipants", (1, channel))
        if answer.get(1) != [1]:
            return answer[2][0].decode()
        return sorted("/".join(name.decode().split("/")[:3]) for name in answer.get(3, []))

    def restart(self):
        self.stop()
        self.start()


@pytest.fixture
def node(tmp_path):
    one = ManagedNode(tmp_path)
    yield one
    one.stop()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_without_owners(node, mls):
    assert node.channels() == []
    assert node.create(mls=mls) is None
    assert node.create() == f"channel {ROOM} already exists"
    assert node.channels() == [(ROOM, None, False)]
    assert node.participants() == [MANAGER]
    with listener(node.tcp, BOB) as bob:
        assert node.add() is None
        opened = bob.read("opened")
        assert opened["kind"] == "multicast" and opened["mls"] is mls
        assert node.participants() == [BOB, MANAGER]
        assert node.take() is None
        bob.read("closed")
    assert node.participants() == [MANAGER]
    assert node.delete() is None
    assert node.channels() == []
    assert node.participants() == f"channel {ROOM} not found"


def test_what_cannot_be_is_told(node):
    assert node.create("org/ns") == "invalid channel name: invalid name format: org/ns"
    assert node.add() == f"channel {ROOM} not found"
    assert node.create() is None
    assert node.add("bob") == "invalid participant name: invalid name format: bob"
    failed = node.add("org/ns/nobody")
    assert failed.startswith(f"failed to invite participant org/ns/nobody to channel {ROOM}: "), failed
    assert node.create("org/ns/other", ttl=0) == "ttl-seconds must be positive"


def test_owned_channels(node):
    owner, other = Key(), Key()
    assert node.create(proof=owner.creation(audience="org/ns/another")) == \
        f'signed create request is for "org/ns/another", not this channel manager ("{MANAGER}")'
    proof = owner.creation()
    assert node.create(proof=proof) is None
    assert node.channels() == [(ROOM, owner.did, False)]
    with listener(node.tcp, BOB) as bob:
        assert node.add() == f"channel {ROOM} requires a grant from its owner"
        assert node.add(grant=other.grant()).startswith("invalid grant: ")
        grant = owner.grant()
        assert node.add("org/ns/eve", grant=grant) == "grant does not authorize this change"
        assert node.add(grant=grant) is None
        bob.read("opened")
        assert node.take(grant=grant) == "grant does not authorize this change"
        assert node.add(grant=grant) == "grant has already been used"
        assert node.take(grant=owner.grant(action="delete")) is None
        bob.read("closed")
    assert node.delete() == f"channel {ROOM} can only be deleted with a request signed by its owner"
    assert node.delete(proof=other.deletion()).startswith("invalid signed delete request: ")
    assert node.delete(proof=owner.deletion()) is None
    assert node.create(proof=proof) == "signed create request has already been used"


def test_owners_and_what_was_used_survive_a_restart(node):
    owner = Key()
    proof, grant = owner.creation(), owner.grant("org/ns/carol")
    assert node.create(proof=proof) is None
    with listener(node.tcp, "org/ns/carol") as carol:
        assert node.add("org/ns/carol", grant=grant) is None
        carol.read("opened")
    assert node.create("org/ns/short", ttl=1) is None
    time.sleep(1.1)  # it ends by the clock on the wall
    node.restart()
    assert node.channels() == [(ROOM, owner.did, False)]
    assert node.add() == f"channel {ROOM} requires a grant from its owner"
    assert node.add("org/ns/carol", grant=grant) == "grant has already been used"
    assert node.delete(proof=owner.deletion()) is None
    assert node.create(proof=proof) == "signed create request has already been used"


def test_signatures_required_and_operators(tmp_path):
    operator, owner = Key(), Key()
    node = ManagedNode(tmp_path, options=f"  require-signatures: true\n  audience: just this one\n  operators: ['{operator.did}']\n")
    try:
        assert node.create() == "this channel manager requires a create request signed by the channel's owner"
        assert node.create(proof=owner.creation(audience="just this one")) is None
        assert node.delete(proof=operator.deletion(audience="just this one")) is None
    finally:
        node.stop()


def test_who_may_connect(tmp_path):
    import grpc
    node = ManagedNode(tmp_path, server="tls: {insecure: true}\n    auth: {type: basic, username: admin, password: secret}")
    try:
        with pytest.raises(grpc.RpcError) as refused:
            node.call("ListChannels")
        assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
        answer = node.call("ListChannels", metadata=[("authorization", "Basic " + base64.b64encode(b"admin:secret").decode())])
        assert answer[1] == [1]
        assert node.call("ListChannels", metadata=[("authorization", "Basic " + base64.b64encode(b"admin:secret").decode())]) == answer
    finally:
        node.stop()


def by_certificate(folder):
    certificates = Certificates(folder)
    return certificates, "tls: " + json.dumps({"source": certificates.source("server"), "client_ca": certificates.ca()})


def test_who_may_connect_by_certificate(tmp_path):
    import grpc
    certificates, server = by_certificate(tmp_path)
    node = ManagedNode(tmp_path, server=server)

    def tls(client=None):
        own = [Path(certificates[f"{client}.{ending}"]).read_bytes() for ending in ("key", "pem")] if client else []
        return grpc.ssl_channel_credentials(Path(certificates["ca.pem"]).read_bytes(), *own)

    try:
        for refused in (None, tls(), tls("stranger")):
            with pytest.raises(grpc.RpcError) as error:
                node.call("ListChannels", tls=refused)
            assert error.value.code() == grpc.StatusCode.UNAVAILABLE
        assert node.call("CreateChannel", (1, ROOM), (2, 1), tls=tls("client"))[2] == [1]
        assert len(node.call("ListChannels", tls=tls("client"))[4]) == 1
    finally:
        node.stop()


def test_what_is_no_call(node):
    import grpc
    for method, request, code in (("Reset", b"", grpc.StatusCode.UNIMPLEMENTED), ("CreateChannel", b"\x0a\x05x", grpc.StatusCode.INVALID_ARGUMENT)):
        with grpc.insecure_channel(f"127.0.0.1:{node.manager_port}") as channel, pytest.raises(grpc.RpcError) as refused:
            channel.unary_unary(SERVICE + method, request_serializer=bytes, response_deserializer=bytes)(request, timeout=PATIENCE)
        assert refused.value.code() == code
    assert node.channels() == []


# --- an owner that is asked --------------------------------------------------------------------------


def edge_listener(port):
    return (f"services:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n"
            "          tls: {insecure: true}\n")


class Owner:
    """On upstream's own slim-rpc server, in their Python bindings, unmodified."""

    NAME = "org/ns/owner-app"

    def __init__(self, endpoint, answer, *jwt):
        self.process = subprocess.Popen([bindings(), Path(__file__).with_name("owner.py"), self.NAME, endpoint, SECRET, answer.hex(), *jwt],
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert any(line.strip() == "ready" for line in self.process.stdout)

    def asked(self):
        return parse(bytes.fromhex(next(line.split()[1] for line in self.process.stdout if line.startswith("asked"))))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


QUESTION = {1: [ROOM.encode()], 2: [BOB.encode()], 3: [1]}


@pytest.mark.parametrize("says", ["grant", "denial", "nothing"])
def test_an_owner_on_upstreams_bindings_is_asked(tmp_path, says):
    key, edge_port = Key(), free_port()
    answers = {"grant": field(1, key.grant()), "denial": field(2, "not today"), "nothing": b""}
    node = ManagedNode(tmp_path, options=edge_listener(edge_port))
    try:
        assert node.create(proof=key.creation(callback=Owner.NAME), callback=Owner.NAME) is None
        with Owner(f"http://127.0.0.1:{edge_port}", answers[says]) as owner, listener(node.tcp, BOB):
            outcome = node.add()
            if says == "grant":
                assert outcome is None
                assert node.participants() == [BOB, MANAGER]
            else:
                assert outcome == {"denial": "channel owner denied the request: not today",
                                   "nothing": "could not ask the channel owner for approval: malformed approval response: response carries no decision"}[says]
            assert owner.asked() == QUESTION
    finally:
        node.stop()


@pytest.mark.parametrize("between", ["ours-native", "ours-edge", "theirs"])
def test_an_owner_at_another_node_is_asked(tmp_path, between):
    """And who is added is there too."""
    key, edge_port = Key(), free_port()
    node = ManagedNode(tmp_path, options=edge_listener(edge_port))
    up = client_entry(f"http://127.0.0.1:{edge_port}", "peer")
    if between == "theirs":
        other = UpstreamNode(bindings(), tmp_path, name="other", clients=up)
    elif between == "ours-edge":
        other = EdgeNode(tmp_path, name="other", clients=up)
    else:
        other = EdgeNode(tmp_path, name="other", more=f"  connect:\n    - {{name: up, to: '{node.tcp}', class: peer}}\n")
    try:
        until(lambda: [row for row in node.links() if row["node_id"] == "other"], "the nodes are linked")
        assert node.create(proof=key.creation(callback=Owner.NAME), callback=Owner.NAME) is None
        with Owner(other.edge, field(1, key.grant())) as owner, listener(other.edge, BOB) as bob:
            for name in (Owner.NAME, BOB):
                until(lambda: any(row["name"].startswith(name) for row in node.get("/v1/routes")["routes"]), f"the node knows {name}")
            assert node.add() is None
            assert owner.asked() == QUESTION
            assert bob.read("opened")["mls"] is True
            assert node.participants() == [BOB, MANAGER]
    finally:
        node.stop()
        other.stop()


def test_an_owner_is_asked_by_tokens(tmp_path):
    """The node's two applications, the channels' moderator and who asks, then have one subject, and so one id: their names tell them apart."""
    key, edge_port = Key(), free_port()
    keys = jwt_keys(tmp_path, "issuer")
    node = ManagedNode(tmp_path, options=edge_listener(edge_port), identity=by_tokens(*keys["issuer"], MANAGER))
    try:
        assert node.create(proof=key.creation(callback=Owner.NAME), callback=Owner.NAME) is None
        with Owner(f"http://127.0.0.1:{edge_port}", field(1, key.grant()), *map(str, keys["issuer"])) as owner, \
                listener(node.tcp, BOB, *by_jwt(keys, "issuer"), secret=None) as bob:
            assert node.add() is None
            assert owner.asked() == QUESTION
            bob.read("opened")
            assert node.participants() == [BOB, MANAGER]
            assert node.take(grant=key.grant(action="delete")) is None
            bob.read("closed")
    finally:
        node.stop()


# --- upstream's own tool -----------------------------------------------------------------------------


@pytest.fixture
def slimctl(tmp_path):
    folder = os.environ.get("SLIPWAY_REFERENCE")
    program = Path(folder) / "bin" / "slimctl" if folder else None
    if program is None or not program.exists():
        pytest.skip("SLIPWAY_REFERENCE names no folder with bin/slimctl: tools/interop reference")

    def run(node, *words, code=0):
        done = subprocess.run([program, "--server", f"localhost:{node.manager_port}", "channel-manager", *words], capture_output=True, text=True,
                              timeout=2 * PATIENCE, env=dict(os.environ, HOME=str(tmp_path)), cwd=tmp_path)
        assert done.returncode == code, (words, done)
        return done.stdout + done.stderr
    return run


def test_slimctl_with_a_certificate(slimctl, tmp_path):
    certificates, server = by_certificate(tmp_path)
    node = ManagedNode(tmp_path, server=server)
    trust = ["--tls.ca_file", certificates["ca.pem"]]
    try:
        slimctl(node, "list-channels", *trust, code=1)
        slimctl(node, "list-channels", *trust, "--tls.cert_file", certificates["stranger.pem"], "--tls.key_file", certificates["stranger.key"], code=1)
        assert "Channels (0):" in slimctl(node, "list-channels", *trust, "--tls.cert_file", certificates["client.pem"], "--tls.key_file", certificates["client.key"])
    finally:
        node.stop()


def test_slimctl(node, slimctl, tmp_path):
    owner, other = Key(), Key()
    for name, key in {"owner.pem": owner, "other.pem": other}.items():
        (tmp_path / name).write_bytes(key.pem)
    signed = ["--key", tmp_path / "owner.pem"]
    assert owner.did in slimctl(node, "did-key", *signed)
    assert owner.did in slimctl(node, "create-channel", ROOM, *signed, "--audience", MANAGER, "--ttl-seconds", "3600")
    listed = slimctl(node, "list-channels")
    assert "Channels (1):" in listed and f"{ROOM} (owner: {owner.did}, expires: " in listed
    with listener(node.tcp, BOB) as bob:
        assert "invalid grant" in slimctl(node, "add-participant", ROOM, BOB, "--key", tmp_path / "other.pem", code=1)
        slimctl(node, "add-participant", ROOM, BOB, *signed)
        opened = bob.read("opened")
        assert opened["mls"] is True
        assert "(2):" in slimctl(node, "list-participants", ROOM)
        slimctl(node, "delete-participant", ROOM, BOB, *signed)
        bob.read("closed")
    assert "invalid signed delete request" in slimctl(node, "delete-channel", ROOM, "--key", tmp_path / "other.pem", "--audience", MANAGER, code=1)
    slimctl(node, "delete-channel", ROOM, *signed, "--audience", MANAGER)
    assert "Channels (0):" in slimctl(node, "list-channels")
