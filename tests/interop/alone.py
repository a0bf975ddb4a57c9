"""Tests that run at the same time share what they install: one of them does, the others wait for it."""
import contextlib
import fcntl
from pathlib import Path


@contextlib.contextmanager
def alone(folder):
    """Nobody else is inside for this folder."""
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{folder.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
