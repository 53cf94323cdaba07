"""Images that are datasets of an HDF5 file: those that state their axes, and those that the user names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, Source, Stream, Verdict
from dandify.sources.derived import in_order
from dandify.sources.hdf5_stacks import HDF5Image, is_hdf5, opened
from dandify.sources.microscopy import AXES, SPACE, ImageSource, common_sizes, needs_of

_OPTIONS = ("dataset", "axes")
_WORDS = {"time": "t", "channel": "c", "depth": "z", "row": "y", "column": "x"}
_NAME_THEM = (
    "name the dataset and its axes in dandify.yaml: format: hdf5_images, options: {dataset: /imaging, axes: tyx}"
)


class Hdf5Images(Converter):
    """Datasets of HDF5 files."""

    name = "hdf5_images"
    title = "Images in HDF5"
    patterns = ("*.h5", "*.hdf5", "*.hdf")
    looks_like = (
        "a .h5 file with datasets that state their axes (dimension labels, ilastik's axistags, element_size_um)"
    )
    becomes = "an OME-Zarr image for each of these datasets, or for those that are named in dandify.yaml"
    priority = 900  # many formats are HDF5: whoever knows a special one is asked before

    def identify(self, path: Path) -> Verdict:
        """Look for datasets that state what their axes are."""
        if not is_hdf5(path):
            return Verdict(False, "does not begin as HDF5 does")
        try:
            with opened(path) as file:
                if "nwb_version" in file.attrs or ".specloc" in file.attrs:
                    return Verdict(False, "is an NWB file")
                found = [dataset.name for dataset, _ in _stated(file)]
                empty = [f"{d.name} has no values: its shape is {d.shape}" for _, d in _datasets(file) if _is_empty(d)]
        except BadSource as error:
            return Verdict(False, error.cause)
        if not found and empty:
            return Verdict(False, empty[0])
        if not found:
            return Verdict(False, f"none of its datasets states its axes; {_NAME_THEM}")
        return Verdict(True, f"{found[0]} states its axes" + (f", {len(found) - 1} more do" if len(found) > 1 else ""))

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read shapes and attributes; no values.

        Parameters
        ----------
        path
            The file.
        options
            ``dataset``: the name, or names, of what is to be taken; ``axes``: its axes as it is stored, such as
            ``tyx``, where it does not state them or states others.
        """
        path = Path(os.path.abspath(path))
        named, axes = _options(options, path)
        with opened(path) as file:
            chosen = list(_chosen(file, named, axes, path))
            streams = tuple(_stream(dataset, letters, len(chosen), path) for dataset, letters in chosen)
        facts: dict[str, Any] = {}
        if sizes := common_sizes(streams):
            facts["pixel_size_um"] = sizes
        names = {tuple(c.name for c in s.channels) for s in streams} - {()}
        if len(names) == 1:
            facts["channel_names"] = names.pop()
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=streams, facts=facts, needs=needs_of(streams, path),
            axes_stated=True,
        )  # fmt: skip


def _options(options: Mapping[str, Any], path: Path) -> tuple[tuple[str, ...], str | None]:
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise BadRequest(f"no option {unknown[0]!r}", file=path, remedy=f"options are {', '.join(_OPTIONS)}")
    named, axes = options.get("dataset", ()), options.get("axes")
    names = (named,) if isinstance(named, str) else tuple(map(str, named))
    if axes is None:
        return names, None
    letters = "".join(axes).lower()
    if not set(letters) <= set(AXES) or len(set(letters)) != len(letters) or not {"y", "x"} <= set(letters):
        raise BadRequest(
            f"axes {axes!r}: they are letters out of t c z y x, each once, y and x among them", file=path,
            remedy="axes: tyx for frames in time, axes: zyx for planes in depth",
        )  # fmt: skip
    if not names:
        raise BadRequest("axes are given without the dataset that has them", file=path, remedy=_NAME_THEM)
    return names, letters


