"""An upload's address: it names bucket, object and version, as that of the real server does."""

from __future__ import annotations

import base64
from uuid import UUID

from starlette.requests import Request

from local.gateway.storage.call import valid_key
from local.gateway.storage.tus import faults
from local.gateway.storage.tus.pending import Upload


def address(request: Request, upload: Upload) -> str:
    """Absolute, as the client that creates the upload reaches us, through any proxy."""
    scheme = request.headers.get("x-forwarded-proto", request.url.scheme)
    host = request.headers.get("x-forwarded-host", request.url.netloc)
    identity = base64.urlsafe_b64encode(f"{upload.bucket}/{upload.name}/{upload.version}".encode())
    return f"{scheme}://{host}{request.url.path.rstrip('/')}/{identity.decode().rstrip('=')}"


def named(request: Request) -> Upload:
    """The upload that a request's address names; a fault for one that we never gave."""
    encoded = str(request.path_params["upload"])
    try:
        text = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
        bucket, rest = text.split("/", 1)
        name, version = rest.rsplit("/", 1)
        version = str(UUID(version))
    except ValueError:
        raise faults.TusFault(400, "Invalid upload id") from None
    return Upload(bucket=bucket, name=valid_key(name), version=version, length=None, metadata={}, created=0)
