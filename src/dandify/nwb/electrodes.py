"""Adds an ElectricalSeries with device, group and electrodes for streams whose converter builds none."""

from __future__ import annotations

from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.ecephys import LFP, ElectricalSeries, ElectrodeGroup

from dandify.errors import BadRequest
from dandify.sources.contract import Source, Stream
from dandify.sources.neuroconv import UNKNOWN_LOCATION, add_device

_VOLTS = {
    "volts": 1.0, "volt": 1.0, "V": 1.0, "millivolts": 1e-3, "mV": 1e-3,
    "microvolts": 1e-6, "uV": 1e-6, "µV": 1e-6, "μV": 1e-6,
}  # fmt: skip
_CHANNEL_NAME = "channel_name"


def add_electrical_series(
    nwbfile: NWBFile, source: Source, stream: Stream, *, name: str, data: Any, timing: dict[str, Any], description: str
) -> None:
    """Add a recording to acquisition, or to the LFP container of the ``ecephys`` module.

    Parameters
    ----------
    nwbfile
        The session's file; electrodes that another stream of the source has added are shared.
    source, stream
        Whose channels name the electrodes and give the gains.
    name, data, timing, description
        Fields of the series: data is (samples, channels).

    Raises
    ------
    BadRequest
        If the values cannot be stated in volts.
    """
    count = stream.shape[1] if len(stream.shape) > 1 else 1
    names = [c.name for c in stream.channels] or [str(i) for i in range(count)]
    rows = _electrodes(nwbfile, source, names)
    series = ElectricalSeries(
        name=name,
        data=data,
        electrodes=nwbfile.create_electrode_table_region(rows, f"Electrodes of {stream.name}."),
        description=description,
        **_volts(source, stream),
        **timing,
    )
    if stream.kind == "LFP":
        _lfp(nwbfile).add_electrical_series(series)
    else:
        nwbfile.add_acquisition(series)


def _volts(source: Source, stream: Stream) -> dict[str, Any]:
    """Conversion to volts: one factor where all channels share it, else one for each channel."""
    scalings = []
    for channel in stream.channels or (None,):
        unit = (channel and channel.unit) or stream.unit
        if unit not in _VOLTS:
            raise BadRequest(
                f"its unit is {unit or 'not stated'}, and an ElectricalSeries is in volts", file=source.path,
                place=stream.name, remedy="let the converter state unit and gain, or make it a TimeSeries",
            )  # fmt: skip
        own = channel is not None and (channel.gain is not None or channel.offset is not None)
        gain = (channel.gain if channel.gain is not None else 1.0) if channel and own else stream.conversion
        offset = (channel.offset or 0.0) if channel and own else stream.offset
        scalings.append((gain * _VOLTS[unit], offset * _VOLTS[unit]))
    gains, offsets = ({s[i] for s in scalings} for i in (0, 1))
    if len(offsets) > 1:
        raise BadRequest(
            "its channels have different offsets, and NWB has one for all", file=source.path, place=stream.name,
            remedy="make a stream of the channels of each offset",
        )  # fmt: skip
    fields = {"offset": float(offsets.pop())}
    if len(gains) == 1:
        return {"conversion": float(gains.pop()), **fields}
    return {"conversion": 1.0, "channel_conversion": [float(gain) for gain, _ in scalings], **fields}


def _electrodes(nwbfile: NWBFile, source: Source, names: list[str]) -> list[int]:
    """Rows of the electrodes of these names; those that are not in the table are added."""
    device = add_device(nwbfile, {"name": str(source.facts.get("device", source.format))})
    group = _group(nwbfile, f"{device.name} electrodes", device, source)
    if nwbfile.electrodes is None or _CHANNEL_NAME not in nwbfile.electrodes.colnames:
        filled = [] if nwbfile.electrodes is None else [""] * len(nwbfile.electrodes)
        nwbfile.add_electrode_column(
            name=_CHANNEL_NAME, description="Name of the channel that records from this electrode.", data=filled
        )
    table = nwbfile.electrodes
    known = {
        name: row
        for row, (own, name) in enumerate(zip(table["group"].data, table[_CHANNEL_NAME].data, strict=True))
        if own is group
    }
    for name in names:
        if name not in known:
            known[name] = len(table)
            others = {
                c.name: _nothing(c.data)
                for c in table.columns
                if c.name not in ("location", "group", "group_name", _CHANNEL_NAME)
            }
            nwbfile.add_electrode(location=UNKNOWN_LOCATION, group=group, **{_CHANNEL_NAME: name}, **others)
    return [known[name] for name in names]


def _group(nwbfile: NWBFile, name: str, device: Any, source: Source) -> ElectrodeGroup:
    group = nwbfile.electrode_groups.get(name)
    if group is None:
        group = nwbfile.create_electrode_group(
            name=name, description=f"Electrodes of {source.path.name}.", location=UNKNOWN_LOCATION, device=device
        )
    return group


def _nothing(values: Any) -> Any:
    """Return the value that stands for "not stated" among others of its type."""
    example = values[0] if len(values) else ""
    if isinstance(example, (bool, np.bool_)):
        return False
    if isinstance(example, (int, float, np.number)):
        return float("nan") if isinstance(example, (float, np.floating)) else -1
    return ""


def _lfp(nwbfile: NWBFile) -> LFP:
    module = nwbfile.processing.get("ecephys")
    if module is None:
        module = nwbfile.create_processing_module("ecephys", "Extracellular electrophysiology.")
    if "LFP" not in module.data_interfaces:
        module.add(LFP(name="LFP"))
    return module["LFP"]
