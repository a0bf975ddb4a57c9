"""Applications: a name, an identity, connections to nodes, sessions."""
import asyncio
import weakref
from collections.abc import AsyncIterator, Generator
from os import PathLike
from typing import Any

from . import _native
from ._native import PyName
from ._reactor import reactor
from .config import PySessionConfiguration
from .errors import ClosedError, InvalidError, NotConnectedError, error_of
from .identity import Provider, PyIdentityProvider, PyIdentityVerifier, Verifier
from .session import PySession, Seconds, _name, _seconds, within

Configuration = PySessionConfiguration.Anycast | PySessionConfiguration.Unicast | PySessionConfiguration.Multicast
File = str | PathLike[str]

_GOODBYE = 5.0  # seconds that closing an application waits for its sessions


class _Opening:
    """`await` it for a session, or `async with` it for one that is closed at the end."""

    def __init__(self, app: "Slim", configuration: Configuration) -> None:
        self._app, self._configuration = app, configuration

    def __await__(self) -> Generator[Any, None, PySession]:
        return self._app.create_session(self._configuration).__await__()

    async def __aenter__(self) -> PySession:
        self._session = await self
        return self._session

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()


class Slim:
    """An application on a SLIM network.

        async with await Slim.create("org/ns/alice", secret=secret, connect="tcp://127.0.0.1:46367") as app:
            async with app.unicast(split_id("org/ns/bob"), timeout=1) as session:
                await session.publish(b"hello")

    Leaving the block says good-bye in all sessions. Without it, call `close`.
    """

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._open = weakref.WeakSet()
        self._addresses: dict[int, str] = {}
        self._connection: int | None = None

    @classmethod
    async def new(cls, name: PyName | str, provider: Provider, verifier: Verifier) -> "Slim":
        """`name`: PyName, or text as "org/ns/alice". IdentityError: the identity cannot be used."""
        name = _native.split_id(name) if isinstance(name, str) else name
        handle = None

        def begin(mailbox, token):
            nonlocal handle
            handle, ticket = _native.create_app(mailbox, token, name, provider.words(), verifier.words())
            return ticket

        await reactor().call(begin)
        return cls(handle)

    @classmethod
    async def create(cls, name: PyName | str, *, secret: str | bytes, connect: str | dict[str, Any] | None = None, subject: str | None = None) -> "Slim":
        """With a shared secret (at least 32 bytes), and connected to `connect` if that is given.

        `subject`: the whole identity; keeps the application's address over a restart.
        """
        provider = PyIdentityProvider.SharedSecret(str(name), secret, subject)
        app = await cls.new(name, provider, PyIdentityVerifier.SharedSecret(str(name), secret))
        if connect is not None:
            await app.connect(connect)
        return app

    # --- what it is ---

    @property
    def local_name(self) -> PyName:
        """With the id that its identity gives it."""
        return self._handle.name

    @property
    def id(self) -> int:
        """The id in its name, 128 bits."""
        return self._handle.name.id

    @property
    def id_str(self) -> str:
        return str(self._handle.name)

    # --- connections ---

    async def connect(self, where: str | dict[str, Any], *, timeout: Seconds = 30.0, ca_file: File | None = None, certificate_file: File | None = None,
                      key_file: File | None = None, server_name: str | None = None, skip_verify: bool | None = None, authorization: str | None = None,
                      client_name: str | None = None, reconnect: bool = True) -> int:
        """Returns the connection's number when the node has taken our name.

        `where`: "tcp://…", "unix://…", "udp://…" (native), "http://…", "https://…", "ws://…", "wss://…" (upstream's protocol);
        or {"endpoint": …, "tls": {"insecure": True}} with ca_file, cert_file, key_file, insecure_skip_verify for TLS.
        `timeout`: seconds or a timedelta; TimedOutError then says what was in the way.
        TLS: `ca_file` is trusted besides the system's; `certificate_file` and `key_file` are ours, for nodes that ask; the node's certificate
        must be for `server_name` (default: the address's host); `skip_verify` takes any: for tests only. PEM files.
        `authorization`: that header's value, "Basic …" or "Bearer …", for upstream's protocol. `client_name`: how the node shows us
        (default: program and process id). `reconnect`: a connection that is lost opens again by itself.
        InvalidError: an address or a file makes no sense. NotConnectedError: the node refused.
        """
        words = _connect_words(where) | {"reconnect": reconnect}
        given = {"ca_file": ca_file, "certificate_file": certificate_file, "key_file": key_file, "server_name": server_name, "authorization": authorization,
                 "client_name": client_name}
        words |= {word: str(value) for word, value in given.items() if value is not None}
        if skip_verify is not None:
            words["skip_verify"] = skip_verify
        number = await reactor().call(self._handle.connect, words, max(1, round(_seconds(timeout) * 1000)))
        self._addresses[number] = words["address"]
        self._connection = number
        return number

    async def disconnect(self, connection: int | str) -> None:
        """By its number, or by the address it was made with."""
        if isinstance(connection, str):
            found = [number for number, address in self._addresses.items() if address == connection]
            if not found:
                raise NotConnectedError(f"no connection to {connection}", "NotConnected")
            connection = found[-1]
        await reactor().call(self._handle.disconnect, connection)
        self._addresses.pop(connection, None)
        if self._connection == connection:
            self._connection = next(reversed(self._addresses), None)

    async def set_route(self, name: PyName, connection: int | None = None) -> None:
        """What goes to this service goes over that connection (default: the one made last). Optional: names are found without."""
        if connection is None:
            connection = self._connection
        if connection is None:
            raise NotConnectedError(f"a route to {name}: not connected to a node: connect first", "NotConnected")
        await reactor().call(self._handle.set_route, _name(name), connection)

    async def remove_route(self, name: PyName) -> None:
        await reactor().call(self._handle.remove_route, _name(name))

    async def subscribe(self, name: PyName) -> None:
        """This application answers for another service as well. Its own name needs no subscription."""
        await reactor().call(self._handle.subscribe, _name(name))

    async def unsubscribe(self, name: PyName) -> None:
        await reactor().call(self._handle.unsubscribe, _name(name))

    # --- sessions ---

    async def create_session(self, configuration: Configuration) -> PySession:
        """Unicast: returns when the other side is there (NotFoundError: nobody answers). Others: at once."""
        if not hasattr(configuration, "kind"):
            raise InvalidError(f"{configuration!r}: PySessionConfiguration.Anycast, .Unicast or .Multicast", "BadConfig")
        name = getattr(configuration, "name", None)
        port = await reactor().call(self._handle.create_session, configuration.kind, None if name is None else _name(name), configuration.timeout_ms,
                                    configuration.max_retries, configuration.mls_enabled, getattr(configuration, "metadata", {}))
        return self._keep(PySession(port, configuration))

    def _keep(self, session):
        self._open.add(session)
        return session

    def anycast(self, **options: Any) -> _Opening:
        """`async with app.anycast(timeout=1) as session`, or `session = await app.anycast()`."""
        return _Opening(self, PySessionConfiguration.Anycast(**options))

    def unicast(self, name: PyName, **options: Any) -> _Opening:
        """`async with app.unicast(bob, timeout=1) as session`, or `session = await app.unicast(bob)`."""
        return _Opening(self, PySessionConfiguration.Unicast(name, **options))

    def multicast(self, topic: PyName, **options: Any) -> _Opening:
        """`async with app.multicast(room, timeout=1) as session`, or `session = await app.multicast(room)`."""
        return _Opening(self, PySessionConfiguration.Multicast(topic, **options))

    async def listen_for_session(self, timeout: Seconds | None = None) -> PySession:
        """The next session that another application opened with this one. timeout: seconds or a timedelta; None: for ever."""
        return await within(timeout, self._next_session(), "waiting for a session")

    async def _next_session(self):
        while True:
            port = self._handle.take_session()
            if port is not None:
                return self._keep(PySession(port))
            if self._handle.closed:
                raise ClosedError("waiting for a session: the application is closed", "Closed")
            await reactor().wait(self._handle.wait_for_session)

    async def sessions(self) -> AsyncIterator[PySession]:
        """`async for session in app.sessions()`: those that others open, until the application is closed."""
        while True:
            try:
                session = await self.listen_for_session()
            except ClosedError:
                return
            yield session

    async def delete_session(self, session: PySession) -> None:
        """Says good-bye and closes it."""
        await session.close()

    # --- the end ---

    async def close(self) -> None:
        """Says good-bye in all sessions that somebody still holds, for at most 5 s, and ends the application."""
        try:
            closing = [asyncio.ensure_future(session.close()) for session in list(self._open) if not session.closed]
            if closing:
                _, late = await asyncio.wait(closing, timeout=_GOODBYE)
                for task in late:
                    task.cancel()
                await asyncio.gather(*closing, return_exceptions=True)
        finally:
            self._handle.end()

    async def __aenter__(self) -> "Slim":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _connect_words(where):
    if isinstance(where, str):
        return {"address": where}
    endpoint, tls = where.get("endpoint", ""), where.get("tls", {})
    if endpoint.startswith("http://") and tls.get("insecure") is False:
        raise InvalidError(f"{endpoint} is without TLS, and `tls` says with: write https://, or insecure: True", "Address")
    unknown = set(where) - {"endpoint", "tls", "authorization"} | set(tls) - {"insecure", "insecure_skip_verify", "ca_file", "cert_file", "key_file", "server_name"}
    if unknown:
        raise InvalidError(f"connecting to {endpoint}: {', '.join(sorted(unknown))} is not known here; see Slim.connect", "BadConfig")
    words = {"address": endpoint, "skip_verify": bool(tls.get("insecure_skip_verify", False))}
    for ours, theirs in (("ca_file", "ca_file"), ("certificate_file", "cert_file"), ("key_file", "key_file"), ("server_name", "server_name")):
        if tls.get(theirs):
            words[ours] = str(tls[theirs])
    if where.get("authorization"):
        words["authorization"] = where["authorization"]
    return words
