"""The embedded stack's keys: made once per data folder, kept in a file that only its owner can read."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec

from shared.errors import StackError
from shared.settings import Secret, data_folder

FILE = "keys.json"
ISSUER = "neural-search"
TEN_YEARS = 10 * 365 * 24 * 3600
ES256, HS256 = "ES256", "HS256"


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of a Supabase project's API settings, and the secret of the upload webhook."""

    jwt_secret: Secret  # signs the legacy keys and signed URLs, and users' tokens where they are HS256
    signing_key: Secret  # a private JWK: signs users' tokens (ES256)
    publishable: Secret  # sb_publishable_…: acts as anon
    secret: Secret  # sb_secret_…: acts as service_role
    anon: Secret  # the legacy form of the publishable key, a JWT
    service_role: Secret  # the legacy form of the secret key, a JWT
    webhook: Secret  # the database sends it in x-webhook-secret

    algorithm: str = ES256  # of users' tokens: ES256, or HS256 as projects had it

    def mint(self, role: str, claims: Mapping[str, Any] | None = None, *, lifetime: float = 3600) -> Secret:
        """A token for `role`, as the auth server would sign it, valid for `lifetime` seconds."""
        if self.algorithm == HS256:
            return Secret(_sign(self.jwt_secret, role, claims or {}, lifetime))
        key = jwt.PyJWK.from_json(self.signing_key)
        return Secret(
            jwt.encode(
                _claims(role, claims or {}, lifetime), key, algorithm=ES256, headers={"kid": key.key_id}
            )
        )

    @property
    def jwks(self) -> list[dict[str, Any]]:
        """The public keys that verify users' tokens; none while those are HS256."""
        if self.algorithm == HS256:
            return []
        public = {name: part for name, part in json.loads(self.signing_key).items() if name != "d"}
        return [public | {"key_ops": ["verify"]}]

    def verify(self, token: str) -> dict[str, Any]:
        """The claims of a token that we signed and that is valid now; jwt.PyJWTError otherwise."""
        # The audience is the policies' business: neither PostgREST nor Storage checks it by default.
        algorithm, key = self._key_of(token)
        return jwt.decode(token, key, algorithms=[algorithm], options={"verify_aud": False})

    def payload(self, token: str) -> bytes:
        """The claims of a token that we signed, unread; jwt.PyJWTError otherwise."""
        algorithm, key = self._key_of(token)
        return bytes(jwt.PyJWS().decode(token, key, algorithms=[algorithm]))

    def _key_of(self, token: str) -> tuple[str, Any]:
        # Where users' tokens are ES256, the shared secret stays a key that was used before, as hosted.
        known: dict[str, Any] = {HS256: self.jwt_secret}
        known |= {key["alg"]: jwt.PyJWK(key).key for key in self.jwks}
        algorithm = jwt.get_unverified_header(token).get("alg")
        if algorithm not in known:
            raise jwt.InvalidAlgorithmError("The specified alg value is not allowed")
        return algorithm, known[algorithm]


def load(folder: Path) -> Keys:
    """The keys in `folder`, made there first where it has none; StackError where they can't be read."""
    path = folder / FILE
    try:
        if not path.exists():
            _write(path, _make())
        values = json.loads(data_folder.read(path))
        if "signing_key" not in values:  # of a stack that had only the shared secret
            values["signing_key"] = _make_signing_key()
            _write(path, values)
        return Keys(**{name: Secret(value) for name, value in values.items()})
    except OSError as error:
        raise StackError(
            f"The keys in {path} can't be read or written: {error.strerror}. Change its owner or mode, or "
            "set LOCAL_DATA."
        ) from error
    except (ValueError, TypeError, AttributeError) as error:
        raise StackError(
            f"{path} holds no keys that we can read. Remove it to have new ones made."
        ) from error


def _make() -> dict[str, str]:
    jwt_secret = secrets.token_hex(32)
    return {
        "jwt_secret": jwt_secret,
        "signing_key": _make_signing_key(),
        "publishable": f"sb_publishable_{secrets.token_urlsafe(24)}",
        "secret": f"sb_secret_{secrets.token_urlsafe(24)}",
        "anon": _sign(jwt_secret, "anon", {}, TEN_YEARS),
        "service_role": _sign(jwt_secret, "service_role", {}, TEN_YEARS),
        "webhook": secrets.token_urlsafe(32),
    }


def _make_signing_key() -> str:
    """A private JWK on P-256, as the platform makes them for a project."""
    private = jwt.algorithms.ECAlgorithm.to_jwk(ec.generate_private_key(ec.SECP256R1()), as_dict=True)
    return json.dumps({**private, "kid": str(uuid.uuid4()), "alg": ES256, "use": "sig"})


def _sign(secret: str, role: str, claims: Mapping[str, Any], lifetime: float) -> str:
    return jwt.encode(_claims(role, claims, lifetime), secret)


def _claims(role: str, claims: Mapping[str, Any], lifetime: float) -> dict[str, Any]:
    now = int(time.time())
    return {"iss": ISSUER, "role": role, "iat": now, "exp": now + int(lifetime), **claims}


def _write(path: Path, values: Mapping[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data_folder.write(path, json.dumps(values, indent=2))
