"""What the Python package promises beyond the guide: cancelling, closing, the end of the interpreter, forks, the interpreter's lock."""
import asyncio
import datetime
import gc
import os
import subprocess
import sys

import pytest
from applications import PATIENCE, SECRET, Peer, environment, run

import slipway
from slipway import split_id

BOB = split_id("org/ns/bob")


async def pair(node):
    alice = await slipway.Slim.create("org/ns/alice", secret=SECRET, connect=node.tcp)
    bob = await slipway.Slim.create("org/ns/bob", secret=SECRET, connect=node.tcp)
    return alice, bob


def test_blocks_and_loops(node):
    async def main():
        alice, bob = await pair(node)
        async with alice, bob:
            async def answer():
                async for session in bob.sessions():
                    async for context, payload in session:
                        await session.publish_to(context, payload.upper())
            serving = asyncio.create_task(answer())
            async with alice.unicast(BOB, timeout=1) as session:
                await session.publish(b"one")
                async for context, payload in session:
                    assert payload == b"ONE" and context.source_name == bob.local_name
                    break
                for buffer in (bytearray(b"two"), memoryview(b"two"), b"two"):
                    await session.publish(buffer)
                    assert (await session.get_message())[1] == b"TWO"
            assert session.closed
            serving.cancel()
    run(main())


def test_messages_and_receipts_in_order(node):
    async def main():
        alice, bob = await pair(node)
        session = await alice.unicast(BOB, timeout=1)
        heard = await bob.listen_for_session()
        receipts = [await session.publish(str(i).encode()) for i in range(3_000)]
        assert [int((await heard.get_message())[1]) for _ in range(3_000)] == list(range(3_000))
        deliveries = [await receipt for receipt in receipts]
        assert all(delivery.missed == [] for delivery in deliveries) and receipts[0].done
        assert len({delivery.message_id for delivery in deliveries}) == 3_000
        assert (await session.publish_and_wait(b"x" * 1_000_000)).missed == []
        assert (await heard.get_message())[1] == b"x" * 1_000_000
        # Nobody reads: publishing goes on, and many tasks may publish at once.
        await asyncio.gather(*(session.publish(b"y") for _ in range(2_000)))
        assert [(await heard.get_message())[1] for _ in range(2_000)] == [b"y"] * 2_000
        with pytest.raises(slipway.InvalidError):
            await session.publish(b"x" * (9 << 20))
        with pytest.raises(TypeError):
            await session.publish("text")
        await alice.close()
        await bob.close()
    run(main())


def test_timeouts(node):
    async def main():
        alice, bob = await pair(node)
        session = await alice.unicast(BOB, timeout=1)
        with pytest.raises(TimeoutError):
            await session.get_message(timeout=0.01)
        with pytest.raises(slipway.TimedOutError):
            await alice.listen_for_session(timeout=datetime.timedelta(milliseconds=10))
        with pytest.raises(slipway.TimedOutError, match="127.0.0.1:9"):
            await bob.connect("tcp://127.0.0.1:9", timeout=0.2)
        await alice.close()
        with pytest.raises(slipway.ClosedError):
            await alice.connect(node.tcp)
        with pytest.raises(slipway.ClosedError):
            await alice.listen_for_session()
        await bob.close()
    run(main())


def test_a_cancelled_reader_takes_nothing(node):
    async def main():
        alice, bob = await pair(node)
        session = await alice.unicast(BOB, timeout=1)
        heard = await bob.listen_for_session()
        for i in range(30):
            reader = asyncio.create_task(heard.get_message())
            await asyncio.sleep(0)
            publishing = asyncio.create_task(session.publish_and_wait(str(i).encode()))
            await asyncio.sleep(0.0002 * i)
            reader.cancel()
            await publishing
            try:
                message = await reader
            except asyncio.CancelledError:
                message = await heard.get_message()
            assert message[1] == str(i).encode()
        await alice.close()
        await bob.close()
    run(main())


def test_a_cancelled_task_undoes_its_work(node):
    async def main():
        alice, bob = await pair(node)
        room = await alice.multicast(split_id("org/ns/room"), timeout=1)
        for wait in (0, 0.001):
            inviting = asyncio.create_task(room.invite(BOB))
            await asyncio.sleep(wait)
            inviting.cancel()
            # The second may be told at once that the first is not yet taken back.
            with pytest.raises(asyncio.CancelledError if wait == 0 else (asyncio.CancelledError, slipway.MembershipError)):
                await inviting
        async with asyncio.timeout(PATIENCE):  # an invitation that was on its way is taken back
            while True:
                try:
                    await room.invite(BOB)
                    break
                except slipway.MembershipError:
                    await asyncio.sleep(0.05)
        opening = asyncio.create_task(alice.create_session(slipway.PySessionConfiguration.Unicast(BOB)))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        connecting = asyncio.create_task(alice.connect("tcp://127.0.0.1:9"))
        await asyncio.sleep(0.01)
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await connecting
        await alice.close()
        await bob.close()
    run(main())


