#!/usr/bin/env python3
"""A chat, encrypted end to end.

  chat.py tcp://127.0.0.1:46367 org/chat/bob                                   waits to be invited
  chat.py tcp://127.0.0.1:46367 org/chat/alice org/chat/room org/chat/bob      opens the room and invites

The secret that all share is in SLIPWAY_SECRET: at least 32 bytes. Lines are said to all; the end of the input leaves.
"""
import asyncio
import os
import sys

import slipway


async def show(session):
    async for context, payload in session:
        print(f"{context.source_name.components()[2]}: {payload.decode()}", flush=True)
    print("the chat has ended", flush=True)


async def main(node, name, room=None, *guests):
    async with await slipway.Slim.create(name, secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        if room:
            session = await app.multicast(slipway.split_id(room), timeout=1)
            for guest in guests:
                await session.invite(slipway.split_id(guest))
        else:
            print("waiting to be invited", flush=True)
            session = await app.listen_for_session()
        members = ", ".join(member.name.components()[2] for member in await session.participants())
        print("in the room, encrypted:" if session.mls_enabled else "in the room:", members, flush=True)
        showing = asyncio.create_task(show(session))
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            await session.publish(line.strip().encode())
        await session.close()
        await showing


if len(sys.argv) < 3:
    sys.exit(__doc__)
asyncio.run(main(*sys.argv[1:]))
