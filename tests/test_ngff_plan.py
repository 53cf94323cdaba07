"""plan_ome_zarr: what is planned is what is written, and the size is about right."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dandify
from dandify.errors import BadRequest, BadSource, MissingMetadata
from dandify.ngff.plan import plan_ome_zarr
from dandify.ngff.write import write_ome_zarr
from dandify.sources import Array
from dandify.store.manifest import read_manifest
from dandify.store.region import Region
from ngff_reference import SCALE, metadata, noise, scales, translations


def cells(shape: tuple[int, ...]) -> NDArray[np.uint16]:
    """Structure with the noise of a camera: the levels above lose the noise, and compress better."""
    z, y, x = np.indices(shape[-3:])
    expected = 200 + 900 * np.maximum(0, np.sin(y / 9) * np.sin(x / 11) - 0.4) * np.cos(z / 9) ** 2
    values: NDArray[np.uint16] = np.random.default_rng(1).poisson(np.broadcast_to(expected, shape)).astype(np.uint16)
    return values


CASES: dict[str, tuple[str, tuple[int, ...], dict[str, Any]]] = {
    "stack": ("zyx", (48, 256, 256), {"chunks": (8, 64, 64)}),
    "default": ("zyx", (70, 256, 256), {}),
    "plane": ("zyx", (1, 700, 700), {"chunks": (1, 128, 128)}),
    "five": ("tczyx", (2, 2, 16, 128, 128), {"chunks": (1, 1, 4, 32, 32)}),
    "labels": ("zyx", (16, 128, 128), {"chunks": (4, 32, 32), "downsample": "mode"}),
    "shards": ("zyx", (48, 256, 256), {"chunks": (8, 64, 64), "shards": (16, 128, 128)}),
    "bands": ("zyx", (9, 2001, 400), {"chunks": (4, 64, 64), "memory": 7_000_000, "workers": 1}),
    "one value": ("zyx", (1, 1, 1), {}),
}


@pytest.mark.parametrize(
    ("case", "version"), [(c, v) for c in CASES for v in ("0.4", "0.5") if (c, v) != ("shards", "0.4")]
)
def test_what_is_planned_is_what_is_written(case: str, version: str, tmp_path: Path) -> None:
    axes, shape, options = CASES[case]
    source, path = cells(shape), tmp_path / "a.ome.zarr"
    plan = plan_ome_zarr(source, path, axes=axes, scale=SCALE, version=version, **options)
    assert list(tmp_path.iterdir()) == []
    report = write_ome_zarr(source, path, axes=axes, scale=SCALE, version=version, **options)
    written = read_manifest(report.manifest)
    files = [f for f in path.rglob("*") if f.is_file()]
    assert plan.files == len(files)
    assert plan.depth == max(len(f.relative_to(path).parts) for f in files)
    assert plan.raw_bytes == report.raw_bytes
    assert [(p.path, p.shape, p.chunks, p.raw_bytes) for p in plan.levels] == [
        (d.name, d.shape, d.chunks, d.raw_bytes) for d in written.datasets
    ]
    assert [p.shards and list(p.shards) for p in plan.levels] == [d.details["shards"] for d in written.datasets]
    assert [list(p.scale) for p in plan.levels] == scales(path)
    assert [list(p.translation) for p in plan.levels] == translations(path)
    assert (plan.reason, plan.downsample) == (written.details["plan"], metadata(path)["multiscales"][0]["type"])
    assert plan.encoder == written.datasets[0].codec
    assert 0 < plan.memory_bytes <= 10**9
    assert plan.refusals == ()
    if case != "one value":  # a header, and nothing else
        assert plan.estimated_bytes == pytest.approx(report.stored_bytes, rel=0.15)


@dataclass(frozen=True)
class Planes(Array):
    """Whole planes only, and a count of those that were read."""

    shape: tuple[int, ...] = (400, 512, 512)
    dtype = np.dtype(">u2")
    read_planes: list[int] = field(default_factory=list)
    error: Exception | None = None

    @property
    def block(self) -> tuple[int, ...]:
        return (1, *self.shape[1:])

    def read(self, region: Region) -> NDArray[Any]:
        if self.error:
            raise self.error
        self.read_planes.append(region[0].stop - region[0].start)
        return noise(tuple(s.stop - s.start for s in region), ">u2")


def test_few_planes_are_read(tmp_path: Path) -> None:
    array = Planes()
    plan_ome_zarr(array, tmp_path / "a.ome.zarr", scale=SCALE)
    assert 0 < sum(array.read_planes) <= 32  # eight at three places; those in the middle also for the choice of codec


def test_fewer_of_large_ones(tmp_path: Path) -> None:
    array = Planes((400, 4096, 4096))
    plan_ome_zarr(array, tmp_path / "a.ome.zarr", scale=SCALE)
    assert sum(array.read_planes) == 8


def test_a_plan_refuses_what_writing_would(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    with pytest.raises(MissingMetadata, match=r"pixel_size_um\.z"):
        plan_ome_zarr(Planes(), path)
    with pytest.raises(BadRequest, match="at least"):
        plan_ome_zarr(Planes(), path, scale=SCALE, memory="1MB")
    with pytest.raises(BadRequest, match="no other dot"):
        plan_ome_zarr(Planes(), tmp_path / "a.b.ome.zarr", scale=SCALE)
    with pytest.raises(BadSource, match="the disk is gone"):
        plan_ome_zarr(Planes(error=OSError("the disk is gone")), path, scale=SCALE)


def test_viewers_and_publication(tmp_path: Path) -> None:
    opened = {
        version: {
            viewer.name for viewer, opens in dandify.plan_ome_zarr(
                np.zeros((2, 8, 8), "uint8"), tmp_path / "a.ome.zarr", scale=SCALE, version=version
            ).viewers if opens
        }
        for version in ("0.4", "0.5")
    }  # fmt: skip
    assert opened["0.4"] - opened["0.5"] == {"ITK/VTK viewer"}
    assert "DOI" in dandify.plan_ome_zarr(Planes(), tmp_path / "a.ome.zarr", scale=SCALE).publication
