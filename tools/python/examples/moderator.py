#!/usr/bin/env python3
"""Moderates a room that it takes no part in: invites, removes, and says who comes and goes.

  moderator.py tcp://127.0.0.1:46367 org/chat/room

Then lines on its input: `invite org/chat/bob`, `remove org/chat/bob`, `who`. The end of the input closes the room. The guests
can be chat.py, waiting. The secret that all share is in SLIPWAY_SECRET: at least 32 bytes.
"""
import asyncio
import os
import sys

import slipway


async def tell(session):
    async for event in session.events():
        print(f"{event.who} {event.kind}" if event.who else event.kind, flush=True)


async def obey(session, word, name=""):
    try:
        if word == "invite":
            await session.invite(slipway.split_id(name))
        elif word == "remove":
            await session.remove(slipway.split_id(name))
        elif word == "who":
            for member in await session.participants():
                print(f"{member.name} {'online' if member.online else 'offline'}", flush=True)
        else:
            print("invite NAME, remove NAME, who", flush=True)
    except (slipway.SlipwayError, ValueError) as error:
        print(f"not done: {error}", flush=True)


async def main(node, room):
    async with await slipway.Slim.create("org/chat/moderator", secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        async with app.multicast(slipway.split_id(room), timeout=1) as session:
            telling = asyncio.create_task(tell(session))
            loop = asyncio.get_running_loop()
            while line := await loop.run_in_executor(None, sys.stdin.readline):
                if words := line.split()[:2]:
                    await obey(session, *words)
        await telling


if len(sys.argv) != 3:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
