"""What can go wrong, as exceptions.

Every text says what was being done, to what, and what to try. `fault` is the reason as one word, for programs.

    SlipwayError(RuntimeError)
      InvalidError(ValueError)       an address, a name or a setting makes no sense; a payload is too large
        WrongKindError               the call does not fit the session's kind
      IdentityError                  a secret, a key or a token cannot be used
      NotConnectedError              no node: connect first; or the node refused
      TimedOutError(TimeoutError)    it took longer than the call allowed
      BusyError                      too much waits: let some finish first
      ClosedError                    the application or the session is closed
      MembershipError                an invitation or a removal did not happen
        NotFoundError                nobody of that name answered
      UndeliveredError               a message did not reach all whom it was for
"""
from collections.abc import Iterable

from ._native import PyName


class SlipwayError(RuntimeError):
    """Anything that a call of this package could not do."""

    def __init__(self, message: str, fault: str = "") -> None:
        super().__init__(message)
        self.fault = fault


class InvalidError(SlipwayError, ValueError):
    """An argument makes no sense: an address, a name, a setting, or too large a payload."""


class WrongKindError(InvalidError):
    """The call does not fit the session's kind, or this side's role in it."""


class IdentityError(SlipwayError):
    """A secret, a key or a token cannot be used."""


class NotConnectedError(SlipwayError, ConnectionError):
    """There is no connection to a node, or the node refused."""


class TimedOutError(SlipwayError, TimeoutError):
    """It took longer than the call allowed. What was begun has been given up."""


class BusyError(SlipwayError):
    """Too much waits: let some finish first."""


class ClosedError(SlipwayError):
    """The application or the session is closed."""


class MembershipError(SlipwayError):
    """An invitation or a removal did not happen."""


class NotFoundError(MembershipError):
    """Nobody of that name answered."""


class UndeliveredError(SlipwayError):
    """A message did not reach all whom it was for. `missed`: [(PyName, reason)]; empty where it is not known who."""

    def __init__(self, message: str, fault: str = "", missed: Iterable[tuple[PyName, str]] = ()) -> None:
        super().__init__(message, fault)
        self.missed = list(missed)


_CLASSES = {
    InvalidError: "Address BadName TooLarge BadConfig ReservedMetadata MlsOnAnycast",
    WrongKindError: "WrongKind NotModerator NotSender",
    IdentityError: "Identity",
    NotConnectedError: "NotConnected Refused SubscriptionRefused",
    TimedOutError: "Timeout",
    BusyError: "Busy TooMany WindowFull QueueFull TooManyMembers TooManySessions StatusChanging NotReady",
    ClosedError: "Closed Closing UnknownSession Removed PeerLeft Offline RejoinFailed",
    MembershipError: "AlreadyMember NotMember AmbiguousName GroupRefused LeaveUnconfirmed",
    NotFoundError: "NotFound JoinUnanswered WelcomeUnanswered",
    UndeliveredError: "NoAnswer",
}
_BY_FAULT = {fault: kind for kind, faults in _CLASSES.items() for fault in faults.split()}


def error_of(failure):
    """The exception for (fault, message)."""
    fault, message = failure
    return _BY_FAULT.get(fault, SlipwayError)(message, fault)
