"""`dandify view`: what is shown of which image, how files are served, and what a browser then draws."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import tifffile
import zarr
from click.testing import CliRunner
from numpy.typing import NDArray

from browsers import WEBGL, browser
from dandify import write_ome_zarr, write_ome_zarr_labels
from dandify.archive.static import served
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource
from dandify.report.view import view
from dandify.report.view_layers import layers_of
from dandify.sources.arrays import MemoryArray
from dandify.sources.contract import Channel, Stream
from shared_data import shared

VERSIONS = ("0.4", "0.5")
SHAPE = (2, 8, 64, 96)
STAGE_UM = {"z": 2.0, "y": 0.5, "x": 0.25}


def pattern() -> NDArray[np.uint16]:
    """Two channels, (c, z, y, x): the left half of the first is bright, the lower half of the second."""
    values = np.zeros(SHAPE, np.uint16)
    values[0, :, :, :48] = 2000
    values[1, :, 32:] = 1000
    return values


def write(folder: Path, version: str, name: str = "mouse", **options: Any) -> Path:
    path = folder / f"{name}.ome.zarr"
    write_ome_zarr(
        pattern(), path, axes="czyx", scale=STAGE_UM, version=version, verify=False,
        channels=[Channel("GFP", color="00FF00"), Channel("Cy5", color="FF0000")], **options,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("version", VERSIONS)
def test_a_layer_for_each_channel(version: str, tmp_path: Path) -> None:
    first, second = layers_of(write(tmp_path, version))
    assert (first.name, second.name) == ("GFP", "Cy5")
    assert (first.channel, second.channel) == (0, 1)
    assert (first.colour, second.colour) == ("00ff00", "ff0000")
    assert first.zarr_format == (2 if version == "0.4" else 3)
    assert [(a.name, a.length, a.unit) for a in first.axes[1:]] == [("z", 8, "m"), ("y", 64, "m"), ("x", 96, "m")]
    assert [a.scale for a in first.axes[1:]] == pytest.approx([2e-6, 0.5e-6, 0.25e-6])
    assert first.axes[0].channels
    assert first.window is not None
    assert 0 <= first.window[0] < first.window[1] <= 2000


def test_all_images_of_a_folder_and_only_the_first_is_visible(tmp_path: Path) -> None:
    write(tmp_path, "0.4", "a")
    write(tmp_path / "more", "0.5", "b")
    layers = layers_of(tmp_path)
    assert [layer.name for layer in layers] == ["a GFP", "a Cy5", "more/b GFP", "more/b Cy5"]
    assert [layer.visible for layer in layers] == [True, True, False, False]


def test_a_window_that_no_file_gives_is_measured_on_the_smallest_level(tmp_path: Path) -> None:
    path = write(tmp_path, "0.4")
    attributes = json.loads((path / ".zattrs").read_text())
    del attributes["omero"]
    (path / ".zattrs").write_text(json.dumps(attributes))
    first, second = layers_of(path)
    assert (first.name, second.name) == ("channel 0", "channel 1")
    assert first.window == (0.0, 2000.0)
    assert second.window == (0.0, 1000.0)
    assert first.colour != second.colour


def test_images_of_old_versions_have_axes_too(tmp_path: Path) -> None:
    root = zarr.open_group(str(tmp_path / "old.zarr"), "w")
    root.create_dataset("0", data=np.ones((1, 2, 3, 16, 16), np.uint8), dimension_separator="/")
    root.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    layers = layers_of(tmp_path / "old.zarr")
    assert [a.name for a in layers[0].axes] == list("tczyx")
    assert len(layers) == 2
    assert layers[0].window == (1.0, 2.0)


def test_labels_are_objects(tmp_path: Path) -> None:
    path = write(tmp_path, "0.4")
    labels = zarr.open_group(str(path / "labels" / "cells"), "w")
    labels.create_dataset("0", data=np.ones(SHAPE[1:], np.uint16), dimension_separator="/")
    axes = [{"name": a, "type": "space", "unit": "micrometer"} for a in "zyx"]
    scale = [{"type": "scale", "scale": [2.0, 0.5, 0.25]}]
    labels.attrs["multiscales"] = [{"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}]
    labels.attrs["image-label"] = {}
    *_, last = layers_of(path)
    assert last.labels
    assert last.name == "labels/cells" or last.name == "cells"


@pytest.mark.parametrize("version", VERSIONS)
def test_labels_of_dandify_have_their_colours(version: str, tmp_path: Path) -> None:
    path = write(tmp_path, version)
    write_ome_zarr_labels(np.eye(64, 96, dtype="uint16") + np.zeros(SHAPE[1:], "uint16"), path, "cells",
                          colors={1: "00FF00"})  # fmt: skip
    write_ome_zarr_labels(np.zeros(SHAPE[1:], "int64"), path, "wide")
    layers = {layer.name: layer for layer in layers_of(path)}
    assert list(layers) == ["GFP", "Cy5", "cells", "wide"]
    assert dict(layers["cells"].colours) == {1: "#00ff00"}
    assert layers["cells"].labels
    assert layers["cells"].visible
    assert "int64" in layers["wide"].unseen
    with view(path) as shown:
        shows = shown.viewer.state.layers
        assert [layer.name for layer in shows] == ["GFP", "Cy5", "cells"]
        assert shows["cells"].layer.type == "segmentation"
        assert shows["cells"].layer.to_json()["segmentColors"] == {"1": "#00ff00"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_browser_shows_labels_over_the_image(version: str, tmp_path: Path) -> None:
    path = write(tmp_path, version)
    labels = np.zeros(SHAPE[1:], np.uint16)
    labels[:, :32, 48:] = 3  # the quarter that both channels leave dark
    write_ome_zarr_labels(labels, path, "cells", colors={3: "0000FF"})
    found = picture(path, tmp_path).astype(int)
    middle = found.shape[0] // 2, found.shape[1] // 2
    labelled, plain = found[middle[0] - 100, middle[1] + 100], found[middle[0] - 100, middle[1] - 100]
    assert labelled[2] > 60 + max(labelled[0], labelled[1])
    assert plain[1] > 150 > 60 > plain[2]


def one_axis_less(folder: Path) -> Path:
    path = write(folder, "0.4")
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["multiscales"][0]["axes"].pop()
    (path / ".zattrs").write_text(json.dumps(attributes))
    return path


def no_json(folder: Path) -> Path:
    path = write(folder, "0.4")
    (path / ".zattrs").write_text("{")
    return path


def of_doubles(folder: Path) -> Path:
    root = zarr.open_group(str(folder / "doubles.zarr"), "w")
    root.create_dataset("0", data=np.ones((1, 2, 3, 16, 16)), dimension_separator="/")
    root.attrs["multiscales"] = [{"version": "0.1", "datasets": [{"path": "0"}]}]
    return folder / "doubles.zarr"


@pytest.mark.parametrize(("make", "message"), [
    (lambda folder: folder, "no OME-Zarr image in it"),
    (one_axis_less, "3 axes for 4 dimensions"),
    (no_json, "Expecting property name"),
    (of_doubles, "float64 values, which Neuroglancer does not show"),
], ids=["no image", "axes", "no JSON", "float64"])  # fmt: skip
def test_what_is_no_image_is_named(make: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadSource, match=message):
        layers_of(make(tmp_path))


def test_a_plate_of_the_examples_is_described() -> None:
    (layer,) = layers_of(shared("microscopy/omezarr_examples/v04/hcs_example.ome.zarr"))
    assert (layer.name, layer.colour, layer.window) == ("DAPI", "00ffff", (110.0, 800.0))
    assert [a.scale for a in layer.axes] == [1.0, 1e-6, 1.625e-7, 1.625e-7]


def test_files_are_served_in_parts_to_any_page_and_nothing_beside_them(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / ".zattrs").write_bytes(b"0123456789")
    (tmp_path / "secret").write_text("x")
    with served(inner) as url:
        assert url.startswith("http://127.0.0.1:")
        whole = requests.get(f"{url}/.zattrs", headers={"Origin": "https://example.org"}, timeout=10)
        assert whole.content == b"0123456789"
        assert whole.headers["access-control-allow-origin"] == "*"
        for asked, expected in (("bytes=2-4", b"234"), ("bytes=-3", b"789"), ("bytes=8-", b"89")):
            part = requests.get(f"{url}/.zattrs", headers={"Range": asked}, timeout=10)
            assert (part.status_code, part.content) == (206, expected)
        assert requests.head(f"{url}/.zattrs", timeout=10).headers["content-length"] == "10"
        question = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"}
        page = {"Origin": "https://example.org"}
        assert requests.options(f"{url}/.zattrs", headers=page | question, timeout=10).ok
        origin = url.rpartition("/")[0]
        for path in (f"{url}/absent", f"{origin}/.zattrs", f"{url}/%2e%2e/secret", f"{url}/..%2fsecret"):
            assert requests.get(path, timeout=10).status_code == 404
        assert requests.put(f"{url}/new", data=b"x", timeout=10).status_code in (404, 405)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/.zattrs", timeout=10)


def test_without_neuroglancer_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neuroglancer", None)
    done = CliRunner().invoke(main, ["view", str(write(tmp_path, "0.4"))])
    assert done.exit_code == 2
    assert 'pip install "dandify[view]"' in done.output


def test_a_file_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x.tif").write_bytes(b"")
    with pytest.raises(BadRequest, match="no OME-Zarr"), view(tmp_path / "x.tif"):
        pass


def picture(path: Path, folder: Path) -> NDArray[np.uint8]:
    """What Neuroglancer draws of an image, (rows, columns, RGB), once all is loaded."""
    from PIL import Image

    with view(path) as shown:
        with shown.viewer.txn() as state:
            state.layout = "xy"
            state.show_scale_bar = False
        with browser(shown.url, folder, *WEBGL):
            shot = shown.viewer.screenshot(size=[600, 600]).screenshot
    return np.asarray(Image.open(io.BytesIO(shot.image)).convert("RGB"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_browser_shows_the_right_pixels(version: str, tmp_path: Path) -> None:
    """96 x 64 pixels of 0.25 x 0.5 micrometres are 24 x 32 micrometres: higher than wide."""
    found = picture(write(tmp_path, version), tmp_path).astype(int)
    rows, columns = np.nonzero((np.abs(found - found[:, :1]).sum(2) > 60) | (found.sum(2) == 0))
    middle = found.shape[0] // 2, found.shape[1] // 2
    away = 100  # pixels from the middle, in the middle of each quarter
    green, yellow, black, red = (
        found[middle[0] + dy * away, middle[1] + dx * away] for dx, dy in ((-1, -1), (-1, 1), (1, -1), (1, 1))
    )
    assert green[1] > 200 > 60 > max(green[0], green[2])
    assert yellow[0] > 200
    assert yellow[1] > 200
    assert max(black) < 60
    assert red[0] > 200 > 60 > max(red[1], red[2])
    assert rows.size
    assert columns.size


@pytest.mark.timeout(180)
def test_a_browser_shows_a_tile_far_from_the_first(tmp_path: Path) -> None:
    """Neuroglancer puts an image where its translation says; the page must look there."""
    values = np.full((64, 48), 1000, np.uint16)
    values[:32] = 200
    tile = Stream(
        name="tile", kind="Image", axes=("y", "x"), array=MemoryArray(values), scale={"y": 0.5, "x": 0.5},
        origin={"y": -500.0, "x": 38397.25},
    )  # fmt: skip
    path = tmp_path / "tile.ome.zarr"
    write_ome_zarr(tile, path, verify=False)
    (layer,) = layers_of(path)
    assert [a.start for a in layer.axes] == [-1000.0, 76794.5]
    assert len(np.unique(picture(path, tmp_path).reshape(-1, 3), axis=0)) > 1


@pytest.mark.timeout(180)
def test_a_browser_shows_a_real_image(tmp_path: Path) -> None:
    values = tifffile.imread(shared("microscopy/viv_ometiff_zarr/multi-channel.ome.tif"))
    image = tmp_path / "real.ome.zarr"
    write_ome_zarr(values, image, axes="cyx", scale={"y": 1.0, "x": 1.0}, verify=False)
    found = picture(image, tmp_path)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 20


@pytest.mark.timeout(180)
@pytest.mark.parametrize(("version", "dtype"), [("0.4", "uint8"), ("0.5", "uint16")])
def test_a_browser_reads_sorted_bits(version: str, dtype: str, tmp_path: Path) -> None:
    """Frames that are put together here: planes of noise, of uneven bytes, and what is left to Zstandard."""
    values = np.random.default_rng(1).poisson(4, (2, 256, 256)).astype(dtype)
    values[:, :, 128:] += 200
    path = tmp_path / "bits.ome.zarr"
    write_ome_zarr(
        values, path, axes="zyx", scale={"z": 1.0, "y": 1.0, "x": 1.0}, version=version, verify=False,
        compression="blosc-zstd-bits", channels=[Channel("few", color="00FF00")],
    )  # fmt: skip
    green = picture(path, tmp_path)[:, :, 1]
    middle = green.shape[1] // 2
    left, right = green[250:350, middle - 90 : middle - 10], green[250:350, middle + 10 : middle + 90]
    assert left.max() < 60 < 180 < right.min()


def test_the_command_says_what_it_shows_and_where(tmp_path: Path) -> None:
    path = write(tmp_path, "0.5")
    arguments = [sys.executable, "-m", "dandify", "view", str(path), "--no-browser"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(4)]
            assert lines[0] == "GFP: 8 z x 64 y x 96 x"
            assert lines[2].startswith("http://127.0.0.1:")
            assert requests.get(lines[2], timeout=20).ok
        finally:
            process.terminate()
            process.wait(20)


def test_nothing_waits_for_a_browser(tmp_path: Path) -> None:
    begun = time.monotonic()
    with view(write(tmp_path, "0.5")) as shown:
        assert shown.viewer.state.layers["GFP"].layer.local_position.tolist() == [0]
        assert shown.viewer.state.layers["Cy5"].layer.local_position.tolist() == [1]
    assert time.monotonic() - begun < 60
