"""Images of many time points: a file holds several of them, and what was stopped is gone on with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dandify.ngff import request
from dandify.ngff.check import check_ome_zarr
from dandify.ngff.plan import plan_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.store.progress import Progress
from ngff_reference import levels, noise

SCALE = {"t": 0.1, "z": 2.0, "y": 0.65, "x": 0.65}


def chunk_files(path: Path) -> list[str]:
    return sorted(f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file() and f.name != "zarr.json")


def test_a_movie_is_no_file_for_each_frame(tmp_path: Path) -> None:
    movie, path = noise((300, 24, 40), "uint16"), tmp_path / "movie.ome.zarr"
    write_ome_zarr(movie, path, axes="tyx", scale=SCALE, chunks=(1, 16, 16))
    assert chunk_files(path) == ["0/c/0/0/0", "1/c/0/0/0", "2/c/0/0/0"]
    np.testing.assert_array_equal(levels(path)[0], movie)
    assert check_ome_zarr(path) == []


@pytest.mark.parametrize(
    ("shape", "limit", "shards"),
    [
        ((10, 2, 4, 32, 32), 2**13, (1, 1, 4, 32, 32)),  # one time point fills a shard
        ((10, 2, 4, 32, 32), 3 * 2**13, (3, 1, 4, 32, 32)),  # 3 3 3 1: four files as of 3, no less
        ((9, 2, 4, 32, 32), 4 * 2**13, (3, 1, 4, 32, 32)),  # 3 3 3 instead of 4 4 1
        ((10, 2, 4, 32, 64), 2**12, (1, 1, 4, 32, 32)),  # several shards for a time point, as before
    ],
)
def test_time_points_of_a_shard(
    shape: tuple[int, ...], limit: int, shards: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request, "SHARD_BYTES", limit)
    monkeypatch.setattr(request, "LEAST_SHARD_BYTES", limit)
    image = np.zeros(shape, np.uint16)
    planned = plan_ome_zarr(image, tmp_path / "a.ome.zarr", axes="tczyx", scale=SCALE, chunks=(1, 1, 4, 32, 32))
    assert planned.levels[0].shards == shards


def test_a_movie_is_gone_on_with(tmp_path: Path) -> None:
    movie, path = noise((200, 24, 40), "uint16"), tmp_path / "movie.ome.zarr"

    def stop(progress: Progress) -> None:
        if progress.done_bytes > progress.total_bytes / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_ome_zarr(movie, path, axes="tyx", scale=SCALE, chunks=(1, 16, 16), progress=stop)
    report = write_ome_zarr(movie, path, axes="tyx", scale=SCALE, chunks=(1, 16, 16))
    assert any(note.startswith("went on") for note in report.notes)
    np.testing.assert_array_equal(levels(path)[0], movie)
    assert check_ome_zarr(path) == []
    assert chunk_files(path) == ["0/c/0/0/0", "1/c/0/0/0", "2/c/0/0/0"]
