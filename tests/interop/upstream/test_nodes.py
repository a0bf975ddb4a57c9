"""Our node beside upstream's: linked as peers and as remotes, whoever dials, and after either was gone."""
import signal
import socket
import time

import pytest

from parts import PATIENCE, App, EdgeNode, UpstreamNode, client_entry, free_port, knows, longer, no_mac_drops, until

OURS = "a-ours"      # of two nodes the one with the smaller id dials where `peers` lists both
THEIRS = "m-theirs"


def peers_section(*nodes):
    lines = "".join(f"          - node_id: {name}\n            endpoint: http://127.0.0.1:{port}\n            tls: {{insecure: true}}\n"
                    "            backoff: {type: fixed_interval, interval: 200ms}\n" for name, port in nodes)
    return f"    peers:\n      topology: full_mesh\n      discovery:\n        type: static\n        peers:\n{lines}"


class Pair:
    """One of ours and one of theirs, linked in one of the ways that a file can say."""

    def __init__(self, python, folder, way):
        ours_port, theirs_port = free_port(), free_port()
        at = {"ours": f"http://127.0.0.1:{ours_port}", "theirs": f"http://127.0.0.1:{theirs_port}"}
        ours, theirs = {}, {}
        name = OURS
        if way == "ours-dials":
            ours["clients"] = client_entry(at["theirs"], "peer")
        elif way == "theirs-dials":
            theirs["clients"] = client_entry(at["ours"], "peer")
        elif way == "both-dial":
            ours["clients"] = client_entry(at["theirs"], "peer")
            theirs["clients"] = client_entry(at["ours"], "peer")
        else:  # listed, and the smaller id dials
            name = OURS if way == "listed-ours-dials" else "z-ours"
            section = peers_section((name, ours_port), (THEIRS, theirs_port))
            ours["service"] = f"    node_id: {name}\n" + section
            theirs["service"] = section
        self.ours = EdgeNode(folder, name=name, edge_port=ours_port, **ours)
        self.theirs = UpstreamNode(python, folder, name=THEIRS, edge_port=theirs_port, **theirs)
        self.linked()

    def linked(self):
        until(lambda: [row for row in self.ours.link_rows("peer") if row["node_id"] == THEIRS], "the nodes are linked")

    def stop(self):
        self.ours.stop()
        self.theirs.stop()


@pytest.fixture
def pair(python, tmp_path, request):
    pair = Pair(python, tmp_path, request.param)
    yield pair
    pair.stop()


def chat(python, folder, near, far, tag, known=None, messages=5, **options):
    """Two applications talk across two nodes: one on each."""
    with App(python, folder, "listen", f"org/ns/bob-{tag}", far, mls=True).ready() as bob:
        if known is not None:
            until(known, f"the near node knows bob-{tag}")
        else:
            time.sleep(0.5)  # upstream's node does not say what it knows
        with App(python, folder, "talk", f"org/ns/alice-{tag}", near, f"org/ns/bob-{tag}", mls=True, messages=messages, **options) as alice:
            assert alice.result()["messages"] == messages, alice.tail()
            assert bob.result() == {"answered": messages}


def announced(node):
    """Who said each name that the node holds."""
    return [match for route in node.get("/v1/routes")["routes"] for match in node.get("/v1/explain?name=" + route["name"])["matches"]]


@pytest.mark.parametrize("pair", [pytest.param("ours-dials", marks=longer), pytest.param("theirs-dials", marks=longer), "listed-ours-dials",
                                  pytest.param("listed-theirs-dials", marks=longer)], indirect=True)
def test_peers_carry_chats_both_ways(python, tmp_path, pair):
    chat(python, tmp_path, pair.ours, pair.theirs, "far", knows(pair.ours, "org/ns/bob-far"))
    chat(python, tmp_path, pair.theirs, pair.ours, "near")
    until(lambda: pair.ours.routes() == 0, "all names are withdrawn")
    assert no_mac_drops(pair.ours)
    pair.ours.balanced()


@pytest.mark.parametrize("pair", ["both-dial"], indirect=True)
def test_peers_that_both_dial_keep_one_link(python, tmp_path, pair):
    chat(python, tmp_path, pair.ours, pair.theirs, "far", knows(pair.ours, "org/ns/bob-far"))
    rows = pair.ours.link_rows("peer")
    assert len(rows) == 1 and not rows[0]["dialed"], rows
    pair.ours.balanced()


@longer
@pytest.mark.parametrize("pair", ["ours-dials", "theirs-dials"], indirect=True)
def test_a_group_across_peers_gets_each_message_once(python, tmp_path, pair):
    with App(python, tmp_path, "listen", "org/ns/bob", pair.theirs, mls=True).ready() as bob, \
            App(python, tmp_path, "listen", "org/ns/carol", pair.ours, mls=True).ready() as carol:
        until(knows(pair.ours, "org/ns/bob"), "ours knows bob")
        time.sleep(0.5)
        with App(python, tmp_path, "moderate", "org/ns/alice", pair.ours, "org/ns/bob", "org/ns/carol", mls=True, messages=5) as alice:
            assert alice.result()["messages"] == 5
            assert bob.result() == {"answered": 5} and carol.result() == {"answered": 5}
    pair.ours.balanced()


