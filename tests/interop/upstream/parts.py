"""What the tests with upstream's parts have in common: its bindings, its node, its applications, our node beside them."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "process"))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from nodes import BUILD, PATIENCE, Node, free_port, until  # noqa: E402,F401
from registry import python_with  # noqa: E402

HERE = Path(__file__).resolve().parent
NEWEST = "3.3.8"
RUN_SECONDS = 120
longer = pytest.mark.skipif(not os.environ.get("SLIPWAY_INTEROP_ALL"), reason="longer: tools/interop upstream")


def bindings(version=NEWEST):
    """A Python that has upstream's bindings, in the build folder; made once. SLIPWAY_SLIM_BINDINGS names one that is there."""
    given = os.environ.get("SLIPWAY_SLIM_BINDINGS")
    if given and version == NEWEST:
        return Path(given)
    return python_with(f"slim-bindings-{version}", f"slim-bindings=={version}")


def edge_section(port, clients="", service=""):
    return (f"services:\n  slim/0:\n{service}    dataplane:\n      servers:\n        - endpoint: 127.0.0.1:{port}\n"
            f"          tls: {{insecure: true}}\n{clients}")


def client_entry(endpoint, kind):
    return f"      clients:\n        - endpoint: {endpoint}\n          tls: {{insecure: true}}\n          connection_type: {kind}\n" \
           "          backoff: {type: fixed_interval, interval: 200ms}\n"


class EdgeNode(Node):
    """Our node, with a listener for upstream's applications."""

    def __init__(self, folder, name="node", clients="", service="", more="", edge_port=None, **options):
        self.edge_port = edge_port or free_port()
        super().__init__(folder, name=name, extra=more + edge_section(self.edge_port, clients, service), **options)

    @property
    def edge(self):
        return f"http://127.0.0.1:{self.edge_port}"

    def links_of_any_state(self):
        return self.get("/v1/links")["links"]

    def link_rows(self, kind):
        return [link for link in self.links() if link["class"] == kind]


def knows(node, name):
    return lambda: any(row["name"].startswith(name) for row in node.get("/v1/routes")["routes"])


def no_mac_drops(node):
    return not any(reason.startswith("edge_mac") for reason in node.drops())


class UpstreamNode:
    """Theirs: in its Python bindings, or the program that operators run where the session has one."""

    program = None

    def __init__(self, python, folder, name="theirs", clients="", service="", edge_port=None, level="info", start=True):
        self.python, self.name = python, name
        self.edge_port = edge_port or free_port()
        self.config = Path(folder) / f"{name}.yaml"
        self.log_path = Path(folder) / f"{name}.log"
        self.config.write_text(f"tracing: {{log_level: {level}}}\n" + edge_section(self.edge_port, clients, f"    node_id: {name}\n" + service))
        self.process = None
        if start:
            self.start()

    @property
    def edge(self):
        return f"http://127.0.0.1:{self.edge_port}"

    def start(self):
        self.log = open(self.log_path, "ab")
        self.process = subprocess.Popen(self.command(), stdin=subprocess.PIPE, stdout=self.log, stderr=self.log)
        until(lambda: self.process.poll() is not None or self.runs(), "upstream's node runs")
        assert self.process.poll() is None, self.tail()
        return self

    def command(self):
        return [self.program, "--config", self.config] if self.program else [self.python, HERE / "upstream_node.py", self.config]

    def runs(self):
        said = b"\n" + self.log_path.read_bytes()
        return b"dataplane server started" in said if self.program else b"\nready" in said

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)
        self.log_path.unlink()

    def tail(self):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-30:])

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


class App:
    def __init__(self, interpreter, folder, role, name, at, *others, program="app.py", **options):
        self.log = open(Path(folder) / f"{name.split('/')[-1]}.log", "w+")
        words = [f"--{key.replace('_', '-')}" if value is True else f"--{key.replace('_', '-')}={value}" for key, value in options.items() if value]
        endpoint = at if isinstance(at, str) else json.dumps(at) if isinstance(at, dict) else at.edge
        self.process = subprocess.Popen([interpreter, HERE / program, role, name, endpoint, *others, *words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.name = name

    def ready(self):
        for line in self.process.stdout:  # the bindings log there too
            if line.strip() == "ready":
                return self
        raise AssertionError(f"{self.name} did not start\n{self.tail()}")

    def line(self, word):
        """What follows this word in the next line of output that begins with it."""
        for line in self.process.stdout:
            if line.startswith(word):
                return line[len(word):].strip()
        raise AssertionError(f"{self.name} did not say {word}\n{self.tail()}")

    def order(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

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
