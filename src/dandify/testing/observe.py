"""What a tried converter touches: files it opens, samples it reads, files it leaves open or changes."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dandify.sources import Array
from dandify.store.region import Region

_COPIED_BYTES = 2**20  # of each file, to make junk and digests
_COPIED_FILES = 200  # an image of a plane per file has thousands

_watched: list[list[str]] = []
_hooked: list[bool] = []


def files_of(path: Path) -> list[Path]:
    """Return the files in a folder and below, or the file itself."""
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def imitate(root: Path, folder: Path, content: Callable[[bytes], bytes | None]) -> Path:
    """Make an acquisition of the same names with other contents; None makes a folder in place of a file."""
    for file in files_of(root)[:_COPIED_FILES]:
        target = folder / file.relative_to(root.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as stream:
            made = content(stream.read(_COPIED_BYTES))
        if made is None:
            target.mkdir()
        else:
            target.write_bytes(made)
    return folder / root.name


def snapshot(sample: Path) -> dict[Path, tuple[int, int, str]]:
    """Size, time and a digest of the ends of every file in the sample's folder."""
    files = files_of(sample) if sample.is_dir() else [p for p in sample.parent.iterdir() if p.is_file()]
    found = {}
    for file in files:
        state = file.stat()
        with file.open("rb") as stream:
            digest = hashlib.sha256(stream.read(_COPIED_BYTES))
            stream.seek(max(0, state.st_size - _COPIED_BYTES))
            digest.update(stream.read(_COPIED_BYTES))
        found[file] = (state.st_size, state.st_mtime_ns, digest.hexdigest())
    return found


def differences(before: Mapping[Path, object], after: Mapping[Path, object]) -> Iterator[str]:
    """Yield what has changed between two snapshots."""
    for file in sorted({*before, *after}):
        if before.get(file) != after.get(file):
            yield f"{file} was {'written' if file not in before else 'removed' if file not in after else 'changed'}"


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """Note the names of the files that are opened in the block, by whatever means of Python."""
    if not _hooked:  # an audit hook stays for ever; it does nothing while nobody watches
        sys.addaudithook(_note)
        _hooked.append(True)
    names: list[str] = []
    _watched.append(names)
    try:
        yield names
    finally:
        _watched.remove(names)


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _watched and event == "open":
        _watched[-1].append(str(arguments[0]))


@contextmanager
def sample_bytes() -> Iterator[list[int]]:
    """Count the bytes that are read through arrays in the block."""
    plain, read = Array.__getitem__, [0]

    def counting(array: Array, region: Region | slice) -> NDArray[Any]:
        values = plain(array, region)
        read[0] += values.nbytes
        return values

    Array.__getitem__ = counting  # type: ignore[method-assign]  # put back below
    try:
        yield read
    finally:
        Array.__getitem__ = plain  # type: ignore[method-assign]  # as it was


def open_files() -> list[str]:
    """Files that this process has open or mapped, as far as the platform tells."""
    maps = Path("/proc/self/maps")
    if maps.exists():
        descriptors = []
        for link in Path("/proc/self/fd").iterdir():
            try:
                descriptors.append(os.readlink(link))
            except OSError:  # the descriptor that listed the folder
                continue
        return [*descriptors, *(line.split(maxsplit=5)[5] for line in maps.read_text().splitlines() if line.count("/"))]
    try:
        import psutil
    except ImportError:
        return []
    return [f.path for f in psutil.Process().open_files()]
