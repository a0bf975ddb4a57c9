#!/usr/bin/env python3
"""One of two applications that talk for the benchmark `python`: on the package slipway, or on upstream's bindings.

  python_peer.py slipway|slim_bindings listen NAME ENDPOINT
  python_peer.py slipway|slim_bindings talk NAME ENDPOINT PEER      takes orders, a line each, answers with a line of JSON each

Orders: `flood MESSAGES BYTES AHEAD` sends as many reliable messages, at most AHEAD of them not yet acknowledged, until all are acknowledged
and the other side's application says that it has them all; `ping MESSAGES BYTES` sends one, waits for it to come back, and so on.
Figures: seconds, CPU seconds of this process (with all its threads), round trips in microseconds. `cpu` tells the CPU
seconds that the other side has used since it was last asked.

The first byte of a message says what is to be done with it: m(essage), e(nd: say that all are there), p(ing: send it back).
"""
import asyncio
import collections
import datetime
import json
import os
import sys
import time

SECRET = "a-secret-of-the-benchmark-with-32-bytes-and-more"
RETRY_S = 2
PATIENCE = datetime.timedelta(seconds=60)


class Slipway:
    async def start(self, name, endpoint):
        import slipway
        self.split = slipway.split_id
        self.app = await slipway.Slim.create(name, secret=SECRET, connect=endpoint)

    async def listen(self):
        self.session = await self.app.listen_for_session()

    async def call(self, peer):
        self.session = await self.app.unicast(self.split(peer), timeout=RETRY_S)

    async def publish(self, payload):
        return await self.session.publish(payload)

    async def acknowledged(self, receipt):
        assert (await receipt).missed == []

    async def get(self):
        return (await self.session.get_message())[1]


class SlimBindings:
    async def start(self, name, endpoint):
        import slim_bindings as slim
        self.slim = slim
        slim.initialize_with_defaults()
        slim.uniffi_set_event_loop(asyncio.get_running_loop())
        service = slim.get_global_service()
        self.link = await service.connect_async(slim.new_insecure_client_config(endpoint))
        self.app = service.create_app_with_secret(slim.Name(*name.split("/")), SECRET)
        await self.app.subscribe_async(self.app.name(), self.link)

    async def listen(self):
        self.session = await self.app.listen_for_session_async(PATIENCE)

    async def call(self, peer):
        slim = self.slim
        config = slim.SessionConfig(session_type=slim.SessionType.POINT_TO_POINT, max_retries=5, interval=datetime.timedelta(seconds=RETRY_S), metadata={},
                                    mls_settings=slim.MlsSettings(header_integrity_validation_percent=100, max_seen_control_message_ids_size=None))
        opened = await self.app.create_session_async(config, slim.Name(*peer.split("/")))
        await opened.completion.wait_async()
        self.session = opened.session

    async def publish(self, payload):
        return await self.session.publish_async(payload, None, None)

    async def acknowledged(self, handle):
        await handle.wait_async()

    async def get(self):
        return (await self.session.get_message_async(PATIENCE)).payload


def message(kind, size):
    return kind + b"." * (size - 1)


async def serve(side):
    count, used = 0, time.process_time()
    while True:
        payload = await side.get()
        kind = payload[:1]
        if kind == b"m":
            count += 1
        elif kind == b"p":
            await side.publish(payload)
        elif kind == b"e":
            await side.publish(b"%d" % count)
            count = 0
        elif kind == b"c":
            used, before = time.process_time(), used
            await side.publish(b"%f" % (used - before))


async def flood(side, count, size, ahead):
    payload, waiting = message(b"m", size), collections.deque()
    began, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        waiting.append(await side.publish(payload))
        if len(waiting) == ahead:
            await side.acknowledged(waiting.popleft())
    for receipt in waiting:
        await side.acknowledged(receipt)
    await side.publish(b"e")
    heard = int(await side.get())
    assert heard == count, (heard, count)
    return {"seconds": time.perf_counter() - began, "cpu": time.process_time() - cpu}


async def ping(side, count, size):
    payload, times = message(b"p", size), []
    for _ in range(count):
        began = time.perf_counter()
        await side.publish(payload)
        assert await side.get() == payload
        times.append((time.perf_counter() - began) * 1e6)
    times.sort()
    return {"p50_us": times[len(times) // 2], "p99_us": times[len(times) * 99 // 100]}


async def other_cpu(side):
    await side.publish(b"c")
    return {"cpu": float(await side.get())}


ORDERS = {"flood": flood, "ping": ping, "cpu": other_cpu}


async def main(package, role, name, endpoint, peer=None):
    side = {"slipway": Slipway, "slim_bindings": SlimBindings}[package]()
    await side.start(name, endpoint)
    print("ready", flush=True)
    if role == "listen":
        await side.listen()
        return await serve(side)
    await side.call(peer)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        order, *numbers = line.split()
        print(json.dumps(await ORDERS[order](side, *map(int, numbers))), flush=True)
    os._exit(0)  # threads of the bindings may still wait for something

asyncio.run(main(*sys.argv[1:]))
