"""Applications with sessions under test: `slipwayctl session` processes, whose answers are JSON lines."""
import json
import os
import subprocess
import threading

from nodes import BUILD, PATIENCE

CTL = BUILD / "tools/slipwayctl"
SECRET = "a-shared-secret-of-at-least-32-bytes!!"


class Application:
    """One of them."""

    def __init__(self, node_address, *words, secret=SECRET):
        environment = dict(os.environ, SLIPWAY_NODE=node_address)
        environment.pop("SLIPWAY_SECRET", None)
        if secret:
            environment["SLIPWAY_SECRET"] = secret
        self.process = subprocess.Popen([CTL, "--json", "--timeout", str(PATIENCE), "session", *map(str, words)], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.lines = []
        self.collector = None

    def collect(self):
        """Reads from here on what it says, so that one who says much is never held up."""
        self.collector = threading.Thread(target=lambda: self.lines.extend(map(json.loads, self.process.stdout)), daemon=True)
        self.collector.start()
        return self

    def read(self, key):
        """The next line that has this key."""
        for line in self.process.stdout:
            value = json.loads(line)
            self.lines.append(value)
            if key in value:
                return value
        raise AssertionError(f"no {key}: {self.lines[-5:]} {self.process.stderr.read()}")

    def result(self, code=0):
        if self.collector:
            self.process.stdin.close()
            self.process.wait(PATIENCE)
            self.collector.join(PATIENCE)
            error = self.process.stderr.read()
        else:
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


def jwt_keys(folder, *names):
    """Pairs of P-256 keys: {name: (private, public)}."""
    keys = {}
    for name in names:
        private, public = folder / f"{name}.key", folder / f"{name}.pub"
        subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private], check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", private, "-pubout", "-out", public], check=True, capture_output=True)
        keys[name] = (private, public)
    return keys


def by_jwt(keys, own, *more):
    """The words of an application that signs with its own key and trusts all of them."""
    return ["--jwt-key", keys[own][0], *(word for _, public in keys.values() for word in ("--jwt-trust", public)), *more]


def listener(node_address, name, *words, secret=SECRET):
    application = Application(node_address, "listen", name, *words, secret=secret)
    application.name = application.read("ready")["ready"]
    return application
