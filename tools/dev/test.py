"""Installs what is needed, builds, and runs the tests.

  tools/test                                every test
  tools/test mls dataplane/frame            tests whose suite or name contains one of the words
  tools/test --sanitize=address,undefined   the same in a build with these sanitizers (or: thread)
  tools/test --jobs 1                       one after the other (default: two at once, which is half the time, as most of it is waiting)
  tools/test --list                         what there is

The last line is `N passed, N failed, N skipped`; the exit code is 0 only if none failed.
A skipped test says why. Build folders: build-test/, build-test-<sanitizers>/.
"""
import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
TEST_TIMEOUT_SECONDS = 600
running = set()  # processes, each the first of a session of its own


def build(sanitize):
    name = "build-test" + ("-" + sanitize.replace(",", "-") if sanitize else "")
    folder = TOP / name
    if not (folder / "build.ninja").exists():
        options = ["--buildtype=debugoptimized", "-Dbench=false"]
        if sanitize:
            options += [f"-Db_sanitize={sanitize}", "-Db_lundef=false"]
        env = dict(os.environ, CXX="ccache g++")
        subprocess.run(["meson", "setup", str(folder), str(TOP), *options], check=True, env=env)
    subprocess.run(["ninja", "-C", str(folder)], check=True)
    return folder


def selected_tests(folder, words):
    tests = json.loads(subprocess.check_output(["meson", "introspect", "--tests", str(folder)]))
    for test in tests:
        test["suite_names"] = [s.split(":")[-1] for s in test["suite"]]
    if not words:
        return tests
    return [t for t in tests
            if any(w in t["name"] or any(w in s for s in t["suite_names"]) for w in words)]


def counts_of(xml_path):
    """(passed, failed, skipped, [reason]) of a JUnit file, as GoogleTest and pytest write them."""
    passed = failed = skipped = 0
    reasons = []
    for case in ET.parse(xml_path).getroot().iter("testcase"):
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            failed += 1
        elif skip is not None or case.get("result") == "skipped":
            skipped += 1
            reason = (skip.get("message") or skip.text or "") if skip is not None else ""
            # GoogleTest puts `file:line` on the first line of a reason.
            reason = " ".join(l for l in reason.strip().splitlines() if not l.startswith("/"))
            reasons.append(f"{case.get('classname')}.{case.get('name')}: {reason or 'no reason given'}")
        elif case.get("status") == "notrun":
            continue
        else:
            passed += 1
    return passed, failed, skipped, reasons


def end(process):
    """With the nodes and applications that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def output_of(command, env, seconds):
    with subprocess.Popen(command, env=env, cwd=TOP, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                          start_new_session=True) as process:
        running.add(process)
        try:
            return process.communicate(timeout=seconds)[0], process.returncode
        except subprocess.TimeoutExpired:
            end(process)
            return process.communicate()[0] + b"\n(timed out)\n", -1
        finally:
            running.discard(process)


def run_one(test, folder, sanitize, environment):
    with tempfile.NamedTemporaryFile(suffix=".xml") as report:
        command = list(test["cmd"])
        if "pytest" in command:
            command.append(f"--junitxml={report.name}")
        env = {**environment, **test.get("env", {}), "GTEST_OUTPUT": f"xml:{report.name}",
               "SLIPWAY_BUILD": str(folder), "SLIPWAY_SANITIZE": sanitize or ""}
        started = time.monotonic()
        output, code = output_of(command, env, test.get("timeout") or TEST_TIMEOUT_SECONDS)
        seconds = time.monotonic() - started
        passed, failed, skipped, reasons = 0, 0, 0, []
        try:
            passed, failed, skipped, reasons = counts_of(report.name)
        except ET.ParseError:
            if code == 0:  # a plain program, an example for one, writes no report: it is one test
                passed = 1
        if code != 0 and failed == 0:
            failed = 1  # it died, or a sanitizer spoke, without a test saying so
        if code == 0 and passed + failed + skipped == 0:
            failed, output = 1, output + b"\n(the program ran no test)\n"
    return passed, failed, skipped, reasons, output.decode(errors="replace"), seconds


def results(tests, folder, arguments, environment):
    """Each test and its result, as they end. Long ones (`priority` in their meson.build) begin first."""
    def run(test):
        return run_one(test, folder, arguments.sanitize, environment)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        waiting = {pool.submit(run, test): test for test in sorted(tests, key=lambda test: -test["priority"])}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BaseException:  # Ctrl-C above all, which does not reach them
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                end(process)
            raise


def main():
    parser = argparse.ArgumentParser(prog="tools/test", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--sanitize", default="", choices=["", "address,undefined", "thread"])
    parser.add_argument("--jobs", type=int, default=2, choices=range(1, 65), metavar="N")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    folder = build(arguments.sanitize)
    tests = selected_tests(folder, arguments.words)
    if arguments.list:
        for test in tests:
            print(f"{test['suite_names'][0]}: {test['name']}")
        return 0
    if not tests:
        print(f"no test matches {' '.join(arguments.words)}; tools/test --list shows all")
        return 2
    environment = dict(os.environ)
    environment.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0")
    environment.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1")
    environment.setdefault("TSAN_OPTIONS", f"suppressions={TOP}/tests/support/tsan.supp:second_deadlock_stack=1")
    totals = [0, 0, 0]
    for test, (passed, failed, skipped, reasons, output, seconds) in results(tests, folder, arguments, environment):
        totals = [a + b for a, b in zip(totals, (passed, failed, skipped))]
        verdict = "FAILED" if failed else "ok"
        print(f"{verdict:6} {test['name']}: {passed} passed, {failed} failed, {skipped} skipped ({seconds:.1f} s)",
              flush=True)
        for reason in reasons:
            print(f"       skipped {reason}")
        if failed:
            print(output, flush=True)
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped")
    return 1 if totals[1] else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted")
