#!/usr/bin/env python3
"""One application of upstream's Python bindings, for test_apps.py.

  app.py listen NAME ENDPOINT            waits for one session, answers each message with its echo, until it is told "bye"
  app.py talk NAME ENDPOINT PEER ...     a session with PEER: says what there is to say, checks the echoes
  app.py moderate NAME ENDPOINT MEMBER…  a group of these members; each message must come back from each of them

Options: --mls, --messages N, --bytes N, --best-effort. Prints one line of JSON at its end.
"""
import argparse
import asyncio
import datetime
import json
import time

import slim_bindings

SECRET = "a-secret-of-the-tests-with-32-bytes-and-more"
PATIENCE = datetime.timedelta(seconds=60)
CHANNEL = "org/ns/room"


def name_of(text):
    return slim_bindings.Name(*text.split("/"))


def session_config(options, kind):
    mls = slim_bindings.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None)
    return slim_bindings.SessionConfig(session_type=kind, max_retries=None if options.best_effort else 10,
                                       interval=None if options.best_effort else datetime.timedelta(seconds=1), metadata={},
                                       mls_settings=mls if options.mls else None)


async def start(options):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    service = slim_bindings.get_global_service()
    link = await service.connect_async(slim_bindings.new_insecure_client_config(options.endpoint))
    app = service.create_app_with_secret(name_of(options.name), SECRET)
    await app.subscribe_async(app.name(), link)
    return app


async def listen(options):
    app = await start(options)
    print("ready", flush=True)
    session = await app.listen_for_session_async(PATIENCE)
    answered = 0
    while True:
        message = await session.get_message_async(PATIENCE)
        if message.payload == b"bye":
            break
        if message.payload.startswith(b"echo "):
            continue  # of another member
        await session.publish_async(b"echo " + message.payload, None, None)
        answered += 1
    return {"answered": answered}


async def exchange(options, session, members):
    times = []
    filler = b"x" * options.bytes
    for i in range(options.messages):
        said = b"message %d " % i + filler
        begun = time.perf_counter()
        await session.publish_async(said, None, None)
        for _ in range(members):
            message = await session.get_message_async(PATIENCE)
            assert message.payload == b"echo " + said, f"message {i}: {message.payload[:40]!r}"
        times.append(time.perf_counter() - begun)
    handle = await session.publish_async(b"bye", None, None)
    if not options.best_effort:
        await handle.wait_async()
    times.sort()
    return {"messages": len(times), "round_trip_p50_ms": round(times[len(times) // 2] * 1e3, 3)}


async def talk(options):
    app = await start(options)
    opened = await app.create_session_async(session_config(options, slim_bindings.SessionType.POINT_TO_POINT), name_of(options.others[0]))
    await opened.completion.wait_async()
    result = await exchange(options, opened.session, 1)
    await asyncio.sleep(0.5)  # for the last acknowledgement
    return result


async def moderate(options):
    app = await start(options)
    opened = await app.create_session_async(session_config(options, slim_bindings.SessionType.GROUP), name_of(CHANNEL))
    await opened.completion.wait_async()
    for member in options.others:
        invited = await opened.session.invite_async(name_of(member))
        await invited.wait_async()
    result = await exchange(options, opened.session, len(options.others))
    await asyncio.sleep(0.5)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=["listen", "talk", "moderate"])
    parser.add_argument("name")
    parser.add_argument("endpoint")
    parser.add_argument("others", nargs="*")
    parser.add_argument("--mls", action="store_true")
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--bytes", type=int, default=0)
    options = parser.parse_args()
    print(json.dumps(asyncio.run({"listen": listen, "talk": talk, "moderate": moderate}[options.role](options))), flush=True)


main()
