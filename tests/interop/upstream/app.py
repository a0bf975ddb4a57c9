#!/usr/bin/env python3
"""One application of upstream's Python bindings, for test_apps.py.

  app.py listen NAME ENDPOINT            waits for one session, answers each message with its echo, until it is told "bye"
  app.py talk NAME ENDPOINT PEER ...     a session with PEER: says what there is to say, checks the echoes
  app.py moderate NAME ENDPOINT MEMBER…  a group of these members; each message must come back from each of them
  app.py member NAME ENDPOINT            waits for one session; after a line of input says what there is to say in it, and takes
                                         --echoes answers for each
  app.py serve NAME ENDPOINT             answers every session, until its input ends
  app.py attempt NAME FILE PEER          for each entry of FILE, {name: client configuration}: a connection of its own and a
                                         talk with PEER; says for each what came of it
  app.py resident NAME FILE              in a node of upstream's own, which runs by this file: answers one session

ENDPOINT may be a whole client configuration as JSON. Options: --mls, --messages N, --bytes N, --best-effort, --pause SECONDS
(between messages), --anycast (the session is marked: messages are for any instance of ours), --tell (serve: what was heard, a line each), --jwt-key FILE --jwt-trust FILE (tokens by ES256 instead of a secret, the subject is NAME), --route (set a route to the peer, as applications of 2.x must), --wait (tell the own id, begin after a line of input). Prints one line of JSON at its end.
"""
import argparse
import asyncio
import datetime
import json
import os
import sys
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
                                       interval=None if options.best_effort else datetime.timedelta(seconds=1),
                                       metadata={"slim-anycast": "1"} if options.anycast else {}, mls_settings=mls if options.mls else None)


def client_config(text):
    return slim_bindings.new_config_from_json(text) if text.startswith("{") else slim_bindings.new_insecure_client_config(text)


def key_of(file):
    return slim_bindings.JwtKeyConfig(algorithm=slim_bindings.JwtAlgorithm.ES256, format=slim_bindings.JwtKeyFormat.PEM,
                                      key=slim_bindings.JwtKeyData.FILE(path=file))


def application(options, service):
    if not options.jwt_key:
        return service.create_app_with_secret(name_of(options.name), SECRET)
    own = slim_bindings.ClientJwtAuth(key=slim_bindings.JwtKeyType.ENCODING(key=key_of(options.jwt_key)), audience=None, issuer=None,
                                      subject=options.name, duration=datetime.timedelta(hours=1))
    others = slim_bindings.JwtAuth(key=slim_bindings.JwtKeyType.DECODING(key=key_of(options.jwt_trust)), audience=None, issuer=None,
                                   subject=None, duration=datetime.timedelta(hours=1))
    return service.create_app(name_of(options.name), slim_bindings.IdentityProviderConfig.JWT(config=own),
                              slim_bindings.IdentityVerifierConfig.JWT(config=others))


async def join(options, service, config):
    link = await service.connect_async(client_config(config))
    app = application(options, service)
    await app.subscribe_async(app.name(), link)
    if options.route:
        for other in options.others:
            await app.set_route_async(name_of(other), link)
    return app


