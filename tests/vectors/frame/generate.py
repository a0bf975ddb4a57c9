#!/usr/bin/env python3
"""Writes golden.txt from the layout tables of frame.h and shim.h, by no code of the product.

Each line: kind, then key=value (all numbers hexadecimal), then bytes=hex. The file is committed: after a change of the
layout a new version gets new lines, and old lines stay.
"""
import struct
import sys


def name(n):
    return struct.pack("<QQQQQ", n[0], n[1], n[2], n[4], n[3])  # components, id low, id high


def frame(version=1, kind=1, hop=8, stype=0, fanout=1, session=0, message=0, dst=(0,) * 5, src=(0,) * 5, mtype=0, flags=0):
    data = struct.pack("<BBBBIII", version, kind, hop, stype, fanout, session, message) + name(dst) + name(src)
    data += struct.pack("<BBHI", mtype, 0, flags, 0)
    assert len(data) == 104
    fields = dict(version=version, kind=kind, hop=hop, stype=stype, fanout=fanout, session=session, message=message,
                  mtype=mtype, flags=flags)
    fields |= {f"dst{i}": v for i, v in enumerate(dst)} | {f"src{i}": v for i, v in enumerate(src)}
    return "frame", fields, data


def shim(link=0, worker=0, counter=0, offset=0, total=0, flags=2, number=0):
    data = struct.pack("<IQIIH", link, worker << 56 | counter, offset, total | flags << 24, number) + bytes(16)
    assert len(data) == 38
    return "shim", dict(link=link, worker=worker, counter=counter, offset=offset, total=total, flags=flags, number=number), data


NULL = (1 << 64) - 1
ORG, NS, BOB, ALICE = 0x873E580376EA963B, 0xEEF9769A4C6990D1, 0x49AE1B437AE573C4, 0x7B90BC8FA5B6B182
LINES = [
    frame(),
    frame(session=42, message=1, mtype=1, stype=1, dst=(ORG, NS, BOB, NULL, NULL), src=(ORG, NS, ALICE, 0, 0xA11)),
    frame(kind=2, hop=2, fanout=0, dst=(ORG, NS, BOB, 0, 0xB0B), src=(ORG, NS, BOB, 0, 0xB0B), flags=0x10),
    frame(kind=3, hop=255, fanout=256, dst=(1, 2, 3, 4, 5), src=(6, 7, 8, 9, 10), flags=0x3),
    frame(kind=4, flags=0x40),
    frame(kind=5, hop=1, flags=0x40),
    frame(hop=0, stype=255, fanout=0xFFFFFFFF, session=0xFFFFFFFF, message=0xFFFFFFFF, mtype=255, flags=0x38,
          dst=(NULL,) * 5, src=(NULL,) * 5),
    frame(session=0x01020304, message=0x05060708, fanout=0x090A0B0C, flags=0x4,
          dst=tuple(0x1011121314151617 + i * 0x0808080808080808 for i in range(5)),
          src=tuple(0x38393A3B3C3D3E3F + i * 0x0808080808080808 for i in range(5))),
    shim(),
    shim(link=0x00040001, worker=3, counter=0x00F0E0D0C0B0A090, offset=0, total=104, flags=2, number=7),
    shim(link=0xFFFFFFFF, worker=255, counter=(1 << 56) - 1, offset=0xFFFFFFFF, total=0xFFFFFF, flags=3, number=0xFFFF),
    shim(link=0x04030201, worker=5, counter=0x0C0B0A09080706, offset=0x100F0E0D, total=0x131211, flags=1, number=0x1615),
]

with open(sys.argv[1], "w") as out:
    out.write("# Golden byte vectors of frame version 1 and its shim. Written by generate.py; never changed afterwards.\n")
    for kind, fields, data in LINES:
        out.write(kind + "".join(f" {k}={v:x}" for k, v in fields.items()) + f" bytes={data.hex()}\n")
