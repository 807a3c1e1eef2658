"""A token's claims and role, as PostgREST reads them: in some stricter than other services, in some laxer."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from typing import Any

import jwt

from local.gateway.identity import Caller
from local.gateway.rest import faults, json_texts
from local.keys import Keys

LEEWAY = 30  # seconds of clock difference that are forgiven
LARGEST = 2**63
LETTERS = re.compile(r"[A-Za-z0-9_.-]*")
Claims = Mapping[str, Any]


def caller_of(token: str, keys: Keys) -> Caller:
    """The caller that `token` names, anon where it names no role; a fault where it isn't valid."""
    try:
        _check_letters(token)
        _check_key(token, keys)
        payload = keys.payload(token)
    except jwt.PyJWTError as error:
        raise faults.from_jwt(error, token) from error
    claims = _claims(payload)
    _check_times(claims)
    _check_audience(claims)
    role = _role(claims)
    return Caller(role=role, claims={**claims, "role": role})


def _check_letters(token: str) -> None:
    """PyJWT leaves out what is no base64, and takes padding."""
    if not LETTERS.fullmatch(token):
        raise jwt.DecodeError


def _check_key(token: str, keys: Keys) -> None:
    """A token that names its key is verified by that one alone."""
    header = jwt.get_unverified_header(token)
    named = {key["kid"]: key["alg"] for key in keys.jwks}
    if "kid" in header and named.get(header["kid"]) != header.get("alg"):
        raise jwt.InvalidKeyError


def _claims(payload: bytes) -> Claims:
    try:
        claims = json_texts.parse(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise faults.invalid_claim("Parsing claims failed")
    return claims


def _check_times(claims: Claims) -> None:
    now = int(time.time())
    if _second(claims, "exp", now) < now - LEEWAY:
        raise faults.invalid_claim("JWT expired")
    if _second(claims, "nbf", now) > now + LEEWAY:
        raise faults.invalid_claim("JWT not yet valid")
    if _second(claims, "iat", now) > now + LEEWAY:
        raise faults.invalid_claim("JWT issued at future")


def _second(claims: Claims, name: str, default: int) -> int:
    """A time of the token. One with a fraction, or beyond 64 bits, counts as 0."""
    value = claims.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise faults.invalid_claim(f"The JWT '{name}' claim must be a number")
    return int(value) if value == value // 1 and -LARGEST <= value < LARGEST else 0


def _check_audience(claims: Claims) -> None:
    """Any will do, of the right type."""
    audience = claims.get("aud", "")
    several = audience if isinstance(audience, list) else [audience or ""]
    if not all(isinstance(one, str) for one in several):
        raise faults.invalid_claim("The JWT 'aud' claim must be a string or an array of strings")


def _role(claims: Claims) -> str:
    role = claims.get("role", "anon")
    return role if isinstance(role, str) else json.dumps(role, separators=(",", ":"), ensure_ascii=False)
