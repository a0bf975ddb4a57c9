#!/usr/bin/env python3
"""Runs the benchmark `python`: two Python processes in a unicast session, reliable and with MLS, on the package slipway and on
upstream's slim-bindings of PyPI, in turn, through one node; beside them the same by two C++ processes on the endpoint library.

  --quick    64-byte messages only, fewer blocks
  --json     the last line is one JSON object
  --pairs N  blocks of each (8; quick: 4)

Each side has its own way of being fast: messages that are not yet acknowledged at any time are as many as suit it best. A node
is given to each by the address that it is made for: slipway by native TCP, slim-bindings by gRPC.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build")).resolve()
os.environ["SLIPWAY_BUILD"] = str(BUILD)
sys.path.insert(0, str(TOP / "tests/process"))
from nodes import Node, free_port  # noqa: E402

SYSTEM_PYTHON = "/usr/bin/python3"  # the package is built for it
BINDINGS = "3.3.8"
INSTALL_SECONDS = 120
MESSAGES_BAR, ROUND_TRIP_BAR = 3.0, 0.5
AHEAD = {"slipway": 256, "slim_bindings": 64, "c++": 256}


def bindings():
    """(a Python that has upstream's bindings, why there is none). SLIPWAY_SLIM_BINDINGS names one that is there."""
    if given := os.environ.get("SLIPWAY_SLIM_BINDINGS"):
        return given, None
    folder = BUILD / "interop" / f"slim-bindings-{BINDINGS}"
    if not (folder / "installed").exists():
        try:
            venv.create(folder, with_pip=True, clear=True)
            done = subprocess.run([folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check", f"slim-bindings=={BINDINGS}"],
                                  capture_output=True, text=True, timeout=INSTALL_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            return None, f"slim-bindings {BINDINGS} cannot be installed: {error}"
        if done.returncode != 0:
            return None, f"slim-bindings {BINDINGS} cannot be installed: {done.stderr.strip().splitlines()[-1:]}"
        (folder / "installed").touch()
    return str(folder / "bin/python"), None


class Pair:
    """Two applications of one kind, in a session."""

    def __init__(self, kind, command, endpoint, environment=None):
        self.kind, self.environment = kind, environment
        name = kind.replace("_", "-").replace("+", "x")
        self.processes = []
        self.start([*command, "listen", f"bench/{name}/listener", endpoint])
        self.talker = self.start([*command, "talk", f"bench/{name}/talker", endpoint, f"bench/{name}/listener"])

    def start(self, command):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        self.processes.append(process)
        self.line(process, "ready")
        return process

    def line(self, process, begin):
        for line in process.stdout:  # the bindings log there too
            if line.startswith(begin):
                return line
        sys.exit(f"python: an application of {self.kind} has ended")

    def order(self, words):
        self.talker.stdin.write(words + "\n")
        self.talker.stdin.flush()
        return json.loads(self.line(self.talker, "{"))

    def flood(self, count, size):
        self.order("cpu")
        said = self.order(f"flood {count} {size} {AHEAD[self.kind]}")
        return {"us": said["seconds"] * 1e6 / count, "sender_cpu_us": said["cpu"] * 1e6 / count, "receiver_cpu_us": self.order("cpu")["cpu"] * 1e6 / count}

    def ping(self, count, size):
        return {"us": self.order(f"ping {count} {size}")["p50_us"]}

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()


def start_pairs(node, upstream_port, python):
    pairs = [Pair("slipway", [SYSTEM_PYTHON, TOP / "bench/python_peer.py", "slipway"], node.tcp, dict(os.environ, PYTHONPATH=str(BUILD / "tools/python"))),
             Pair("c++", [BUILD / "bench/endpoint_peer"], node.tcp)]
    if python:
        pairs.append(Pair("slim_bindings", [python, TOP / "bench/python_peer.py", "slim_bindings"], f"http://127.0.0.1:{upstream_port}"))
    return pairs


def measure(pairs, blocks, messages, pings, size):
    """{kind: {figure: [one value a block]}}; the order within a block changes from block to block."""
    figures = {pair.kind: {} for pair in pairs}
    for block in range(-1, blocks):
        for pair in pairs if block % 2 else reversed(pairs):
            flood, ping = pair.flood(messages, size), pair.ping(pings, size)
            if block >= 0:  # the first warms up
                for name, value in {**{f"flood_{key}": value for key, value in flood.items()}, "ping_us": ping["us"]}.items():
                    figures[pair.kind].setdefault(name, []).append(value)
    return figures


def quotient(figures, name, above, below):
    """Median, lowest and highest of `above` over `below`, block by block."""
    ratios = sorted(a / b for a, b in zip(figures[above][name], figures[below][name]))
    return {"ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]}


def show(figures, size):
    print(f"\n{size} B, medians        us a message   of them CPU sender, receiver   messages/s   round trip us")
    for kind, by_name in figures.items():
        middle = {name: statistics.median(values) for name, values in by_name.items()}
        print(f"  {kind:20} {middle['flood_us']:12.1f}   {middle['flood_sender_cpu_us']:18.1f} {middle['flood_receiver_cpu_us']:9.1f} "
              f"{1e6 / middle['flood_us']:12.0f} {middle['ping_us']:15.0f}")


def compare(figures, size, has_theirs):
    """The quotients that count, said and returned."""
    found = {"python_over_cpp": quotient(figures, "flood_us", "slipway", "c++"), "python_over_cpp_round_trip": quotient(figures, "ping_us", "slipway", "c++")}
    if has_theirs:
        found["messages"] = quotient(figures, "flood_us", "slim_bindings", "slipway")
        found["round_trip"] = quotient(figures, "ping_us", "slipway", "slim_bindings")
    texts = {"messages": f"messages a second, times slim-bindings' (bar: at least {MESSAGES_BAR:g})",
             "round_trip": f"round trip over slim-bindings' (bar: at most {ROUND_TRIP_BAR:g})",
             "python_over_cpp": "time a message over C++'s", "python_over_cpp_round_trip": "round trip over C++'s"}
    for name, value in found.items():
        print(f"  {size} B {texts[name]}: {value['ratio']:.2f} ({value['low']:.2f} to {value['high']:.2f})")
    return found


def main():
    parser = argparse.ArgumentParser(prog="tools/bench python", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--pairs", type=int)
    options = parser.parse_args()
    blocks, messages, pings = (options.pairs or 4, 2_000, 300) if options.quick else (options.pairs or 8, 5_000, 500)
    python, why_not = bindings()
    if why_not:
        print(f"upstream's side is skipped: {why_not}")
    found, pairs = {}, []
    with tempfile.TemporaryDirectory(prefix="slipway-bench") as folder:
        port = free_port()
        server = f"endpoint: 127.0.0.1:{port}\n          tls: {{insecure: true}}"
        node = Node(folder, extra=f"services:\n  slim/0:\n    dataplane:\n      servers:\n        - {server}\n")
        try:
            pairs = start_pairs(node, port, python)
            for size in (64,) if options.quick else (64, 1024):
                figures = measure(pairs, blocks, messages, pings, size)
                show(figures, size)
                found[size] = compare(figures, size, python is not None)
        finally:
            for pair in pairs:
                pair.end()
            node.stop()
    if options.json:
        decisive = found[64].get("messages", {"ratio": None, "low": None, "high": None})
        print(json.dumps({"bench": "python", **decisive, "pairs": blocks, "skipped": why_not, "bar": MESSAGES_BAR, "round_trip_bar": ROUND_TRIP_BAR,
                          "bytes": {str(size): by_name for size, by_name in found.items()}}))


main()
