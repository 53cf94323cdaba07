"""Adds the streams of a plain Source to an NWBFile, each by its kind; big arrays stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pynwb import NWBFile, TimeSeries
from pynwb.image import ImageSeries

from dandify.errors import BadRequest
from dandify.nwb.electrodes import add_electrical_series
from dandify.nwb.parts import Picked, Upright, data_of, description_of, nwb_name, unique_name
from dandify.nwb.tables import add_events, add_intervals
from dandify.sources.contract import Array, Channel, Source, Stream
from dandify.sources.derived import Moved
from dandify.sources.neuroconv import add_device


def add_streams(
    nwbfile: NWBFile, source: Source, *, shift_s: float = 0.0, external: Mapping[Path, str] | None = None
) -> None:
    """Add every stream of a source, but its images, which become OME-Zarr.

    Parameters
    ----------
    nwbfile
        The session's file. A name that is taken gets that of the source behind it, then a number.
    source
        An acquisition whose converter builds no NWB objects itself.
    shift_s
        Start of this source in seconds after the session's start.
    external
        How the NWB is to name files kept beside it; their absolute paths if absent.

    Raises
    ------
    BadRequest
        If NWB needs more for a kind than a stream says.
    """
    adders: dict[str, Callable[[NWBFile, Source, Stream, float], None]] = {
        "ElectricalSeries": _electrical, "LFP": _electrical, "TimeSeries": _time_series,
        "TimeIntervals": add_intervals, "EventsTable": add_events,
    }  # fmt: skip
    for stream in source.streams:
        if stream.kind == "Image":
            continue
        if stream.kind == "ImageSeries" and stream.external_files:
            _external(nwbfile, source, stream, shift_s, external or {})
        elif stream.kind in adders:
            adders[stream.kind](nwbfile, source, stream, shift_s)
        else:
            raise BadRequest(
                f"{stream.kind} needs objects that a stream does not describe", file=source.path, place=stream.name,
                remedy=f"make the source of the converter {source.format!r} an NWBSource, which adds them itself",
            )  # fmt: skip


def timing_of(source: Source, stream: Stream, shift_s: float) -> dict[str, Any]:
    """Return rate and starting time, or timestamps, in seconds after the session's start.

    Raises
    ------
    BadRequest
        If the stream has neither.
    """
    if stream.rate_hz:
        return {"rate": float(stream.rate_hz), "starting_time": float(stream.starting_time_s + shift_s)}
    if stream.timestamps is not None:
        return {"timestamps": data_of(Moved(stream.timestamps, shift_s))}
    raise BadRequest("neither a rate nor times of its samples are known", file=source.path, place=stream.name)


def _electrical(nwbfile: NWBFile, source: Source, stream: Stream, shift_s: float) -> None:
    array = _array(source, stream)
    if stream.axes == ("t", "c"):
        data = data_of(array)
    elif stream.axes == ("t",):
        data = data_of(Upright(array))
    else:
        raise BadRequest(f"axes {stream.axes} are not those of a recording", file=source.path, place=stream.name)
    add_electrical_series(
        nwbfile, source, stream, name=unique_name(nwbfile, stream.name, source), data=data,
        timing=timing_of(source, stream, shift_s), description=description_of(source, stream),
    )  # fmt: skip


def _time_series(nwbfile: NWBFile, source: Source, stream: Stream, shift_s: float) -> None:
    """Add one TimeSeries, or one for each set of channels that share unit, gain and offset: NWB has one of each."""
    array = _array(source, stream)
    groups: dict[tuple[str, float, float], list[int]] = {}
    for i, channel in enumerate(stream.channels if stream.axes[-1:] == ("c",) else ()):
        groups.setdefault(_scaling(stream, channel), []).append(i)
    if not groups:
        only = stream.channels[0] if len(stream.channels) == 1 else Channel("")
        groups[_scaling(stream, only)] = []
    units = [unit for unit, _, _ in groups]
    for number, ((unit, conversion, offset), columns) in enumerate(groups.items()):
        name = stream.name
        if len(groups) > 1:
            same = units[:number].count(unit)
            name += f"_{unit}_{same + 1}" if same else f"_{unit}"
        description = description_of(source, stream)
        if columns:
            description += f". Channels: {', '.join(stream.channels[i].name for i in columns)}"
        series = TimeSeries(
            name=unique_name(nwbfile, name, source),
            data=data_of(array if len(groups) == 1 else Picked(array, tuple(columns))),
            unit=unit,
            conversion=conversion,
            offset=offset,
            description=description,
            **timing_of(source, stream, shift_s),
        )
        nwbfile.add_acquisition(series)


def _scaling(stream: Stream, channel: Channel) -> tuple[str, float, float]:
    if channel.gain is None and channel.offset is None:
        conversion, offset = stream.conversion, stream.offset
    else:
        conversion, offset = channel.gain if channel.gain is not None else 1.0, channel.offset or 0.0
    return channel.unit or stream.unit or "unknown", float(conversion), float(offset)


def _external(nwbfile: NWBFile, source: Source, stream: Stream, shift_s: float, external: Mapping[Path, str]) -> None:
    if len(stream.external_files) != 1:
        raise BadRequest("has several files, and a stream does not say where each begins", file=source.path,
                         place=stream.name, remedy="make a stream of each file")  # fmt: skip
    (file,) = stream.external_files
    sizes = dict(zip(stream.axes, stream.shape, strict=True))
    timing = timing_of(source, stream, shift_s)
    if "rate" in timing:
        timing["num_samples"] = sizes["t"]
    if "device" in source.facts:
        timing["device"] = add_device(nwbfile, {"name": nwb_name(str(source.facts["device"]))})
    nwbfile.add_acquisition(
        ImageSeries(
            name=unique_name(nwbfile, stream.name, source),
            external_file=[external.get(file, file.as_posix())],
            format="external",
            starting_frame=[0],
            dimension=[sizes["x"], sizes["y"]],
            description=description_of(source, stream),
            **timing,
        )
    )


def _array(source: Source, stream: Stream) -> Array:
    if stream.array is None:
        raise BadRequest(f"{stream.kind} without samples", file=source.path, place=stream.name)
    return stream.array
