"""Runs the session layer's simulator: sessions over a simulated network and clock, each run from one seed.

  tools/simulate --seeds 10000                   seeds 1 to 10000
  tools/simulate --seeds 1000 --mls              with real MLS instead of a group that only behaves as MLS does
  tools/simulate --seeds 1 --first-seed 86 --trace   one seed again, with everything that happens

Builds what it needs in build-simulate/ (g++, release). A run draws applications, faults and operations from its seed: loss,
duplication, reordering, delay, partitions, crashes of the node and of applications, slow members, clocks that jump. It then lets
the network calm down and checks that messages came once and in order or were reported lost, that members agree, that nobody
decrypted what was not for it, that buffers kept their bounds and that no timer is left. A seed that fails is printed and
replays alone. The last line is `N seeds, F failed`; the exit code is 0 only if none failed.
"""
import argparse
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / "build-simulate"
PROGRAM = BUILD / "tests/simulation/simulate"


def build():
    if not (BUILD / "build.ninja").exists():
        environment = dict(os.environ, CXX=os.environ.get("CXX", "ccache g++"))
        subprocess.run(["meson", "setup", str(BUILD), str(TOP), "--buildtype=release", "-Dbench=false"], check=True,
                       env=environment, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", str(BUILD), str(PROGRAM.relative_to(BUILD))], check=True, stdout=subprocess.DEVNULL)


def main():
    parser = argparse.ArgumentParser(prog="tools/simulate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=1000, help="how many (default 1000)")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=1, help="threads (default 1)")
    parser.add_argument("--mls", action="store_true", help="with the MLS module")
    parser.add_argument("--trace", action="store_true", help="write down every event, to standard error")
    arguments = parser.parse_args()
    if arguments.seeds < 1 or arguments.first_seed < 0 or arguments.jobs < 1:
        print("simulate: --seeds and --jobs need a number from 1, --first-seed one from 0", file=sys.stderr)
        return 2
    try:
        build()
    except subprocess.CalledProcessError as error:
        print(f"simulate: {' '.join(map(str, error.cmd))} failed", file=sys.stderr)
        return 1
    command = [str(PROGRAM), "--seeds", str(arguments.seeds), "--first-seed", str(arguments.first_seed), "--jobs", str(arguments.jobs)]
    command += ["--mls"] * arguments.mls + ["--trace"] * arguments.trace
    return subprocess.run(command).returncode


if __name__ == "__main__":
    sys.exit(main())