@pytest.mark.parametrize("pair", ["ours-dials", pytest.param("theirs-dials", marks=longer)], indirect=True)
def test_routes_come_back_after_either_node_was_gone(python, tmp_path, pair):
    with App(python, tmp_path, "serve", "org/ns/carol", pair.ours).ready():
        with App(python, tmp_path, "serve", "org/ns/bob", pair.theirs).ready():
            until(knows(pair.ours, "org/ns/bob"), "ours knows bob")
            pair.ours.kill()
            pair.ours.start()
            pair.linked()
            until(knows(pair.ours, "org/ns/bob"), "ours knows bob again")
            until(knows(pair.ours, "org/ns/carol"), "carol is back")  # her bindings connect again by themselves
            talk(python, tmp_path, pair.ours, "org/ns/bob", "a1")
            talk(python, tmp_path, pair.theirs, "org/ns/carol", "a2")
            pair.theirs.kill()
            until(lambda: not knows(pair.ours, "org/ns/bob")(), "bob went with his node")
        pair.theirs.start()
        pair.linked()
        with App(python, tmp_path, "serve", "org/ns/bob", pair.theirs).ready():
            until(knows(pair.ours, "org/ns/bob"), "ours knows bob again")
            talk(python, tmp_path, pair.ours, "org/ns/bob", "a3")
            talk(python, tmp_path, pair.theirs, "org/ns/carol", "a4")
    pair.ours.balanced()


def test_a_killed_node_takes_no_more_connections(tmp_path):
    """Upstream's applications connect again at once, and never again after a connection that was taken and then reset."""
    node = EdgeNode(tmp_path)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", node.edge_port)) as connection:
            until(node.links_of_any_state, "the node has taken the connection")
            node.signal(signal.SIGKILL)
            while connection.recv(1000):
                pass
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", node.edge_port))
        node.process.wait(PATIENCE)
        node.start()
    node.stop()


def talk(python, folder, node, peer, tag):
    with App(python, folder, "talk", f"org/ns/{tag}", node, peer, mls=True, messages=3) as app:
        assert app.result()["messages"] == 3, app.tail()


@pytest.mark.parametrize("dialer", ["ours", pytest.param("theirs", marks=longer)])
def test_a_remote_link_carries_what_has_a_route(python, tmp_path, dialer):
    """Between domains nothing is synchronised: routes are set by hand, of instances, in both nodes."""
    ours_port, theirs_port = free_port(), free_port()
    theirs_at, ours_at = f"http://127.0.0.1:{theirs_port}", f"http://127.0.0.1:{ours_port}"
    ours = EdgeNode(tmp_path, name="ours", edge_port=ours_port, clients=client_entry(theirs_at, "remote") if dialer == "ours" else "")
    theirs = UpstreamNode(python, tmp_path, edge_port=theirs_port, clients=client_entry(ours_at, "remote") if dialer == "theirs" else "", start=False)
    try:
        with App(python, tmp_path, "resident", "org/ns/bob", str(theirs.config), mls=True) as bob:
            bob_id = bob.line("id ")
            link = until(lambda: ours.link_rows("remote"), "the nodes are linked")[0]
            assert link["edge"]["mac"] and link["dialed"] == (dialer == "ours"), link
            with App(python, tmp_path, "talk", "org/ns/alice", ours, "org/ns/bob", mls=True, messages=5, wait=True) as alice:
                alice_id = alice.line("id ")
                to = theirs_at if dialer == "ours" else str(link["link"])
                for name in ("org/ns/bob", f"org/ns/bob/{bob_id}"):
                    ours.post("/v1/route/add", {"name": name, "to": to})
                bob.order(f"route org/ns/alice {alice_id}")
                bob.line("routed")
                alice.order("go")
                assert alice.result()["messages"] == 5, alice.tail()
                assert bob.result() == {"answered": 5}, bob.tail()
        assert no_mac_drops(ours)
        ours.balanced()
    finally:
        ours.stop()
        theirs.stop()


@longer
def test_three_peers_listed_have_no_loops(python, tmp_path):
    """Two of ours and one of theirs, each linked with each: every member of a channel gets a message once."""
    ports = {name: free_port() for name in ("a-ours", "b-ours", "m-theirs")}
    section = peers_section(*ports.items())
    nodes = [EdgeNode(tmp_path, name=name, edge_port=ports[name], service=f"    node_id: {name}\n" + section) for name in ("a-ours", "b-ours")]
    theirs = UpstreamNode(python, tmp_path, name="m-theirs", edge_port=ports["m-theirs"], service=section)
    try:
        until(lambda: all(len(node.link_rows("peer")) == 2 for node in nodes), "each is linked with each")
        with App(python, tmp_path, "listen", "org/ns/bob", nodes[1], mls=True).ready() as bob, \
                App(python, tmp_path, "listen", "org/ns/carol", theirs, mls=True).ready() as carol:
            until(lambda: knows(nodes[0], "org/ns/bob")() and knows(nodes[0], "org/ns/carol")(), "the first knows both")
            time.sleep(0.5)
            with App(python, tmp_path, "moderate", "org/ns/alice", nodes[0], "org/ns/bob", "org/ns/carol", mls=True, messages=5) as alice:
                assert alice.result()["messages"] == 5
                assert bob.result() == {"answered": 5} and carol.result() == {"answered": 5}
        # Upstream's node withdraws a name of an application that is gone only where nobody else has it; the channel's
        # names were its peers' too, so they stay until its links end. Between ours nothing stays.
        until(lambda: all(row["node_id"] == "m-theirs" for node in nodes for row in announced(node)), "our names are withdrawn")
        for node in nodes:
            node.balanced()
    finally:
        for node in nodes:
            node.stop()
        theirs.stop()
