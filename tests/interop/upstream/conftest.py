import os
from pathlib import Path

import pytest

import parts


@pytest.fixture(scope="session")
def reference():
    """The folder of upstream's programs."""
    return Path(os.environ["SLIPWAY_REFERENCE"]) / "bin"


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