def test_closing_ends_what_waits(node):
    async def main():
        alice, bob = await pair(node)
        session = await alice.unicast(BOB, timeout=1)
        waiting = [asyncio.create_task(work) for work in (session.get_message(), session.get_event(), alice.listen_for_session())]
        await asyncio.sleep(0.01)
        heard = await bob.listen_for_session()
        await alice.close()
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, (slipway.ClosedError, slipway.Event)), result
        assert [event.kind async for event in heard.events()][-1] == "closed"
        await bob.close()
    run(main())


def test_a_session_that_nobody_holds_is_closed(node):
    async def main():
        alice, bob = await pair(node)
        receipt = await (await alice.unicast(BOB, timeout=1)).publish(b"last words")
        gc.collect()
        heard = await bob.listen_for_session()
        assert [payload async for _, payload in heard] == [b"last words"]
        assert (await receipt).missed == []
        await alice.close()
        await bob.close()
    run(main())


def test_a_room_with_nobody_else(node):
    async def main():
        alice, bob = await pair(node)
        async with alice.multicast(split_id("org/ns/room"), timeout=1) as room:
            receipt = await room.publish(b"anybody?")
            assert not receipt.done
            await room.invite(BOB)
            heard = await bob.listen_for_session()
            assert (await heard.get_message())[1] == b"anybody?" and (await receipt).missed == []
            await room.remove(BOB)
            receipt = await room.publish(b"anybody still?")
        with pytest.raises(slipway.ClosedError):
            await receipt
        async with alice.multicast(split_id("org/ns/room")) as room:
            with pytest.raises(slipway.BusyError, match="no receiver"):
                await room.publish(b"anybody?")
        await alice.close()
        await bob.close()
    run(main())


def test_presence(node):
    async def main():
        alice, bob = await pair(node)
        async with alice.multicast(split_id("org/ns/room"), timeout=1) as room:
            await room.invite(BOB)
            assert await room.get_event() == slipway.Event("joined", bob.local_name)
            assert {member.name for member in await room.participants()} == {alice.local_name, bob.local_name}
            await room.refresh_keys()
            await room.remove(BOB)
            assert (await room.get_event()).kind == "removed"
        await alice.close()
        await bob.close()
    run(main())


def test_the_native_thread_serves_while_python_computes(node):
    """The other side computes for a second with the interpreter's lock held: its acknowledgements come all the same."""
    async def main(bob):
        async with await slipway.Slim.create("org/ns/alice", secret=SECRET, connect=node.tcp) as alice:
            session = await alice.unicast(BOB, timeout=0.3, max_retries=1)
            await session.publish_and_wait(b"compute")
            bob.read("heard")
            for _ in range(5):
                assert (await session.publish_and_wait(b"meanwhile")).missed == []
            assert (await session.get_message())[1] == b"echo compute"

    with Peer(node, "org/ns/bob", "busy") as bob:
        run(main(bob))


def program(node, text, **variables):
    """Runs a Python program with `node` and `secret`; its output. It may fork, of which newer Pythons warn."""
    words = ["-W", "always", "-W", "ignore:This process", "-X", "faulthandler", "-c", f"node = {node.tcp!r}\nsecret = {SECRET!r}\n" + text]
    done = subprocess.run([sys.executable, *words], env=environment() | variables, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0 and done.stderr == "", (done.returncode, done.stderr)
    return done.stdout


START = """
import asyncio, os, sys, slipway
async def start():
    alice = await slipway.Slim.create("org/ns/alice", secret=secret, connect=node)
    bob = await slipway.Slim.create("org/ns/bob", secret=secret, connect=node)
    session = await alice.unicast(slipway.split_id("org/ns/bob"), timeout=1)
    return alice, bob, session, await bob.listen_for_session()
"""


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "for i in range(1000): await parts[2].publish(b'x')", "asyncio.create_task(parts[2].get_message())"])
def test_the_interpreter_ends_with_everything_open(node, end):
    program(node, START + f"""
async def main():
    global parts
    parts = await start()
    {end}
asyncio.run(main())
""")


def test_an_event_loop_after_another(node):
    assert program(node, START + """
parts = asyncio.run(start())
async def go_on():
    alice, bob, session, heard = parts
    await session.publish(b"in another loop")
    print((await heard.get_message())[1].decode())
    await alice.close()
asyncio.run(go_on())
""") == "in another loop\n"


def test_fork(node):
    """What the parent's native thread kept for itself is nobody's in the child: no leak to look for."""
    assert program(node, START + """
parts = asyncio.run(start())
child = os.fork()
async def in_child():
    try:
        await parts[2].publish(b"x")
    except slipway.ClosedError:
        print("closed in the child", flush=True)
    async with await slipway.Slim.create("org/ns/carol", secret=secret, connect=node) as carol:
        print("a new one works", flush=True)
async def in_parent():
    await parts[2].publish(b"still here")
    print((await parts[3].get_message())[1].decode())
if child == 0:
    asyncio.run(in_child())
    sys.exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
asyncio.run(in_parent())
""", ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0") == "closed in the child\na new one works\nstill here\n"


def test_the_package_is_typed():
    folder = os.path.dirname(slipway.__file__)
    assert os.path.exists(f"{folder}/py.typed") and os.path.exists(f"{folder}/_native.pyi")
    for name in slipway.__all__:
        documented = getattr(slipway, name)
        assert name in ("PyName", "PyMessageContext", "split_id") or documented.__doc__, name
