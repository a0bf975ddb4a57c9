"""Random conversations of three and more members of mixed implementations: walk.py."""
import os

import pytest

from foreign import FOREIGN, OURS, command_of
from room import Room
from walk import Walk

STEPS = 20
# More of them: SLIPWAY_INTEROP_WALKS=50; one alone: select its name, which has the seed.
SEEDS = int(os.environ.get("SLIPWAY_INTEROP_WALKS", "2"))
COMPANIES = [
    ("ours", "mls_rs", "openmls"),
    ("ours", "mls_rs", "ts_mls"),
    ("ours", "openmls", "core_crypto"),
    ("ours", "ts_mls", "core_crypto"),
    ("mls_rs", "ours", "ours"),
    ("openmls", "ours", "ours"),
]


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("names", COMPANIES, ids="-".join)
def test_walk(names, seed):
    kinds = [FOREIGN.get(name, OURS) for name in names]
    for kind in kinds:
        command_of(kind)
    formats = [each for each in ("private", "public") if all(each in kind.wire_formats for kind in kinds)]
    title = f"walk-{'-'.join(names)}-{seed}"
    with Room(1 + seed % 2, formats[(seed // 2) % len(formats)], title=title) as room:
        Walk(room, kinds, f"{'-'.join(names)} {seed}").run(STEPS)
