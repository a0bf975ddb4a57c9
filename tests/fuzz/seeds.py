#!/usr/bin/env python3
"""Makes a first corpus for a fuzz target out of the test vectors.

  tests/fuzz/seeds.py mls-message FOLDER

Targets: mls-message, mls-structs, mls-tree-extension, mls-tree. The others find their way from nothing.
"""
import hashlib
import json
import sys
from pathlib import Path

VECTORS = Path(__file__).resolve().parent.parent / "vectors" / "mls"

# Fields of messages.json, by the number that mls_structs_fuzz.cc gives the struct.
STRUCTS = {"group_secrets": 2, "commit": 6}
MLS_MESSAGE_BODIES = {"mls_key_package": 3, "mls_welcome": 4, "mls_group_info": 5}


def entries(name):
    return json.loads((VECTORS / name).read_text())


def message_seeds():
    for entry in entries("messages.json"):
        for field, value in entry.items():
            if field.startswith(("mls_", "public_message", "private_message")):
                yield bytes.fromhex(value)
    for entry in entries("passive-client-handling-commit.json"):
        yield bytes.fromhex(entry["welcome"])
        for epoch in entry["epochs"]:
            yield bytes.fromhex(epoch["commit"])
            for proposal in epoch["proposals"]:
                yield bytes.fromhex(proposal)


def struct_seeds():
    for entry in entries("messages.json"):
        for field, number in STRUCTS.items():
            yield bytes([number]) + bytes.fromhex(entry[field])
        for field, number in MLS_MESSAGE_BODIES.items():
            yield bytes([number]) + bytes.fromhex(entry[field])[4:]
    for entry in entries("transcript-hashes.json"):
        yield bytes([9]) + bytes.fromhex(entry["authenticated_content"])
    for entry in entries("treekem.json"):
        for path in entry["update_paths"][:4]:
            yield bytes([8]) + bytes.fromhex(path["update_path"])
    for entry in entries("message-protection.json"):
        yield bytes([7]) + bytes.fromhex(entry["proposal"])
    for entry in entries("key-schedule.json"):
        yield bytes([15]) + bytes.fromhex(entry["epochs"][0]["group_context"])


def tree_seeds():
    for entry in entries("tree-validation.json"):
        yield bytes.fromhex(entry["tree"])


SEEDS = {"mls-message": message_seeds, "mls-structs": struct_seeds, "mls-tree-extension": tree_seeds,
         "mls-tree": tree_seeds}


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for seed in SEEDS.get(name, lambda: [])():
        (folder / hashlib.sha1(seed).hexdigest()).write_bytes(seed)
        count += 1
    print(f"{count} seeds for {name} in {folder}")


if __name__ == "__main__":
    main()
