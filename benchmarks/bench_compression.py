"""What compresses which kind of data how far: the tuner's best rows for each backend and each choice of readers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.bench_ome_zarr import SIDE, planes_of
from benchmarks.bench_tuning import material_of
from benchmarks.harness import Options, machine, table

BUDGET_S = 20.0
WAYS = (("hdf5", "any"), ("hdf5", "plugins"), ("zarr", "any"), ("zarr", "python"))
IMAGE_WAYS = (("ome-zarr", "any"), ("ome-zarr", "plugins"), ("ome-zarr", "python"))


@dataclass(frozen=True)
class ImageSet:
    """An image that becomes an OME-Zarr.

    Attributes
    ----------
    name, title
        For options and for tables.
    values
        Gives its values, (z, y, x), of about so many megabytes; a real one is as large as it is.
    """

    name: str
    title: str
    values: Callable[[float], NDArray[Any]]


def light_sheet(megabytes: float) -> NDArray[Any]:
    """Cells on an uneven background with the noise of a camera, the same as of the benchmark of OME-Zarr."""
    return np.stack(list(planes_of(max(1, round(megabytes * 1e6 / (2 * SIDE**2))), SIDE)))


def confocal(megabytes: float) -> NDArray[Any]:
    """Few photons over a dark background, in 8 bits: most values are 0 to 3."""
    rng = np.random.default_rng(12)
    y, x = np.mgrid[:SIDE, :SIDE]
    cells = np.maximum(0, np.sin(y / 21) * np.sin(x / 17) - 0.5)
    planes = [
        np.minimum(255, rng.poisson(0.6 + 30 * cells * np.cos(z / 5) ** 2) * 4).astype(np.uint8)
        for z in range(max(1, round(megabytes * 1e6 / SIDE**2)))
    ]
    return np.stack(planes)


def _real_images() -> tuple[ImageSet, ...]:
    """Real planes, where they are."""
    import tifffile

    root = os.environ.get("DANDIFY_SHARED_DATA")
    folder = Path(root) / "microscopy/serial2p_planes/integration/detection/crop_planes/ch0" if root else None
    files = sorted(folder.glob("*.tif")) if folder else []
    if not files:
        return ()
    return (ImageSet("serial_2p", "real clip: serial two-photon brain, uint16",
                     lambda _: np.stack([tifffile.imread(file) for file in files])),)  # fmt: skip


IMAGES = {
    one.name: one
    for one in (
        ImageSet("light_sheet", "light sheet, uint16 x 1024 x 1024", light_sheet),
        ImageSet("confocal", "confocal, few photons, uint8 x 1024 x 1024", confocal),
        *_real_images(),
    )
}


def image_material(one: ImageSet, megabytes: float) -> Any:
    """The image as the tuner sees it."""
    from dandify.sources.arrays import MemoryArray
    from dandify.tuning.material import Material

    values = one.values(megabytes)
    return Material(one.name, "Image", MemoryArray(values), values.dtype, "ome-zarr", Path(one.name), None, 2)


def rows_of(material: Any, backend: str, readers: str) -> list[list[str]]:
    """Give the rows that are best balanced and smallest, and what there is to compare with."""
    from dandify.tuning.material import Archive
    from dandify.tuning.tune import tune_materials

    material = replace(material, backend=backend, transforms=())
    result = tune_materials(
        [material], objective="balanced", readers=readers, budget_s=BUDGET_S, seed=0, workers=os.cpu_count() or 1,
        archive=Archive(),
    )  # fmt: skip
    (stream,) = result.streams
    chosen = {"best": stream.best("balanced"), "smallest": stream.best("size"), "convert": stream.role("default")}
    if (backend, readers) == WAYS[0]:
        chosen["neuroconv"] = stream.role("usual")
    lines: dict[str, tuple[str, Any]] = {}
    for what, row in chosen.items():
        if row is not None:
            known = lines.get(row.name)
            lines[row.name] = (f"{known[0]}, {what}" if known else what, row)
    return [
        [
            f"{backend}, {readers}", what, row.codec, "x".join(map(str, row.chunks)), f"{row.ratio:.2f}",
            f"{row.encode_mbs:.0f}", f"{row.decode_mbs:.0f}",
        ]
        for what, row in lines.values()
    ]  # fmt: skip


def run(options: Options) -> None:
    """Print a table for each set, and for each image."""
    print(f"tune, balanced, no transforms, budget {BUDGET_S:g} s each; MB/s of CPU time of one core. {machine()}\n")
    images = [IMAGES[name] for name in (options.sets or IMAGES) if name in IMAGES]
    signals = replace(options, sets=tuple(name for name in options.sets if name not in IMAGES))
    for one in signals.chosen() if signals.sets or not options.sets else []:
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.dat"
            one.write(raw, options.megabytes)
            _print(one.title, material_of(one, raw), WAYS, options)
    for image in images:
        _print(image.title, image_material(image, options.megabytes), IMAGE_WAYS, options)


def _print(title: str, material: Any, ways: tuple[tuple[str, str], ...], options: Options) -> None:
    print(f"{title}, {material.raw_bytes / 1e6:.3g} MB\n")
    found = [row for backend, readers in ways for row in rows_of(material, backend, readers)]
    head = ["backend, readers", "row", "codec", "chunks", "ratio", "encode MB/s", "decode MB/s"]
    print(table(head, found, markdown=options.markdown), flush=True)
