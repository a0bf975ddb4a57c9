"""Ways to a node: TLS with and without a client's certificate, credentials of the connection; identities that others keep."""
import base64
import hashlib
import hmac
import json
import subprocess
import time

import pytest
from applications import PATIENCE, SECRET, Node, free_port, run

import slipway
from slipway import split_id

BOB = split_id("org/ns/bob")


def openssl(*words):
    return subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True).stdout


class Certificates:
    def __init__(self, folder):
        self.folder = folder
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=ca", "-keyout", self["ca.key"],
                "-out", self["ca.pem"])
        for name, extension in (("server", "subjectAltName=DNS:localhost,IP:127.0.0.1"), ("elsewhere", "subjectAltName=DNS:elsewhere"),
                                ("client", "extendedKeyUsage=clientAuth")):
            openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}", "-keyout", self[f"{name}.key"],
                    "-out", self[f"{name}.csr"])
            (folder / f"{name}.ext").write_text(f"basicConstraints=CA:FALSE\n{extension}\n")
            openssl("x509", "-req", "-in", self[f"{name}.csr"], "-CA", self["ca.pem"], "-CAkey", self["ca.key"], "-CAcreateserial", "-days", "2",
                    "-extfile", self[f"{name}.ext"], "-out", self[f"{name}.pem"])

    def __getitem__(self, name):
        return str(self.folder / name)

    def source(self, name):
        return {"type": "file", "cert": self[f"{name}.pem"], "key": self[f"{name}.key"]}


@pytest.fixture
def ways(tmp_path):
    """A node with a listener of each kind; {kind: its port}, and the certificates."""
    certificates = Certificates(tmp_path)
    ports = {name: free_port() for name in ("tls", "mtls", "elsewhere", "basic")}
    authority = {"type": "file", "path": certificates["ca.pem"]}
    tls = {"tls": {"source": certificates.source("server")}, "mtls": {"source": certificates.source("server"), "client_ca": authority},
           "elsewhere": {"source": certificates.source("elsewhere")}, "basic": {"insecure": True}}
    servers = [{"endpoint": f"127.0.0.1:{ports[name]}", "tls": tls[name]} for name in ports]
    servers[-1]["auth"] = {"type": "basic", "username": "alice", "password": "a-password"}
    node = Node(tmp_path, extra="services:\n  slim/0:\n    dataplane:\n      servers: " + json.dumps(servers) + "\n")  # JSON is YAML
    yield ports, certificates, node
    node.stop()


async def talk(where, **options):
    """Two applications, each connected like that, in a session."""
    alice = await slipway.Slim.create("org/ns/alice", secret=SECRET)
    bob = await slipway.Slim.create("org/ns/bob", secret=SECRET)
    async with alice, bob:
        for app in (alice, bob):
            await app.connect(where, timeout=PATIENCE, **options)
        session = await alice.unicast(BOB, timeout=1)
        assert (await session.publish_and_wait(b"hello")).missed == []
        assert (await (await bob.listen_for_session()).get_message())[1] == b"hello"


def test_tls(ways):
    ports, certificates, _ = ways
    at = f"https://localhost:{ports['tls']}"

    async def main():
        await talk(at, ca_file=certificates["ca.pem"])
        await talk({"endpoint": at, "tls": {"ca_file": certificates["ca.pem"]}})  # as the guide writes it
        await talk({"endpoint": at, "tls": {"insecure_skip_verify": True}})
        await talk(f"https://127.0.0.1:{ports['elsewhere']}", ca_file=certificates["ca.pem"], server_name="elsewhere")
    run(main())


def test_certificates_of_clients(ways):
    ports, certificates, _ = ways
    at = {"endpoint": f"https://localhost:{ports['mtls']}", "tls": {"ca_file": certificates["ca.pem"]}}

    async def main():
        await talk(at, certificate_file=certificates["client.pem"], key_file=certificates["client.key"])
        at["tls"] |= {"cert_file": certificates["client.pem"], "key_file": certificates["client.key"]}
        await talk(at)
    run(main())


