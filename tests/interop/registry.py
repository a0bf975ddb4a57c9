"""Python packages for the tests, from the registry that pip is set up for; where that cannot be done the tests are skipped."""
import subprocess
import sys
import venv

import pytest

from alone import alone
from nodes import BUILD

PIP_SECONDS = 300


def python_with(name, *requirements):
    """A Python that has them, in a virtual environment of this name in the build folder; made once."""
    folder = BUILD.resolve() / "interop" / name
    with alone(folder):
        if not (folder / "installed").exists():
            venv.create(folder, with_pip=True, clear=True)
            done = subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
                                  capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines()
                pytest.skip(f"{' '.join(requirements)} cannot be installed: " + (lines[-1] if lines else "pip failed"))
            (folder / "installed").touch()
    return folder / "bin/python"


def use_packages(name, *requirements):
    """Makes them importable here."""
    folder = python_with(name, *requirements).parent.parent
    sys.path.insert(0, str(next((folder / "lib").glob("python*/site-packages"))))
