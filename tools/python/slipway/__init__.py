"""Sessions between applications on a SLIM network, for asyncio.

    import slipway

    async with await slipway.Slim.create("org/ns/alice", secret=secret, connect="tcp://127.0.0.1:46367") as app:
        async with app.unicast(slipway.split_id("org/ns/bob"), timeout=1) as session:
            await session.publish(b"hello")
            context, payload = await session.get_message()

Names as in SLIM's guide: `import slipway as slim_bindings`. Errors: slipway.errors. Times are seconds or timedeltas.
"""
from ._native import PyMessageContext, PyName, split_id
from .app import Slim
from .config import PySessionConfiguration
from .errors import (BusyError, ClosedError, IdentityError, InvalidError, MembershipError, NotConnectedError, NotFoundError, SlipwayError,
                     TimedOutError, UndeliveredError, WrongKindError)
from .identity import PyAlgorithm, PyIdentityProvider, PyIdentityVerifier, PyKey, PyKeyData, PyKeyFormat
from .session import Delivery, Event, Member, PySession, Receipt

App = Slim

__all__ = ["App", "BusyError", "ClosedError", "Delivery", "Event", "IdentityError", "InvalidError", "Member", "MembershipError",
           "NotConnectedError", "NotFoundError", "PyAlgorithm", "PyIdentityProvider", "PyIdentityVerifier", "PyKey", "PyKeyData",
           "PyKeyFormat", "PyMessageContext", "PyName", "PySession", "PySessionConfiguration", "Receipt", "Slim", "SlipwayError",
           "TimedOutError", "UndeliveredError", "WrongKindError", "split_id"]
