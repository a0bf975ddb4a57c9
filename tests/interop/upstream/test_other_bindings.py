"""Older bindings, and those of another language, with the newest: unmodified, through our node."""
import json
import os
import shutil
import subprocess

import pytest

import parts
from parts import BUILD, App, longer, no_mac_drops

OLDER = "2.2.0"
PACKAGE = "@agntcy/slim-bindings@2.0.0-alpha.5"
NPM_SECONDS = 240


@pytest.fixture(scope="session")
def older():
    return parts.bindings(OLDER)


@pytest.fixture(scope="session")
def node_modules():
    """A folder with upstream's package for Node.js; made once."""
    if shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    folder = BUILD.resolve() / "interop" / "slim-bindings-js"
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({"name": "interop", "private": True}))
        installed = subprocess.run(["npm", "install", "--no-audit", "--no-fund", PACKAGE], cwd=folder, capture_output=True, text=True,
                                   timeout=NPM_SECONDS)
        if installed.returncode != 0:
            pytest.skip(f"{PACKAGE} cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
        (folder / "installed").touch()
    return folder


class JsApp(App):
    def __init__(self, node_modules, folder, *words, **options):
        os.environ["SLIPWAY_NODE_MODULES"] = str(node_modules)
        super().__init__("node", folder, *words, program="app.mjs", **options)


def talk(make_bob, make_alice, tmp_path, node, mls):
    with make_bob(tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            make_alice(tmp_path, "talk", "org/ns/alice", node, "org/ns/bob", mls=mls, messages=5) as alice:
        assert alice.result()["messages"] == 5, alice.tail()
        assert bob.result() == {"answered": 5}, bob.tail()
    assert no_mac_drops(node)
    node.balanced()


def of(python, **more):
    return lambda *words, **options: App(python, *words, **more, **options)


def js(node_modules):
    return lambda *words, **options: JsApp(node_modules, *words, **options)


@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
def test_older_ones_talk_with_each_other(older, tmp_path, node, mls):
    talk(of(older), of(older, route=True), tmp_path, node, mls)


@longer
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_an_older_one_talks_with_the_newest(python, older, tmp_path, node, mls):
    talk(of(python), of(older, route=True), tmp_path, node, mls)


@longer
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_the_newest_talks_with_an_older_one(python, older, tmp_path, node, mls):
    talk(of(older), of(python), tmp_path, node, mls)


@pytest.mark.parametrize("mls", [True, pytest.param(False, marks=longer)], ids=["mls", "plain"])
def test_a_group_of_older_ones_and_the_newest(python, older, tmp_path, node, mls):
    with App(older, tmp_path, "listen", "org/ns/bob", node, mls=mls).ready() as bob, \
            App(python, tmp_path, "listen", "org/ns/carol", node, mls=mls).ready() as carol, \
            App(older, tmp_path, "moderate", "org/ns/alice", node, "org/ns/bob", "org/ns/carol", mls=mls, messages=5, route=True) as alice:
        assert alice.result()["messages"] == 5, alice.tail()
        assert bob.result() == {"answered": 5} and carol.result() == {"answered": 5}
    node.balanced()


@longer
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_node_js_talks_with_node_js(node_modules, tmp_path, node, mls):
    talk(js(node_modules), js(node_modules), tmp_path, node, mls)


@pytest.mark.parametrize("mls", [pytest.param(True, marks=longer), False], ids=["mls", "plain"])
def test_node_js_talks_with_python(python, node_modules, tmp_path, node, mls):
    talk(of(python), js(node_modules), tmp_path, node, mls)


@longer
@pytest.mark.parametrize("mls", [True, False], ids=["mls", "plain"])
def test_python_talks_with_node_js(python, node_modules, tmp_path, node, mls):
    talk(js(node_modules), of(python), tmp_path, node, mls)
