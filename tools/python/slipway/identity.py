"""Who an application is, and how it believes others."""
import datetime
import enum
import typing
from dataclasses import dataclass

from .errors import IdentityError


class PyAlgorithm(enum.Enum):
    """How a token is signed."""

    HS256 = "HS256"
    HS384 = "HS384"
    HS512 = "HS512"
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    EdDSA = "EdDSA"


class PyKeyFormat(enum.Enum):
    """How a key is written. Pem with an HS algorithm: the secret itself."""

    Pem = "pem"
    Jwk = "jwk"
    Jwks = "jwks"


class PyKeyData:
    """Where a key is: in a file, or here."""

    @dataclass
    class File:
        path: str

    @dataclass
    class Content:
        content: str


@dataclass
class PyKey:
    """A key of a JSON Web Token, with the one algorithm that it is used with."""

    algorithm: PyAlgorithm
    format: PyKeyFormat
    key: PyKeyData.File | PyKeyData.Content

    def words(self) -> dict[str, typing.Any]:
        file = str(self.key.path) if isinstance(self.key, PyKeyData.File) else ""
        data = self.key.content if isinstance(self.key, PyKeyData.Content) else ""
        return {"algorithm": self.algorithm.value, "format": self.format.value, "file": file, "data": data}


def _secret(text: str | bytes) -> bytes:
    secret = text.encode() if isinstance(text, str) else bytes(text)
    if len(secret) < 32:
        raise IdentityError(f"the shared secret has {len(secret)} bytes: at least 32 are needed", "Identity")
    return secret


class PyIdentityProvider:
    """Who an application is: `SharedSecret`, `Jwt` or `StaticJwt`."""

    @dataclass(repr=False)
    class SharedSecret:
        """All who have the secret believe each other. `shared_secret`: at least 32 bytes. `identity`: a name; eight random
        characters go behind it, so that two applications of one name differ. `subject` instead of these keeps the
        application's address over a restart."""

        identity: str
        shared_secret: str | bytes
        subject: str | None = None

        def words(self) -> dict[str, typing.Any]:
            return {"secret": _secret(self.shared_secret), "base": self.identity, "subject": self.subject}

    @dataclass(repr=False)
    class Jwt:
        """Tokens signed by `private_key`. `subject` must differ between applications. `duration`: life of a token, default one
        hour. `audience`: only if the verifiers are configured for it."""

        private_key: PyKey
        duration: datetime.timedelta = datetime.timedelta(hours=1)
        issuer: str | None = None
        audience: list[str] | None = None
        subject: str | None = None

        def words(self) -> dict[str, typing.Any]:
            return {"key": self.private_key.words(), "subject": self.subject or "", "issuer": self.issuer or "",
                    "audiences": list(self.audience or []), "duration_s": max(1, round(self.duration.total_seconds()))}

    @dataclass(repr=False)
    class StaticJwt:
        """A token that somebody else keeps fresh in the file `path`; it is read again before it expires. `key_file`: the P-256 private
        key (PEM) whose public half the token names as `pubkey`: without it nothing can be signed, so there is no session."""

        path: str
        key_file: str | None = None

        def words(self) -> dict[str, typing.Any]:
            if self.key_file is None:
                raise IdentityError(f"the token of {self.path} comes without a key to sign with: give key_file= (P-256, PEM), the one in its "
                                    "`pubkey`", "Identity")
            return {"token_file": str(self.path), "key_file": str(self.key_file)}


class PyIdentityVerifier:
    """How an application believes others: `SharedSecret` or `Jwt`."""

    @dataclass(repr=False)
    class SharedSecret:
        """Whoever has the same secret. `identity` is not looked at."""

        identity: str
        shared_secret: str | bytes

        def words(self) -> dict[str, typing.Any]:
            return {"secret": _secret(self.shared_secret)}

    @dataclass(repr=False)
    class Jwt:
        """Tokens that `public_key` (one, or a list) verifies. `audience`: tokens must name one of these; none: they must name
        none. `issuer`: tokens must be from it; none: from any."""

        public_key: PyKey | list[PyKey]
        issuer: str | None = None
        audience: list[str] | None = None

        def words(self) -> dict[str, typing.Any]:
            keys = self.public_key if isinstance(self.public_key, list) else [self.public_key]
            return {"keys": [key.words() for key in keys], "audiences": list(self.audience or []), "issuer": self.issuer or ""}


Provider = PyIdentityProvider.SharedSecret | PyIdentityProvider.Jwt | PyIdentityProvider.StaticJwt
Verifier = PyIdentityVerifier.SharedSecret | PyIdentityVerifier.Jwt
