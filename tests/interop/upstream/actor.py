#!/usr/bin/env python3
"""An application on upstream's bindings that does what its input tells it; actor.cc is the same on our endpoint library.

  actor.py NAME ENDPOINT [--plain] [--best-effort] [--percent N] [--keep FOLDER]      the secret is in SLIPWAY_SECRET

Orders and answers are those of actor.cc; besides `restore`: the sessions that were kept in the folder.
"""
import asyncio
import datetime
import json
import os
import sys

import slim_bindings

PATIENCE = datetime.timedelta(seconds=60)


def tell(**line):
    print(json.dumps(line), flush=True)


def name_of(text):
    return slim_bindings.Name(*text.split("/"))


def word_after(option, default=None):
    return sys.argv[sys.argv.index(option) + 1] if option in sys.argv else default


def text_of(name):
    return "/".join(name.components()[:3])


def settings(kind):
    reliable = "--best-effort" not in sys.argv
    mls = slim_bindings.MlsSettings(header_integrity_validation_percent=int(word_after("--percent", "100")), max_seen_control_message_ids_size=None)
    return slim_bindings.SessionConfig(session_type=kind, max_retries=10 if reliable else None,
                                       interval=datetime.timedelta(seconds=1) if reliable else None, metadata={},
                                       mls_settings=None if "--plain" in sys.argv else mls)


async def listen_to(session):
    while True:
        try:
            message = await session.get_message_async(PATIENCE)
            tell(heard=message.payload.decode(), **{"from": text_of(message.context.source_name)})
        except slim_bindings.SlimError as fault:
            if "timeout" in str(fault):
                continue
            if "session closed" in str(fault) or "channel closed" in str(fault):
                tell(over=True)
                return
            tell(event=str(fault))


async def start(name, endpoint):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(endpoint))
    secret = os.environ["SLIPWAY_SECRET"]
    folder = word_after("--keep")
    if folder:
        app = service.create_app_with_persistence(
            name_of(name), slim_bindings.IdentityProviderConfig.SHARED_SECRET(id=name, data=secret),
            slim_bindings.IdentityVerifierConfig.SHARED_SECRET(id=name, data=secret), slim_bindings.Direction.BIDIRECTIONAL,
            slim_bindings.PersistenceConfig(path=folder, passphrase=None))
    else:
        app = service.create_app_with_secret(name_of(name), secret)
    await app.subscribe_async(app.name(), link)
    return app, link


async def begin(app, link, verb, word):
    if verb == "wait":
        return await app.listen_for_session_async(PATIENCE)
    if verb == "restore":
        return (await app.restore_sessions_async(link))[0]
    kind = slim_bindings.SessionType.GROUP if verb == "create" else slim_bindings.SessionType.POINT_TO_POINT
    opened = await app.create_session_async(settings(kind), name_of(word))
    await opened.completion.wait_async()
    return opened.session


async def act(session, verb, word):
    if verb == "say":
        await (await session.publish_async(word.encode(), None, None)).wait_async()
        return []
    if verb == "members":
        return {text_of(one.name): "ONLINE" in str(one.status).upper() for one in await session.participants_list_async()}
    if verb in ("invite", "remove"):
        await (await getattr(session, f"{verb}_async")(name_of(word))).wait_async()
    elif verb == "offline":
        await session.close_with_mode_and_wait_async(slim_bindings.CloseMode.SOFT)
    elif verb == "back":
        await session.rejoin_and_wait_async()
    else:
        await session.close_and_wait_async()
    return None


async def main(name, endpoint):
    app, link = await start(name, endpoint)
    tell(done="start")
    sessions, listeners = [], []
    while line := (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).strip():
        verb, _, word = line.partition(" ")
        try:
            if verb in ("wait", "create", "pair", "restore"):
                sessions.append(await begin(app, link, verb, word))
                listeners.append(asyncio.ensure_future(listen_to(sessions[-1])))
                tell(done=line)
            else:
                tell(done=line, result=await act(sessions[-1], verb, word))
        except slim_bindings.SlimError as fault:
            tell(failed=line, why=str(fault))
    os._exit(0)  # threads of the bindings may still wait for something


asyncio.run(main(*sys.argv[1:3]))
