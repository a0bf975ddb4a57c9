from typing import Any

class PyName:
    """Three text parts, and perhaps the id of one instance: 128 bits. Equal names are equal in all of them."""

    def __init__(self, c0: str, c1: str, c2: str, id: int | None = None) -> None: ...
    def components(self) -> list[str]: ...
    @property
    def id(self) -> int | None: ...
    def service(self) -> PyName:
        """Without the id."""

class PyMessageContext:
    """Where a message came from. Give it to publish_to to answer."""

    @property
    def source_name(self) -> PyName: ...
    @property
    def destination_name(self) -> PyName: ...
    @property
    def payload_type(self) -> str: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def message_id(self) -> int: ...
    @property
    def directed(self) -> bool:
        """Sent to this application alone, by publish_to."""

def split_id(text: str) -> PyName:
    """"org/ns/app", or with "/<uuid>" behind it. ValueError says which part is wrong."""

def __getattr__(name: str) -> Any: ...
