"""Probes, electrodes and recorded channels, as a file states them; what it does not say is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Probe:
    """A device that bears electrodes."""

    name: str
    manufacturer: str | None = None
    model: str | None = None
    serial_number: str | None = None
    description: str | None = None


@dataclass(frozen=True)
class Electrode:
    """A site.

    Attributes
    ----------
    name
        Unique in the file.
    probe
        Name of its `Probe`.
    position_um
        On the probe: x, y, z in micrometres.
    impedance_kohm
        In kilohms.
    shank, shape, location, hemisphere
        As stated.
    more
        Whatever else is stated of it, by the column of NWB that says it.
    """

    name: str
    probe: str | None = None
    position_um: tuple[float | None, float | None, float | None] = (None, None, None)
    impedance_kohm: float | None = None
    shank: str | None = None
    shape: str | None = None
    location: str | None = None
    hemisphere: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Channel:
    """A recorded signal: one column of an ElectricalSeries, or what one electrode of a patch clamp records.

    Attributes
    ----------
    name
        Unique in the file.
    electrode
        Name of its `Electrode`.
    streams
        The series that hold it.
    kind
        ``LFP``, ``SPIKES``, ``VM`` or ``IM``, as BEP032 calls them.
    unit
        Of a stored value once it is converted: ``V``, ``A``.
    rate_hz
        Sampling rate, if it is stated.
    conversion, offset
        A stored value times ``conversion`` plus ``offset`` is in ``unit``.
    gain
        Of the amplifier, V/V or V/A.
    time_offset_s
        How much later than the series' times it is sampled, in seconds.
    reference, filtering, mode
        As stated.
    """

    name: str
    electrode: str | None
    streams: tuple[str, ...]
    kind: str | None = None
    unit: str | None = None
    rate_hz: float | None = None
    conversion: float | None = None
    offset: float | None = None
    gain: float | None = None
    time_offset_s: float | None = None
    reference: str | None = None
    filtering: str | None = None
    mode: str | None = None


@dataclass(frozen=True)
class EphysContent:
    """What an NWB file says of how electrical signals were recorded.

    Attributes
    ----------
    probes, electrodes, channels
        In the order of the file.
    columns
        What NWB's description says of the keys of `Electrode.more`, in their order.
    institution
        Where.
    duration_s
        From the first sample to the end of the last, in seconds.
    """

    probes: tuple[Probe, ...] = ()
    electrodes: tuple[Electrode, ...] = ()
    channels: tuple[Channel, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    institution: str | None = None
    duration_s: float | None = None
