"""Anycast between our endpoints and unmodified applications of upstream's, which know nothing of it: ours to any of several of theirs, and
theirs to any of several of ours."""
import signal
import time

import pytest

from parts import App, UpstreamNode
from sessions import Application

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"  # app.py's
SERVICE = "org/ns/worker"


def worker(python, at, node, number):
    folder = at / f"theirs-{number}"
    folder.mkdir()
    return App(python, folder, "serve", SERVICE, node, tell=True).ready()


def heard(worker):
    """All that it heard, now that it is over: payloads, and the ids that messages carry."""
    out, _ = worker.process.communicate(timeout=60)
    lines = [line.split() for line in out.splitlines() if line.startswith("heard ")]
    return [line[1] for line in lines], [line[2] for line in lines]


@pytest.mark.parametrize("best_effort", [False, True], ids=["reliable", "best-effort"])
@pytest.mark.parametrize("over", ["native", "upstream"])
def test_ours_to_any_of_two_of_theirs(python, tmp_path, node, over, best_effort):
    at = node.tcp if over == "native" else node.edge
    with worker(python, tmp_path, node, 1) as one, worker(python, tmp_path, node, 2) as two, \
            Application(at, "send", SERVICE, "job", "--anycast", "-n", 60, "--answers", 1, "--quiet", *(["--best-effort"] if best_effort else []),
                        secret=SECRET) as client:
        done = client.result()
        assert done["sent"] == done["answers"] == 60 and done["undelivered"] == []
        print(done)
        shares = [heard(each) for each in (one, two)]
        assert sorted(len(payloads) for payloads, _ in shares) >= [15, 15]  # the node takes them in turn
        ids = [each for _, marks in shares for each in marks]
        assert len(ids) == len(set(ids)) == 60
    node.balanced()


def test_what_a_killed_worker_had_goes_to_the_other(python, tmp_path, node):
    with worker(python, tmp_path, node, 1) as one, worker(python, tmp_path, node, 2) as two, \
            Application(node.tcp, "send", SERVICE, "--anycast", "--lines", "--ack-ms", 300, "--retries", 10, secret=SECRET) as client:
        for i in range(200):
            client.process.stdin.write(f"job-{i}\n")
            client.process.stdin.flush()
            if i == 80:
                one.process.kill()
            time.sleep(0.01)
        done = client.result()
        assert done["sent"] == 200 and done["undelivered"] == []
        by_one, by_two = heard(one)[0], heard(two)[0]
        assert len(by_one) > 10 and len(by_two) > 100
        assert set(by_one) | set(by_two) >= {f"job-{i}" for i in range(200)} - set(by_one[-1:])
        assert len(by_two) == len(set(by_two))
        late = set(by_two) - {f"job-{i}" for i in range(81)}
        assert late == {f"job-{i}" for i in range(81, 200)}
    node.balanced()


def test_through_their_node(python, tmp_path):
    theirs = UpstreamNode(python, tmp_path)
    try:
        with worker(python, tmp_path, theirs, 1), \
                Application(theirs.edge, "send", SERVICE, "job", "--anycast", "-n", 20, "--answers", 1, "--quiet", secret=SECRET) as client:
            assert client.result()["answers"] == 20
    finally:
        theirs.stop()


def test_nobody_is_there(python, node):
    with Application(node.tcp, "send", "org/ns/nobody", "job", "--anycast", "--ack-ms", 100, "--retries", 3, secret=SECRET) as client:
        client.result(code=8)


@pytest.mark.parametrize("best_effort", [False, True], ids=["reliable", "best-effort"])
def test_theirs_to_any_of_two_of_ours(python, tmp_path, node, best_effort):
    listeners = [Application(node.tcp, "listen", SERVICE, "--answer", "echo ", "--quiet", secret=SECRET) for _ in range(2)]
    try:
        for each in listeners:
            each.read("ready")
        for number in range(6):
            folder = tmp_path / f"client-{number}"
            folder.mkdir()
            with App(python, folder, "talk", f"org/ns/client-{number}", node, SERVICE, anycast=True, messages=5, best_effort=best_effort) as client:
                assert client.result()["messages"] == 5
        for each in listeners:
            each.process.send_signal(signal.SIGINT)
            assert each.result()["answered"] >= 5
            assert {line["kind"] for line in each.lines if "opened" in line} == {"anycast"}
    finally:
        for each in listeners:
            each.process.kill()
            each.process.wait()
    node.balanced()
