import pytest
from applications import Node


@pytest.fixture
def node(tmp_path):
    node = Node(tmp_path)
    yield node
    node.stop()
