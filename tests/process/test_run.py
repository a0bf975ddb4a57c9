"""The demonstration, as a person runs it: every step does what it should, and what it prints says so."""
import os
import subprocess
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
RUN = TOP / "tools/run"


def run(*words):
    assert "SLIPWAY_BUILD" in os.environ, "tools/test and meson say where the programs are"
    return subprocess.run([str(RUN), *words], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def test_every_step_does_what_it_should():
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    for heading in ("Anycast", "Unicast", "Channel", "Nobody", "$ slipwayctl status", "$ slipwayctl explain", "$ slipwayctl drops", "$ slipwayctl books"):
        assert heading in done.stdout
    assert "FAILED" not in done.stdout
    assert "spread over all instances: [4, 4, 4]" in done.stdout
    assert "The books balance" in done.stdout
    assert "nobody received 1 of them: no_route" in done.stdout
    assert "5 answers with MLS" in done.stdout and "8 answers; the workers did [4, 4]" in done.stdout
    assert "3 messages, 9 answers with MLS" in done.stdout or "3 messages, 6 answers with MLS" in done.stdout  # with upstream's application or without
    if os.geteuid() == 0 and "no DPDK port in this run" not in done.stdout:
        assert "from namespace" in done.stdout


def test_stay_leaves_the_node_running():
    done = run("--stay")
    assert done.returncode == 0, done.stdout + done.stderr
    commands = {line.split(":", 1)[0].strip(): line.split(":", 1)[1].strip() for line in done.stdout.splitlines() if line.startswith("  ") and ": " in line}
    stop = commands["stop it"].split()
    try:
        status = subprocess.run([*stop[:-1], "status"], capture_output=True, text=True, timeout=30)
        assert status.returncode == 0 and "running" in status.stdout
    finally:
        assert subprocess.run(stop, capture_output=True, timeout=30).returncode == 0
        subprocess.run(commands["then"], shell=True, check=False, capture_output=True)


def test_without_programs_it_fails():
    done = subprocess.run([str(RUN)], capture_output=True, text=True, timeout=300, env=dict(os.environ, SLIPWAY_BUILD="/nonexistent"))
    assert done.returncode != 0
