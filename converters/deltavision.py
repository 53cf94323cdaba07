"""DeltaVision (softWoRx) images: one file of uncompressed sections."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dandify.errors import BadRequest
from dandify.sources import Converter, Source, Stream, TiffPages, Verdict
from dandify.sources.microscopy import ImageSource, arrange, common_sizes, needs_of
from dandify.sources.tiff import PageRef
from dandify.sources.vendors.deltavision import HEADER_BYTES, is_deltavision, read_deltavision


class DeltaVisionConverter(Converter):
    """DeltaVision files."""

    name = "deltavision"
    title = "DeltaVision"
    patterns = ("*.dv", "*.r3d", "*.r3d_d3d")
    looks_like = "NAME.dv or NAME.r3d"
    becomes = "an OME-Zarr image"

    def identify(self, path: Path) -> Verdict:
        """Look for the mark in the header."""
        try:
            with path.open("rb") as file:
                yes = is_deltavision(file.read(HEADER_BYTES))
        except OSError as error:
            return Verdict(False, f"cannot be read: {error.strerror}")
        return Verdict(yes, "has the mark of DeltaVision in its header" if yes else "has no mark of DeltaVision")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the headers; no pixels."""
        path = Path(os.path.abspath(path))
        if options:
            raise BadRequest(f"a DeltaVision file has no option {', '.join(options)}", file=path)
        found = read_deltavision(path)
        count = math.prod(found.lengths)
        places = [found.data + i * found.section_bytes for i in range(count)]
        # Sections are what an uncompressed page of a TIFF is: a run of values.
        pages = TiffPages(
            (path,), tuple(PageRef(0, place, place, found.order) for place in places), (count,), found.height,
            found.width, np.dtype(found.dtype),
        )  # fmt: skip
        array, axes = arrange(pages, found.axes, found.lengths)
        stream = Stream(
            name=path.stem, kind="Image", axes=axes, array=array, channels=found.channels,
            scale={a: v for a, v in found.scale.items() if a in axes},
        )  # fmt: skip
        facts: dict[str, Any] = {
            "pixel_size_um": common_sizes([stream]), "time_increment_s": stream.scale.get("t"),
            "channel_names": tuple(c.name for c in found.channels),
            "objective": f"lens {found.lens} of softWoRx" if found.lens > 0 else "",
        }  # fmt: skip
        return ImageSource(
            format=self.name, path=path, files=(path,), streams=(stream,), facts={k: v for k, v in facts.items() if v},
            needs=needs_of((stream,), path), axes_stated=True,
        )  # fmt: skip


converter = DeltaVisionConverter()
