"""Download a dandiset through the dandi client, and compare it with the one that was uploaded."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

from dandify.archive.client import find_archive, quiet_dandi
from dandify.archive.local import survey
from dandify.dandiset.describe import YAML
from dandify.errors import DandifyError

_BLOCK_BYTES = 1 << 20


def download(url: str, dandiset_id: str, folder: Path) -> Path:
    """Download a dandiset's draft into ``folder``; return the folder of the dandiset, named by its identifier.

    Every file is checked against the archive's digest by the client. Files that are there already are left if equal.

    Parameters
    ----------
    url
        A name that dandi knows, or the URL of an archive.
    dandiset_id
        Six digits.
    folder
        Made if absent.

    Raises
    ------
    BadRequest
        No archive of that name.
    DandifyError
        The archive cannot be reached, has no such dandiset, or a file did not arrive whole.
    """
    import requests
    from dandi.download import DownloadExisting, DownloadFormat
    from dandi.download import download as dandi_download
    from dandi.exceptions import NotFoundError

    folder.mkdir(parents=True, exist_ok=True)
    with quiet_dandi(url):
        api = find_archive(url).api_url
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # the client prints a line per step
                dandi_download(
                    f"{api}/dandisets/{dandiset_id}/versions/draft",
                    folder,
                    format=DownloadFormat.DEBUG,
                    existing=DownloadExisting.OVERWRITE_DIFFERENT,
                )
        except (requests.RequestException, NotFoundError, RuntimeError, OSError) as error:
            raise DandifyError(
                f"dandiset {dandiset_id} could not be downloaded from {api}: {error}",
                file=folder,
                remedy="run it again: what has arrived is kept",
            ) from error
    return folder / dandiset_id


@dataclass(frozen=True)
class ComparisonReport:
    """Two trees, file by file; paths are below the dandiset, with slashes, the files of a Zarr one by one.

    Attributes
    ----------
    identical
        The same bytes in both.
    different
        In both, with other bytes.
    missing
        Uploaded, but not in the download.
    extra
        Only in the download.
    not_uploaded
        Left behind by the upload (sidecars, manifests), so not expected.
    bytes
        Bytes that were compared and found equal.
    """

    identical: tuple[str, ...]
    different: tuple[str, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    not_uploaded: tuple[str, ...]
    bytes: int

    @property
    def equal(self) -> bool:
        """Whether every uploaded file came back with the same bytes, and nothing else with them."""
        return not (self.different or self.missing or self.extra)


def compare_trees(local: Path, downloaded: Path) -> ComparisonReport:
    """Compare every byte of the assets of a local dandiset with a downloaded one.

    ``dandiset.yaml`` is left out: the downloaded one is the archive's own record.
    """
    found = survey(local)
    expected: set[str] = set()
    for asset in found.assets:
        path = asset.filepath
        inside = [entry.filepath for entry in asset.iterfiles()] if path.is_dir() else [path]
        expected.update(file.relative_to(local).as_posix() for file in inside)
    actual = {file.relative_to(downloaded).as_posix() for file in downloaded.rglob("*") if file.is_file()} - {YAML}
    identical, different, size = [], [], 0
    for path in sorted(expected & actual):
        if _same(local / path, downloaded / path):
            identical.append(path)
            size += (local / path).stat().st_size
        else:
            different.append(path)
    return ComparisonReport(
        identical=tuple(identical),
        different=tuple(different),
        missing=tuple(sorted(expected - actual)),
        extra=tuple(sorted(actual - expected)),
        not_uploaded=tuple(left.path for left in found.left),
        bytes=size,
    )


def _same(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb") as a, other.open("rb") as b:
        while True:
            left, right = a.read(_BLOCK_BYTES), b.read(_BLOCK_BYTES)
            if left != right:
                return False
            if not left:
                return True
