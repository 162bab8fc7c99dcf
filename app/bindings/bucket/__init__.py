"""BUCKET: a directory or S3, chosen by the scheme of the address."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator

from app.bindings.files import folder_of
from app.settings import SettingError, Settings
from tools.env import Bucket

CHUNK = 64 << 10
"""Bytes per chunk of a streamed object."""


@contextlib.asynccontextmanager
async def open_bucket(settings: Settings) -> AsyncIterator[Bucket]:
    """Open the bucket that the setting `BUCKET` names.

    Fails: SettingError for an address that cannot be used · Unavailable when the bucket does not answer yet.
    """
    if settings.bucket.startswith("s3://"):
        # Imported only when needed: boto3 costs half a second and 50 MB.
        await asyncio.to_thread(importlib.import_module, "app.bindings.bucket.s3")
        from app.bindings.bucket.s3 import S3

        async with S3.open(settings.bucket, settings.s3_keys) as s3:
            yield s3
    elif settings.bucket.startswith("file:///"):
        from app.bindings.bucket.directory import Directory

        async with Directory.open(folder_of(settings.bucket)) as directory:
            yield directory
    else:
        raise SettingError("BUCKET must be file:///PATH or s3://NAME?endpoint=https://…&region=…")
