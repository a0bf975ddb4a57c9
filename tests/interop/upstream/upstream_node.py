#!/usr/bin/env python3
"""Upstream's own node, as its Python bindings carry it, from a configuration file of upstream's: upstream_node.py FILE.
Runs until its input ends."""
import os
import sys

import slim_bindings

slim_bindings.initialize_from_config_with_error(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
os._exit(0)
