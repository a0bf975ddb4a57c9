"""Python packages of the tests' own, from the registry that pip is set up for; where that cannot be done the tests are skipped."""
import subprocess
import sys
import venv

import pytest

from alone import alone
from nodes import BUILD

PIP_SECONDS = 300


def use_packages(name, *requirements):
    """Installs them once into a virtual environment of this name, and makes them importable here."""
    folder = BUILD.resolve() / "interop" / name
    marker = folder / "complete"
    with alone(folder):
        if not marker.exists():
            venv.create(folder, with_pip=True, clear=True)
            done = subprocess.run([folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements],
                                  capture_output=True, text=True, timeout=PIP_SECONDS, check=False)
            if done.returncode != 0:
                lines = done.stderr.strip().splitlines()
                pytest.skip(f"{' '.join(requirements)} cannot be installed: " + (lines[-1] if lines else "pip failed"))
            marker.touch()
    sys.path.insert(0, str(next((folder / "lib").glob("python*/site-packages"))))
