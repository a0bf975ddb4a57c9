"""slipway-mls: decoding, running vectors, and clients that talk to each other through it."""
import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[3]
PROGRAM = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build-test")) / "tools/slipway-mls"
VECTORS = TOP / "tests/vectors/mls"


def run(*arguments, stdin=""):
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=120)


def decoded(*arguments, stdin=""):
    result = run("decode", "--json", *arguments, stdin=stdin)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


class Refused(Exception):
    pass


class Client:
    def __init__(self, name, suite, **identity):
        self.process = subprocess.Popen([PROGRAM, "client"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.count = 0
        self.ask("identity", name=name, suite=suite, **identity)

    def raw(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def ask(self, op, **fields):
        self.count += 1
        answer = self.raw(json.dumps({"op": op, "id": self.count, **fields}))
        assert answer["id"] == self.count
        if not answer["ok"]:
            raise Refused(answer["error"])
        return answer

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=60) == 0


@pytest.fixture
def clients():
    made = []

    def make(name, suite, **identity):
        made.append(Client(name, suite, **identity))
        return made[-1]

    yield make
    for client in made:
        client.close()


def package(client):
    return client.ask("key_package")["key_package"]


def agree(*members):
    states = [member.ask("state") for member in members]
    for field in ("epoch", "epoch_authenticator", "tree_hash"):
        assert len({state[field] for state in states}) == 1, field
    secrets = {member.ask("export", label="test", context="01", size=32)["secret"] for member in members}
    assert len(secrets) == 1


def pair(clients, suite, **identity):
    alice, bob = clients("alice", suite, **identity), clients("bob", suite, **identity)
    alice.ask("create", group_id="aabb")
    made = alice.ask("commit", add=[package(bob)], accept=True)
    bob.ask("join", welcome=made["welcome"])
    return alice, bob


@pytest.mark.parametrize("suite", range(1, 8))
@pytest.mark.parametrize("wire_format", ["private", "public"])
def test_group_life(clients, suite, wire_format):
    alice, bob = pair(clients, suite, wire_format=wire_format)
    agree(alice, bob)
    for sender, receiver in ((alice, bob), (bob, alice)):
        sealed = sender.ask("protect", plaintext="68656c6c6f", authenticated_data="07")["message"]
        opened = receiver.ask("unprotect", message=sealed)
        assert (opened["plaintext"], opened["authenticated_data"]) == ("68656c6c6f", "07")

    # By reference: an update of bob's and an add of carol.
    carol = clients("carol", suite)
    for proposal in (bob.ask("update"), bob.ask("add", key_package=package(carol))):
        assert alice.ask("process", message=proposal["proposal"])["kind"] == "proposal"
    made = alice.ask("commit", tree_in_welcome=False)
    staged = bob.ask("process", message=made["commit"])
    assert staged["kind"] == "commit" and staged["added"][0]["credential"]["identity"] == "carol"
    assert alice.ask("process", message=made["commit"])["kind"] == "own_commit"
    carol.ask("join", welcome=made["welcome"], tree=made["tree"])
    agree(alice, bob, carol)

    made = carol.ask("commit", remove=[1], accept=True)
    alice.ask("process", message=made["commit"])
    assert bob.ask("process", message=made["commit"])["removes_me"]
    assert bob.ask("state")["active"] is False
    agree(alice, carol)

    # From outside, and back from a snapshot.
    dave = clients("dave", suite)
    joined = dave.ask("external_join", group_info=carol.ask("group_info")["group_info"])
    for member in (alice, carol):
        assert member.ask("process", message=joined["commit"])["external"]
    snapshot = alice.ask("save")["snapshot"]
    alice.ask("leave")
    alice.ask("restore", snapshot=snapshot)
    agree(alice, carol, dave)


def test_psks(clients):
    alice, bob = pair(clients, 2)
    alice.ask("psk", psk_id="01", secret="aa" * 32)
    made = alice.ask("commit", psks=["01"])
    with pytest.raises(Refused, match="missing_psk"):
        bob.ask("process", message=made["commit"])
    bob.ask("psk", psk_id="01", secret="aa" * 32)
    bob.ask("process", message=made["commit"])
    alice.ask("accept")
    agree(alice, bob)


def test_refusals_change_nothing(clients):
    alice, bob = pair(clients, 1)
    sealed = alice.ask("protect", plaintext="00")["message"]
    last = f"{int(sealed[-2:], 16) ^ 1:02x}"
    for op, fields, error in (
        ("unprotect", {"message": sealed[:-2] + last}, "decryption_failed"),
        ("unprotect", {"message": "zz"}, "bad_request"),
        ("unprotect", {}, "bad_request"),
        ("remove", {"leaf": 1 << 40}, "bad_request"),
        ("export", {"label": "x", "context": "", "size": 1 << 20}, "bad_request"),
        ("commit", {"add": "00"}, "bad_request"),
        ("commit", {"add": ["00"]}, "malformed"),
        ("create", {"extensions": [1]}, "bad_request"),
        ("state", {"group": "00"}, "bad_request"),
        ("accept", {}, "no_pending_commit"),
        ("dance", {}, "bad_request"),
    ):
        with pytest.raises(Refused, match=error):
            bob.ask(op, **fields)
    for line in ("{", "[]", "7", '{"op": 7}', "\x01", '{"op": "state", "group": {}}'):
        assert bob.raw(line)["error"] == "bad_request"
    assert bob.ask("unprotect", message=sealed)["plaintext"] == "00"
    agree(alice, bob)


def test_refused_commit(clients):
    alice, bob = pair(clients, 2)
    alice.ask("commit", force_path=True)
    alice.ask("refuse")
    made = bob.ask("commit", force_path=True, accept=True)
    alice.ask("process", message=made["commit"])
    agree(alice, bob)


def test_decode_forms(clients, tmp_path):
    alice = clients("alice", 2)
    package_hex = package(alice)
    raw = bytes.fromhex(package_hex)
    forms = [package_hex, base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")]
    for name, content in (("raw", raw), ("hex", package_hex.encode() + b"\n"), ("base64", base64.encodebytes(raw))):
        (tmp_path / name).write_bytes(content)
        forms.append(tmp_path / name)
    for form in forms:
        shown = decoded(form)
        assert (shown["wire_format"], shown["check"]) == ("key_package", "good")
        assert shown["leaf_node"]["credential"]["identity"] == "alice"
    assert decoded("-", stdin=package_hex)["wire_format"] == "key_package"
    assert decoded(package_hex[8:])["kind"] == "key-package"
    spoiled = f"{int(package_hex[-2:], 16) ^ 1:02x}"
    assert decoded(package_hex[:-2] + spoiled)["check"] != "good"
    assert "identity: alice" in run("decode", package_hex).stdout


def test_decode_of_a_group(clients):
    alice, bob = pair(clients, 2, wire_format="public")
    tree = decoded(alice.ask("tree")["tree"])
    assert tree["kind"] == "tree" and [node["leaf"] for node in tree["nodes"]] == [0, 1]
    info = decoded(alice.ask("group_info")["group_info"])
    assert {e["type"] for e in info["extensions"]} == {"ratchet_tree", "external_pub"}
    shown = decoded(bob.ask("commit", force_path=True)["commit"])
    assert shown["content_type"] == "commit" and shown["commit"]["path"]["leaf_node"]["source"] == "commit"
    assert decoded(bob.ask("protect", plaintext="00")["message"])["wire_format"] == "private_message"


def test_decode_of_a_snapshot_tells_no_secret(clients):
    alice, _ = pair(clients, 1)
    state = alice.ask("state")
    snapshot = alice.ask("save")["snapshot"]
    shown = decoded(snapshot)
    assert (shown["kind"], shown["epoch"], len(shown["members"])) == ("snapshot", 1, 2)
    public = json.dumps(shown)
    assert state["tree_hash"] in public and state["epoch_authenticator"] in snapshot
    assert state["epoch_authenticator"] not in public


def test_decode_of_vectors():
    entry = json.loads((VECTORS / "messages.json").read_text())[0]
    for field, value in entry.items():
        if field.startswith(("mls_", "public_message", "private_message")):
            assert decoded(value)["kind"] == "message", field
    assert decoded(entry["ratchet_tree"])["kind"] == "tree"
    assert decoded("--as", "commit", entry["commit"])["kind"] == "commit"


@pytest.mark.parametrize("arguments, code", [
    ([], 2), (["dance"], 2), (["decode"], 2), (["decode", "a", "b"], 2), (["decode", "--as", "song", "00"], 2),
    (["vectors"], 2), (["decode", "not hex!"], 1), (["decode", "00"], 1), (["decode", "534d4c5301"], 1),
    (["vectors", "/nowhere"], 1), (["help"], 0),
])
def test_command_line(arguments, code):
    result = run(*arguments)
    assert result.returncode == code
    assert "Traceback" not in result.stderr and (code == 0) == (result.stderr == "")


def test_vectors(tmp_path):
    for name in ("tree-math.json", "transcript-hashes.json"):
        shutil.copy(VECTORS / name, tmp_path)
    result = run("vectors", tmp_path, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0 and report["failed"] == 0 and report["passed"] > 0
    assert [f["file"] for f in report["files"]] == ["transcript-hashes.json", "tree-math.json"]

    # A wrong entry, and one of a suite that does not exist.
    entries = json.loads((VECTORS / "transcript-hashes.json").read_text())[:3]
    entries[0]["cipher_suite"] = 0xF001
    entries[1]["confirmed_transcript_hash_after"] = "00" * 32
    (tmp_path / "transcript-hashes.json").write_text(json.dumps(entries))
    result = run("vectors", tmp_path)
    assert result.returncode == 1 and result.stdout.rstrip().endswith("2 failed")
