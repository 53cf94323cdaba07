"""Files of the archive on disk, in the layout of DANDI's bucket."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from starlette.concurrency import run_in_threadpool

from dandify.archive.rules import Refused

_BLOCK_BYTES = 1 << 20
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_BLOB_KEY = re.compile(rf"blobs/(...)/(...)/({_UUID})")
_ZARR_KEY = re.compile(rf"zarr/({_UUID})/(.+)", re.DOTALL)


def blob_key(blob_id: str) -> str:
    """Return the bucket's key of a blob (dandi-archive, models/upload.py)."""
    return f"blobs/{blob_id[:3]}/{blob_id[3:6]}/{blob_id}"


def zarr_key(zarr_id: str, path: str) -> str:
    """Return the bucket's key of a file in a Zarr."""
    return f"zarr/{zarr_id}/{path}"


def blob_of_key(key: str) -> str | None:
    """Return the blob's id if ``key`` is a blob's."""
    match = _BLOB_KEY.fullmatch(key)
    return match[3] if match and blob_key(match[3]) == key else None


def zarr_file_of_key(key: str) -> tuple[str, str] | None:
    """Return the Zarr's id and the path within it if ``key`` is a Zarr file's."""
    match = _ZARR_KEY.fullmatch(key)
    return (match[1], match[2]) if match else None


@dataclass(frozen=True)
class Received:
    """A body that is on disk under a temporary name.

    Attributes
    ----------
    file
        Where it is.
    size
        Bytes.
    md5
        Hexadecimal.
    """

    file: Path
    size: int
    md5: str


@dataclass(frozen=True)
class Bucket:
    """The folder with ``blobs/``, ``zarr/``, the parts of open uploads, and bodies still arriving.

    Attributes
    ----------
    folder
        The archive's folder.
    """

    folder: Path

    def prepare(self) -> None:
        """Make the folders and remove what a killed server left half-received."""
        for name in ("blobs", "zarr", "uploads"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._incoming, ignore_errors=True)
        self._incoming.mkdir()

    @property
    def _incoming(self) -> Path:
        return self.folder / "incoming"

    def file(self, key: str) -> Path:
        """Return the file of a key that the caller knows to be one of the archive's own."""
        return self.folder.joinpath(*key.split("/"))

    def part(self, upload_id: str, number: int) -> Path:
        """Return the file of a part of an open upload."""
        return self.folder / "uploads" / upload_id / str(number)

    def discard_upload(self, upload_id: str) -> None:
        """Remove the parts of an upload."""
        shutil.rmtree(self.folder / "uploads" / upload_id, ignore_errors=True)

    def free_bytes(self) -> int:
        """Return the space left on the disk."""
        return shutil.disk_usage(self.folder).free

    async def receive(self, body: AsyncIterator[bytes], *, limit: int) -> Received:
        """Write a body to disk as it arrives, block by block.

        Raises
        ------
        Refused
            413: more than ``limit`` bytes came. 507: the disk is full.
        """
        target = self._incoming / uuid.uuid4().hex
        digest = hashlib.md5(usedforsecurity=False)
        size = 0
        pending = bytearray()
        try:
            async for piece in body:
                size += len(piece)
                if size > limit:
                    raise Refused(413, f"EntityTooLarge: more than the {limit} bytes agreed on.")
                pending += piece
                if len(pending) >= _BLOCK_BYTES:
                    block, pending = pending, bytearray()
                    await run_in_threadpool(_append, target, digest, block)
            await run_in_threadpool(_append, target, digest, pending, last=True)
        except OSError as error:
            target.unlink(missing_ok=True)
            raise Refused(507, f"The archive cannot store this: {error.strerror}.") from error
        except BaseException:  # a dropped connection and Ctrl-C too: no half-received file stays
            target.unlink(missing_ok=True)
            raise
        return Received(target, size, digest.hexdigest())

    def keep(self, received: Path, target: Path) -> None:
        """Give a received file its final name, durably.

        Raises
        ------
        Refused
            409: the name, or a folder on the way to it, is taken by the other kind.
        """
        new = [folder for folder in target.parents if not folder.exists()]
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(received, target)
        except (FileExistsError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
            received.unlink(missing_ok=True)
            name = target.relative_to(self.folder).as_posix()
            raise Refused(409, f"{name} is in the way of, or is, an existing file or folder.") from error
        for folder in (target.parent, *(made.parent for made in new)):
            _sync_folder(folder)

    def remove(self, key: str) -> None:
        """Remove a file and the folders it leaves empty."""
        target = self.file(key)
        target.unlink(missing_ok=True)
        top = self.folder / key.split("/", 1)[0]
        for folder in target.parents:
            if folder == top or not folder.exists() or any(folder.iterdir()):
                return
            folder.rmdir()

    def remove_zarr(self, zarr_id: str) -> None:
        """Remove all files of a Zarr."""
        shutil.rmtree(self.folder / "zarr" / zarr_id, ignore_errors=True)

    def assemble(self, parts: Sequence[Path], md5s: Sequence[str], target: Path) -> tuple[str, str]:
        """Join an upload's parts into its blob; return its dandi-etag and SHA-256, both of the bytes read from disk.

        Raises
        ------
        Refused
            500: a part on disk is not what was received.
        """
        whole = hashlib.sha256()
        partial = self._incoming / uuid.uuid4().hex
        with partial.open("xb") as out:
            try:
                for part, md5 in zip(parts, md5s, strict=True):
                    digest = hashlib.md5(usedforsecurity=False)
                    with part.open("rb") as source:
                        while block := source.read(_BLOCK_BYTES):
                            digest.update(block)
                            whole.update(block)
                            out.write(block)
                    if digest.hexdigest() != md5:
                        raise Refused(500, f"Part {part.name} on the archive's disk is damaged; upload again.")
                _sync(out)
            except BaseException:  # Ctrl-C too: no half-joined blob stays
                out.close()
                partial.unlink(missing_ok=True)
                raise
        self.keep(partial, target)
        joined = hashlib.md5(b"".join(map(bytes.fromhex, md5s)), usedforsecurity=False).hexdigest()
        return f"{joined}-{len(md5s)}", whole.hexdigest()


def _append(file: Path, digest: hashlib._Hash, block: bytearray, *, last: bool = False) -> None:
    with file.open("ab") as stream:
        stream.write(block)
        digest.update(block)
        if last:
            _sync(stream)


def _sync(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; Windows has no handle of a folder to do it with, and journals renames itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
