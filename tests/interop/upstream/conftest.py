import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import parts

VERSION = "3.4.6"
RUST = (1, 85)  # the edition of the crates
BUILD_SECONDS = 3 * 3600


def rust():
    """The version of the Rust compiler that there is."""
    if shutil.which("rustc") is None:
        return 0, 0
    said = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"rustc (\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)


@pytest.fixture(scope="session")
def reference():
    given = os.environ.get("SLIPWAY_REFERENCE")
    folder = Path(given) if given else parts.BUILD.resolve().parent / "build-interop" / f"reference-{VERSION}"
    if not all((folder / "bin" / program).exists() for program in ("slim", "slimctl")):
        if shutil.which("cargo") is None or rust() < RUST:
            pytest.skip(f"upstream's node needs Rust {RUST[0]}.{RUST[1]} or newer with cargo; there is {'.'.join(map(str, rust()))}")
        environment = dict(os.environ, CARGO_TARGET_DIR=str(folder / "target"))
        for crate in ("agntcy-slim", "agntcy-slimctl"):
            built = subprocess.run(["cargo", "install", "--locked", "--version", VERSION, "--root", folder, crate], env=environment,
                                   capture_output=True, text=True, timeout=BUILD_SECONDS)
            if built.returncode != 0:
                pytest.skip(f"{crate} {VERSION} cannot be built: {built.stderr.strip().splitlines()[-3:]}")
    return folder / "bin"


@pytest.fixture(scope="session", autouse=True)
def upstream_program(request):
    """`tools/interop reference`: upstream's node is the program built from its crate wherever a test has one."""
    if os.environ.get("SLIPWAY_INTEROP_REFERENCE"):
        parts.UpstreamNode.program = request.getfixturevalue("reference") / "slim"


@pytest.fixture(scope="session")
def python():
    return parts.bindings()


@pytest.fixture
def node(tmp_path):
    node = parts.EdgeNode(tmp_path)
    yield node
    node.stop()
