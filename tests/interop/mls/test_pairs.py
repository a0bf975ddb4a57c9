"""This implementation and each foreign one, each as creator and as joiner, in suites 1 and 2: scenarios.py."""
import pytest

import scenarios
from foreign import FOREIGN, OURS
from room import Room


def cases():
    """Both wire formats where they matter most; elsewhere each suite with one of them, if the implementation has it."""
    for name, theirs in FOREIGN.items():
        for scenario in scenarios.ALL:
            if not scenario.needs <= theirs.can:
                continue
            chosen = {(1, theirs.wire_formats[0]), (2, theirs.wire_formats[-1])}
            if scenario is scenarios.conversation:
                chosen = {(suite, wire_format) for suite in (1, 2) for wire_format in theirs.wire_formats}
                chosen |= {(suite, theirs.wire_formats[0]) for suite in theirs.more_suites}
            for creator in ("ours", "theirs"):
                for suite, wire_format in sorted(chosen):
                    yield pytest.param(name, creator, scenario, suite, wire_format,
                                       id=f"{name}-{creator}-{scenario.__name__}-{suite}-{wire_format}")


@pytest.mark.parametrize("name,creator,scenario,suite,wire_format", list(cases()))
def test_pair(name, creator, scenario, suite, wire_format):
    theirs = FOREIGN[name]
    kinds = {"ours": (OURS, theirs), "theirs": (theirs, OURS)}[creator]
    title = f"{name}-{creator}-{scenario.__name__}-{suite}-{wire_format}"
    with Room(suite, wire_format, [scenarios.UNKNOWN_EXTENSION], title) as room:
        scenario(room, *kinds)
