#!/usr/bin/env python3
"""Runs the benchmark `native`: installs nats-server if it is not there, then starts the program.

tools/bench has made the release build. Arguments go to the program: --quick, --json, --pairs N, --block-ms N.
"""
import os
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
BUILD = Path(os.environ.get("SLIPWAY_BUILD", TOP / "build"))

subprocess.run([str(TOP / "tools/dev/install"), "nats-server"], check=True, stdout=sys.stderr)
environment = dict(os.environ, SLIPWAY_BUILD=str(BUILD))
sys.exit(subprocess.run([str(BUILD / "bench/native"), *sys.argv[1:]], env=environment).returncode)
