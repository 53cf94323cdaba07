"""OME-Zarr 0.4 in the ITK/VTK viewer, as its npm package serves it: what DANDI's Open-with link shows."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from browsers import WEBGL, seen
from dandify.archive.static import served
from dandify.ngff.write import write_ome_zarr

PACKAGE = "itk-vtk-viewer@14.51.0"
GREY = 128  # of the page
AWAY = 60  # pixels from the middle of the image, in the middle of each quarter


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The viewer's page."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("viewer")
    done = subprocess.run([npm, "pack", "--silent", PACKAGE], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot get {PACKAGE}: {done.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("*.tgz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "package/dist"


def drawn(page: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the page, (rows, columns, RGB), has the image: not its grey, and not the words and lines at its edges."""
    found: NDArray[np.bool_] = np.abs(page.astype(int) - GREY).max(2) > 8
    found[:60] = found[-20:] = False
    found[:, 660:] = False
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("compression", ["blosc-zstd", "blosc-lz4"])
def test_the_viewer_shows_the_right_pixels(viewer: Path, compression: str, tmp_path: Path) -> None:
    """96 x 64 micrometres would be wider than high: 384 x 256 pixels of 0.25 x 0.5 micrometres are not."""
    values = np.zeros((256, 384), np.uint16)
    values[:, :192] = 2000
    values[128:, 192:] = 1000
    values += np.random.default_rng(0).integers(0, 20, values.shape, np.uint16)
    write_ome_zarr(
        values, tmp_path / "mouse.ome.zarr", axes="yx", scale={"y": 0.5, "x": 0.25}, version="0.4",
        compression=compression, verify=False,
    )  # fmt: skip
    shutil.copytree(viewer, tmp_path / "viewer")
    with served(tmp_path) as url:
        page = f"{url}/viewer/index.html?fileToLoad={url}/mouse.ome.zarr&use2D=true&rotate=false"
        found = seen(page, tmp_path, lambda p: drawn(p).sum() > 50_000, *WEBGL).astype(int)

    rows, columns = np.nonzero(drawn(found))
    height, width = np.ptp(rows), np.ptp(columns)
    assert 1.2 < height / width < 1.45  # 128 by 96 micrometres
    middle = (rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2
    bright, bright_too, dark, half = (
        found[middle[0] + dy * AWAY, middle[1] + dx * AWAY] for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    )
    assert np.abs(bright - bright_too).max() < 12
    assert dark.max() < 30
    assert dark.sum() + 100 < half.sum() < bright.sum() - 50
