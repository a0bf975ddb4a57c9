"""slipwayctl doctor visits upstream's own node: every step passes there as it does here, and a node of theirs that is gone is named."""
import json
import subprocess

from parts import BUILD, PATIENCE, EdgeNode, UpstreamNode


def doctor(endpoint, *options):
    done = subprocess.run([BUILD / "tools/slipwayctl", "--json", "doctor", endpoint, *options], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, json.loads(done.stdout or done.stderr)


def test_finds_upstreams_node_well(python, tmp_path):
    theirs = UpstreamNode(python, tmp_path)
    try:
        code, report = doctor(theirs.edge)
        assert code == 0 and report["good"], (report, theirs.tail())
        assert {step["result"] for step in report["steps"]} == {"ok"}
        negotiated = next(step for step in report["steps"] if step["name"] == "negotiation")
        assert "theirs" in negotiated["found"]
    finally:
        theirs.stop()
    code, report = doctor(theirs.edge)
    assert code == 11 and report["failed"] == "tcp"


def test_finds_both_nodes_alike(python, tmp_path):
    theirs, ours = UpstreamNode(python, tmp_path), EdgeNode(tmp_path)
    try:
        steps = [[(step["name"], step["result"]) for step in doctor(node.edge)[1]["steps"]] for node in (theirs, ours)]
        assert steps[0] == steps[1]
    finally:
        theirs.stop()
        ours.stop()
