"""Nodes under test: the shipped slipwayd with a configuration made for the test, and its control API."""
import http.client
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

BUILD = Path(os.environ.get("SLIPWAY_BUILD", "build-test"))
PATIENCE = 60  # for things that take milliseconds: tests fail on conditions, never on speed
SANITIZER_WORDS = re.compile("(ERROR|WARNING): [A-Za-z]+Sanitizer|runtime error: ")


def free_port():
    """A port that neither TCP nor UDP uses, below those that the kernel gives to connections: it stays free while its node is down."""
    while True:
        port = random.randrange(10_000, 32_000)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def until(condition, what, patience=PATIENCE):
    end = time.monotonic() + patience
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"not within {patience} s: {what}"
        time.sleep(0.02)


class _Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("node", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(self.path)


class Node:
    def __init__(self, folder, name="node", extra="", listen=True, start=True, environment=None, before=()):
        self.folder = Path(folder)
        self.name = name
        self.port = free_port()
        self.api = str(self.folder / f"{name}.control.sock")
        self.unix = str(self.folder / f"{name}.native.sock")
        self.log_path = self.folder / f"{name}.log"
        self.config = self.folder / f"{name}.yaml"
        self.environment = environment
        self.program = BUILD / "tools/slipwayd"
        self.before = list(before)  # words that run the command given to them, as `nice`
        self.write(extra, listen)
        self.process = None
        if start:
            self.start()

    @property
    def tcp(self):
        return f"tcp://127.0.0.1:{self.port}"

    @property
    def udp(self):
        return f"udp://127.0.0.1:{self.port}"

    def write(self, extra="", listen=True):
        text = f"slipway:\n  node_id: {self.name}\n  api: {{unix: {self.api}}}\n"
        if listen:
            text += f"  listen:\n    - tcp: 127.0.0.1:{self.port}\n    - udp: 127.0.0.1:{self.port}\n    - unix: {self.unix}\n"
        self.config.write_text(text + extra)

    def launch(self):
        self.log_file = open(self.log_path, "ab")
        self.process = subprocess.Popen([*self.before, self.program, "--config", self.config], stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file, env=self.environment)

    def start(self):
        self.launch()
        until(lambda: self.process.poll() is not None or self.answers(), "the node answers")
        assert self.process.poll() is None, self.log()
        return self

    def log(self):
        return self.log_path.read_text(errors="replace")

    def answers(self):
        try:
            return self.get("/v1/version")
        except OSError:
            return None

    def request(self, method, path, body=None):
        connection = _Unix(self.api)
        try:
            connection.request(method, path, body=json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def get(self, path):
        status, body = self.request("GET", path)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path, body=None, status=200):
        got, answer = self.request("POST", path, body if body is not None else {})
        assert got == status, (path, got, answer)
        return json.loads(answer)

    def routes(self):
        return self.get("/v1/status")["routes"]

    def links(self, state="up"):
        return [link for link in self.get("/v1/links")["links"] if link["state"] == state]

    def drops(self):
        return {row["reason"]: row["count"] for row in self.get("/v1/drops")["drops"]}

    def balanced(self):
        books = self.get("/v1/books")
        assert books["balanced"], json.dumps(books, indent=1)
        return books["total"]

    def resident_bytes(self):
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise AssertionError("no VmRSS")

    def cpu_seconds(self):
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE)

    def stop(self):
        """In good order; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return self.process.returncode if self.process else None
        self.signal(signal.SIGTERM)
        code = self.process.wait(PATIENCE)
        assert code == 0 and not SANITIZER_WORDS.search(self.log()), self.log()
        return code


def run_slipwayd(*arguments, environment=None):
    return subprocess.run([BUILD / "tools/slipwayd", *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=PATIENCE, env=environment)
