"""Between the native thread and one asyncio event loop.

Results wait in a native mailbox. Its descriptor is one that the event loop watches, so there is one wake-up for however many
results have come, no polling, and the native thread never needs the interpreter.
"""
import asyncio
import atexit
import os
import weakref

from . import _native
from .errors import error_of

_reactors = weakref.WeakKeyDictionary()  # by event loop


class Reactor:
    """Futures by token, of one event loop."""

    def __init__(self, loop):
        self.mailbox = _native.Mailbox()
        self._loop = weakref.ref(loop)
        self._futures = {}
        self._last = 0
        loop.add_reader(self.mailbox.fd, self._take)

    def token(self):
        """For one result. Whoever turns out to have to wait for it asks for its future before the event loop runs again."""
        self._last += 1
        return self._last

    def future(self, token):
        future = self._futures[token] = self._loop().create_future()
        return future

    def forget(self, token):
        self._futures.pop(token, None)

    def _take(self):
        for token, good, value in self.mailbox.take():
            future = self._futures.pop(token, None)
            if future is None or future.done():
                continue  # cancelled; a session that came too late is closed when it is dropped here
            if good:
                future.set_result(value)
            else:
                future.set_exception(error_of(value))

    async def call(self, begin, *arguments):
        """Awaits a native operation. Cancelled, it is cancelled too."""
        token = self.token()
        ticket = begin(self.mailbox, token, *arguments)
        return await self.result(token, ticket.cancel)

    async def result(self, token, cancel):
        try:
            return await self.future(token)
        except asyncio.CancelledError:
            self.forget(token)
            cancel()
            raise

    async def wait(self, watch):
        """Awaits a change: `watch(mailbox, token)` is false if there is something to see already."""
        token = self.token()
        if watch(self.mailbox, token):
            try:
                await self.future(token)
            finally:
                self.forget(token)


def reactor():
    """The running event loop's."""
    loop = asyncio.get_running_loop()
    found = _reactors.get(loop)
    if found is None:
        found = _reactors[loop] = Reactor(loop)
    return found


def _after_fork():
    _native.after_fork()
    _reactors.clear()


atexit.register(_native.shutdown)
os.register_at_fork(after_in_child=_after_fork)
