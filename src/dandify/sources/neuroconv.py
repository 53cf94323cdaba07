"""Adds what a neuroconv interface reads to an NWBFile: lazily imported, without name collisions, without inventions.

Only neuroconv's readers and object building are used, never its writer, YAML route or backend configuration. A
converter is a thin wrapper::

    interface = build("SpikeGLXRecordingInterface", folder_path=folder, stream_id="imec0.ap")
    add_recording(nwbfile, interface, name="ElectricalSeriesAPImec0", description="...", shift_s=shift_s)

and for interfaces of any other kind (analog, digital, intracellular, behaviour) `add_interface`. Both may be called for
many interfaces of many sources and one NWBFile: equal devices, electrode groups and electrodes are shared, others that
only have the same name get a name of their own (``Imec0_2``).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from dandify.sources.arrays import RawArray
from dandify.sources.contract import Array

if TYPE_CHECKING:
    from pynwb import NWBFile
    from pynwb.base import TimeSeries

Metadata = MutableMapping[str, Any]

UNKNOWN_LOCATION = "unknown"  # NWB requires a brain area of electrodes and groups; acquisition files do not state it

_EMPTY_WORDS = ("", "no description", "unknown", "placeholder")

# neuroconv names these columns without saying what they hold ("rel_x": "rel_x").
_COLUMNS = {
    "location": "Brain area of the electrode; 'unknown' where it was not stated.",
    "group_name": "Name of the electrode group this electrode is part of.",
    "channel_name": "Name of the channel or channels that record from this electrode.",
    "electrode_name": "Name of the electrode (contact) on its probe.",
    "rel_x": "Position on the probe along its width in micrometres.",
    "rel_y": "Position on the probe along its length in micrometres, from the tip.",
    "rel_z": "Position on the probe in depth in micrometres.",
    "contact_shapes": "Shape of the electrode.",
    "shank_ids": "Shank of the probe on which the electrode lies.",
    "adc_group": "Analog-to-digital converter that digitizes this electrode.",
    "adc_sample_order": "Order in which the converter samples this electrode, from 0.",
}


def build(interface: str, arguments: Mapping[str, Any]) -> Any:
    """Make a neuroconv data interface.

    Parameters
    ----------
    interface
        Its class name in ``neuroconv.datainterfaces``.
    arguments
        What its constructor takes: paths and stream names.
    """
    with quiet():
        from neuroconv import datainterfaces

        return getattr(datainterfaces, interface)(**arguments)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings that neuroconv and its readers give about themselves, and no others."""
    with warnings.catch_warnings():
        # Announcements of neuroconv's own coming changes (its metadata format is in transition until 2027).
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"neuroconv\.")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"(neuroconv|spikeinterface|neo)\.")
        yield


class Wrapped:
    """A spikeinterface recording in the form of an interface, for layouts that neuroconv's interfaces do not open.

    neuroconv still builds the series, electrodes, groups and device.

    Parameters
    ----------
    recording
        A spikeinterface recording.
    """

    metadata_key = "recording"

    def __init__(self, recording: Any) -> None:
        self.recording_extractor = recording

    def get_metadata(self) -> Metadata:
        """Nothing: all is said by who calls `add_recording`."""
        return {"Ecephys": {}}

    def add_to_nwbfile(self, nwbfile: NWBFile, *, metadata: Metadata, parent_container: str) -> None:
        """Let neuroconv build the objects."""
        from neuroconv.tools.spikeinterface import add_recording_to_nwbfile

        add_recording_to_nwbfile(
            recording=self.recording_extractor, nwbfile=nwbfile, metadata=metadata, parent_container=parent_container,
            metadata_key=self.metadata_key,
        )  # fmt: skip


def binary_recording(
    array: RawArray, *, rate_hz: float, names: Sequence[str], gains_to_uv: Sequence[float] | None
) -> Any:
    """Make a spikeinterface recording of the columns of a raw file.

    Parameters
    ----------
    array
        (samples, channels) with ``columns``.
    rate_hz
        Sampling rate.
    names
        Names of the array's channels, unique.
    gains_to_uv
        Microvolts per step of each; None where not stated.
    """
    with quiet():
        from spikeinterface.core import BinaryRecordingExtractor

        start, stop = array.columns or (0, array.channels)
        # Columns that are not ours need an id too.
        ids = [f"~{i}" for i in range(start)] + list(names) + [f"~{i}" for i in range(stop, array.channels)]
        whole = BinaryRecordingExtractor(
            file_paths=[array.path], sampling_frequency=rate_hz, dtype=array.dtype.str, num_channels=array.channels,
            channel_ids=ids, file_offset=array.header_bytes,
        )  # fmt: skip
        mine = whole.select_channels(list(names))
        if gains_to_uv is not None:
            mine.set_channel_gains(list(gains_to_uv))
            mine.set_channel_offsets([0.0] * len(names))
        return mine


