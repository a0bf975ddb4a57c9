"""Writes signed_vectors.h: requests and grants as upstream's slimctl signs them, by Python's cryptography and a base58 of its own, so
that nothing of what is tested has a part in them.    python3 make_vectors.py > signed_vectors.h"""
import base64
import json

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58(data):
    number = int.from_bytes(data, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = ALPHABET[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


class Key:
    def __init__(self, byte):
        self.key = Ed25519PrivateKey.from_private_bytes(bytes([byte]) * 32)
        self.raw = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.did = "did:key:z" + base58(b"\xed\x01" + self.raw)

    def sign(self, values, **fields):
        signature = self.key.sign(b"\0".join(value.encode() for value in values))
        return json.dumps({**fields, "signature": base64.b64encode(signature).decode()}, separators=(",", ":"))


def creation(key, audience="org/ns/manager", channel="org/ns/room", mls=True, ttl=None, callback=None, not_after=2_000_000_300, nonce="n-1", tag="SLIM-CHANNEL-CREATE/1"):
    fields = {"audience": audience, "channel": channel, "owner": key.did, "mls_enabled": mls}
    if ttl is not None:
        fields["ttl_seconds"] = ttl
    if callback is not None:
        fields["owner_callback_name"] = callback
    return key.sign([tag, audience, channel, key.did, "true" if mls else "false", "" if ttl is None else str(ttl), callback or "", str(not_after), nonce],
                    **fields, not_after=not_after, nonce=nonce)


def deletion(key, audience="org/ns/manager", channel="org/ns/room", not_after=2_000_000_300, nonce="n-2"):
    return key.sign(["SLIM-CHANNEL-DELETE/1", audience, channel, str(not_after), nonce], audience=audience, channel=channel, not_after=not_after, nonce=nonce)


def grant(key, channel="org/ns/room", invitee="org/ns/bob", action="add", role="member", not_after=2_000_000_300, nonce="n-3"):
    return key.sign(["SLIM-CHANNEL-GRANT/1", channel, invitee, action, role, str(not_after), nonce],
                    channel=channel, invitee=invitee, action=action, role=role, not_after=not_after, nonce=nonce)


owner, other, operator = Key(1), Key(2), Key(3)
constants = {
    "kOwner": owner.did,
    "kOwnerKeyHex": owner.raw.hex(),
    "kOther": other.did,
    "kOperator": operator.did,
    "kCreation": creation(owner),
    "kCreationFull": creation(owner, mls=False, ttl=3600, callback="org/ns/owner-app", nonce="n-full"),
    "kCreationShort": creation(owner, ttl=60, nonce="n-short"),
    "kCreationElsewhere": creation(owner, audience="org/ns/\"other\"", nonce="n-aud"),
    "kCreationLong": creation(owner, not_after=2_000_086_401, nonce="n-long"),
    "kCreationOld": creation(owner, not_after=1_999_999_999, nonce="n-old"),
    "kCreationWrongTag": creation(owner, tag="SLIM-CHANNEL-GRANT/1"),
    "kDeletion": deletion(owner),
    "kDeletionByOperator": deletion(operator, nonce="n-op"),
    "kDeletionByOther": deletion(other, nonce="n-other"),
    "kDeletionOfAnother": deletion(owner, channel="org/ns/hall", nonce="n-hall"),
    "kGrant": grant(owner),
    "kGrantAgain": grant(owner, nonce="n-again"),
    "kGrantForever": grant(owner, not_after=18446744073709551615, nonce="n-ever"),
    "kGrantOld": grant(owner, not_after=1_999_999_999, nonce="n-old"),
    "kGrantDelete": grant(owner, action="delete", nonce="n-del"),
    "kGrantByOther": grant(other),
    "kGrantNul": grant(owner, role="mem\0ber", nonce="n-nul"),
    "kGrantUnicode": grant(owner, invitee="org/ns/jürgen", nonce="n-ü"),
}
print("// Made by make_vectors.py.\n#pragma once\n\nnamespace slipway::test::signed_vectors {\n")
for name, value in constants.items():
    print(f'inline constexpr const char* {name} = R"~({value})~";')
print("\n}  // namespace slipway::test::signed_vectors")
