"""Folders of planes: which names are planes, values as tifffile reads them, and planes that are missing or differ."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dandify.errors import BadRequest, BadSource
from dandify.project.scan import scan
from dandify.sources.plane_folders import runs_of_names
from dandify.sources.registry import available, by_name
from shared_data import shared
from tiff_makers import pixels, write_imagej, write_ome, write_plain, write_planes

converter = by_name("planes")

NAMES: dict[str, tuple[list[str], str]] = {
    "padded": ([f"ch{i:05d}.tif" for i in range(20)], "z"),
    "no-stem": (["0.tif", "1.tif", "2.tif"], "z"),
    "unpadded": ([f"slice{i}.tiff" for i in range(9, 12)], "z"),
    "upper": (["Z001.TIF", "Z002.TIF"], "z"),
    "section": (["brain_s001.tif", "brain_s002.tif"], "z"),
    "channel-and-plane": ([f"brain_ch1_z{i:03d}.tif" for i in range(3)], "z"),
    "gap": (["a_0001.tif", "a_0002.tif", "a_0007.tif"], "z"),
    "time": ([f"exp_t{i:03d}.tif" for i in range(3)], "t"),
    "channels": ([f"Channel_{i}.tif" for i in range(3)], ""),
    "channels-short": (["ch0.tif", "ch1.tif"], ""),
    "channels-two-digits": (["brain_C01.tif", "brain_C02.tif"], ""),
    "wavelengths": (["well_w1.tif", "well_w2.tif"], ""),
    "many-of-a-channel-word": ([f"ch{i}.tif" for i in range(120)], "z"),
    "tiles": (["tile_001.tif", "tile_002.tif"], ""),
    "positions": (["pos1.tif", "pos2.tif"], ""),
    "strangers": (["scan_3.tif", "scan_17.tif"], ""),
    "one": (["a1.tif"], ""),
    "ome": (["a1.ome.tif", "a2.ome.tif"], ""),
    "other-stems": (["c0z2t0.tif", "c1z0t0.tif"], ""),
}


@pytest.mark.parametrize(("names", "axis"), NAMES.values(), ids=NAMES)
def test_the_rule_of_names(names: list[str], axis: str) -> None:
    found = runs_of_names(Path("x"), names)
    assert "".join(r.axis for r in found) == axis
    if axis:
        assert sorted(name for _, name in found[0].files) == sorted(names)


def test_planes_are_ordered_by_number(tmp_path: Path) -> None:
    values = pixels((12, 4, 6))
    for i, plane in enumerate(values):
        tifffile.imwrite(tmp_path / f"z{i}.tif", plane, metadata=None)
    (stream,) = converter.open(tmp_path).streams
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[:], values)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {}, "big-endian": {"byteorder": ">"}, "deflate": {"compression": "zlib"}, "tiled": {"tile": (16, 16)},
    "bigtiff": {"bigtiff": True},
}  # fmt: skip


@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS)
@given(data=st.data())
@settings(
    max_examples=15, deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # the files are only read
)  # fmt: skip
def test_random_regions_are_slices(tmp_path: Path, options: dict[str, Any], data: st.DataObject) -> None:
    if not any(tmp_path.iterdir()):
        write_planes(tmp_path / "a", **options)
    (stream,) = converter.open(tmp_path / "a").streams
    assert stream.array is not None
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    np.testing.assert_array_equal(stream.array[tuple(region)], pixels((5, 12, 16))[tuple(region)])


def test_folder_and_needs(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain")
    assert converter.claim(folder / "ch00003.tif") == folder
    assert converter.identify(folder)
    source = converter.open(folder)
    assert [s.name for s in source.streams] == ["brain"]
    assert source.streams[0].axes == ("z", "y", "x")
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]
    assert len(source.files) == 5
    given = source.with_facts({"pixel_size_um": {"z": "20", "y": "2", "x": "2"}, "channel_names": ["auto"]})
    assert not given.needs
    assert given.streams[0].scale == {"z": 20.0, "y": 2.0, "x": 2.0}
    assert [c.name for c in given.streams[0].channels] == ["auto"]
    assert source.with_facts({"axes": "tyx"}).streams[0].axes == ("t", "y", "x")


def test_pixel_sizes_that_the_planes_state(tmp_path: Path) -> None:
    write_planes(tmp_path, resolution=(20000, 20000), resolutionunit="CENTIMETER")
    source = converter.open(tmp_path)
    assert source.facts["pixel_size_um"] == {"y": 0.5, "x": 0.5}
    assert [n.key for n in source.needs] == ["pixel_size_um.z"]


def test_planes_with_imagej_headers(tmp_path: Path) -> None:
    for i in range(3):
        write_imagej(tmp_path / f"z{i:03d}.tif", (12, 16), "YX", unit="um")
    source = converter.open(tmp_path)
    assert source.facts["pixel_size_um"] == {"y": 0.5, "x": 0.5}


@pytest.mark.parametrize("stem", ["z", "t_"])
def test_folders_of_channels_are_one_image(tmp_path: Path, stem: str) -> None:
    for channel in (0, 1, 10):
        write_planes(tmp_path / f"ch{channel}", stem=stem, count=3 if stem else 5)
    assert converter.claim(tmp_path / "ch1" / f"{stem}00001.tif") == tmp_path
    source = converter.open(tmp_path)
    (stream,) = source.streams
    one = pixels((3, 12, 16))
    if stem == "z":
        assert stream.axes == ("c", "z", "y", "x")
        expected = np.stack([one] * 3)
    else:
        assert stream.axes == ("t", "c", "y", "x")
        expected = np.stack([one] * 3, axis=1)
    assert [c.name for c in stream.channels] == ["ch0", "ch1", "ch10"]
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[:], expected)


def test_one_folder_of_a_channel_stands_alone(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "ch0")
    (tmp_path / "ch1").mkdir()
    assert converter.claim(folder / "ch00003.tif") == folder


def test_channels_with_other_numbers_are_refused(tmp_path: Path) -> None:
    write_planes(tmp_path / "ch0")
    write_planes(tmp_path / "ch1", count=4)
    with pytest.raises(BadSource, match=r"has 4 planes \(0 to 3\), the channel ch0 has 5") as caught:
        converter.open(tmp_path)
    assert caught.value.file == str(tmp_path / "ch1")


def test_runs_of_other_stems_are_images_of_their_own(tmp_path: Path) -> None:
    for stem in ("left_z", "right_z"):
        write_planes(tmp_path, stem=stem)
    source = converter.open(tmp_path)
    assert [s.name for s in source.streams] == ["left_z", "right_z"]
    assert source.problems


@pytest.mark.parametrize(("removed", "digits"), [(2, 5), (3, 1)])
def test_a_missing_plane_is_named(tmp_path: Path, removed: int, digits: int) -> None:
    write_planes(tmp_path, stem="z", digits=digits)
    (tmp_path / f"z{removed:0{digits}d}.tif").unlink()
    assert converter.identify(tmp_path)
    with pytest.raises(BadSource, match=rf"z{removed:0{digits}d}\.tif is missing"):
        converter.open(tmp_path)


def test_several_missing_planes_are_counted(tmp_path: Path) -> None:
    write_planes(tmp_path)
    for number in (2, 3):
        (tmp_path / f"ch{number:05d}.tif").unlink()
    with pytest.raises(BadSource, match="and 1 after it"):
        converter.open(tmp_path)


def test_one_number_twice_is_refused(tmp_path: Path) -> None:
    write_planes(tmp_path, stem="z")
    write_plain(tmp_path / "z001.tif", (12, 16))
    with pytest.raises(BadSource, match="has the number of"):
        converter.open(tmp_path)


BAD_PLANES: dict[str, tuple[Callable[[Path], object], str]] = {
    "size": (lambda p: write_plain(p, (12, 17)), "12 x 17 uint16.*12 x 16 uint16"),
    "type": (lambda p: write_plain(p, (12, 16), dtype="uint8"), "12 x 16 uint8.*12 x 16 uint16"),
    "stack": (lambda p: write_plain(p, (2, 12, 16)), "more than one plane"),
    "ome": (lambda p: write_ome(p, (12, 16), "YX"), "more than one plane"),
    "zero bytes": (lambda p: p.write_bytes(b""), "is empty"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:400]), "cut off"),
    "truncated header": (lambda p: p.write_bytes(p.read_bytes()[:40]), "cut off"),
    "text": (lambda p: p.write_bytes(b"nothing"), "is no TIFF"),
}


@pytest.mark.parametrize("number", [0, 2, 4])
@pytest.mark.parametrize(("spoil", "message"), BAD_PLANES.values(), ids=BAD_PLANES)
def test_a_plane_unlike_the_others_is_named(
    tmp_path: Path, number: int, spoil: Callable[[Path], object], message: str
) -> None:
    write_planes(tmp_path)
    path = tmp_path / f"ch{number:05d}.tif"
    spoil(path)
    if not converter.identify(tmp_path):
        assert number != 2
        return
    with pytest.raises(BadSource) as caught:
        converter.open(tmp_path)
    if number:  # of the first, all others differ
        assert caught.value.file == str(path)
        with pytest.raises(BadSource, match=message):
            converter.open(tmp_path)


def test_headers_of_very_many_planes_are_checked_when_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[type(converter).__module__], "CHECKED_FILES", 3)
    write_planes(tmp_path)
    write_plain(tmp_path / "ch00002.tif", (12, 17))
    (stream,) = converter.open(tmp_path).streams
    array = pickle.loads(pickle.dumps(stream.array))
    np.testing.assert_array_equal(array[1:2], pixels((5, 12, 16))[1:2])
    with pytest.raises(BadSource, match="12 x 17") as caught:
        array[:]
    assert caught.value.file == str(tmp_path / "ch00002.tif")


def test_eight_threads_read_the_same(tmp_path: Path) -> None:
    write_planes(tmp_path, count=20, compression="zlib")
    array = converter.open(tmp_path).streams[0].array
    assert array is not None
    with ThreadPoolExecutor(8) as pool:
        planes = list(pool.map(lambda i: array[i % 20 : i % 20 + 1], range(160)))
    for i, plane in enumerate(planes):
        np.testing.assert_array_equal(plane[0], pixels((20, 12, 16))[i % 20])


def test_no_two_converters_say_yes(tmp_path: Path) -> None:
    write_planes(tmp_path / "planes")
    shapes: dict[str, list[tuple[int, ...]]] = {"channels/Channel_{}": [(12, 16)] * 3, "stacks/a{}": [(3, 12, 16)] * 3,
              "mixed/a{}": [(12, 16), (3, 12, 16), (12, 16)]}  # fmt: skip
    for name, several in shapes.items():
        for i, shape in enumerate(several):
            path = tmp_path / f"{name.format(i)}.tif"
            path.parent.mkdir(exist_ok=True)
            write_plain(path, shape)
    for path in tmp_path.rglob("*.tif"):
        yes = [c.name for c in available() if (root := c.claim(path)) is not None and c.identify(root)]
        assert yes == (["planes"] if path.parent.name == "planes" else ["ome_tiff"])


def test_a_scan_finds_one_source(tmp_path: Path) -> None:
    folder = write_planes(tmp_path / "brain" / "ch0")
    for path in (tmp_path, folder, folder / "ch00002.tif"):
        report = scan(path)
        assert [s.format for s in report.sources] == ["planes"]
        assert not report.unknown
        assert not report.broken


def test_a_channel_that_is_named_by_itself_is_scanned_alone(tmp_path: Path) -> None:
    for channel in range(2):
        write_planes(tmp_path / f"ch{channel}", stem="z")
    assert [s.path for s in scan(tmp_path).sources] == [tmp_path]
    assert [s.path for s in scan(tmp_path / "ch1").sources] == [tmp_path / "ch1"]


JUNK = {"empty": b"", "text": b"nothing", "head": b"II*\0\x08\0\0\0", "loop": b"II*\0\x08\0\0\0\0\0\x08\0\0\0"}


@pytest.mark.parametrize("content", JUNK.values(), ids=JUNK)
def test_junk_is_no_folder_of_planes(tmp_path: Path, content: bytes) -> None:
    for i in range(3):
        (tmp_path / f"z{i:03d}.tif").write_bytes(content)
    assert not converter.identify(tmp_path)
    assert not converter.identify(tmp_path / "z000.tif")
    assert not converter.identify(tmp_path / "absent")
    with pytest.raises(BadSource):
        converter.open(tmp_path)


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="axes"):
        converter.open(write_planes(tmp_path), {"axes": "yx"})


def test_knowing_and_opening_planes_does_not_load_the_decoder(tmp_path: Path) -> None:
    write_planes(tmp_path)
    code = (
        "import sys; from pathlib import Path; from dandify.sources.registry import by_name\n"
        f"c = by_name('planes'); p = Path({str(tmp_path)!r}); assert c.identify(p); c.open(p).streams[0].array[0:1]\n"
        "assert 'tifffile' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_real_planes_go_whole() -> None:
    folder = shared("microscopy/serial2p_planes/integration/detection/crop_planes/ch0")
    assert converter.claim(folder / "ch00003.tif") == folder
    source = converter.open(folder)
    (stream,) = source.streams
    assert (stream.axes, stream.shape) == (("z", "y", "x"), (20, 510, 667))
    assert stream.array is not None
    expected = np.stack([tifffile.imread(folder / f"ch{i:05d}.tif") for i in range(20)])
    np.testing.assert_array_equal(stream.array[:], expected)


def test_real_channels_are_no_planes() -> None:
    folder = shared("microscopy/viv_ometiff_zarr/multi-tiff")
    assert not converter.identify(folder)
    assert by_name("ome_tiff").identify(folder / "Channel_0.tif")
