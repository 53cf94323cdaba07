"""Nikon ND2: values as the nd2 package reads them, what is stated and nothing else, and damage that is heard."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import nd2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.errors import BadRequest, BadSource, DandifyError
from dandify.runs.convert import convert
from dandify.sources import Channel, Source, Stream
from dandify.sources.registry import by_name
from nd2_maker import Nd2, Position, encode, write_nd2
from ngff_reference import levels, metadata, scales
from shared_data import shared

converter = by_name("nd2")


def whole(stream: Stream) -> NDArray[Any]:
    assert stream.array is not None
    return stream.array[tuple(slice(None) for _ in stream.shape)]


def golden(path: Path) -> NDArray[Any]:
    """What nd2 reads: positions and other loops, then t c z y x; colours of a pixel blue first."""
    with nd2.ND2File(path) as file:
        axes, values = list(file.sizes), file.asarray()
    order = [a for a in "PUTCSZYX" if a in axes]
    values = values.transpose([axes.index(a) for a in order])
    if "S" in order:
        at = order.index("S")
        values = np.flip(values, at)
        if "C" in order:
            values = values.reshape(*values.shape[: at - 1], -1, *values.shape[at + 1 :])
    return values


MADE: dict[str, Nd2] = {
    "one plane": Nd2(),
    "z": Nd2({"Z": 5}),
    "t": Nd2({"T": 3}, dtype="uint8"),
    "channels": Nd2(channels=3),
    "t z c": Nd2({"T": 2, "Z": 3}, channels=2),
    "z t c": Nd2({"Z": 3, "T": 2}, channels=2),
    "padded rows": Nd2({"T": 2}, channels=2, row=72),
    "lossless": Nd2({"T": 2, "Z": 2}, channels=2, compression=0),
    "lossless, padded": Nd2({"Z": 3}, row=40, compression=0),
    "float": Nd2({"Z": 2}, dtype="float32"),
    "colours": Nd2({"Z": 2}, components=3, dtype="uint8"),
    "two of colours": Nd2({"T": 2}, channels=2, components=3, dtype="uint8"),
    "colours, padded": Nd2(components=3, dtype="uint8", row=52),
}


@pytest.mark.parametrize("made", MADE.values(), ids=MADE)
def test_values_are_those_of_nd2(tmp_path: Path, made: Nd2) -> None:
    path = write_nd2(tmp_path / "a.nd2", made)
    assert converter.identify(path)
    (stream,) = converter.open(path).streams
    values = whole(stream)
    assert values.dtype == np.dtype(made.dtype)
    np.testing.assert_array_equal(values, golden(path))


@pytest.mark.parametrize("name", ["t z c", "padded rows", "lossless", "two of colours"])
@given(data=st.data())
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_random_regions_are_slices(tmp_path: Path, name: str, data: st.DataObject) -> None:
    path = tmp_path / "a.nd2"
    if not path.exists():
        write_nd2(path, MADE[name])
    (stream,) = converter.open(path).streams
    region = []
    for n in stream.shape:
        start = data.draw(st.integers(0, n))
        region.append(slice(start, data.draw(st.integers(start, n))))
    assert stream.array is not None
    np.testing.assert_array_equal(stream.array[tuple(region)], golden(path)[tuple(region)])


ORDERS = ["PTZ", "TPZ", "TZP", "PZ", "TP"]


@pytest.mark.parametrize("order", ORDERS)
def test_positions_are_images(tmp_path: Path, order: str) -> None:
    counts = {"P": 3, "T": 2, "Z": 4}
    made = Nd2({a: counts[a] for a in order}, channels=2)
    path = write_nd2(tmp_path / "a.nd2", made)
    source = converter.open(path)
    assert [s.name for s in source.streams] == ["position 0", "position 1", "position 2"]
    for stream, expected in zip(source.streams, golden(path), strict=True):
        np.testing.assert_array_equal(whole(stream), expected)
    assert source.facts["stage_position_um"] == {
        f"position {i}": {"x": 100.0 * i, "y": -50.0 * i} for i in range(3)
    }  # fmt: skip


def test_positions_are_named_as_in_the_file(tmp_path: Path) -> None:
    named = Nd2({"P": 2}, positions=[Position(1, 2, "cortex"), Position(3, 4, "hippocampus")])
    source = converter.open(write_nd2(tmp_path / "a.nd2", named))
    assert [s.name for s in source.streams] == ["cortex", "hippocampus"]
    assert source.facts["stage_position_um"]["hippocampus"] == {"x": 3.0, "y": 4.0}
    alike = Nd2({"P": 11}, positions=[Position(i, 0, "A") for i in range(11)])
    source = converter.open(write_nd2(tmp_path / "b.nd2", alike))
    assert [s.name for s in source.streams] == [f"position {i:02d}" for i in range(11)]


def test_another_loop_is_images(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", Nd2({"U": 2, "Z": 3}))
    streams = converter.open(path).streams
    assert [s.name for s in streams] == ["loop 0", "loop 1"]
    for stream, expected in zip(streams, golden(path), strict=True):
        np.testing.assert_array_equal(whole(stream), expected)


TEXT = """Dimensions: T(2) x Z(3)\r
Camera Name: Andor Zyla VSC-00953\r
Number of Picture Planes: 2\r
Plane #1:\r
 Name: DAPI\r
 Camera Settings:   Exposure: 100 ms\r
  Binning: 1x1\r
 Microscope Settings:   Microscope: Ti2 Microscope\r
