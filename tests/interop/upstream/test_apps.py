"""Unmodified applications of upstream's Python bindings, as processes of their own, through this node."""
import pytest

from parts import App, EdgeNode, client_entry, longer, no_mac_drops, until


@pytest.mark.parametrize("mls, size", [(True, 0), (False, 20_000), pytest.param(True, 20_000, marks=longer), pytest.param(False, 0, marks=longer)],
                         ids=["mls-small", "plain-large", "mls-large", "plain-small"])
def test_two_applications_talk(python, tmp_path, node, mls, size):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=mls, bytes=size) as alice:
        said = alice.result()
        assert said["messages"] == 50
        assert bob.result() == {"answered": 50}
    links = [link for link in node.get("/v1/links")["links"]]
    assert all(link["transport"] == "grpc" for link in links)
    until(lambda: node.routes() == 0, "what the applications subscribed is gone")
    assert no_mac_drops(node)
    node.balanced()
    print(said)


def test_two_applications_talk_best_effort(python, tmp_path, node):
    with App(python, tmp_path, "listen", "org/ns/bob", node, best_effort=True, mls=True).ready() as bob, \
            App(python, tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", best_effort=True, mls=True) as alice:
        assert alice.result()["messages"] == 50
        assert bob.result() == {"answered": 50}
    node.balanced()


@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
def test_a_group_of_three(python, tmp_path, node, mls):
    with App(python, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            App(python, tmp_path, "listen", "org/ns/carol", node, mls=mls).ready() as carol, \
            App(python, tmp_path, "moderate", "org/ns/alice", node, "org/ns/bob", "org/ns/carol", mls=mls, messages=20) as alice:
        assert alice.result()["messages"] == 20
        assert bob.result() == {"answered": 20} and carol.result() == {"answered": 20}
    node.balanced()


def test_across_two_nodes(python, tmp_path):
    far = EdgeNode(tmp_path, name="far")
    near = EdgeNode(tmp_path, name="near", clients=client_entry(far.edge, "peer"))
    try:
        until(lambda: near.links(), "the nodes are linked")
        with App(python, tmp_path, "listen", "org/ns/bob", far, mls=True).ready() as bob:
            until(lambda: near.routes() > 0, "the near node knows bob")
            with App(python, tmp_path, "talk", "org/ns/alice", near, "org/ns/bob", mls=True) as alice:
                assert alice.result()["messages"] == 50
                assert bob.result() == {"answered": 50}
    finally:
        near.stop()
        far.stop()
