"""The package on a newer Python than the system's: a wheel made for it, installed by pip, runs the other tests.

SLIPWAY_NEWER_PYTHON names one (with its headers); else one on the path is taken, else `uv` of PyPI is asked to install one.
"""
import os
import shutil
import subprocess
import sys

import pytest
from applications import BUILD, HERE, PATIENCE

VERSIONS = ("3.14", "3.13", "3.12")
INSTALL_SECONDS = 300
TESTS = ("test_guide.py", "test_life.py", "test_connections.py")


def runs(python):
    try:
        return subprocess.run([python, "-c", "import sys; sys.exit(sys.version_info < (3, 12))"], capture_output=True, timeout=PATIENCE).returncode == 0
    except OSError:
        return False


def step(*command, environment=None):
    """Its output, or the reason why the test cannot be."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment)
    if done.returncode != 0:
        pytest.skip(f"{command[0]} {command[1]}: {' '.join((done.stderr or done.stdout).strip().splitlines()[-2:])}")
    return done.stdout.strip()


def newer_python(folder):
    given = os.environ.get("SLIPWAY_NEWER_PYTHON")
    for python in [given] if given else filter(None, (shutil.which(f"python{version}") for version in VERSIONS)):
        if runs(python):
            return python
    if given:
        pytest.fail(f"SLIPWAY_NEWER_PYTHON: {given} is none, or not newer")
    step(sys.executable, "-m", "venv", folder / "uv")
    step(folder / "uv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    home = dict(os.environ, UV_PYTHON_INSTALL_DIR=str(folder / "pythons"))
    step(folder / "uv/bin/uv", "python", "install", VERSIONS[1], environment=home)
    return step(folder / "uv/bin/uv", "python", "find", VERSIONS[1], environment=home)


@pytest.mark.skipif(bool(os.environ.get("SLIPWAY_SANITIZE")), reason="wheels are for builds without sanitizers")
def test_the_other_tests(tmp_path):
    python = newer_python(tmp_path)
    wheel = step(HERE.parent.parent / "tools/python/build", BUILD.resolve(), "--python", python)
    step(python, "-m", "venv", tmp_path / "empty")
    step(tmp_path / "empty/bin/pip", "install", "--quiet", "--disable-pip-version-check", wheel.splitlines()[-1], "pytest")
    installed = step(tmp_path / "empty/bin/python", "-c", "import os, slipway; print(os.path.dirname(os.path.dirname(slipway.__file__)))")
    done = subprocess.run([tmp_path / "empty/bin/python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *(HERE / name for name in TESTS)],
                          env=dict(os.environ, SLIPWAY_PYTHON_PACKAGE=installed), capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