async def start(options):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    return await join(options, slim_bindings.get_global_service(), options.endpoint)


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
    await asyncio.sleep(options.stay)
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
        if options.pause:
            await asyncio.sleep(options.pause)
    handle = await session.publish_async(b"bye", None, None)
    if not options.best_effort:
        await handle.wait_async()
    times.sort()
    return {"messages": len(times), "round_trip_p50_ms": round(times[len(times) // 2] * 1e3, 3)}


async def member(options):
    app = await start(options)
    print("ready", flush=True)
    session = await app.listen_for_session_async(PATIENCE)
    print("in", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    result = await exchange(options, session, options.echoes)
    await asyncio.sleep(options.linger)
    return result


async def converse(options, app):
    opened = await app.create_session_async(session_config(options, slim_bindings.SessionType.POINT_TO_POINT), name_of(options.others[0]))
    await opened.completion.wait_async()
    result = await exchange(options, opened.session, 1)
    await asyncio.sleep(options.linger)  # for the last acknowledgement
    return result


async def talk(options):
    app = await start(options)
    if options.wait:
        print("id", app.name().id(), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    return await converse(options, app)


async def answer_session(session, answered, tell=False):
    while True:
        message = await session.get_message_async(PATIENCE)
        if message.payload == b"bye":
            return
        if tell:
            print("heard", message.payload.decode(), message.context.metadata.get("slim-anycast-id"), flush=True)
        await session.publish_async(b"echo " + message.payload, None, None)
        answered[0] += 1


async def serve(options):
    app = await start(options)
    print("ready", flush=True)
    answered = [0]
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    sessions = set()
    waiting = None
    while not ended.done():
        waiting = waiting or asyncio.ensure_future(app.listen_for_session_async(PATIENCE))
        await asyncio.wait([waiting, ended], return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            sessions.add(asyncio.ensure_future(answer_session(waiting.result(), answered, options.tell)))
            waiting = None
    return {"answered": answered[0]}


async def take_orders(app, link):
    """Lines "route NAME ID" on standard input: what is for that name goes over the link."""
    while True:
        words = (await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)).split()
        if not words:
            return
        await app.set_route_async(slim_bindings.Name.new_with_id(*words[1].split("/"), words[2]), link)
        print("routed", flush=True)


async def resident(options):
    """Its node has one link to another node. Tells its id, then takes orders."""
    slim_bindings.initialize_from_config_with_error(options.endpoint)
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    app = slim_bindings.get_global_service().create_app_with_secret(name_of(options.name), SECRET)
    print("id", app.name().id(), flush=True)
    orders = asyncio.ensure_future(take_orders(app, 0))
    session = await app.listen_for_session_async(PATIENCE)
    answered = [0]
    await answer_session(session, answered)
    await asyncio.sleep(0.5)  # for the last acknowledgement
    orders.cancel()
    return {"answered": answered[0]}


async def attempt(options):
    slim_bindings.initialize_with_defaults()
    slim_bindings.uniffi_set_event_loop(asyncio.get_running_loop())
    results = {}
    with open(options.endpoint) as file:
        for number, (name, config) in enumerate(json.load(file).items()):
            service = slim_bindings.create_service(f"way-{number}")
            options.name, options.linger = f"org/ns/client-{number}", 0.1
            try:
                results[name] = await converse(options, await join(options, service, json.dumps(config)))
            except Exception as fault:  # whatever the bindings throw: the test looks at what it says
                results[name] = {"error": str(fault)}
            await service.shutdown_async()
    return results


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


ROLES = {"listen": listen, "talk": talk, "moderate": moderate, "member": member, "serve": serve, "attempt": attempt, "resident": resident}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("name")
    parser.add_argument("endpoint")
    parser.add_argument("others", nargs="*")
    parser.add_argument("--mls", action="store_true")
    parser.add_argument("--best-effort", action="store_true")
    parser.add_argument("--messages", type=int, default=50)
    parser.add_argument("--echoes", type=int, default=1)
    parser.add_argument("--bytes", type=int, default=0)
    parser.add_argument("--linger", type=float, default=0.5)
    parser.add_argument("--pause", type=float, default=0)
    parser.add_argument("--stay", type=float, default=0)
    parser.add_argument("--jwt-key")
    parser.add_argument("--jwt-trust")
    parser.add_argument("--wait", action="store_true")
    parser.add_argument("--route", action="store_true")
    parser.add_argument("--anycast", action="store_true")
    parser.add_argument("--tell", action="store_true")
    options = parser.parse_args()
    print(json.dumps(asyncio.run(ROLES[options.role](options))), flush=True)
    os._exit(0)  # threads of the bindings may still wait for something


main()
