"""Builds and runs one benchmark.

  tools/bench list                       what there is, and what each compares
  tools/bench table                      run one
  tools/bench table --quick --json       within 45 s; the last line is one JSON object

Every figure that counts is a ratio of two arms that alternate in one run. Further arguments go to the benchmark.
The build is the release build in build/.
"""
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent


def benches():
    lines = (TOP / "bench/list.txt").read_text().splitlines()
    pairs = (line.split(":", 1) for line in lines if line.strip() and not line.startswith("#"))
    return {name.strip(): text.strip() for name, text in pairs}


def say(command, **options):
    """Runs a step; its output goes to stderr, so that stdout is the benchmark's alone."""
    result = subprocess.run(command, stdout=sys.stderr, **options)
    if result.returncode != 0:
        print(f"bench: {' '.join(map(str, command))} failed", file=sys.stderr)
        sys.exit(1)


def build_one(name):
    if not (TOP / "build/build.ninja").exists():
        say(["meson", "setup", str(TOP / "build"), str(TOP), "--buildtype=release", "-Db_ndebug=false", "-Dtests=false"],
            env=dict(os.environ, CXX="ccache g++"))
    say(["ninja", "-C", str(TOP / "build"), f"bench/{name}"])


def main():
    words = sys.argv[1:]
    known = benches()
    if not words or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    if words[0] == "list":
        for name, text in known.items():
            print(f"{name:10} {text}")
        return 0
    name = words[0]
    if name not in known:
        print(f"bench: no benchmark {name}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    script = TOP / "bench" / f"{name}.py"
    if script.exists():
        say([str(TOP / "tools/build")])
        command = [sys.executable, str(script)]
    else:
        build_one(name)
        command = [str(TOP / "build/bench" / name)]
    environment = dict(os.environ, SLIPWAY_BUILD=str(TOP / "build"))
    return subprocess.run(command + words[1:], cwd=TOP, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main())
