"""Reads what an NWB file says of how electrical signals were recorded: probes, electrodes, channels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from dandify.dandiset.ephys_content import Channel, EphysContent
from dandify.dandiset.ephys_electrodes import PIPETTE_COLUMNS, Sites, is_pipette, pipette, probes
from dandify.dandiset.ephys_names import first_unique, joined, known, number
from dandify.dandiset.nwb_tree import children, is_array, is_one, link_of, open_tree, plain, span_of, text_of

_ICEPHYS: Final = "general/intracellular_ephys"
_PLACES: Final = ("acquisition", "processing")  # what was recorded and made of it; not what was given as a stimulus
_UNITS: Final = {"volts": "V", "volt": "V", "amperes": "A", "ampere": "A", "amps": "A"}
_SHIFT: Final = "inter_sample_shift"  # SpikeInterface's column: a part of the sampling interval
_BAND: Final = re.compile("[A-Za-z]+")
_CLAMPS: Final = {  # kind of channel and mode: what is recorded is what is not clamped
    "VoltageClampSeries": ("IM", "voltage-clamp"), "CurrentClampSeries": ("VM", "current-clamp"),
    "IZeroClampSeries": ("VM", "I=0"),
}  # fmt: skip


def read_ephys(path: Path, kind: Literal["nwb", "nwb-zarr"]) -> EphysContent:
    """Read tables and attributes of an NWB file, HDF5 or Zarr v2; no recordings.

    Raises
    ------
    BadSource
        If it is damaged.
    """
    with open_tree(path, kind) as root:
        sites = Sites(root)
        pipettes = {name: group for name, group in children(root.get(_ICEPHYS)) if is_pipette(group)}
        named = _apart(pipettes, {electrode.name for electrode in sites.electrodes})
        series = [s for place in _PLACES for s in _series_below(root.get(place))]
        recorded = [s for s in series if s.group.get("electrodes") is not None]
        clamped = [s for s in series if link_of(s.group, "electrode") in pipettes]
        spans = [span for s in (*recorded, *clamped) for span in span_of(s.group)]
        electrodes = (*sites.electrodes, *(pipette(named[name], group) for name, group in pipettes.items()))
        columns = {key: text for key, text in PIPETTE_COLUMNS.items() if any(key in e.more for e in electrodes)}
        used = [*sites.devices.values(), *(link_of(group, "device") for group in pipettes.values())]
        return EphysContent(
            probes=tuple(probes(root, used)),
            electrodes=electrodes,
            channels=tuple(_named_apart((*_electrical(recorded, sites), *_clamped(clamped, named)))),
            columns={**sites.columns, **{key: text for key, text in columns.items() if key not in sites.columns}},
            institution=text_of(root["general"], "institution") if "general" in root else None,
            duration_s=max(end for _, end in spans) - min(begin for begin, _ in spans) if spans else None,
        )


@dataclass(frozen=True)
class _Series:
    """A series of samples, and the neurodata type of what it lies in."""

    name: str
    group: Any
    container: str | None

    @property
    def type(self) -> str | None:
        return plain(self.group.attrs.get("neurodata_type"))

    def channel(self) -> Channel:
        """Return what holds for every channel of it; the name is still to be found."""
        stored, start = self.group["data"].attrs, self.group.get("starting_time")
        unit = plain(stored.get("unit"))
        return Channel(
            name="",
            electrode=None,
            streams=(self.name,),
            unit=_UNITS.get(unit.lower(), unit) if unit else None,
            rate_hz=number(start.attrs.get("rate")) if hasattr(start, "shape") else None,
            conversion=number(stored.get("conversion")),
            offset=number(stored.get("offset")) or None,
            filtering=known(plain(self.group.attrs.get("filtering"))),
        )


def _series_below(place: Any, container: str | None = None) -> Iterator[_Series]:
    """Yield the series with data at any depth of a place, in the order of their names."""
    for name, group in children(place):
        if hasattr(group, "shape") or "colnames" in group.attrs:  # a table may have a column of data, too
            continue
        if hasattr(group.get("data"), "shape"):
            yield _Series(name, group, container)
        else:
            yield from _series_below(group, plain(group.attrs.get("neurodata_type")))


def _electrical(recorded: Sequence[_Series], sites: Sites) -> Iterator[Channel]:
    """Yield the channels of ElectricalSeries; if names would repeat, that of the series goes before each."""
    found: list[tuple[Channel, int]] = []
    for series in recorded:
        shared = replace(
            series.channel(),
            kind="LFP" if series.container == "LFP" else "SPIKES" if series.type == "SpikeEventSeries" else None,
        )
        region, factors = series.group["electrodes"], series.group.get("channel_conversion")
        rows = [int(row) for row in np.ravel(region[...])] if is_array(region) else []
        each = np.ravel(factors[...]) if is_array(factors) else np.ones(len(rows))
        for row, factor in zip(rows, each, strict=False):
            if not 0 <= row < len(sites.electrodes):  # `validate` tells of damaged files
                continue
            shift = sites.number(_SHIFT, row)
            channel = replace(
                shared,
                electrode=sites.electrodes[row].name,
                conversion=None if shared.conversion is None else shared.conversion * float(factor),
                time_offset_s=None if shift is None or not shared.rate_hz else shift / shared.rate_hz,
                reference=sites.text("reference", row),
                filtering=shared.filtering or sites.text("filtering", row),
            )
            found.append((channel, row))
    streams = [channel.streams[0] for channel, _ in found]
    own = [_of_band(sites.channel_name(row), channel) for channel, row in found]
    numbered = [f"ch{sites.label(row)}" for _, row in found]
    plain_names = [own] if any(own) else [numbered]
    names = first_unique(*plain_names, joined(streams, own), joined(streams, numbered))
    yield from (replace(channel, name=name) for (channel, _), name in zip(found, names, strict=True))


def _of_band(name: str | None, channel: Channel) -> str | None:
    """Return which channel of an electrode a series holds: neuroconv names an electrode's both, ``AP0,LF0``.

    It is the one whose letters are in the name of the series, or of LFP the one that begins with LF; else all of them.
    """
    names = [part.strip() for part in (name or "").split(",")]
    if len(names) < 2:
        return name
    own = [one for one in names if (band := _BAND.match(one)) and band[0] in channel.streams[0]]
    if len(own) != 1 and channel.kind == "LFP":
        own = [one for one in names if one.startswith("LF")]
    return own[0] if len(own) == 1 else name


def _clamped(clamped: Sequence[_Series], named: Mapping[str, str]) -> Iterator[Channel]:
    """Yield a channel for each way in which a pipette recorded: sweeps that differ in their time only are of one."""
    sweeps: dict[Channel, list[str]] = {}
    for series in clamped:
        kind, mode = _CLAMPS.get(series.type or "", (None, None))
        gain, electrode = series.group.get("gain"), link_of(series.group, "electrode") or ""
        channel = replace(
            series.channel(), streams=(), electrode=named[electrode], kind=kind, mode=mode,
            gain=number(gain[()]) if is_one(gain) else None,
        )  # fmt: skip
        sweeps.setdefault(channel, []).append(series.name)
    electrodes = [channel.electrode for channel in sweeps]
    modes = [channel.mode for channel in sweeps]
    firsts = [streams[0] for streams in sweeps.values()]
    names = first_unique(electrodes, joined(electrodes, modes), firsts)
    for name, (channel, streams) in zip(names, sweeps.items(), strict=True):
        yield replace(channel, name=name, streams=tuple(streams))


def _apart(names: Iterable[str], taken: set[str]) -> dict[str, str]:
    """Return what pipettes are called: by their names, unless an extracellular electrode has it."""
    return {name: f"{name}_intracellular" if name in taken else name for name in names}


def _named_apart(channels: Sequence[Channel]) -> Iterator[Channel]:
    names = first_unique([channel.name for channel in channels])
    yield from (replace(channel, name=name) for channel, name in zip(channels, names, strict=True))
