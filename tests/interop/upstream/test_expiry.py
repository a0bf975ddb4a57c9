"""Sessions outlive tokens: ours sign with tokens that live for seconds, beside unmodified applications of upstream's.

Ours renew the token in their leaf at half of its life, and upstream's follow the commits. Upstream's own leaf is made once for each session
and lives an hour whatever its configuration says; ours go on hearing it afterwards (control/group: age alone takes nobody's voice), others
of upstream's do not, which no peer can mend (README.md). A receiver of upstream's takes a token for 60 s longer than it says, so only the
longer run shows that the first ones would not have lasted.
"""
import os
import sys
import time
from pathlib import Path

import pytest

from parts import App, longer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "process"))
from sessions import Application, jwt_keys  # noqa: E402

LIFE = 4                                             # seconds
LENGTH = 215 if os.environ.get("SLIPWAY_INTEROP_ALL") else 15  # three lives; in the longer run three lives with upstream's 60 s of grace


@pytest.fixture
def keys(tmp_path):
    return jwt_keys(tmp_path, "issuer")["issuer"]


def words(keys):
    private, public = keys
    return ["--jwt-key", private, "--jwt-trust", public, "--jwt-seconds", LIFE]


def theirs(keys):
    private, public = keys
    return {"jwt_key": str(private), "jwt_trust": str(public), "mls": True}


def talk(alice):
    """A line each half second; alice waits for the answers to each before she takes the next."""
    alice.collect()
    for i in range(2 * LENGTH):
        alice.process.stdin.write(f"{i}\n")
        alice.process.stdin.flush()
        time.sleep(0.5)


def renewed(lines):
    epochs = [line["epoch"] for line in lines if "payload" in line]
    return epochs[-1] - epochs[0]


def test_our_point_to_point_session_with_theirs(python, tmp_path, node, keys):
    with App(python, tmp_path, "listen", "org/ns/bob", node, **theirs(keys)).ready() as bob, \
            Application(node.tcp, "send", "org/ns/bob", "--lines", "--answers", 1, "--last", "bye", *words(keys), secret=None) as alice:
        talk(alice)
        done = alice.result()
        assert done["sent"] == done["answers"] == 2 * LENGTH and done["undelivered"] == []
        assert bob.result() == {"answered": 2 * LENGTH}
        assert renewed(alice.lines) >= 3
    node.balanced()


@longer
def test_our_group_with_one_of_theirs_and_one_of_ours(python, tmp_path, node, keys):
    with App(python, tmp_path, "listen", "org/ns/bob", node, **theirs(keys)).ready() as bob, \
            Application(node.tcp, "listen", "org/ns/carol", "--answer", "echo ", "--until", "bye", "--quiet", *words(keys), secret=None) as carol:
        carol.read("ready")
        with Application(node.tcp, "invite", "org/ns/room", "org/ns/bob", "org/ns/carol", "--lines", "--answers", 2, "--last", "bye", *words(keys),
                         secret=None) as alice:
            talk(alice)
            done = alice.result()
            assert done["sent"] == 2 * LENGTH and done["answers"] == 4 * LENGTH and done["undelivered"] == []
            assert bob.result() == {"answered": 2 * LENGTH}
            assert carol.result()["answered"] == 2 * LENGTH
            assert renewed(alice.lines) >= 3
    node.balanced()


# They moderate: our member asks to be let in again with its new token. Upstream's moderator is then busy for all its repetitions (11 s
# here), whatever is answered: so many times less often it takes a new token, and its grace must last so long.


@longer
def test_their_point_to_point_session_with_ours(python, tmp_path, node, keys):
    with Application(node.tcp, "listen", "org/ns/bob", "--answer", "echo ", "--until", "bye", *words(keys), secret=None) as bob:
        bob.read("ready")
        bob.collect()
        with App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", messages=2 * LENGTH, pause=0.5, **theirs(keys)) as alice:
            time.sleep(LENGTH)
            assert alice.result()["messages"] == 2 * LENGTH
            assert bob.result()["answered"] == 2 * LENGTH
            assert renewed(bob.lines) >= (3 if LENGTH > 60 else 1)
    node.balanced()


def test_their_group_with_one_of_ours(python, tmp_path, node, keys):
    with Application(node.tcp, "listen", "org/ns/bob", "--answer", "echo ", "--until", "bye", *words(keys), secret=None) as bob:
        bob.read("ready")
        bob.collect()
        with App(python, tmp_path, "listen", "org/ns/carol", node, **theirs(keys)).ready() as carol, \
                App(python, tmp_path, "moderate", "org/ns/alice", node, "org/ns/bob", "org/ns/carol", messages=2 * LENGTH, pause=0.5, **theirs(keys)) as alice:
            time.sleep(LENGTH)
            assert alice.result()["messages"] == 2 * LENGTH
            assert carol.result() == {"answered": 2 * LENGTH}
            assert bob.result()["answered"] == 2 * LENGTH
            assert renewed(bob.lines) >= (3 if LENGTH > 60 else 1)
    node.balanced()
