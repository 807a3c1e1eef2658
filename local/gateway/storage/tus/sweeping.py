"""Clearing away the uploads that were never finished."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from local.gateway.database import STORAGE, Connection, Database
from local.gateway.storage import faults, objects
from local.gateway.storage.files import Files
from local.gateway.storage.tus.pending import Pending, Upload

EVERY = 600.0  # seconds

log = logging.getLogger(__name__)


async def sweep(pending: Pending, files: Files, database: Database) -> None:
    """Remove expired uploads, at once and then every ten minutes, until cancelled."""
    while True:
        try:
            await remove_expired(pending, files, database)
        except Exception:
            log.exception("Expired uploads weren't removed")
        await asyncio.sleep(EVERY)


async def remove_expired(pending: Pending, files: Files, database: Database) -> None:
    """One round: expired uploads, and files that no upload knows."""
    for upload in pending.everything():
        if upload.is_expired:
            with contextlib.suppress(faults.Fault):  # in use at this moment: the next round finds it again
                await _remove(upload, pending, files, database)
    pending.remove_litter()


async def _remove(upload: Upload, pending: Pending, files: Files, database: Database) -> None:
    async with pending.turn(upload.version):
        if pending.is_broken(upload):
            async with database.transaction(STORAGE, {}) as connection:
                await settle(connection, pending, files, upload)
        pending.forget(upload)


async def settle(connection: Connection, pending: Pending, files: Files, upload: Upload) -> bool:
    """Find out how an upload ended that the gateway's own end cut short: whether its row is there.

    Where it isn't, nothing of the upload is left.
    """
    row = await objects.find(connection, upload.bucket, upload.name)
    if row and row["version"] == upload.version:
        pending.finish(upload)
        return True
    await files.remove(upload.version)
    pending.forget(upload)
    return False
