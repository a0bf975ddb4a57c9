"""peer.py <node> <name> [busy]: answers each message with "echo " before it, until its input ends."""
import asyncio
import json
import os
import sys
import time

import slipway


def say(**words):
    print(json.dumps(words), flush=True)


async def serve(session, busy):
    say(opened=session.session_type, mls=session.mls_enabled, reliable=session.reliable, metadata=session.metadata)
    async for context, payload in session:
        say(heard=payload.decode(), source=str(context.source_name))
        if busy:
            end = time.monotonic() + 1
            while time.monotonic() < end:
                pass
            say(computed=True)
        await session.publish_to(context, b"echo " + payload)
    say(closed=True)


async def main(node, name, *words):
    async with await slipway.Slim.create(name, secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        say(ready=str(app.local_name))
        ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        tasks = []

        async def take():
            async for session in app.sessions():
                tasks.append(asyncio.create_task(serve(session, "busy" in words)))
        taking = asyncio.create_task(take())
        await ended
        taking.cancel()
        for task in tasks:
            task.cancel()

asyncio.run(main(*sys.argv[1:]))
