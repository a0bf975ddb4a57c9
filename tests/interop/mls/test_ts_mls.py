"""A group of this implementation and ts-mls, each as creator and as joiner, in suites 1 and 2 and both wire formats.

ts-mls is installed with npm into a temporary folder; without node, npm or a registry the tests are skipped.
"""
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[2]
OURS = [str(Path(os.environ.get("SLIPWAY_BUILD", TOP / "build-test")) / "tools/slipway-mls"), "client"]
PACKAGES = ["ts-mls@1.6.4", "@noble/curves@2.0.1"]
INSTALL_SECONDS = 120


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    folder = tmp_path_factory.mktemp("ts-mls")
    try:
        result = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *PACKAGES], cwd=folder,
                                capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm install {' '.join(PACKAGES)} took more than {INSTALL_SECONDS} s")
    if result.returncode != 0:
        pytest.skip(f"npm install {' '.join(PACKAGES)} failed: {result.stderr.strip().splitlines()[-1:]}")
    shutil.copy(HERE / "ts_mls_client.mjs", folder)
    return ["node", str(folder / "ts_mls_client.mjs")]


class Client:
    def __init__(self, command, name, suite, wire_format):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.ask("identity", name=name, suite=suite, wire_format=wire_format)

    def ask(self, op, **fields):
        self.process.stdin.write(json.dumps({"op": op, **fields}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert answer["ok"], f"{op}: {answer}"
        return answer

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


def agree(*members):
    states = [member.ask("state") for member in members]
    for field in ("epoch", "epoch_authenticator", "tree_hash"):
        assert len({state[field] for state in states}) == 1, field
    assert len({member.ask("export", label="interop", context="0102", size=48)["secret"] for member in members}) == 1
    for sender in members:
        sealed = sender.ask("protect", plaintext="68656c6c6f")["message"]
        for receiver in members:
            if receiver is not sender:
                assert receiver.ask("process", message=sealed)["plaintext"] == "68656c6c6f"


@pytest.mark.parametrize("wire_format", ["private", "public"])
@pytest.mark.parametrize("suite", [1, 2])
@pytest.mark.parametrize("creator", ["ours", "theirs"])
def test_conversation(theirs, creator, suite, wire_format):
    commands = {"ours": [OURS, theirs, OURS, theirs], "theirs": [theirs, OURS, theirs, OURS]}[creator]
    clients = [Client(command, f"member {i}", suite, wire_format) for i, command in enumerate(commands)]
    try:
        first, second, third, fourth = clients
        first.ask("create", group_id="5e55")
        made = first.ask("commit", add=[second.ask("key_package")["key_package"]], accept=True)
        second.ask("join", welcome=made["welcome"])
        agree(first, second)

        # Two more at once, added by the one who joined.
        added = [client.ask("key_package")["key_package"] for client in (third, fourth)]
        made = second.ask("commit", add=added, accept=True)
        first.ask("process", message=made["commit"])
        for client in (third, fourth):
            client.ask("join", welcome=made["welcome"])
        agree(*clients)

        # Everybody updates in turn, then the creator is removed.
        for committer in clients:
            made = committer.ask("commit", force_path=True, accept=True)
            for other in clients:
                if other is not committer:
                    other.ask("process", message=made["commit"])
            agree(*clients)
        made = fourth.ask("commit", remove=[0], accept=True)
        for other in (second, third):
            other.ask("process", message=made["commit"])
        agree(second, third, fourth)
    finally:
        for client in clients:
            client.close()
