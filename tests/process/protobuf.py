"""Protobuf by hand, as far as the tests need it: what is written may be wrong on purpose."""


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def field(number, value):
    """One field: a number as varint, bytes or text with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def entries(data):
    """(number, wire type, value) of each field in its order: varints as numbers, all else as bytes."""
    at = 0

    def take():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = take()
        wire_type = key & 7
        if wire_type == 0:
            yield key >> 3, wire_type, take()
            continue
        size = {1: 8, 5: 4}[wire_type] if wire_type != 2 else take()
        yield key >> 3, wire_type, data[at:at + size]
        at += size


def parse(data):
    """Fields by number, each a list of ints and bytes."""
    out = {}
    for number, _, value in entries(data):
        out.setdefault(number, []).append(value)
    return out
