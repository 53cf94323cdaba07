"""Shows OME-Zarr images in Neuroglancer, in a browser of this machine and without the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dandify.archive.static import served
from dandify.errors import BadRequest
from dandify.report.view_layers import Axis, Layer, layers_of

SCREEN_PIXELS = 700  # a view is made to fit so many
ORDER = "xyzt"  # the first two are shown; files have them the other way round
_LOCAL = "'"  # marks a dimension of a layer alone, to Neuroglancer
_SHADER = """#uicontrol invlerp window
#uicontrol vec3 color color(default="#{colour}")
void main() {{
  emitRGB(color * window());
}}
"""


@dataclass(frozen=True)
class Viewing:
    """Images that are being shown.

    Attributes
    ----------
    url
        Page to open.
    layers
        What it shows.
    viewer
        Neuroglancer's, for programs: its state can be changed, and `screenshot` be asked for while a page is open.
    """

    url: str
    layers: tuple[Layer, ...]
    viewer: Any


@contextmanager
def view(path: Path | str, *, port: int = 0) -> Iterator[Viewing]:
    """Show the images of a folder while the block runs: a layer for each channel, with colours, windows and scale.

    Parameters
    ----------
    path
        An OME-Zarr image, a plate, or a folder of images.
    port
        Of the files, on 127.0.0.1; 0 takes a free one. The page has a port of its own.

    Raises
    ------
    BadRequest
        If Neuroglancer is not installed, or the port is taken.
    BadSource
        If there is no image.
    """
    root = Path(path).resolve()
    if not root.is_dir():
        what = "no OME-Zarr, which is a folder" if root.exists() else "no such folder"
        raise BadRequest(what, file=root, remedy="give the folder of an image: NAME.ome.zarr")
    neuroglancer = _neuroglancer()
    layers = layers_of(root)
    with served(root, port=port) as url:
        neuroglancer.set_server_bind_address("127.0.0.1")
        viewer = neuroglancer.Viewer()
        try:
            with viewer.txn() as state:
                _fill(neuroglancer, state, layers, root, url)
            yield Viewing(str(viewer), layers, viewer)
        finally:
            neuroglancer.stop()


def _neuroglancer() -> Any:
    try:
        import neuroglancer
    except ImportError as error:
        raise BadRequest("Neuroglancer is not installed", remedy='pip install "dandify[view]"') from error
    return neuroglancer


def _fill(neuroglancer: Any, state: Any, layers: Sequence[Layer], root: Path, url: str) -> None:
    """Describe layers, and a place and size from which the first of them is seen whole."""
    shown = next((layer for layer in layers if layer.visible), layers[0])
    seen = sorted((a for a in shown.axes if a.name in ORDER), key=lambda a: ORDER.index(a.name))
    state.dimensions = _space(neuroglancer, seen)
    state.position = [a.start + (a.length / 2 if a.name != "t" else 0) for a in seen]
    if len(seen) > 1:
        finest = seen[0].scale
        state.cross_section_scale = max(a.length * a.scale / finest for a in seen[:2]) / SCREEN_PIXELS
    state.layout = "xy" if prod(a.length for a in seen if a.name == "z") < 2 else "4panel"
    state.show_slices = False
    state.show_axis_lines = False
    for layer in (one for one in layers if not one.unseen):
        state.layers.append(
            name=_free(layer.name, state.layers), layer=_layer(neuroglancer, layer, root, url), visible=layer.visible
        )


def _layer(neuroglancer: Any, layer: Layer, root: Path, url: str) -> Any:
    inner = layer.folder.relative_to(root).as_posix()
    place = url if inner == "." else f"{url}/{quote(inner)}"
    source = neuroglancer.LayerDataSource(
        url=f"{place}/|zarr{layer.zarr_format}:",
        transform=neuroglancer.CoordinateSpaceTransform(output_dimensions=_space(neuroglancer, layer.axes)),
    )
    if layer.labels:
        return neuroglancer.SegmentationLayer(source=source, segment_colors=dict(layer.colours))
    local = [a for a in layer.axes if a.channels]
    controls = {"window": {"range": list(layer.window)}} if layer.window else {}
    return neuroglancer.ImageLayer(
        source=source, blend="additive", opacity=1.0, shader=_SHADER.format(colour=layer.colour),
        shader_controls=controls, local_dimensions=_space(neuroglancer, local),
        local_position=[layer.channel or 0 for _ in local],
    )  # fmt: skip


def _space(neuroglancer: Any, axes: Sequence[Axis]) -> Any:
    return neuroglancer.CoordinateSpace(
        names=[a.name + (_LOCAL if a.channels else "") for a in axes], units=[a.unit for a in axes],
        scales=[a.scale for a in axes],
    )  # fmt: skip


def _free(name: str, layers: Any) -> str:
    taken = {layer.name for layer in layers}
    return next(n for n in (name, *(f"{name} ({k})" for k in range(2, len(taken) + 3))) if n not in taken)
