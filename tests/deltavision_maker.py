"""Small DeltaVision files as softWoRx lays them out: header, a header for each section, sections."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiff_makers import pixels

DTYPES = {0: "u1", 1: "i2", 2: "f4", 6: "u2", 7: "i4"}
ORDERS = {0: "ctz", 1: "tzc", 2: "tcz"}


@dataclass(frozen=True)
class Image:
    """What is written, and what the header states of it."""

    t: int = 3
    c: int = 2
    z: int = 4
    height: int = 12
    width: int = 20
    kind: int = 6
    sequence: int = 0
    order: str = "<"
    voxel: tuple[float, float, float] = (0.2, 0.1064, 0.1064)  # z y x
    waves: tuple[int, ...] = (525, 632)
    excitation: tuple[int, ...] = (475, 575)
    seconds: float = 2.5
    extended: bool = True
    image_type: int = 0
    stated_kind: int | None = None
    stated_t: int | None = None
    stated_sequence: int | None = None

    @property
    def values(self) -> NDArray[Any]:
        """(t, c, z, y, x)."""
        return pixels((self.t, self.c, self.z, self.height, self.width), DTYPES[self.kind])


def write_dv(path: Path, image: Image) -> Path:
    """Write it; the header's fields one by one, each at its byte."""
    lengths = {"t": image.t, "c": image.c, "z": image.z}
    axes = ORDERS[image.sequence]
    places = [dict(zip(axes, p, strict=True)) for p in product(*(range(lengths[a]) for a in axes))]
    head = bytearray(1024)

    def put(at: int, form: str, *values: Any) -> None:
        struct.pack_into(image.order + form, head, at, *values)

    kind = image.kind if image.stated_kind is None else image.stated_kind
    put(0, "4i", image.width, image.height, len(places), kind)
    put(40, "3f", *image.voxel[::-1])
    put(96, "h", -16224)
    if image.extended:
        put(92, "i", 8192)
        put(128, "2h", 8, 32)
    put(160, "2h", image.image_type, 10612)
    put(
        180, "2h", image.stated_t or image.t, image.sequence if image.stated_sequence is None else image.stated_sequence
    )
    put(196, "h", image.c)
    put(198, f"{image.c}h", *image.waves[: image.c])
    extended = bytearray(8192 if image.extended else 0)
    for number, at in enumerate(places if image.extended else ()):
        floats = [0.0] * 32
        floats[1] = 7.0 + at["t"] * image.seconds + at["z"] * 0.01
        floats[10], floats[11] = image.excitation[at["c"]] if image.waves[0] else 0, image.waves[at["c"]]
        struct.pack_into(f"{image.order}8i32f", extended, number * 160, *[0] * 8, *floats)
    data = [image.values[at["t"], at["c"], at["z"]] for at in places]
    stored = np.dtype(DTYPES[image.kind]).newbyteorder("<" if image.order == "<" else ">")
    path.write_bytes(bytes(head) + bytes(extended) + b"".join(d.astype(stored).tobytes() for d in data))
    return path
