import pytest

import parts


@pytest.fixture(scope="session")
def python():
    return parts.bindings()


@pytest.fixture
def node(tmp_path):
    node = parts.EdgeNode(tmp_path)
    yield node
    node.stop()
