"""An application of upstream's Python bindings, as its users write them: waits for a session and answers each message until it is closed.

  upstream_member.py NAME ENDPOINT        the secret comes from SLIPWAY_SECRET
"""
import asyncio
import datetime
import os
import sys

import slim_bindings

PATIENCE = datetime.timedelta(seconds=30)


async def main(name, endpoint):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(endpoint))
    app = service.create_app_with_secret(slim_bindings.Name(*name.split("/")), os.environ["SLIPWAY_SECRET"])
    await app.subscribe_async(app.name(), link)
    print("ready", flush=True)
    session = await app.listen_for_session_async(PATIENCE)
    while True:
        try:
            message = await session.get_message_async(PATIENCE)
        except slim_bindings.SlimError:
            return  # it was closed
        if not message.payload.startswith(b"heard: "):
            print(f"heard {message.payload.decode()}", flush=True)
            await session.publish_async(b"heard: " + message.payload, None, None)


asyncio.run(main(*sys.argv[1:]))
os._exit(0)  # threads of the bindings may still wait for something
