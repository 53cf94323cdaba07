"""An HDF5 file with all that HDF5 can hold and pynwb never writes: what a copy must not lose."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

LARGE = np.arange(200_000, dtype=np.int16).reshape(50_000, 4)


def write_oddities(path: Path) -> Path:
    """Links of every sort, references of every sort, odd types, dimension scales, growth, fill values, filters."""
    with h5py.File(path.with_name("elsewhere.h5"), "w") as other:
        other["there"] = LARGE
    with h5py.File(path, "w") as file:
        large = file.create_dataset("large", data=LARGE, maxshape=(None, 4), chunks=(7_001, 3), compression="lzf")
        large.attrs["object_id"] = "3f0c"
        file.create_dataset("mask", data=LARGE % 3 == 0, compression="gzip")
        file.create_dataset("big", data=LARGE.astype(">f8") / 3, fletcher32=True)
        file.create_dataset("half", shape=(100_000,), dtype="<f2", chunks=(1000,), fillvalue=1.5)[:10] = np.nan
        file.create_dataset("contiguous", data=np.full((3, 30_000), np.nan))
        tracked = file.create_group("tracked", track_order=True)
        for name in ("z", "a", "µ"):
            tracked.create_group(name)
        file["hard"] = file["tracked/a"]
        file["also_large"] = large
        file["soft"] = h5py.SoftLink("/tracked/z")
        file["relative"] = h5py.SoftLink("tracked/a")
        file["dangling"] = h5py.SoftLink("/nowhere")
        file["external"] = h5py.ExternalLink("elsewhere.h5", "/there")
        file["named"] = np.dtype("<i8")
        file.create_dataset("of_named", data=[1, 2], dtype=file["named"])
        _references(file, large)
        _types(file)
        x, y = file.create_dataset("x", data=np.arange(5.0)), file.create_dataset("y", data=np.zeros((5, 2)))
        x.make_scale("time")
        y.dims[0].attach_scale(x)
        y.dims[1].label = "side"
        layout = h5py.VirtualLayout((100_000, 4), "i2")
        layout[:50_000] = h5py.VirtualSource("elsewhere.h5", "there", LARGE.shape)
        layout[50_000:] = h5py.VirtualSource("elsewhere.h5", "there", LARGE.shape)
        file.create_virtual_dataset("virtual", layout)
    return path


def _references(file: h5py.File, large: h5py.Dataset) -> None:
    objects = file.create_dataset("objects", (3,), h5py.ref_dtype)
    objects[0], objects[1] = large.ref, file["tracked/a"].ref
    file.create_dataset("objects2d", (2, 2), h5py.ref_dtype, chunks=(1, 1), maxshape=(None, 2))[0, 0] = file.ref
    regions = file.create_dataset("regions", (2,), h5py.regionref_dtype)
    regions[0] = large.regionref[10:20, 1]
    file.create_dataset("object", data=large.ref, dtype=h5py.ref_dtype)
    row = np.dtype([("start", "<i4"), ("count", "<i4"), ("series", h5py.ref_dtype)])
    rows = np.empty(2, row)
    rows["start"], rows["count"] = [0, 5], [5, 7]
    rows["series"][:] = [large.ref, file["tracked"].ref]
    file.create_dataset("rows", data=rows, dtype=row, chunks=(1,), maxshape=(None,), compression="gzip")
    file.attrs["reference"] = file["tracked"].ref
    file.attrs["region"] = large.regionref[0:4, :]
    file.attrs.create("row", rows[:1], dtype=row)
    many = file.create_dataset("many", (2,), h5py.vlen_dtype(h5py.ref_dtype))
    many[0] = np.array([large.ref, file.ref], h5py.ref_dtype)


def _types(file: h5py.File) -> None:
    file.create_dataset("text", data=["a", "µ", ""], dtype=h5py.string_dtype())
    file.create_dataset("ascii", data=[b"ab", b"c"], dtype=h5py.string_dtype("ascii", 4))
    file.create_dataset("no_text", shape=(0,), dtype=h5py.string_dtype(), maxshape=(None,))
    file.create_dataset("no_numbers", shape=(0, 3), dtype="i4", chunks=(10, 3), maxshape=(None, 3))
    file.create_dataset("nothing", data=h5py.Empty("f8"))
    file.create_dataset("scalar", data=np.float32(1.5))
    file.create_dataset("word", data="word")
    file.create_dataset("ragged", (2,), h5py.vlen_dtype("i2"))[0] = [1, 2, 3]
    file.create_dataset("enum", data=[0, 1], dtype=h5py.enum_dtype({"OFF": 0, "ON": 1}, "i1"))
    file.create_dataset("complex", data=np.array([1 + 2j]))
    file.create_dataset("compound", data=np.zeros(3, [("a", "<i2"), ("b", "S3"), ("c", ">f4", (2,))]))
    file.create_dataset("opaque", data=np.array([b"\x00\x01"], "V2"))
    file.create_dataset("packed", data=np.arange(40_000), chunks=(1000,), scaleoffset=0)
    file.attrs["text"] = "µ"
    file.attrs["texts"] = ["a", "µ"]
    file.attrs["bytes"] = np.bytes_(b"abc")
    file.attrs["flags"] = np.array([True, False])
    file.attrs["empty"] = h5py.Empty("f4")
    file.attrs["none"] = np.zeros((0, 2), "i2")
    file.attrs["matrix"] = np.eye(2, dtype=">f4")
