"""Storage's errors: its codes, its bodies, and its habit of answering 400 with the status in the body."""

from __future__ import annotations

import psycopg
from psycopg_pool import PoolTimeout
from starlette.responses import JSONResponse, Response


class Fault(Exception):
    """An answer other than success. `status` goes into the body; `http`, where given, on the wire."""

    def __init__(
        self, status: int, code: str, message: str, *, error: str | None = None, http: int | None = None
    ):
        super().__init__(message)
        self.body = {"statusCode": str(status), "error": error or code, "message": message, "code": code}
        self.http = http or (500 if status == 500 else 400)

    def response(self) -> Response:
        return JSONResponse(self.body, self.http, {"cache-control": "no-store"})


def no_such_key() -> Fault:
    return Fault(404, "NoSuchKey", "Object not found", error="not_found")


def bytes_missing() -> Fault:
    """The row is there and the bytes are not: deleted or replaced between the two looks."""
    return Fault(404, "NoSuchKey", "The resource was not found", error="Not found")


def no_such_bucket() -> Fault:
    return Fault(404, "NoSuchBucket", "Bucket not found", error="Bucket not found")


def duplicate(code: str) -> Fault:
    return Fault(409, code, "The resource already exists", error="Duplicate")


def access_denied(message: str, *, http: int | None = None) -> Fault:
    return Fault(403, "AccessDenied", message, error="Unauthorized", http=http)


def invalid_key(key: str) -> Fault:
    return Fault(400, "InvalidKey", f"Invalid key: {key}")


def key_too_long() -> Fault:
    return Fault(400, "S3Error", "KeyTooLongError", error="Your key is too long")


def invalid_bucket_name() -> Fault:
    return Fault(400, "InvalidBucketName", "Bucket name invalid", error="Invalid Input")


def bucket_not_empty() -> Fault:
    return Fault(409, "ResourceNotEmpty", "The bucket you tried to delete is not empty")


def invalid_mime_type(mime_type: str) -> Fault:
    return Fault(415, "InvalidMimeType", f"mime type {mime_type} is not supported", error="invalid_mime_type")


def invalid_content_type() -> Fault:
    return Fault(415, "InvalidMimeType", "Invalid Content-Type header", error="invalid_mime_type")


def too_large(what: str = "object") -> Fault:
    return Fault(
        413,
        "EntityTooLarge",
        f"The {what} exceeded the maximum allowed size",
        error="Payload too large",
    )


def no_content() -> Fault:
    return Fault(400, "InvalidRequest", "No content provided")


def lock_timeout() -> Fault:
    return Fault(503, "LockTimeout", "acquiring lock timeout", error="acquiring_lock_timeout")


def precondition_failed() -> Fault:
    message = "At least one of the pre-conditions you specified did not hold"
    return Fault(412, "PreconditionFailed", message, http=412)


def invalid_range() -> Fault:
    return Fault(416, "InvalidRange", "invalid range provided", error="invalid_range", http=416)


def invalid_signature(message: str = "Invalid signature") -> Fault:
    return Fault(400, "InvalidSignature", message)


def invalid_parameter(parameter: str) -> Fault:
    return Fault(400, "InvalidParameter", f"Invalid Parameter {parameter}")


def invalid_jwt(message: str) -> Fault:
    return Fault(400, "InvalidJWT", message)


def invalid_body(message: str) -> Fault:
    """The words of the real server's framework for a body that doesn't fit its schema."""
    return Fault(400, "InvalidRequest", message, error="Error")


def unreadable_body(message: str) -> Fault:
    """The words of that framework for a body that is no JSON."""
    return Fault(400, "InvalidRequest", message, error="FastifyError")


def from_database(error: psycopg.Error) -> Fault:
    """The answer to a failed statement, by SQLSTATE."""
    message = error.diag.message_primary or str(error)
    if error.sqlstate is None and isinstance(error, psycopg.DataError):  # the driver didn't even send it
        return Fault(400, "InvalidParameter", message)
    match error.sqlstate:
        case "42501":
            denied = "new row violates row-level security policy"
            return access_denied(denied if "row-level security" in message else message)
        case "23505":
            return duplicate("ResourceAlreadyExists")
        case "23503":
            return Fault(404, "InvalidRequest", "The related resource does not exist")
        case "55P03":
            return Fault(423, "ResourceLocked", "The resource is locked")
        case "57014":
            return Fault(544, "DatabaseTimeout", "The connection to the database timed out", http=544)
        case "22P02":
            return Fault(400, "InvalidParameter", message)
        case "42703" | "42P01":
            return Fault(
                503,
                "DatabaseSchemaMismatch",
                "Database schema mismatch: a column or table is missing, possibly in a trigger or RLS policy",
            )
    return _from_connection(error) or Fault(500, "DatabaseError", f"database error, code: {error.sqlstate}")


def _from_connection(error: psycopg.Error) -> Fault | None:
    if isinstance(error, PoolTimeout) or error.sqlstate == "53300":
        message = "Too many connections issued to the database"
        return Fault(429, "SlowDown", message, error="too_many_connections", http=429)
    if error.sqlstate is None or error.sqlstate.startswith("57P0"):
        return Fault(544, "DatabaseTimeout", "The connection to the database timed out", http=544)
    return None
