"""Runs this implementation against others, all of them: also those that take long to build.

  tools/interop list              what there is, and with whom
  tools/interop mls               MLS: every scenario, and more and longer random conversations
  tools/interop mls openmls       only what has one of the words in its name
  tools/interop mls --walks 100   random conversations for each company (20)
  tools/interop upstream          upstream's applications in Python and JavaScript, and its node, with ours: all pairs (8 to 15 minutes)
  tools/interop reference         upstream's own node and slimctl: beside our node, and slimctl against it (5 minutes)

`reference` needs bin/slim and bin/slimctl of upstream's 3.4.6, in the folder that SLIPWAY_REFERENCE names. Without that variable they
are built once by cargo into build-interop/: a Rust newer than Debian 12's, 2 GiB, and 40 to 90 minutes on two cores.

tools/test runs the quick part of the same. The others are installed by pip, npm and cargo; who cannot be had
is skipped with the reason. The last line is `N passed, N failed, N skipped`; the exit code is 0 only if none
failed.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
BUILD = TOP / "build-test"
WITH = {"mls": "ts-mls, core-crypto, mls-rs, OpenMLS; suites 1 and 2 (tests/interop/mls/README.md)",
        "upstream": "slim-bindings 3.3.8 and 2.2.0 of PyPI, @agntcy/slim-bindings of npm (tests/interop/upstream/README.md)",
        "reference": "agntcy-slim and agntcy-slimctl 3.4.6 of crates.io (tests/interop/upstream/README.md)"}
REFERENCE = "3.4.6"
REFERENCE_CRATES = {"slim": "agntcy-slim", "slimctl": "agntcy-slimctl"}
RUST = (1, 85)  # the edition of the crates


def build(*targets):
    if not (BUILD / "build.ninja").exists():
        subprocess.run(["meson", "setup", str(BUILD), str(TOP), "--buildtype=debugoptimized", "-Dbench=false"], check=True,
                       env=dict(os.environ, CXX="ccache g++"))
    subprocess.run(["ninja", "-C", str(BUILD), *targets], check=True)


UPSTREAM = "tests/interop/upstream"
ROOMS = f"{UPSTREAM}/test_rooms.py"
EXPIRY = f"{UPSTREAM}/test_expiry.py"  # each of its tests waits for four minutes
# What is built, and groups of tests: groups run at the same time.
PARTS = {
    "mls": (["tools/slipway-mls"], ["tests/interop/mls"]),
    "upstream": (["tools/slipwayd", "tools/slipwayctl", "tools/examples/slipway-chat", f"{UPSTREAM}/actor", f"{UPSTREAM}/libskewed-clock.so", "python-package"],
                 [UPSTREAM, f"--ignore={EXPIRY}", f"--ignore={ROOMS}"], [ROOMS], [f"{EXPIRY}::test_our_point_to_point_session_with_theirs", f"{EXPIRY}::test_their_group_with_one_of_ours"],
                 [f"{EXPIRY}::test_our_group_with_one_of_theirs_and_one_of_ours", f"{EXPIRY}::test_their_point_to_point_session_with_ours"]),
    "reference": (["tools/slipwayd", "tools/slipwayctl"], [f"{UPSTREAM}/test_reference.py", f"{UPSTREAM}/test_nodes.py", f"{UPSTREAM}/test_doctor.py",
                                                           "tests/interop/channel_manager"]),
}


def rust():
    """The version of the Rust compiler that there is; (0, 0): none."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        return 0, 0
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


class NoReference(Exception):
    pass


def reference():
    """The folder whose bin/ has upstream's programs; builds them where nobody has yet."""
    given = os.environ.get("SLIPWAY_REFERENCE")
    folder = Path(given).resolve() if given else TOP / "build-interop" / f"reference-{REFERENCE}"
    missing = [program for program in REFERENCE_CRATES if not (folder / "bin" / program).exists()]
    if given and missing:
        sys.exit(f"interop: SLIPWAY_REFERENCE is {folder}, which has no bin/{missing[0]}; unset it to have cargo build upstream's programs")
    if missing and rust() < RUST:
        there = "Rust {}.{}".format(*rust()) if rust() > (0, 0) else "no cargo"
        raise NoReference(f"upstream's node is built by cargo of Rust {RUST[0]}.{RUST[1]} or newer, and there is {there}: install one "
                          "(https://rustup.rs), or let SLIPWAY_REFERENCE name a folder whose bin/ has slim and slimctl")
    if missing:
        print(f"interop: cargo builds {' and '.join(missing)} {REFERENCE} into {folder}, once: 40 to 90 minutes on two cores, 2 GiB. What is "
              "built stays when this is stopped.", flush=True)
    for program in missing:
        crate = REFERENCE_CRATES[program]
        built = subprocess.run(["cargo", "install", "--locked", "--version", REFERENCE, "--root", folder, crate], check=False,
                               env=dict(os.environ, CARGO_TARGET_DIR=str(folder / "target")))
        if built.returncode != 0:
            raise NoReference(f"{crate} {REFERENCE} could not be built: see cargo's words above")
    return folder


def interop(arguments):
    targets, *groups = PARTS[arguments.what]
    environment = dict(os.environ, SLIPWAY_BUILD=str(BUILD), SLIPWAY_INTEROP_ALL="1", SLIPWAY_INTEROP_WALKS=str(arguments.walks))
    if arguments.what == "reference":
        try:
            environment.update(SLIPWAY_INTEROP_REFERENCE="1", SLIPWAY_REFERENCE=str(reference()))
        except NoReference as why:
            print(f"skipped: {why}\n0 passed, 0 failed, 1 skipped")
            return 0
    build(*targets)
    with ThreadPoolExecutor(len(groups)) as pool:
        ends = list(pool.map(lambda tests: run(tests, arguments.words, environment), groups))
    counts = {name: sum(int(number) for last, _ in ends for number in re.findall(rf"(\d+) {name}", last)) for name in ("passed", "failed", "error", "skipped")}
    failed = counts["failed"] + counts["error"]
    codes = {code for _, code in ends}
    if codes - {0, 1, NOTHING_SELECTED} or codes == {NOTHING_SELECTED}:
        failed = max(failed, 1)
    print(f"{counts['passed']} passed, {failed} failed, {counts['skipped']} skipped")
    return 1 if failed else 0


NOTHING_SELECTED = 5  # pytest's exit code


def run(tests, words, environment):
    """(last line, exit code) of pytest on these; what it says is printed as it comes."""
    command = ["python3", "-m", "pytest", "-v", "--no-header", "-rs", "-p", "no:cacheprovider", *tests]
    if words:
        command += ["-k", " or ".join(words)]
    last = ""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=TOP, env=environment) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line if line.strip() else last
    return last, process.returncode


def main():
    parser = argparse.ArgumentParser(prog="tools/interop", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["list", *WITH])
    parser.add_argument("words", nargs="*")
    parser.add_argument("--walks", type=int, default=20)
    arguments = parser.parse_args()
    if arguments.what == "list":
        for name, others in WITH.items():
            print(f"{name}: {others}")
        return 0
    return interop(arguments)


if __name__ == "__main__":
    sys.exit(main())
