#!/usr/bin/env python3
"""An owner of a channel on upstream's Python bindings: answers requests for approval with the bytes that it was given.

  owner.py NAME ENDPOINT SECRET ANSWER [PRIVATE PUBLIC]

ANSWER in hexadecimal; prints "ready", then each request in hexadecimal. With the files of a key pair it has tokens by it instead of the secret.
"""
import asyncio
import datetime
import sys

import slim_bindings


class Approval(slim_bindings.UnaryUnaryHandler):
    def __init__(self, answer):
        self.answer = answer

    async def handle(self, request, context):
        print("asked", request.hex(), flush=True)
        return self.answer


def by_tokens(service, name, private, public):
    def key(file):
        return slim_bindings.JwtKeyConfig(algorithm=slim_bindings.JwtAlgorithm.ES256, format=slim_bindings.JwtKeyFormat.PEM,
                                          key=slim_bindings.JwtKeyData.FILE(path=file))
    hour = datetime.timedelta(hours=1)
    own = slim_bindings.ClientJwtAuth(key=slim_bindings.JwtKeyType.ENCODING(key=key(private)), audience=None, issuer=None, subject=name, duration=hour)
    others = slim_bindings.JwtAuth(key=slim_bindings.JwtKeyType.DECODING(key=key(public)), audience=None, issuer=None, subject=None, duration=hour)
    return service.create_app(slim_bindings.Name(*name.split("/")), slim_bindings.IdentityProviderConfig.JWT(config=own),
                              slim_bindings.IdentityVerifierConfig.JWT(config=others))


async def main(name, endpoint, secret, answer, *keys):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(endpoint))
    app = by_tokens(service, name, *keys) if keys else service.create_app_with_secret(slim_bindings.Name(*name.split("/")), secret)
    await app.subscribe_async(app.name(), link)
    server = slim_bindings.Server.new_with_connection(app, app.name(), link)
    server.register_unary_unary("channel_manager.proto.v1.ChannelOwnerApproval", "RequestApproval", Approval(bytes.fromhex(answer)))
    print("ready", flush=True)
    await server.serve_async()


asyncio.run(main(*sys.argv[1:]))
