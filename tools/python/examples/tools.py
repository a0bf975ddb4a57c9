#!/usr/bin/env python3
"""An agent's tools over an encrypted session: JSON-RPC 2.0 requests and answers, one a message.

  tools.py tcp://127.0.0.1:46367 serve
  tools.py tcp://127.0.0.1:46367 list
  tools.py tcp://127.0.0.1:46367 call add '{"a": 2, "b": 3}'

The secret that both share is in SLIPWAY_SECRET: at least 32 bytes.
"""
import asyncio
import json
import os
import sys

import slipway

SERVER = slipway.split_id("org/agents/tools")
TOOLS = {}


def tool(function):
    """What a client may call; its docstring is what the client reads."""
    TOOLS[function.__name__] = function
    return function


@tool
def add(a, b):
    """The sum of two numbers."""
    return a + b


@tool
def reverse(text):
    """The text, backwards."""
    return text[::-1]


def answer(request):
    method, parameters = request.get("method"), request.get("params") or {}
    reply = {"jsonrpc": "2.0", "id": request.get("id")}
    try:
        if method == "tools/list":
            return reply | {"result": {"tools": [{"name": name, "description": call.__doc__} for name, call in TOOLS.items()]}}
        if method == "tools/call" and parameters.get("name") in TOOLS:
            return reply | {"result": {"value": TOOLS[parameters["name"]](**parameters.get("arguments", {}))}}
        return reply | {"error": {"code": -32601, "message": f"no method {method} {parameters.get('name', '')}".strip()}}
    except Exception as error:  # what a tool raises is the caller's to read
        return reply | {"error": {"code": -32603, "message": str(error)}}


async def converse(session):
    async for context, payload in session:
        await session.publish_to(context, json.dumps(answer(json.loads(payload))).encode(), payload_type="application/json")


async def serve(node):
    async with await slipway.Slim.create(str(SERVER), secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        print("serving", ", ".join(TOOLS), flush=True)
        async with asyncio.TaskGroup() as tasks:
            async for session in app.sessions():
                tasks.create_task(converse(session))


async def request(node, method, parameters):
    async with await slipway.Slim.create("org/agents/client", secret=os.environ["SLIPWAY_SECRET"], connect=node) as app:
        async with app.unicast(SERVER, timeout=1) as session:
            await session.publish(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode())
            _, payload = await session.get_message(timeout=30)
            print(json.dumps({key: value for key, value in json.loads(payload).items() if key in ("result", "error")}))


def main(node="", word="", *rest):
    if word == "serve":
        asyncio.run(serve(node))
    elif word == "list":
        asyncio.run(request(node, "tools/list", {}))
    elif word == "call" and len(rest) == 2:
        asyncio.run(request(node, "tools/call", {"name": rest[0], "arguments": json.loads(rest[1])}))
    else:
        sys.exit(__doc__)


main(*sys.argv[1:])
