"""Sessions and what comes out of them."""
import asyncio
import datetime
from collections.abc import AsyncIterator, Generator
from dataclasses import dataclass
from typing import Any

from ._native import PyMessageContext, PyName
from ._reactor import reactor
from .errors import ClosedError, InvalidError, TimedOutError, UndeliveredError, WrongKindError, error_of

Seconds = float | datetime.timedelta
Buffer = bytes | bytearray | memoryview
Message = tuple[PyMessageContext, bytes]

_TURN = 64  # messages taken without waiting before others of the event loop have their turn


@dataclass(frozen=True)
class Delivery:
    """How a publish ended. `missed`: [(PyName, reason)], whom it did not reach; empty: it reached all, or was best effort."""

    message_id: int
    missed: list[tuple[PyName, str]]


@dataclass(frozen=True)
class Member:
    """A member of a session."""

    name: PyName
    online: bool


@dataclass(frozen=True)
class Event:
    """What happened in a session besides messages.

    kind: "joined", "left", "removed", "online", "offline" (who: the member); "lost" (who: the sender, count: messages that will
    not come); "unread" (count: messages dropped because nobody read the session); "closed".
    """

    kind: str
    who: PyName | None = None
    count: int = 0


class Receipt:
    """A message that was taken. Await it, or not: all receivers have acknowledged it or were given up (best effort: at once)."""

    __slots__ = ("_native",)

    def __init__(self, native: Any) -> None:
        self._native = native

    @property
    def done(self) -> bool:
        """Whether awaiting it returns at once."""
        return self._native.result() is not None

    def __await__(self) -> Generator[Any, None, Delivery]:
        return self._wait().__await__()

    async def _wait(self) -> Delivery:
        while (result := self._native.result()) is None:
            await reactor().wait(self._native.wait)
        good, value = result
        if not good:
            raise error_of(value)
        return Delivery(*value) if value is not None else Delivery(0, [])


def _seconds(timeout):
    return timeout.total_seconds() if hasattr(timeout, "total_seconds") else timeout


async def within(timeout, work, what):
    """Awaits `work`, at most `timeout` (seconds or a timedelta; None: for ever)."""
    if timeout is None:
        return await work
    try:
        async with asyncio.timeout(_seconds(timeout)):
            return await work
    except TimeoutError as error:
        if isinstance(error, TimedOutError):
            raise
        raise TimedOutError(f"{what}: it took too long", "Timeout") from None


