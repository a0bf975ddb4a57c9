#!/usr/bin/env python3
"""Jobs for whichever worker is there, by anycast.

  workers.py tcp://127.0.0.1:46367 work                 a worker: start as many as you like
  workers.py tcp://127.0.0.1:46367 ask 6 7 8 9          each number to some worker; prints its square and who computed it

The secret that all share is in SLIPWAY_SECRET: at least 32 bytes.
"""
import asyncio
import os
import sys

import slipway

SERVICE = slipway.split_id("org/pool/worker")


async def serve(session):
    async for context, payload in session:
        await session.publish_to(context, str(int(payload) ** 2).encode())


async def work(node):
    async with await slipway.Slim.create(str(SERVICE), secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        print("at work", flush=True)
        async with asyncio.TaskGroup() as tasks:
            async for session in app.sessions():
                tasks.create_task(serve(session))


async def ask(node, *numbers):
    async with await slipway.Slim.create("org/pool/client", secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        async with app.anycast(timeout=1) as session:
            for number in numbers:
                await session.publish_with_destination(number.encode(), SERVICE)
            for _ in numbers:
                context, payload = await session.get_message(timeout=30)
                print(payload.decode(), "by", context.source_name, flush=True)


if len(sys.argv) < 3 or sys.argv[2] not in ("work", "ask"):
    sys.exit(__doc__)
asyncio.run({"work": work, "ask": ask}[sys.argv[2]](sys.argv[1], *sys.argv[3:]))
