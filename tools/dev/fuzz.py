"""Builds and runs the libFuzzer targets, with address and undefined-behaviour sanitizers.

  tools/fuzz list                        the targets
  tools/fuzz mls-group                   one target for a minute
  tools/fuzz frame name --seconds 600    each of these for ten minutes, one after the other
  tools/fuzz all --seconds 60            every target
  tools/fuzz frame --input FILE          run one input once, e.g. one that crashed

The build is build-fuzz/, made with clang 19, and the corpora stay in build-fuzz/corpus/NAME, so that a later run goes
on where an earlier one stopped. An input that crashes, leaks or hangs is put into build-fuzz/crashes/NAME.
The last line is `N clean, N failed`; the exit code is 0 only if none failed.
"""
import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / "build-fuzz"
INPUT_TIMEOUT_SECONDS = 25
LAST_LINES = 40


def targets():
    """Names in tests/fuzz/meson.build, in its order."""
    text = (TOP / "tests/fuzz/meson.build").read_text()
    table = re.search(r"fuzz_targets = \{(.*?)\n\}", text, re.S)
    return re.findall(r"^\s*'([a-z0-9-]+)'\s*:", table.group(1), re.M)


def program(name):
    return BUILD / "tests/fuzz" / f"{name}-fuzz"


def build(names):
    subprocess.run([str(TOP / "tools/dev/install"), "clang-19", "libclang-rt-19-dev"], check=True)
    if not (BUILD / "build.ninja").exists():
        environment = dict(os.environ, CC="clang-19", CXX="ccache clang++-19")
        subprocess.run(["meson", "setup", str(BUILD), str(TOP), "--buildtype=debugoptimized", "-Dfuzz=true", "-Dbench=false"],
                       check=True, env=environment)
    subprocess.run(["ninja", "-C", str(BUILD), *(str(program(n).relative_to(BUILD)) for n in names)], check=True)


def corpus_of(name):
    folder = BUILD / "corpus" / name
    if not folder.exists():
        subprocess.run([sys.executable, str(TOP / "tests/fuzz/seeds.py"), name, str(folder)], check=True)
    return folder


def sanitizer_environment():
    environment = dict(os.environ)
    environment.setdefault("ASAN_OPTIONS", "detect_leaks=1")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    return environment


def run(name, seconds):
    """True if nothing was found."""
    crashes = BUILD / "crashes" / name
    crashes.mkdir(parents=True, exist_ok=True)
    log = BUILD / f"{name}.log"
    command = [str(program(name)), str(corpus_of(name)), f"-max_total_time={seconds}", f"-artifact_prefix={crashes}/",
               f"-timeout={INPUT_TIMEOUT_SECONDS}", "-print_final_stats=1"]
    with log.open("wb") as out:
        code = subprocess.run(command, cwd=TOP, env=sanitizer_environment(), stdout=out, stderr=subprocess.STDOUT).returncode
    text = log.read_text(errors="replace")
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", text)
    coverage = re.findall(r"cov: (\d+)", text)
    inputs = sum(1 for _ in (BUILD / "corpus" / name).iterdir())
    print(f"{'clean' if code == 0 else 'FAILED':6} {name}: {seconds} s, {executed.group(1) if executed else '?'} inputs run, "
          f"{inputs} in the corpus, coverage {coverage[-1] if coverage else '?'}", flush=True)
    if code != 0:
        print("\n".join(text.splitlines()[-LAST_LINES:]))
        print(f"inputs: {crashes}; log: {log}", flush=True)
    return code == 0


def main():
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--input", type=Path, help="run this one file instead")
    arguments = parser.parse_args()
    known = targets()
    if arguments.names == ["list"]:
        print("\n".join(known))
        return 0
    names = known if arguments.names == ["all"] else arguments.names
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"fuzz: no target {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    if arguments.seconds < 1:
        print("fuzz: --seconds needs a number from 1", file=sys.stderr)
        return 2
    if arguments.input is not None and (len(names) != 1 or not arguments.input.is_file()):
        print("fuzz: --input needs one target and a file that is there", file=sys.stderr)
        return 2
    try:
        build(names)
        if arguments.input is not None:
            command = [str(program(names[0])), str(arguments.input.resolve())]
            return subprocess.run(command, cwd=TOP, env=sanitizer_environment()).returncode
        clean = [run(name, arguments.seconds) for name in names]
    except subprocess.CalledProcessError as error:
        print(f"fuzz: {' '.join(map(str, error.cmd))} failed", file=sys.stderr)
        return 1
    print(f"{clean.count(True)} clean, {clean.count(False)} failed")
    return 0 if all(clean) else 1


if __name__ == "__main__":
    sys.exit(main())