def add_recording(
    nwbfile: NWBFile,
    interface: Any,
    *,
    name: str,
    description: str,
    shift_s: float = 0.0,
    segment: int | None = None,
    starting_time_s: float | None = None,
    array: Array | None = None,
    fields: Mapping[str, Any] | None = None,
    device: Mapping[str, Any] | None = None,
    group_description: str | None = None,
    lfp: bool = False,
) -> str:
    """Add one segment of a recording interface as an ElectricalSeries with its electrodes, groups and device.

    Parameters
    ----------
    nwbfile
        The session's file.
    interface
        A neuroconv recording interface, from `build`.
    name, description
        Of the series. A name that is taken gets a number.
    shift_s
        Start of the source in seconds after the session's start.
    segment
        Index of the segment; None where the recording has one.
    starting_time_s
        Time of the first sample in seconds after the start of the source; None for the time that the reader states.
    array
        The same samples, (samples, channels), as an array of the source; None to leave neuroconv's iterator.
    fields
        Fields of the series that replace those that neuroconv would set: ``conversion``, ``timestamps``.
    device
        Fields of the device as in `add_device`, for formats of which neuroconv names none.
    group_description
        Of electrode groups that neuroconv does not describe.
    lfp
        Put it into the LFP container of the ``ecephys`` processing module rather than into acquisition.

    Returns
    -------
    str
        The name that the series got.
    """
    recording = interface.recording_extractor
    if segment is not None and recording.get_num_segments() > 1:
        recording = recording.select_segments([segment])
    with quiet():
        metadata = interface.get_metadata()
        _settle_devices(nwbfile, metadata, device)
        groups = _settle_groups(nwbfile, metadata, recording, group_description)
        recording.set_property("group_name", [groups[g] for g in _group_names(recording)])
        _settle_positions(recording)
        _settle_numbers(recording)
        name = free_name(nwbfile, name)
        series: dict[str, Any] = {"name": name, "description": description}
        if starting_time_s is None:
            recording.shift_times(shift_s)
        else:
            series["starting_time"] = starting_time_s + shift_s
        if array is not None:
            from dandify.sources.deferred import Deferred

            series["data"] = Deferred(array)
        series.update(fields or {})
        metadata["Ecephys"]["ElectricalSeries"] = {interface.metadata_key: series}
        before = () if nwbfile.electrodes is None else tuple(nwbfile.electrodes.colnames)
        whole, interface.recording_extractor = interface.recording_extractor, recording
        try:
            container = "processing/LFP" if lfp else "acquisition"
            interface.add_to_nwbfile(nwbfile, metadata=metadata, parent_container=container)
        finally:
            interface.recording_extractor = whole
    _order_columns(nwbfile, before)
    _describe_columns(nwbfile)
    return name


