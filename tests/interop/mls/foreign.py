"""The foreign MLS implementations: how each is installed, and what it can do.

Each is installed into build-interop and kept there. What is missing (node, cargo, a registry) skips its tests with
the reason; a client of ours that does not build fails them.
"""
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from alone import alone  # noqa: E402

TOP = HERE.parents[2]
BUILD = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build-test"))
FOLDER = TOP / "build-interop"  # shared by the builds, because it is expensive
NPM_SECONDS = 180
CARGO_SECONDS = 1500

# What a client may be able to do besides creating and joining groups, adding and removing by value, updating by a
# commit with a path, and application messages.
PROPOSALS = frozenset({"add", "remove", "propose_psk"})
FULL = PROPOSALS | {
    "update",              # Update proposals of its own
    "state",               # tells tree hash, epoch authenticator and members
    "export",              # any label and context
    "authenticated_data",
    "psks",                # external PSKs in its commits
    "psk",                 # external PSKs in others' commits and Welcomes
    "resumption_psks",     # of a former epoch, in its commits and others'
    "propose_resumption_psk",
    "propose_join",        # an Add by the new member itself, made and taken
    "external_senders",    # Adds and Removes by somebody outside whom the group names, made and taken
    "external_join",
    "external_psk",        # external PSKs in its external commits
    "resync",              # removes its former leaf in an external commit
    "accept",              # its commit can wait for accept or refuse
    "tree_outside",        # ratchet tree beside the Welcome: makes and takes it
    "unknown_extensions",  # lists extension types that it does not know in its capabilities
    "extensions",          # commits GroupContextExtensions, with types that it does not know
    "no_extensions",       # takes a GroupContextExtensions that leaves none
    "refilled_leaf",       # sees that it was removed also if its leaf was given to another in the same commit
    "bare_extensions",     # ... also if they are not among the required capabilities
    "reinit",
    "branch",
    "mixed_commits",       # adds and removes by value in one commit
    "wide_window",         # takes messages that come more than two behind the last
    "two_groups",          # holds several groups; else the successor of a group takes its place
    "past_epochs",         # reads messages of an epoch that has just ended
    "own_proposals",       # commits its own waiting proposals
}


@dataclass(frozen=True)
class Implementation:
    name: str
    can: frozenset
    install: object = None          # returns the command, or skips
    kept: bool = False              # its process is used again: starting it is slow
    exporter: tuple = None          # the only label and context that it exports with
    fault: str = None               # by which it refuses good trees, and what follows without it: README.md
    more_suites: tuple = ()         # besides 1 and 2
    wire_formats: tuple = ("private", "public")


def _run(command, folder, seconds, what, **environment):
    """Runs an installer. What fails or hangs is a reason to skip, because it is the registry's or the machine's."""
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=seconds,
                                stdin=subprocess.DEVNULL, env={**os.environ, **environment})
    except subprocess.TimeoutExpired:
        pytest.skip(f"{what}: `{' '.join(command)}` took more than {seconds} s")
    if result.returncode != 0:
        lines = [line for line in result.stderr.strip().splitlines() if line.strip()]
        pytest.skip(f"{what}: `{' '.join(command)}` failed: {' '.join(lines[-3:])[:400]}")


def _npm(name, packages):
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{name}: {program} is not installed")
    folder = FOLDER / name
    done = folder / "installed"
    wanted = " ".join(packages)
    if not done.exists() or done.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "package.json").write_text('{"private": true}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", *packages], folder, NPM_SECONDS, name)
        done.write_text(wanted)
    script = f"{name}_client.mjs"
    shutil.copy(HERE / script, folder)
    return ["node", str(folder / script)]


def _cargo(name, quick):
    if shutil.which("cargo") is None:
        pytest.skip(f"{name}: cargo is not installed")
    folder = FOLDER / name
    program = folder / "target/debug" / f"{name.replace('_', '-')}-client"
    if not (quick or program.exists() or "SLIPWAY_INTEROP_ALL" in os.environ):
        pytest.skip(f"{name}: takes long to build, which `tools/interop mls` does")
    folder.mkdir(parents=True, exist_ok=True)
    # A copy, so that cargo writes its lock file outside the tree. Unchanged files keep their times: no needless build.
    shutil.copytree(HERE / name, folder / name, dirs_exist_ok=True)
    shutil.copy2(HERE / "protocol.rs", folder)
    _run(["cargo", "fetch", "--quiet"], folder / name, CARGO_SECONDS, name)
    command = ["cargo", "build", "--quiet", "--offline"]
    result = subprocess.run(command, cwd=folder / name, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                            env={**os.environ, "CARGO_TARGET_DIR": str(folder / "target")}, timeout=CARGO_SECONDS)
    if result.returncode != 0 and "requires rustc" in result.stderr:
        pytest.skip(f"{name}: needs a newer rustc: {result.stderr.strip()[-400:]}")
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} in {folder / name}:\n{result.stderr[-4000:]}")
    return [str(program)]


OURS = Implementation("ours", FULL, lambda: [str(BUILD / "tools/slipway-mls"), "client"])
FOREIGN = {
    each.name: each
    for each in (
        replace(OURS, name="itself"),  # shows that the scenarios are sound
        Implementation("mls_rs", FULL - {"two_groups"}, lambda: _cargo("mls_rs", quick=True), more_suites=(3, 4, 5, 6, 7)),
        Implementation("openmls", FULL - {"two_groups", "propose_resumption_psk", "reinit", "branch", "external_psk",
                                          "bare_extensions"},
                       lambda: _cargo("openmls", quick=False), more_suites=(3,)),
        Implementation("ts_mls", FULL - {"two_groups", "update", "external_psk", "external_senders", "extensions", "no_extensions",
                                         "refilled_leaf"},
                       lambda: _npm("ts_mls", ["ts-mls@1.6.4", "@noble/curves@2.0.1"]), kept=True,
                       fault="non-blank intermediate node must list leaf node in its unmerged_leaves"),
        Implementation("core_crypto", frozenset({"external_join"}),
                       lambda: _npm("core_crypto", ["@wireapp/core-crypto@10.3.0", "fake-indexeddb@6.2.5"]), kept=True,
                       exporter=("exporter", ""), wire_formats=("public",)),
    )
}
_commands = {}


def command_of(implementation):
    """Installs it on first use. The answer, also a reason to skip, is kept for the rest of the run."""
    if implementation.name not in _commands:
        try:
            with alone(FOLDER / implementation.name):
                _commands[implementation.name] = implementation.install()
        except (pytest.skip.Exception, Exception) as reason:
            _commands[implementation.name] = reason
    found = _commands[implementation.name]
    if isinstance(found, BaseException):
        raise found
    return found