@pytest.mark.parametrize("way, options, reason", [
    ("tls", {}, "certificate"), ("elsewhere", {"ca_file": "ca.pem"}, "(?i)host ?name|certificate"), ("mtls", {"ca_file": "ca.pem"}, "."),
    ("tls", {"ca_file": "nowhere.pem"}, "nowhere.pem"), ("mtls", {"ca_file": "ca.pem", "certificate_file": "client.pem"}, "key")])
def test_trust_that_is_missing_is_told(ways, way, options, reason):
    ports, certificates, _ = ways

    async def main():
        async with await slipway.Slim.create("org/ns/alice", secret=SECRET) as alice:
            with pytest.raises(slipway.SlipwayError, match=reason) as told:
                await alice.connect(f"https://localhost:{ports[way]}", timeout=2, **{key: certificates[name] for key, name in options.items()})
            assert "password" not in str(told.value)
    run(main())


def test_credentials_of_a_connection(ways):
    ports, _, _ = ways
    at = f"http://127.0.0.1:{ports['basic']}"

    def basic(words):
        return "Basic " + base64.b64encode(words.encode()).decode()

    async def main():
        await talk(at, authorization=basic("alice:a-password"))
        await talk({"endpoint": at, "tls": {"insecure": True}, "authorization": basic("alice:a-password")})
        async with await slipway.Slim.create("org/ns/alice", secret=SECRET) as alice:
            with pytest.raises(slipway.SlipwayError) as told:
                await alice.connect(at, timeout=2, authorization=basic("alice:wrong-words"))
            assert basic("alice:wrong-words") not in str(told.value)
    run(main())


def test_words_that_make_no_sense(node):
    async def main():
        async with await slipway.Slim.create("org/ns/alice", secret=SECRET) as alice:
            for where in ({"endpoint": "http://127.0.0.1:1", "tls": {"insecure": False}}, {"endpoint": node.tcp, "tsl": {}},
                          {"endpoint": node.tcp, "tls": {"no_such_word": 1}}):
                with pytest.raises(slipway.InvalidError):
                    await alice.connect(where)
            with pytest.raises(TypeError, match="no_such_option"):
                await alice.connect(node.tcp, no_such_option=True)
    run(main())


def encoded(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


def write_token(folder, subject, lives_s=600):
    """A token that an authority signed for `subject`, and the key that it names."""
    key = folder / f"{subject}.pem"
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", key)
    point = openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-65:]
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + lives_s, "pubkey": base64.b64encode(point).decode()}
    signed = f"{encoded({'typ': 'JWT', 'alg': 'HS256'})}.{encoded(claims)}"
    token = folder / f"{subject}.jwt"
    token.write_text(f"{signed}.{encoded(hmac.digest(SECRET.encode(), signed.encode(), hashlib.sha256))}")
    return slipway.PyIdentityProvider.StaticJwt(str(token), str(key))


def test_tokens_that_others_keep(node, tmp_path):
    verifier = slipway.PyIdentityVerifier.Jwt(slipway.PyKey(slipway.PyAlgorithm.HS256, slipway.PyKeyFormat.Pem, slipway.PyKeyData.Content(SECRET)))

    async def main():
        alice, bob = [await slipway.Slim.new(f"org/ns/{name}", write_token(tmp_path, name), verifier) for name in ("alice", "bob")]
        async with alice, bob:
            for app in (alice, bob):
                await app.connect(node.tcp)
            session = await alice.unicast(BOB, timeout=1)
            assert session.mls_enabled
            assert (await session.publish_and_wait(b"hello")).missed == []
            assert (await (await bob.listen_for_session()).get_message())[1] == b"hello"
        with pytest.raises(slipway.IdentityError, match="key_file"):
            await slipway.Slim.new("org/ns/alice", slipway.PyIdentityProvider.StaticJwt("alice.jwt"), verifier)
        with pytest.raises(slipway.IdentityError, match="nowhere"):
            await slipway.Slim.new("org/ns/alice", slipway.PyIdentityProvider.StaticJwt(str(tmp_path / "nowhere.jwt"), str(tmp_path / "alice.pem")), verifier)
        with pytest.raises(slipway.IdentityError):  # another's key
            await slipway.Slim.new("org/ns/alice", slipway.PyIdentityProvider.StaticJwt(str(tmp_path / "alice.jwt"), str(tmp_path / "bob.pem")), verifier)
    run(main())