def add_interface(
    nwbfile: NWBFile,
    interface: Any,
    *,
    shift_s: float = 0.0,
    edit: Callable[[Metadata], None] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Add what any neuroconv interface reads.

    Parameters
    ----------
    nwbfile
        The session's file.
    interface
        A neuroconv interface, from `build`.
    shift_s
        Start of the source in seconds after the session's start.
    edit
        Changes the interface's metadata in place: names, descriptions. Names are made unique afterwards.
    options
        What the interface's ``add_to_nwbfile`` takes beside the file and the metadata.
    """
    with quiet():
        metadata: Metadata = interface.get_metadata()
        if edit is not None:
            edit(metadata)
        _settle_devices(nwbfile, metadata, None)
        _settle_series(nwbfile, metadata)
        if shift_s:
            shift(interface, shift_s)
        interface.add_to_nwbfile(nwbfile, metadata=metadata, **(options or {}))
    _describe_columns(nwbfile)


def add_time_series(
    nwbfile: NWBFile,
    *,
    name: str,
    description: str,
    array: Array,
    unit: str,
    rate_hz: float | None,
    starting_time_s: float = 0.0,
    timestamps: Any = None,
    conversion: float = 1.0,
    offset: float = 0.0,
) -> TimeSeries:
    """Add an array as a TimeSeries in acquisition, for streams that neuroconv has no interface for.

    Parameters
    ----------
    nwbfile
        The session's file.
    name, description
        Of the series. A name that is taken gets a number.
    array
        (samples,) or (samples, channels).
    unit, conversion, offset
        Physical value = raw * conversion + offset in ``unit``.
    rate_hz, starting_time_s
        Of a regular series, the time in seconds after the session's start.
    timestamps
        (samples,) float64 in seconds after the session's start, for an irregular series; then ``rate_hz`` is None.
    """
    from pynwb.base import TimeSeries

    from dandify.sources.deferred import Deferred

    when = {"timestamps": timestamps} if rate_hz is None else {"rate": rate_hz, "starting_time": starting_time_s}
    series = TimeSeries(
        name=free_name(nwbfile, name), description=description, data=Deferred(array), unit=unit,
        conversion=conversion, offset=offset, **when,
    )  # fmt: skip
    nwbfile.add_acquisition(series)
    return series


def add_device(nwbfile: NWBFile, fields: Mapping[str, Any]) -> Any:
    """Return the device with these fields: the one that is there already, or a new one.

    Parameters
    ----------
    nwbfile
        The session's file.
    fields
        ``name`` and, where stated, ``description``, ``serial_number``, ``manufacturer`` and ``model_number``.
    """
    metadata: Metadata = {}
    _settle_devices(nwbfile, metadata, fields)
    entry = dict(metadata["Devices"]["device"])
    if entry["name"] in nwbfile.devices:
        return nwbfile.devices[entry["name"]]
    if (key := entry.pop("device_model_metadata_key", None)) is not None:
        model = metadata["DeviceModels"][key]
        known = nwbfile.device_models.get(model["name"])
        entry["model"] = nwbfile.create_device_model(**model) if known is None else known
    return nwbfile.create_device(**entry)


def shift(interface: Any, seconds: float) -> None:
    """Move what an interface reads in time, without computing the time of every sample where the rate is regular."""
    moved = False
    # NIDQ boards keep a second reader of the same file for their events (neuroconv 0.10).
    for owner in (interface, getattr(interface, "_events_interface", None)):
        recording = getattr(owner, "recording_extractor", None)
        if recording is not None:
            recording.shift_times(seconds)
            moved = True
    if not moved:
        interface.set_aligned_starting_time(seconds)


def free_name(nwbfile: NWBFile, name: str) -> str:
    """Return ``name``, with a number behind it if an object of the file has it already."""
    taken = {*nwbfile.acquisition, *nwbfile.stimulus, *(nwbfile.events or {})}
    for module in nwbfile.processing.values():
        for container in module.data_interfaces.values():
            taken.add(container.name)
            taken.update(getattr(container, "electrical_series", {}))
    return _unused(name, lambda candidate: candidate in taken)


def _unused(name: str, taken: Callable[[str], bool]) -> str:
    candidate, number = name, 2
    while taken(candidate):
        candidate, number = f"{name}_{number}", number + 1
    return candidate


def _device_name(nwbfile: NWBFile, entry: Mapping[str, Any], model: str | None = None) -> str:
    """Name under which the device of ``entry`` is, or can be, in the file."""

    def other(candidate: str) -> bool:
        device = nwbfile.devices.get(candidate)
        if device is None:
            return False
        stated = {k: entry.get(k) for k in ("serial_number", "description")}
        named = device.model.name if device.model is not None else None
        return {k: getattr(device, k) for k in stated} != stated or named != model

    return _unused(str(entry["name"]), other)


def _settle_devices(nwbfile: NWBFile, metadata: Metadata, device: Mapping[str, Any] | None) -> None:
    """Give every device of the metadata a name of its own, and link groups without a device to ``device``."""
    if not metadata.get("Devices") and device is not None:
        entry = dict(device)
        maker, number = entry.pop("manufacturer", None), entry.pop("model_number", None)
        if maker is not None:
            model = {"name": number or maker, "manufacturer": maker, "model_number": number}
            metadata["DeviceModels"] = {"model": {k: v for k, v in model.items() if v is not None}}
            entry["device_model_metadata_key"] = "model"
        metadata["Devices"] = {"device": entry}
    devices = metadata.get("Devices")
    models = metadata.get("DeviceModels") or {}
    if isinstance(devices, dict):
        for entry in devices.values():
            model = models.get(entry.get("device_model_metadata_key"), {}).get("name")
            entry["name"] = _device_name(nwbfile, entry, model)
            if str(entry.get("description", "-")).lower() in _EMPTY_WORDS:
                del entry["description"]


def _group_names(recording: Any) -> list[str]:
    """Name of the electrode group of every channel, as neuroconv would choose it."""
    names = recording.get_property("group_name")
    if names is None:
        names = recording.get_channel_groups()
    if names is None:
        names = ["ElectrodeGroup"] * recording.get_num_channels()
    return [str(n) or "ElectrodeGroup" for n in names]


def _settle_groups(nwbfile: NWBFile, metadata: Metadata, recording: Any, description: str | None) -> dict[str, str]:
    """Write an entry for every electrode group and return how the groups were renamed."""
    stated = metadata["Ecephys"].get("ElectrodeGroups") or {}
    by_name = {entry["name"]: entry for entry in stated.values()}
    devices: Mapping[str, Any] = metadata.get("Devices") or {}
    only_device = next(iter(devices)) if len(devices) == 1 else None
    groups: dict[str, str] = {}
    entries: dict[str, Metadata] = {}
    for name in dict.fromkeys(_group_names(recording)):
        entry = dict(by_name.get(name, {}))
        key = entry.setdefault("device_metadata_key", only_device)
        if key is None:
            raise ValueError(f"electrode group {name!r} has no device: pass `device`")
        device = devices[key]["name"]
        entry["name"] = groups[name] = _unused(name, lambda n, d=device: _other_group(nwbfile, n, d))  # type: ignore[misc]  # mypy infers no type for a lambda with a default
        if str(entry.get("description", "")).lower() in _EMPTY_WORDS:
            entry["description"] = description or f"Electrodes of {device}."
        entry.setdefault("location", UNKNOWN_LOCATION)
        entries[groups[name]] = entry
    metadata["Ecephys"]["ElectrodeGroups"] = entries
    return groups


def _settle_positions(recording: Any) -> None:
    """Make the positions of the probe's contacts columns; neuroconv 0.10 with spikeinterface 0.105 leaves them out."""
    if recording.has_probe():
        places = recording.get_channel_locations()
        for axis, name in enumerate(("rel_x", "rel_y", "rel_z")[: places.shape[1]]):
            recording.set_property(name, places[:, axis])


def _settle_numbers(recording: Any) -> None:
    """Make whole numbers and truth values of electrodes floats, so that those of other sources can lack them (NaN).

    neuroconv refuses a column of whole numbers where some electrodes have none, and takes an absent truth for false.
    """
    for key in recording.get_property_keys():
        values = recording.get_property(key)
        if values.dtype.kind in "iub" and values.ndim == 1 and key != "group":
            recording.delete_property(key)
            recording.set_property(key, values.astype(float))


def _other_group(nwbfile: NWBFile, name: str, device: str) -> bool:
    group = nwbfile.electrode_groups.get(name)
    return group is not None and group.device.name != device


def _settle_series(nwbfile: NWBFile, metadata: Metadata) -> None:
    """Give every series and events table of the metadata a name of its own."""
    for block in (metadata.get("TimeSeries") or {}, (metadata.get("Ecephys") or {}).get("ElectricalSeries") or {}):
        for entry in block.values():
            # A NIDQ-like interface nests one entry for each group of channels.
            for series in [entry] if "name" in entry else [e for e in entry.values() if isinstance(e, dict)]:
                series["name"] = free_name(nwbfile, series["name"])
    for key, block in (metadata.get("Events") or {}).items():
        if key != "EventTables":
            for event in (block.get("event_types") or {}).values():
                # neuroconv makes the table's name out of it, in CamelCase or not.
                taken = {_spelling(n) for n in nwbfile.events or {}}
                event["event_name"] = _unused(event["event_name"], lambda n, t=taken: _spelling(n) in t)  # type: ignore[misc]  # as above


def _spelling(name: str) -> str:
    return name.replace("_", "").lower()


def _order_columns(nwbfile: NWBFile, before: Sequence[str]) -> None:
    """Put new electrode columns in the order of the alphabet: neuroconv's is that of a set, another in every run."""
    table = nwbfile.electrodes
    if table is None:
        return
    required = [n for n in ("location", "group", "group_name") if n in table.colnames and n not in before]
    names = [*before, *required, *sorted(set(table.colnames) - {*before, *required})]
    columns = {c.name: c for c in table.columns}
    table.fields["colnames"] = tuple(names)
    table.fields["columns"] = tuple(columns[n] for n in names)


def _describe_columns(nwbfile: NWBFile) -> None:
    """Say what the electrode columns hold where neuroconv repeats the column's name."""
    table = nwbfile.electrodes
    for column in () if table is None else table.columns:
        told = column.description.strip().lower()
        if column.name in _COLUMNS and (told in _EMPTY_WORDS or told == column.name or told.startswith("unique ")):
            column.fields["description"] = _COLUMNS[column.name]