Plane #2:\r
 Name: GFP\r
 Camera Settings:   Exposure: 25 ms\r
"""


def test_what_is_stated(tmp_path: Path) -> None:
    made = Nd2(
        {"T": 2, "Z": 3}, channels=2, names=("DAPI", "GFP"), stage=(-26056.95, 12.5), day=2461104.25,
        text={"TextInfoItem_4": "Ada", "TextInfoItem_5": TEXT, "TextInfoItem_14": "NIS-Elements 5.42"},
    )  # fmt: skip
    source = converter.open(write_nd2(tmp_path / "a.nd2", made))
    (stream,) = source.streams
    assert stream.name == "a"
    assert stream.scale == {"t": 0.5, "z": 2.5, "y": 0.65, "x": 0.65}
    assert stream.channels == (
        Channel("DAPI", color="00FF00", wavelength_nm=525.0, excitation_nm=488.0),
        Channel("GFP", color="FFFF00", wavelength_nm=545.0, excitation_nm=508.0),
    )
    assert source.facts == {
        "session_start_time": datetime(2026, 3, 4, 18, tzinfo=UTC),
        "objective": "Plan Apo 20x, 20x, NA 0.75",
        "experimenter": "Ada",
        "software": "NIS-Elements 5.42",
        "device": "Ti2 Microscope, Andor Zyla VSC-00953",
        "exposure_time_s": (0.1, 0.025),
        "pixel_size_um": {"z": 2.5, "y": 0.65, "x": 0.65},
        "time_increment_s": 0.5,
        "channel_names": ("DAPI", "GFP"),
        "stage_position_um": {"a": {"x": -26056.95, "y": 12.5}},
    }
    assert not source.needs


def opened(tmp_path: Path, made: Nd2) -> Source:
    return converter.open(write_nd2(tmp_path / "a.nd2", made))


def test_what_is_not_stated_is_absent(tmp_path: Path) -> None:
    made = Nd2(
        {"T": 3, "Z": 2}, calibration=None, step_um=0.0, period_ms=0.0, day=-1.0, names=("",),
        times_ms=(0.0, 5.0, 100.0, 105.0, 300.0, 305.0),
    )  # fmt: skip
    source = opened(tmp_path, made)
    assert not source.streams[0].scale
    assert not {"pixel_size_um", "time_increment_s", "session_start_time", "stage_position_um"} & set(source.facts)
    assert [n.key for n in source.needs] == ["pixel_size_um.z", "pixel_size_um.y", "pixel_size_um.x"]


def test_times_between_points(tmp_path: Path) -> None:
    assert opened(tmp_path, Nd2({"T": 2}, period_ms=0.0, measured_ms=1234.5)).facts["time_increment_s"] == 1.2345
    every = Nd2({"T": 3, "Z": 2}, period_ms=0.0, times_ms=(400.0, 500.0, 10400.0, 10500.0, 20410.0, 20510.0))
    assert opened(tmp_path, every).facts["time_increment_s"] == 10.005
    phases = opened(tmp_path, Nd2({"T": 4}, periods=2))
    assert phases.streams[0].shape[0] == 4
    assert "time_increment_s" not in phases.facts
    uneven = opened(tmp_path, Nd2({"T": 4}, periods=2, times_ms=(400.0, 500.0, 10400.0, 10500.0))).facts
    assert uneven["time_points_s"] == (0.0, 0.1, 10.0, 10.1)


def test_an_axis_of_time_is_no_length(tmp_path: Path) -> None:
    source = opened(tmp_path, Nd2({"Z": 2}, raw={"ePictureYAxis": 2}))
    assert source.facts["pixel_size_um"] == {"z": 2.5, "x": 0.65}
    assert [n.key for n in source.needs] == ["pixel_size_um.y"]


def test_colours_come_red_first_and_have_no_wavelengths(tmp_path: Path) -> None:
    """nd2 gives wavelengths to the colours of a camera; no file states them."""
    made = Nd2(components=3, dtype="uint8")
    (stream,) = opened(tmp_path, made).streams
    assert [(c.name, c.color, c.wavelength_nm) for c in stream.channels] == [
        ("red", "FF0000", None), ("green", "00FF00", None), ("blue", "0000FF", None)
    ]  # fmt: skip
    np.testing.assert_array_equal(whole(stream)[2], made.values[..., 0])
    assert stream.array is not None
    assert stream.array.block == (3, 12, 17)


def with_bytes(tmp_path: Path, made: Nd2, change: Callable[[bytes], bytes]) -> Path:
    path = write_nd2(tmp_path / "a.nd2", made)
    path.write_bytes(change(path.read_bytes()))
    return path


STACK = Nd2({"T": 2, "Z": 3}, channels=2)
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "stopped": (lambda p: write_nd2(p / "a.nd2", STACK, missing=[5]), "6 planes and has 5 .* plane t=1 z=2"),
    "hole": (lambda p: write_nd2(p / "a.nd2", STACK, missing=[1, 3]), "6 planes and has 4 .* plane t=0 z=1"),
    "not finished": (lambda p: write_nd2(p / "a.nd2", STACK, finished=False), "was not finished"),
    "lossy": (lambda p: write_nd2(p / "a.nd2", Nd2(compression=1)), "lossy"),
    "no loops": (lambda p: with_bytes(p, STACK, lambda b: b.replace(b"ImageMetadataLV!", b"ImageMetadataXX!")),
                 "does not say what its 6 planes are"),
    "no attributes": (
        lambda p: with_bytes(p, STACK, lambda b: b.replace(b"ImageAttributesLV!", b"ImageAttributesXX!")),
        "metadata that cannot be read",
    ),
    "JPEG 2000": (lambda p: with_bytes(p, STACK, lambda b: b"\0\0\0\x0cjP  \r\n\x87\n" + b), "before 3.0"),
    "map": (
        lambda p: with_bytes(p, STACK, lambda b: b.replace(b"ND2 FILEMAP SIGNATURE", b"ND2 FILEMAP SIGNATURA")),
        "damaged map",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_converted_is_said(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    path = make(tmp_path)
    assert converter.identify(path)
    with pytest.raises(BadSource, match=message) as caught:
        converter.open(path)
    assert caught.value.file == str(path)


def test_rows_that_are_too_short_for_their_pixels(tmp_path: Path) -> None:
    right, wrong = (encode({"uiWidthBytes": n}) for n in (2 * 2 * 17, 2 * 2 * 17 - 2))
    path = with_bytes(tmp_path, STACK, lambda b: b.replace(right, wrong))
    with pytest.raises(BadSource, match="in rows of 66 bytes"):
        converter.open(path)


def test_a_file_cut_anywhere_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    whole_file = write_nd2(tmp_path / "a.nd2", Nd2({"Z": 3})).read_bytes()
    for length in [*range(0, len(whole_file), 1999), len(whole_file) - 1]:
        path = tmp_path / "cut.nd2"
        path.write_bytes(whole_file[:length])
        with pytest.raises(BadSource):
            converter.open(path)


def test_a_map_that_names_a_plane_behind_the_end(tmp_path: Path) -> None:
    name = b"ImageDataSeq|4!"

    def change(content: bytes) -> bytes:
        at = content.rindex(name) + len(name)
        return content[:at] + (len(content) + 4096).to_bytes(8, "little") + content[at + 8 :]

    with pytest.raises(BadSource, match="is cut off: plane 5 begins at"):
        converter.open(with_bytes(tmp_path, STACK, change))


@pytest.mark.parametrize("made", [STACK, Nd2({"T": 2, "Z": 3}, channels=2, compression=0)], ids=["raw", "lossless"])
def test_a_damaged_plane_is_named(tmp_path: Path, made: Nd2) -> None:
    path = write_nd2(tmp_path / "a.nd2", made)
    (stream,) = converter.open(path).streams
    assert stream.array is not None
    content = bytearray(path.read_bytes())
    start = content.index(b"ImageDataSeq|4!") - 16
    if made.compression == 0:
        content[start + 4096 : start + 4196] = bytes(100)
    else:
        content[start : start + 4] = bytes(4)
    path.write_bytes(content)
    stream.array[0:1]
    with pytest.raises(BadSource, match=r"cannot be decoded|is cut off or damaged") as caught:
        stream.array[1:2]
    assert caught.value.place == "a, plane t=1 z=1"


def test_options_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="position"):
        converter.open(write_nd2(tmp_path / "a.nd2", Nd2()), {"position": 1})


def test_knowing_a_file_does_not_load_nd2(tmp_path: Path) -> None:
    path = write_nd2(tmp_path / "a.nd2", Nd2())
    code = (
        "import sys; from pathlib import Path; from dandify.sources.registry import by_name\n"
        f"assert by_name('nd2').identify(Path({str(path)!r})); assert 'nd2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_nd2(tmp_path / "a.nd2", Nd2())
    monkeypatch.setitem(sys.modules, "nd2", None)
    with pytest.raises(DandifyError, match="package nd2") as caught:
        converter.open(path)
    assert caught.value.remedy == "pip install nd2"


def test_positions_become_ome_zarr(tmp_path: Path) -> None:
    made = Nd2({"P": 2, "T": 2, "Z": 3}, channels=2, names=("DAPI", "GFP"))
    path = write_nd2(tmp_path / "plate.nd2", made)
    (session,) = convert(
        path, out=tmp_path / "out", subject_id="m1", session_id="s1", species="Mus musculus", sex="F", age="P60D"
    ).sessions
    assert [w.path.name for w in session.written] == [f"sub-m1_ses-s1_platePosition{i}.ome.zarr" for i in range(2)]
    for report, expected in zip(session.written, golden(path), strict=True):
        np.testing.assert_array_equal(levels(report.path)[0], expected)
        assert scales(report.path)[0] == [0.5, 1.0, 2.5, 0.65, 0.65]
        assert [c["label"] for c in metadata(report.path)["omero"]["channels"]] == ["DAPI", "GFP"]


def test_real_files_are_as_nd2_reads_them() -> None:
    compared = 0
    for path in sorted(shared("microscopy/nd2").glob("*.nd2")):
        streams = pickle.loads(pickle.dumps(converter.open(path))).streams
        expected = golden(path)
        for stream, one in zip(streams, expected if len(streams) > 1 else [expected], strict=True):
            np.testing.assert_array_equal(whole(stream), one)
            compared += 1
    assert compared


def test_what_a_real_file_states() -> None:
    source = converter.open(shared("microscopy/nd2/cluster.nd2"))
    (stream,) = source.streams
    assert (stream.axes, stream.shape) == (("t", "c", "z", "y", "x"), (3, 2, 10, 31, 38))
    assert stream.scale == pytest.approx({"t": 10.6475, "z": 0.5, "y": 0.167808983, "x": 0.167808983}, rel=1e-4)
    assert [(c.name, c.color, c.wavelength_nm, c.excitation_nm) for c in stream.channels] == [
        ("5-FAM/pH 9.0", "78E90F", 525.0, 488.0), ("FM 4-64/2% CHAPS", "FE0100", 700.0, 561.0)
    ]  # fmt: skip
    assert source.facts["objective"] == "Plan Apo λ 60x, 60x, NA 0.95"
    assert source.facts["device"] == "Ti Microscope, Nikon A1plus"
    # Its text says 18/06/2014 15:55:27, in summer and two hours ahead of UTC.
    assert source.facts["session_start_time"] == datetime(2014, 6, 18, 13, 55, 23, 392000, tzinfo=UTC)
