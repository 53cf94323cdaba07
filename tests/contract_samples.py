"""A small sample of every shipped format, in the vendor's real layout, each made in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SAMPLES: dict[str, Sample] = {}


@dataclass(frozen=True)
class Sample:
    """Of which converter a sample is, and what makes it in an empty folder."""

    converter: str
    make: Callable[[Path], Path]
    options: Mapping[str, Any] = field(default_factory=dict)


def sample(converter: str, **options: Any) -> Callable[[Callable[[Path], Path]], Callable[[Path], Path]]:
    def keep(make: Callable[[Path], Path]) -> Callable[[Path], Path]:
        SAMPLES[make.__name__] = Sample(converter, make, options)
        return make

    return keep


@sample("table")
def trials(folder: Path) -> Path:
    from dandify.examples.behaviour import write_trials

    return write_trials(folder / "trials.csv", seed=1, seconds=10)


@sample("table")
def events(folder: Path) -> Path:
    rows = "".join(f"{i / 100}\t{'' if i % 9 == 0 else 0.01}\tlick {i}\t{i}\n" for i in range(5000))
    (folder / "licks.tsv").write_text("timestamp\tduration\tnote\tcount\n" + rows, encoding="utf-8")
    return folder / "licks.tsv"


@sample(
    "table", kind="TimeSeries", time="ms", time_unit="ms", series=[{"name": "xy", "columns": ["x", "y"], "unit": "m"}]
)
def wheel(folder: Path) -> Path:
    rows = "".join(f"{i * 10};{i / 7:.6f};{i / 9:.6f}\n" for i in range(9000))
    (folder / "wheel.csv").write_text("ms;x;y\n" + rows, encoding="latin-1")
    return folder / "wheel.csv"


@sample("video")
def camera(folder: Path) -> Path:
    from dandify.examples.behaviour import write_video

    return write_video(folder / "camera.mp4", seed=1, seconds=0.5, size=(64, 48))


@sample("abf")
def abf2(folder: Path) -> Path:
    from abf_maker import Abf, write_abf2

    return write_abf2(folder / "cell.abf", Abf())


@sample("abf")
def abf1(folder: Path) -> Path:
    from abf_maker import Abf, write_abf1

    return write_abf1(folder / "cell.abf", Abf())


@sample("intan")
def rhd(folder: Path) -> Path:
    from intan_maker import Recording, write_attached

    return write_attached(folder / "rec_240229_123000.rhd", Recording())


@sample("intan")
def rhd_per_signal(folder: Path) -> Path:
    from intan_maker import Recording, write_per_signal

    return write_per_signal(folder / "rec", Recording())


@sample("intan")
def rhd_per_channel(folder: Path) -> Path:
    from intan_maker import Recording, write_per_channel

    return write_per_channel(folder / "rec", Recording())


@sample("open_ephys")
def record_node(folder: Path) -> Path:
    from openephys_maker import STREAMS, RecordingSpec, write_record_node

    first, second = (RecordingSpec({s.name: n for s in STREAMS}, begin_s=b) for n, b in ((1500, 0.0), (700, 5.0)))
    return write_record_node(folder, {1: [first, second]})


@sample("spikeglx")
def spikeglx_run(folder: Path) -> Path:
    from datetime import datetime

    from dandify.examples.spikeglx import write_spikeglx_run

    return write_spikeglx_run(folder, seed=1, seconds=0.5, channels=8, start=datetime(2026, 3, 4, 10, 11, 12))


@sample("ome_tiff")
def ome_tiff(folder: Path) -> Path:
    from tiff_makers import write_ome

    return write_ome(folder / "brain.ome.tif", (2, 3, 40, 56), "CZYX", tile=(16, 16), compression="zlib")


@sample("ome_tiff")
def ome_tiff_set(folder: Path) -> Path:
    from tiff_makers import write_ome_set

    return write_ome_set(folder)


@sample("ome_tiff")
def hyperstack(folder: Path) -> Path:
    from tiff_makers import write_imagej

    return write_imagej(folder / "stack.tif", (2, 3, 2, 24, 32), "TZCYX", unit="um", spacing=3.0)


@sample("ome_tiff")
def stack_of_metamorph(folder: Path) -> Path:
    from stk_maker import Stack, write_stk

    return write_stk(folder / "brain.stk", Stack())


@sample("metamorph")
def acquisition_of_metamorph(folder: Path) -> Path:
    from stk_maker import Acquisition

    return Acquisition().write(folder)


@sample("metaxpress")
def plate_of_metaxpress(folder: Path) -> Path:
    from metaxpress_maker import Plate

    return Plate(times=2).write(folder)


@sample("planes")
def planes(folder: Path) -> Path:
    from tiff_makers import write_planes

    return write_planes(folder / "brain" / "ch0")


@sample("planes")
def planes_of_channels(folder: Path) -> Path:
    from tiff_makers import write_planes

    for channel in range(2):
        write_planes(folder / "brain" / f"ch{channel}", stem="z")
    return folder / "brain"


@sample("planes")
def planes_of_metamorph(folder: Path) -> Path:
    from metamorph_maker import SIZE, describe, write_plane
    from tiff_makers import pixels

    for z, values in enumerate(pixels((3, *SIZE))):
        text = describe(z_position=2.0 * z, stage_label="B03 : Site 1", custom={"Exposure Time": "80 ms"})
        write_plane(folder / "brain" / f"z{z}.tif", values, text)
    return folder / "brain"


@sample("oif")
def oif(folder: Path) -> Path:
    from oif_maker import Image, write_oif

    return write_oif(folder, Image(t=2))


@sample("oif")
def oib(folder: Path) -> Path:
    from oif_maker import Image, write_oib

    return write_oib(folder / "cell.oib", Image(t=2), scattered=True)


@sample("ims")
def ims(folder: Path) -> Path:
    from ims_maker import Image, write_ims

    return write_ims(folder / "brain.ims", Image(t=2))


@sample("ome_zarr")
def ome_zarr(folder: Path) -> Path:
    from dandify.ngff.write import write_ome_zarr
    from tiff_makers import pixels

    write_ome_zarr(pixels((2, 3, 40, 56)), folder / "a.ome.zarr", axes="czyx", scale={"z": 2.0, "y": 0.5, "x": 0.5})
    return folder / "a.ome.zarr"


@sample("bruker")
def bruker_movie(folder: Path) -> Path:
    from bruker_maker import Scan, write_scan

    write_scan(folder / "scan", Scan(kind="TSeries ZSeries Element", cycles=5, frames=3))
    return folder / "scan"


@sample("bruker")
def bruker_stack(folder: Path) -> Path:
    from bruker_maker import Scan, write_scan

    write_scan(folder / "scan", Scan(kind="ZSeries"))
    return folder / "scan"


@sample("scanimage")
def scanimage_volumes(folder: Path) -> Path:
    from scanimage_maker import Recording, write_recording

    return write_recording(folder / "m1_00001.tif", Recording(volumes=4, slices=3, flyback=1))


@sample("scanimage")
def scanimage_split(folder: Path) -> Path:
    from scanimage_maker import Recording, write_split

    write_split(folder / "m1", Recording(), (5, 7))
    return folder / "m1"


@sample("czi")
def czi_mosaic(folder: Path) -> Path:
    from czi_maker import STAGE, XML, ZSTD1, Block, pixels, stack, write_czi

    tiles = [
        Block(pixels((30, 40), m), {"S": 1, "C": c, "M": m}, y=25 * m, xml=STAGE, compression=ZSTD1)
        for m in range(3) for c in range(2)
    ]  # fmt: skip
    return write_czi(folder / "slide.czi", [*stack({"T": 2, "Z": 3, "C": 2}, (30, 40)), *tiles], XML)


@sample("czi")
def czi_colours(folder: Path) -> Path:
    from czi_maker import JPEG_XR, XML, stack, write_czi

    return write_czi(folder / "stain.czi", stack({"Z": 3}, (30, 40, 3), dtype="uint8", compression=JPEG_XR), XML)


@sample("lif")
def lif(folder: Path) -> Path:
    from lif_maker import SETTINGS, Picture, write_lif

    tiles = Picture("scan", "MCYX", (3, 2, 30, 40), tiles=[(0.001 * i, 0.002) for i in range(3)], settings=SETTINGS)
    colours = Picture("colours", "YXC", (30, 41, 3), dtype="uint8", row=128)
    return write_lif(folder / "mouse.lif", [tiles, colours, Picture("wide", "TZCYX", (2, 3, 2, 30, 40))])


@sample("nd2")
def nd2_positions(folder: Path) -> Path:
    from nd2_maker import Nd2, write_nd2

    return write_nd2(folder / "plate.nd2", Nd2({"T": 2, "P": 3, "Z": 2}, (30, 41), channels=2, row=168))


@sample("nd2")
def nd2_lossless(folder: Path) -> Path:
    from nd2_maker import Nd2, write_nd2

    return write_nd2(folder / "stain.nd2", Nd2({"Z": 3}, (30, 41), components=3, dtype="uint8", compression=0))


@sample("hdf5_images")
def hdf5_images(folder: Path) -> Path:
    import h5py

    from tiff_makers import pixels

    with h5py.File(folder / "movie.h5", "w") as file:
        data = file.create_dataset("imaging", data=pixels((12, 16, 5, 2)), chunks=(4, 16, 5, 1), compression="gzip")
        for i, label in enumerate("yxzc"):
            data.dims[i].label = label
    return folder / "movie.h5"


@sample("deltavision")
def deltavision(folder: Path) -> Path:
    from deltavision_maker import Image, write_dv

    return write_dv(folder / "cell.dv", Image(order=">"))


@sample("ndtiff")
def ndtiff(folder: Path) -> Path:
    from ndtiff_maker import grid, write_ndtiff

    return write_ndtiff(folder / "mda", grid(position=2, time=3, channel=["DAPI", "FITC"], z=4), most=20)


@sample("ndtiff")
def ndtiff_stitched(folder: Path) -> Path:
    from ndtiff_maker import grid, write_stitched

    return write_stitched(folder / "explored", grid(row=2, column=3, channel=2), kind=4)
