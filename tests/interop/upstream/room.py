#!/usr/bin/env python3
"""A chat on upstream's Python bindings, for test_mixed_room.py: the same in use as tools/python/examples/chat.py.

  room.py ENDPOINT NAME                       waits to be invited
  room.py ENDPOINT NAME ROOM GUEST...         opens the room, encrypted, and invites

Prints what others say as "name: text"; says each line of its input; leaves at its end. The secret is in SLIPWAY_SECRET.
"""
import asyncio
import datetime
import os
import sys

import slim_bindings

PATIENCE = datetime.timedelta(seconds=60)


def name_of(text):
    return slim_bindings.Name(*text.split("/"))


async def join(endpoint, name):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(endpoint))
    app = service.create_app_with_secret(name_of(name), os.environ["SLIPWAY_SECRET"])
    await app.subscribe_async(app.name(), link)
    return app


async def open_room(app, room, guests):
    mls = slim_bindings.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None)
    config = slim_bindings.SessionConfig(session_type=slim_bindings.SessionType.GROUP, max_retries=10, interval=datetime.timedelta(seconds=1), metadata={},
                                         mls_settings=mls)
    opened = await app.create_session_async(config, name_of(room))
    await opened.completion.wait_async()
    for guest in guests:
        invited = await opened.session.invite_async(name_of(guest))
        await invited.wait_async()
    return opened.session


async def show(session):
    while True:
        message = await session.get_message_async(PATIENCE)
        print(f"{message.context.source_name.components()[2]}: {message.payload.decode()}", flush=True)


async def main(endpoint, name, room=None, *guests):
    app = await join(endpoint, name)
    if room:
        session = await open_room(app, room, guests)
    else:
        print("waiting to be invited", flush=True)
        session = await app.listen_for_session_async(PATIENCE)
    print("in the room", flush=True)
    showing = asyncio.create_task(show(session))
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        said = await session.publish_async(line.strip().encode(), None, None)
        await said.wait_async()
    showing.cancel()
    os._exit(0)  # threads of the bindings may still wait for something

asyncio.run(main(*sys.argv[1:]))
