"""Two-photon movies as NWB: device, imaging planes, optical channels and one TwoPhotonSeries for each channel.

The objects are built here rather than by neuroconv (0.10). Its imaging interfaces need roiextractors, whose version
0.10 keeps all files open, counts the pages of ScanImage in 16 bits (beyond 65,536 frames it gives others), takes the
rate that was set for the one that was reached, and refuses Bruker's volumes whose stated rates differ in the last
digit, and stacks of one volume. The arrangement is theirs: an imaging plane for each channel, frames as (t, x, y[, z]).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from dandify.errors import BadRequest
from dandify.sources.contract import NWBSource
from dandify.sources.derived import Moved, Transposed

if TYPE_CHECKING:
    from pathlib import Path

    from pynwb import NWBFile

UNKNOWN: Final = "unknown"  # NWB requires an indicator and a location of imaging planes; microscopes state neither
OPTIONS: Final = ("as", "indicator", "location", "excitation_nm")
_REGULAR: Final = 0.01  # of a period: what the times of a regular series may differ from a grid


@dataclass(frozen=True)
class Optics:
    """What is known of the light path.

    Attributes
    ----------
    device, device_description
        The microscope.
    excitation_nm
        Wavelength of the laser; None where not stated.
    indicator, location
        As the user says; None where nobody does.
    """

    device: str
    device_description: str | None = None
    excitation_nm: float | None = None
    indicator: str | None = None
    location: str | None = None


@dataclass(frozen=True, kw_only=True)
class TwoPhotonSource(NWBSource):
    """Movies of a two-photon microscope, one stream (t[, z], y, x) for each channel.

    Attributes
    ----------
    optics
        Of all streams.
    details
        More fields of a TwoPhotonSeries (``pmt_gain``, ``scan_line_rate``) by the stream's name.
    """

    optics: Optics
    details: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add the microscope, and an imaging plane and a series for each stream."""
        from pynwb.ophys import OpticalChannel, TwoPhotonSeries

        from dandify.sources.deferred import Deferred
        from dandify.sources.neuroconv import add_device, free_name

        about = {"name": self.optics.device, "description": self.optics.device_description}
        device = add_device(nwbfile, {k: v for k, v in about.items() if v})
        for stream in self.streams:
            assert stream.array is not None
            name = free_name(nwbfile, stream.name)
            channel = stream.channels[0]
            emission = channel.wavelength_nm if channel.wavelength_nm is not None else math.nan
            optical = OpticalChannel(
                name=_named(channel.name) or "OpticalChannel", description=f"Channel {channel.name}.",
                emission_lambda=emission,
            )  # fmt: skip
            spacing = [stream.scale[a] * 1e-6 for a in "xyz" if a in stream.scale and a in stream.axes]
            whole = len(spacing) == len(stream.axes) - 1
            excitation = self.optics.excitation_nm
            plane = nwbfile.create_imaging_plane(
                name=f"ImagingPlane{name.removeprefix('TwoPhotonSeries')}", optical_channel=optical, device=device,
                description=f"Imaging plane of {name}.", indicator=self.optics.indicator or UNKNOWN,
                location=self.optics.location or UNKNOWN,
                excitation_lambda=float(excitation) if excitation is not None else math.nan,
                **({"imaging_rate": stream.rate_hz} if stream.rate_hz else {}),
                **({"grid_spacing": spacing, "grid_spacing_unit": "meters"} if spacing and whole else {}),
            )  # fmt: skip
            when: dict[str, Any] = {"rate": stream.rate_hz, "starting_time": stream.starting_time_s + shift_s}
            if stream.timestamps is not None:
                when = {"timestamps": Deferred(Moved(stream.timestamps, shift_s))}
            order = tuple(stream.axes.index(a) for a in "txyz" if a in stream.axes)
            nwbfile.add_acquisition(TwoPhotonSeries(
                name=name, description=stream.description or f"{stream.name} of {self.path.name}",
                data=Deferred(Transposed(stream.array, order)), imaging_plane=plane, unit="n.a.", **when,
                **self.details.get(stream.name, {}),
            ))  # fmt: skip


def require_options(options: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Return the options of a two-photon source, checked.

    Raises
    ------
    dandify.errors.BadRequest
        If one is unknown or has no meaning.
    """
    for key, value in options.items():
        if key not in OPTIONS:
            raise BadRequest(f"no option {key!r}", file=path, remedy=f"options are {', '.join(OPTIONS)}")
        if key == "as" and value not in ("series", "image"):
            raise BadRequest(f"as: {value!r}", file=path, remedy="series (NWB TwoPhotonSeries) or image (OME-Zarr)")
        if key == "excitation_nm" and not (isinstance(value, int | float) and 200 < value < 3000):
            raise BadRequest(f"excitation_nm: {value!r}", file=path, remedy="give the wavelength in nanometres: 920")
    return MappingProxyType(dict(options))


def timing(times_s: list[float]) -> dict[str, Any]:
    """Return rate and start of a stream where its times are regular, else the times.

    Parameters
    ----------
    times_s
        Of the frames or volumes in seconds after the start of the source. A single one has no rate.
    """
    import numpy as np

    from dandify.sources.arrays import MemoryArray

    times = np.asarray(times_s, np.float64)
    if len(times) == 1:
        return {"timestamps": MemoryArray(times), "starting_time_s": float(times[0])}
    period = float(times[-1] - times[0]) / (len(times) - 1)
    grid = times[0] + period * np.arange(len(times))
    if period > 0 and float(np.abs(times - grid).max()) <= _REGULAR * period:
        return {"rate_hz": 1 / period, "starting_time_s": float(times[0])}
    return {"timestamps": MemoryArray(times), "starting_time_s": float(times[0])}


def series_name(channel: str, number: int | None, several: bool) -> str:
    """Return the name of the series of a channel; the number of the run where there are several runs."""
    name = "TwoPhotonSeries" + (f"_{_named(channel)}" if several and channel else "")
    return name if number is None else f"{name}_{number}"


def as_image(options: Mapping[str, Any], times: int) -> bool:
    """Whether an acquisition becomes OME-Zarr: on request, and a single volume or frame if nothing is requested."""
    return bool(options.get("as", "image" if times == 1 else "series") == "image")


def _named(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text.strip()).strip("_")
