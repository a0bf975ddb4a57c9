"""Applications with sessions under test: `slipwayctl session` processes, whose answers are JSON lines."""
import json
import os
import subprocess

from nodes import BUILD, PATIENCE

CTL = BUILD / "tools/slipwayctl"
SECRET = "a-shared-secret-of-at-least-32-bytes!!"


class Application:
    """One of them."""

    def __init__(self, node_address, *words, secret=SECRET):
        environment = dict(os.environ, SLIPWAY_SECRET=secret, SLIPWAY_NODE=node_address)
        self.process = subprocess.Popen([CTL, "--json", "--timeout", str(PATIENCE), "session", *map(str, words)], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []

    def read(self, key):
        """The next line that has this key."""
        for line in self.process.stdout:
            value = json.loads(line)
            self.lines.append(value)
            if key in value:
                return value
        raise AssertionError(f"no {key}: {self.lines[-5:]} {self.process.stderr.read()}")

    def result(self, code=0):
        out, error = self.process.communicate(timeout=PATIENCE)
        self.lines += [json.loads(line) for line in out.splitlines()]
        assert self.process.returncode == code, (self.process.returncode, error, self.lines[-5:])
        return self.lines[-1] if self.lines else None

    def payloads(self):
        return [line["payload"] for line in self.lines if "payload" in line]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def listener(node_address, name, *words):
    application = Application(node_address, "listen", name, *words)
    application.name = application.read("ready")["ready"]
    return application
