#!/usr/bin/env python3
"""Runs the benchmark `session`. tools/bench has made the release build.

Arguments go to the program: --quick, --json, --pairs N, --block-ms N, --only TEXT.
"""
import os
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build"))

program = str(BUILD / "bench/session")
os.execve(program, [program, *sys.argv[1:]], dict(os.environ, SLIPWAY_BUILD=str(BUILD)))
