"""Upstream's node and its slimctl, built from their crates, beside and against our node. Builds for many minutes, so only
`tools/interop reference` runs this; SLIPWAY_REFERENCE names a folder that has bin/slim and bin/slimctl already."""
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from parts import BUILD, PATIENCE, App, EdgeNode, UpstreamNode, client_entry, free_port, until
from test_nodes import knows

pytestmark = pytest.mark.skipif(not os.environ.get("SLIPWAY_INTEROP_REFERENCE"), reason="builds upstream's node: tools/interop reference")

VERSION = "3.4.6"
RUST = (1, 85)  # the edition of the crates
BUILD_SECONDS = 3 * 3600
BENCH_SECONDS = 120


def rust():
    """The version of the Rust compiler that there is."""
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@pytest.fixture(scope="session")
def reference():
    given = os.environ.get("SLIPWAY_REFERENCE")
    folder = Path(given) if given else BUILD.resolve().parent / "build-interop" / f"reference-{VERSION}"
    if not all((folder / "bin" / program).exists() for program in ("slim", "slimctl")):
        if shutil.which("cargo") is None or rust() < RUST:
            pytest.skip(f"upstream's node needs Rust {RUST[0]}.{RUST[1]} or newer with cargo; there is {'.'.join(map(str, rust()))}")
        environment = dict(os.environ, CARGO_TARGET_DIR=str(folder / "target"))
        for crate in ("agntcy-slim", "agntcy-slimctl"):
            built = subprocess.run(["cargo", "install", "--locked", "--version", VERSION, "--root", folder, crate], env=environment,
                                   capture_output=True, text=True, timeout=BUILD_SECONDS)
            if built.returncode != 0:
                pytest.skip(f"{crate} {VERSION} cannot be built: {built.stderr.strip().splitlines()[-3:]}")
    return folder / "bin"


class ReferenceNode(UpstreamNode):
    """The same node as in the bindings, as the program that operators run."""

    def command(self):
        return [self.python, "--config", self.config]

    def runs(self):
        return b"dataplane server started" in self.log_path.read_bytes()


@pytest.fixture
def theirs(reference, tmp_path, node):
    theirs = ReferenceNode(reference / "slim", tmp_path, clients=client_entry(node.edge, "peer"))
    yield theirs
    theirs.stop()


def test_a_chat_across_our_node_and_upstreams(python, tmp_path, node, theirs):
    until(lambda: node.link_rows("peer"), "the nodes are linked")
    with App(python, tmp_path, "listen", "org/ns/bob", theirs, mls=True).ready() as bob:
        until(knows(node, "org/ns/bob"), "ours knows bob")
        with App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=True) as alice:
            assert alice.result()["messages"] == 50
            assert bob.result() == {"answered": 50}
    node.balanced()


def bench(slimctl, folder, node, side, *words):
    """side: sub, pub, channel sub or channel pub."""
    log = open(folder / f"bench-{side.replace(' ', '-')}.log", "w+")
    return subprocess.Popen([slimctl, "bench", *side.split(), "--server", node.edge, *map(str, words)], stdout=log, stderr=log, cwd=folder), log


def said(log):
    log.seek(0)
    return log.read()


def run_bench(reference, folder, node, count, sub, pub, *words):
    """Upstream's bench between two of its processes through our node; what both said."""
    words = ("--count", count, *words)
    receiving, heard = bench(reference / "slimctl", folder, node, *sub, *words)
    try:
        until(lambda: said(heard).count("] ready at ") == count or receiving.poll() is not None, "the receivers are ready")
        sending, told = bench(reference / "slimctl", folder, node, *pub, *words)
        try:
            assert sending.wait(BENCH_SECONDS) == 0, said(told)
            assert receiving.wait(BENCH_SECONDS) == 0, said(heard)
        finally:
            sending.kill()
    finally:
        receiving.kill()
    print(said(told), said(heard))
    return said(heard), said(told)


@pytest.mark.parametrize("reliable", [True, False], ids=["reliable", "unreliable"])
def test_upstreams_bench_point_to_point(reference, tmp_path, node, reliable):
    messages = 20_000
    heard, _ = run_bench(reference, tmp_path, node, 2, ("sub",), ("pub", *(["--reliable"] if reliable else [])), "--msgs", messages, "--size", 512)
    assert sum(int(number) for number in re.findall(r"\] received (\d+) messages", heard)) == messages, heard
    node.balanced()


def test_upstreams_bench_measures_round_trips(reference, tmp_path, node):
    _, told = run_bench(reference, tmp_path, node, 1, ("sub", "--reply"), ("pub", "--request"), "--msgs", 1_000)
    assert "p99" in told.lower(), told
    node.balanced()


def test_upstreams_bench_of_a_channel(reference, tmp_path, node):
    heard, told = run_bench(reference, tmp_path, node, 3, ("channel sub",), ("channel pub",), "--msgs", 5_000)
    assert "error" not in heard + told, heard + told
    node.balanced()


def test_slimctl_lists_routes_and_connections(reference, python, tmp_path):
    port = free_port()
    node = EdgeNode(tmp_path, service=f"    controller:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n          tls: {{insecure: true}}\n")

    def slimctl(*words):
        done = subprocess.run([reference / "slimctl", "--server", f"127.0.0.1:{port}", "node", *words, "list"], capture_output=True, text=True,
                              timeout=PATIENCE, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        with App(python, tmp_path, "serve", "org/ns/bob", node).ready():
            routes, connections = slimctl("route"), slimctl("connection")
            assert "1 route(s)" in routes and "org/ns/bob" in routes and "Edge" in routes, routes
            assert "1 connection(s)" in connections and "Edge" in connections and "Incoming" in connections, connections
        until(lambda: "0 route(s)" in slimctl("route"), "the name is gone")
    finally:
        node.stop()
