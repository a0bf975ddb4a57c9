"""What a session is to be: one class for each kind."""
import datetime
import warnings
from dataclasses import dataclass, field

from ._native import PyName
from .errors import InvalidError


def _milliseconds(timeout):
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else float(timeout)
    if seconds <= 0:
        raise InvalidError(f"timeout={timeout!r}: more than zero; leave it out for best effort", "BadConfig")
    return max(1, round(seconds * 1000))


class _Configuration:
    kind = ""

    def _check(self):
        self.timeout_ms = _milliseconds(self.timeout)
        if self.max_retries is not None and self.timeout is None:
            warnings.warn("max_retries has no effect without a timeout: the session is best effort", UserWarning, stacklevel=4)

    @property
    def reliable(self) -> bool:
        """Whether messages are acknowledged and repeated."""
        return self.timeout is not None


class PySessionConfiguration:
    """The kinds of sessions: `PySessionConfiguration.Anycast(...)`, `.Unicast(...)`, `.Multicast(...)`.

    timeout: a timedelta, or seconds. With it messages are acknowledged, and repeated every `timeout` up to `max_retries` times
    (default 5). Without it they are best effort, for every kind.
    """

    @dataclass
    class Anycast(_Configuration):
        """Each message to any one instance of the service that it names. Never encrypted end to end: there is no group."""

        max_retries: int | None = None
        timeout: datetime.timedelta | float | None = None
        mls_enabled: bool = False
        kind = "anycast"

        def __post_init__(self) -> None:
            if self.mls_enabled:
                raise InvalidError("anycast has no group and so no MLS: use a unicast session for encrypted messages", "MlsOnAnycast")
            self._check()

    @dataclass
    class Unicast(_Configuration):
        """Messages with one other application: any instance of `unicast_name`, and then always that one. MLS unless turned off."""

        unicast_name: PyName
        max_retries: int | None = None
        timeout: datetime.timedelta | float | None = None
        mls_enabled: bool = True
        metadata: dict[str, str] = field(default_factory=dict)
        kind = "unicast"

        def __post_init__(self) -> None:
            self._check()

        @property
        def name(self) -> PyName:
            return self.unicast_name

    @dataclass
    class Multicast(_Configuration):
        """A channel: its creator invites and removes, all members hear everything. MLS unless turned off.

        `topic` and `channel_name` are the same: give one.
        """

        topic: PyName | None = None
        max_retries: int | None = None
        timeout: datetime.timedelta | float | None = None
        mls_enabled: bool = True
        metadata: dict[str, str] = field(default_factory=dict)
        channel_name: PyName | None = None
        kind = "multicast"

        def __post_init__(self) -> None:
            if (self.topic is None) == (self.channel_name is None):
                raise InvalidError("a multicast session needs its channel: topic= or channel_name=, one of them", "BadConfig")
            self.topic = self.channel_name = self.topic if self.topic is not None else self.channel_name
            self._check()

        @property
        def name(self) -> PyName:
            return self.topic
