"""Unmodified applications of upstream's Python bindings, as processes of their own, through this node."""
import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "process"))
from nodes import BUILD, PATIENCE, Node, free_port, until  # noqa: E402

APP = Path(__file__).resolve().parent / "app.py"
PACKAGE = "slim-bindings==3.3.8"
INSTALL_SECONDS = 240
RUN_SECONDS = 120


@pytest.fixture(scope="session")
def python():
    """A Python with upstream's bindings, in the build folder; made once."""
    folder = BUILD.resolve() / "interop" / "slim-bindings"
    program = folder / "bin/python"
    if not (folder / "installed").exists():
        venv.create(folder, with_pip=True, clear=True)
        installed = subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE], capture_output=True,
                                   text=True, timeout=INSTALL_SECONDS)
        if installed.returncode != 0:
            pytest.skip(f"{PACKAGE} cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
        (folder / "installed").touch()
    return program


def edge_section(port, clients=""):
    return (f"services:\n  slim/0:\n    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n"
            f"          tls: {{insecure: true}}\n{clients}")


class EdgeNode(Node):
    def __init__(self, folder, name="node", clients="", **options):
        self.edge_port = free_port()
        super().__init__(folder, name=name, extra=edge_section(self.edge_port, clients), **options)

    @property
    def edge(self):
        return f"http://127.0.0.1:{self.edge_port}"


class App:
    def __init__(self, python, folder, role, name, node, *others, **options):
        self.log = open(Path(folder) / f"{name.split('/')[-1]}.log", "w+")
        words = [f"--{key.replace('_', '-')}" if value is True else f"--{key}={value}" for key, value in options.items() if value]
        self.process = subprocess.Popen([python, APP, role, name, node.edge, *others, *words], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.name = name

    def ready(self):
        for line in self.process.stdout:  # the bindings log there too
            if line.strip() == "ready":
                return self
        raise AssertionError(f"{self.name} did not start\n{self.tail()}")

    def result(self):
        try:
            out, _ = self.process.communicate(timeout=RUN_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError(f"{self.name} does not end\n{self.tail()}")
        assert self.process.returncode == 0, self.tail()
        return json.loads(out.strip().splitlines()[-1])

    def tail(self):
        self.log.seek(0)
        return "".join(self.log.readlines()[-30:])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def node(tmp_path):
    node = EdgeNode(tmp_path)
    yield node
    node.stop()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
@pytest.mark.parametrize("size", [0, 20_000], ids=["small", "large"])
def test_two_applications_talk(python, tmp_path, node, mls, size):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=mls, bytes=size) as alice:
        said = alice.result()
        assert said["messages"] == 50
        assert bob.result() == {"answered": 50}
    links = [link for link in node.get("/v1/links")["links"]]
    assert all(link["transport"] == "grpc" for link in links)
    until(lambda: node.routes() == 0, "what the applications subscribed is gone")
    assert node.drops().get("edge_mac", 0) == 0
    node.balanced()
    print(said)


def test_two_applications_talk_best_effort(python, tmp_path, node):
    with App(python, tmp_path, "listen", "org/ns/bob", node, best_effort=True, mls=True).ready() as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", best_effort=True, mls=True) as alice:
        assert alice.result()["messages"] == 50
        assert bob.result() == {"answered": 50}
    node.balanced()


@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_a_group_of_three(python, tmp_path, node, mls):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            App(python, tmp_path, "listen", "org/ns/carol", node, mls=mls).ready() as carol, \
            App(python, tmp_path, "moderate", "org/ns/alice", node, "org/ns/bob", "org/ns/carol", mls=mls, messages=20) as alice:
        assert alice.result()["messages"] == 20
        assert bob.result() == {"answered": 20} and carol.result() == {"answered": 20}
    node.balanced()


def test_across_two_nodes(python, tmp_path):
    far = EdgeNode(tmp_path, name="far")
    near = EdgeNode(tmp_path, name="near",
                    clients=f"      clients:\n        - endpoint: {far.edge}\n          tls: {{insecure: true}}\n          connection_type: peer\n")
    try:
        until(lambda: near.links(), "the nodes are linked")
        with App(python, tmp_path, "listen", "org/ns/bob", far, mls=True).ready() as bob:
            until(lambda: near.routes() > 0, "the near node knows bob")
            with App(python, tmp_path, "talk", "org/ns/alice", near, "org/ns/bob", mls=True) as alice:
                assert alice.result()["messages"] == 50
                assert bob.result() == {"answered": 50}
    finally:
        near.stop()
        far.stop()
