#!/usr/bin/env python3
"""An owner of a channel on upstream's Python bindings: answers requests for approval with the bytes that it was given.

  owner.py NAME ENDPOINT SECRET ANSWER     ANSWER in hexadecimal; prints "ready", then each request in hexadecimal
"""
import asyncio
import sys

import slim_bindings


class Approval(slim_bindings.UnaryUnaryHandler):
    def __init__(self, answer):
        self.answer = answer

    async def handle(self, request, context):
        print("asked", request.hex(), flush=True)
        return self.answer


async def main(name, endpoint, secret, answer):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(endpoint))
    app = service.create_app_with_secret(slim_bindings.Name(*name.split("/")), secret)
    await app.subscribe_async(app.name(), link)
    server = slim_bindings.Server.new_with_connection(app, app.name(), link)
    server.register_unary_unary("channel_manager.proto.v1.ChannelOwnerApproval", "RequestApproval", Approval(bytes.fromhex(answer)))
    print("ready", flush=True)
    await server.serve_async()


asyncio.run(main(*sys.argv[1:]))
