"""Signatures after Standard Webhooks, by which an endpoint knows that a request is ours and not an old one."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from receiver.config.model import Secret
from receiver.errors import DestinationRefused
from receiver.http import read_secret


def signing_key(secret: Secret) -> bytes:
    """Return the key behind `whsec_` and base64. Raises DestinationRefused, naming the file and the cure."""
    try:
        key = base64.b64decode(read_secret(secret).removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise DestinationRefused(f"{secret.place} holds no signing secret; write whsec_ and base64 of 24 to 64 bytes")
    return key


def signature(key: bytes, name: str, at: str, data: bytes) -> str:
    """Return `v1,…` over id, time and exact bytes (Standard Webhooks, "Signature scheme")."""
    signed = hmac.new(key, f"{name}.{at}.".encode() + data, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(signed).decode()}"