class PySession:
    """A session: messages go out by `publish` and the like, and come in by `get_message` or `async for`.

        async with app.unicast(bob, timeout=1) as session:
            await session.publish(b"hello")
            async for context, payload in session:
                ...

    Made by `create_session`, or by another application (`listen_for_session`). A session that nobody holds any more is closed.
    All methods belong to asyncio; different tasks may use one session.
    """

    def __init__(self, port: Any, configuration: Any = None) -> None:
        self._port = port
        self._configuration = configuration
        self._taken = 0

    # --- what it is ---

    @property
    def id(self) -> int:
        """The session's number; both sides see the same."""
        return self._port.id

    @property
    def session_type(self) -> str:
        """"anycast", "unicast" or "multicast"."""
        return self._port.kind

    @property
    def session_config(self) -> Any:
        """What it was created with; None: another application created it."""
        return self._configuration

    @property
    def metadata(self) -> dict[str, str]:
        """What its creator said about it. Not encrypted."""
        return self._port.metadata

    @property
    def src(self) -> PyName:
        """This application."""
        return self._port.source

    @property
    def dst(self) -> PyName | None:
        """The channel, or the other side. Anycast of our own: None."""
        return self._port.destination

    @property
    def mls_enabled(self) -> bool:
        """Whether messages are encrypted end to end."""
        return self._port.encrypted

    @property
    def reliable(self) -> bool:
        """Whether messages are acknowledged and repeated."""
        return self._port.reliable

    @property
    def closed(self) -> bool:
        return self._port.why_closed() is not None

    # --- out ---

    async def publish(self, msg: Buffer, payload_type: str | None = None, metadata: dict[str, str] | None = None) -> Receipt:
        """To the other side, or to all of the channel. Returns when it is taken, which waits while too much is unacknowledged.

        `msg`: up to 8 MiB. `payload_type`: what it is, in a word (default "msg"). `metadata`: not encrypted. Await the receipt to know whom it reached. WrongKindError on anycast.
        """
        if self._port.kind == "anycast":
            raise WrongKindError("unexpected session type: expected UNICAST or MULTICAST; on anycast use publish_with_destination", "WrongKind")
        return await self._publish(msg, None, None, payload_type, metadata)

    async def publish_with_destination(self, msg: Buffer, dest: PyName, payload_type: str | None = None,
                                       metadata: dict[str, str] | None = None) -> Receipt:
        """To any one instance of the service `dest`. Anycast sessions only: WrongKindError on others."""
        if self._port.kind != "anycast":
            raise WrongKindError("unexpected session type: expected ANYCAST; on others use publish", "WrongKind")
        return await self._publish(msg, dest, None, payload_type, metadata)

    async def publish_to(self, message_ctx: PyMessageContext, msg: Buffer, payload_type: str | None = None,
                         metadata: dict[str, str] | None = None) -> Receipt:
        """To the one whose message came with `message_ctx`, alone."""
        return await self._publish(msg, None, message_ctx, payload_type, metadata)

    async def publish_and_wait(self, msg: Buffer, payload_type: str | None = None, metadata: dict[str, str] | None = None) -> Delivery:
        """As publish, and waits until all have acknowledged it. UndeliveredError says whom it did not reach."""
        delivery = await (await self.publish(msg, payload_type, metadata))
        if delivery.missed:
            missed = ", ".join(f"{name} ({reason})" for name, reason in delivery.missed)
            raise UndeliveredError(f"message {delivery.message_id} did not reach {missed}: publish it again, or go on without", "NoAnswer", delivery.missed)
        return delivery

    async def _publish(self, msg, dest, context, payload_type, metadata):
        at = reactor()
        token = at.token()
        receipt, ticket = self._port.publish(at.mailbox, token, msg, dest, context, payload_type or "msg", metadata or {})
        if ticket is not None:
            await at.result(token, lambda: self._port.withdraw(ticket))
        return Receipt(receipt)

    # --- in ---

    async def get_message(self, timeout: Seconds | None = None) -> Message:
        """(context, payload) of the oldest message that was not read. ClosedError when the session has ended and all is read.

        timeout: seconds or a timedelta; TimedOutError after it. None: waits for ever.
        """
        self._taken += 1
        if self._taken % _TURN == 0:
            await asyncio.sleep(0)
        message = self._port.take_message()
        if message is not None:
            return message
        return await within(timeout, self._next_message(), "waiting for a message")

    recv = get_message

    async def _next_message(self):
        while True:
            message = self._port.take_message()
            if message is not None:
                return message
            if (why := self._port.why_closed()) is not None:
                raise error_of(why)
            await reactor().wait(self._port.wait_for_message)

    async def __aiter__(self) -> AsyncIterator[Message]:
        while True:
            try:
                message = await self.get_message()
            except ClosedError:
                return
            yield message

    async def get_event(self, timeout: Seconds | None = None) -> Event:
        """The oldest event that was not read; ClosedError after the last. timeout: as of get_message."""
        return await within(timeout, self._next_event(), "waiting for an event")

    async def _next_event(self):
        while True:
            event = self._port.take_event()
            if event is not None:
                return Event(*event)
            if (why := self._port.why_closed()) is not None:
                raise error_of(why)
            await reactor().wait(self._port.wait_for_event)

    async def events(self) -> AsyncIterator[Event]:
        """`async for event in session.events()`: until the session ends."""
        while True:
            try:
                event = await self.get_event()
            except ClosedError:
                return
            yield event

    # --- members ---

    async def invite(self, name: PyName) -> None:
        """Multicast, its creator only: returns when the application is a member. Cancelled, it is taken out again.

        NotFoundError: nobody of that name answers. MembershipError: it is a member already.
        """
        await reactor().call(self._port.invite, _name(name))

    async def remove(self, name: PyName) -> None:
        """Multicast, its creator only: returns when the member is out and the others have new keys."""
        await reactor().call(self._port.remove, _name(name))

    async def participants(self) -> list[Member]:
        """Who is in it, this application included. Anycast: nobody."""
        return [Member(*member) for member in await reactor().call(self._port.participants)]

    async def refresh_keys(self) -> None:
        """MLS: new keys for this member, so that what was stolen before is of no use after."""
        await reactor().call(self._port.refresh_keys)

    # --- the end ---

    async def close(self) -> None:
        """Publishes what waits, waits for acknowledgements (at most 60 s), says good-bye. Of one that is closed: nothing."""
        try:
            await reactor().call(self._port.close)
        except ClosedError:
            pass

    delete = close

    async def __aenter__(self) -> "PySession":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<PySession {self.id} {self.session_type} {'closed' if self.closed else 'open'}>"


def _name(name):
    if isinstance(name, PyName):
        return name
    raise InvalidError(f"{name!r} is no name: PyName, or split_id('org/ns/app')", "BadName")