def _chosen(file: Any, named: Sequence[str], axes: str | None, path: Path) -> Iterator[tuple[Any, str]]:
    """Datasets to be taken, with the letters of their axes."""
    if not named:
        found = list(_stated(file))
        if not found:
            raise BadSource("none of its datasets states its axes", file=path, remedy=_NAME_THEM)
        yield from found
        return
    for name in named:
        dataset = file.get(name)
        if not _is_dataset(dataset):
            have = ", ".join(n for n, d in _datasets(file) if d.ndim >= 2) or "none"
            raise BadRequest(f"has no dataset {name!r}", file=path, remedy=f"datasets of two axes and more: {have}")
        letters = axes or _axes_of(dataset)
        if letters is None:
            raise BadRequest(
                f"{name} of shape {dataset.shape} does not state its axes", file=path, place=name,
                remedy="say what they are: options: {dataset: ..., axes: tyx}",
            )  # fmt: skip
        if len(letters) != dataset.ndim:
            raise BadRequest(
                f"axes {letters!r} for the shape {dataset.shape}", file=path, place=name,
                remedy="name every axis, in the order in which it is stored",
            )  # fmt: skip
        yield dataset, letters


def _stream(dataset: Any, letters: str, count: int, path: Path) -> Stream:
    sizes = _sizes_of(dataset, letters)
    array, axes = in_order(HDF5Image.of(path, dataset), tuple(letters), ("y", "x"))
    channels = _channels_of(dataset, dict(zip(axes, array.shape, strict=True)).get("c", 1))
    return Stream(
        name=dataset.name.strip("/").replace("/", "_") if count > 1 else path.stem, kind="Image", axes=axes,
        array=array, scale={a: v for a, v in sizes.items() if a in axes}, channels=channels,
        description=f"Dataset {dataset.name} of {path.name}",
    )  # fmt: skip


def _stated(file: Any) -> Iterator[tuple[Any, str]]:
    """Yield the datasets of numbers that state their axes, y and x among them."""
    for _, dataset in _datasets(file):
        if dataset.dtype.kind in "iuf" and 0 not in dataset.shape and (letters := _axes_of(dataset)):
            yield dataset, letters


def _is_empty(dataset: Any) -> bool:
    return 0 in dataset.shape and _axes_of(dataset) is not None


def _datasets(file: Any) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    file.visititems(lambda name, item: found.append((f"/{name}", item)) if _is_dataset(item) else None)
    return found


def _is_dataset(item: Any) -> bool:
    return hasattr(item, "ndim") and hasattr(item, "dtype") and item.shape is not None


def _axes_of(dataset: Any) -> str | None:
    """Letters of the axes: by HDF5's dimension labels, by ilastik's axistags, or the three of ImageJ's element size."""
    words: list[str] = [_word(label) for label in dataset.attrs.get("DIMENSION_LABELS", ())]
    if not any(words) and "axistags" in dataset.attrs:
        try:
            words = [str(axis["key"]) for axis in json.loads(dataset.attrs["axistags"])["axes"]]
        except (ValueError, KeyError, TypeError):
            words = []
    if not any(words) and dataset.ndim == 3 and len(_element_size(dataset)) == 3:
        words = ["z", "y", "x"]
    letters = [_WORDS.get(w.lower(), w.lower()) for w in words]
    fits = len(letters) == dataset.ndim and set(letters) <= set(AXES) and len(set(letters)) == len(letters)
    return "".join(letters) if fits and {"y", "x"} <= set(letters) else None


def _sizes_of(dataset: Any, letters: str) -> dict[str, float]:
    """Micrometres by ``element_size_um`` (z y x), which ImageJ's HDF5 plug-ins and ilastik's users write."""
    sizes = dict(zip(SPACE, _element_size(dataset), strict=False))
    return {a: float(v) for a, v in sizes.items() if a in letters and v > 0}


def _element_size(dataset: Any) -> list[float]:
    value = dataset.attrs.get("element_size_um")
    if value is None or getattr(value, "shape", None) != (3,) or value.dtype.kind not in "iuf":
        return []
    return [float(v) for v in value]


def _channels_of(dataset: Any, count: int) -> tuple[Channel, ...]:
    names = [_word(n) for n in dataset.attrs.get("channel_names", ())]
    return tuple(map(Channel, names)) if len(names) == count else ()


def _word(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


converter = Hdf5Images()
