"""The tables and the JSON that BIDS's draft BEP032 wants beside an NWB file of electrical recordings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from dandify.dandiset.ephys_content import Channel, Electrode, EphysContent, Probe

_ABSENT: Final = "n/a"
_DATATYPES: Final = ("ecephys", "icephys")
_OF_RECORDINGS: Final = ("task", "run", "split")  # entities that tables of probes, electrodes and channels do not have

Columns = Mapping[str, Mapping[str, Any]]

# Columns in the order of the draft (bids-specification, pull request 2307, src/schema/rules/tabular_data/
# microephys.yaml, as of July 2026), each with what it means in BIDS's form. Those after the gap are not the draft's:
# its gain is that of an amplifier, which ElectricalSeries do not state; their conversion is something else.
_PROBES: Final[Columns] = {
    "probe_name": {"Description": "Name of the probe"},
    "type": {"Description": "Kind of probe"},
    "AP": {"Description": "Place of the probe, more towards anterior", "Format": "number"},
    "ML": {"Description": "Place of the probe, more towards the right", "Format": "number"},
    "DV": {"Description": "Place of the probe, more towards ventral", "Format": "number"},
    "AP_angle": {"Description": "Angle from the vertical in the sagittal plane", "Units": "degree"},
    "ML_angle": {"Description": "Angle from the vertical in the coronal plane", "Units": "degree"},
    "manufacturer": {"Description": "Maker of the probe"},
    "model": {"Description": "Model of the probe, as its maker calls it"},
    "device_serial_number": {"Description": "Serial number of the probe"},
    "anatomical_location": {"Description": "Where all electrodes of the probe are"},

    "description": {"Description": "What is said of the probe"},
}  # fmt: skip
_ELECTRODES: Final[Columns] = {
    "name": {"Description": "Name of the electrode"},
    "probe_name": {"Description": "Name of the probe that it is on"},
    "x": {"Description": "Place on the probe along its width", "Units": "um"},
    "y": {"Description": "Place on the probe along its height", "Units": "um"},
    "z": {"Description": "Place on the probe along its depth", "Units": "um"},
    "hemisphere": {"Description": "Hemisphere", "Levels": {"L": "left", "R": "right"}},
    "impedance": {"Description": "Impedance of the electrode", "Units": "kOhm"},
    "shank_id": {"Description": "Shank of the probe that it is on; its ElectrodeGroup, if nothing else is stated"},
    "electrode_shape": {"Description": "Shape of the electrode"},
    "anatomical_location": {"Description": "Where the electrode is"},
}  # fmt: skip
_CHANNELS: Final[Columns] = {
    "name": {"Description": "Name of the channel"},
    "electrode_name": {"Description": "Name of the electrode that it records from"},
    "type": {"Description": "Kind of signal, by BEP032's words"},
    "units": {"Description": "Unit of a stored value after conversion"},
    "sampling_frequency": {"Description": "Sampling rate", "Units": "Hz"},
    "reference": {"Description": "What it is recorded against"},
    "stream_id": {"Description": "NWB series that hold it"},
    "gain": {"Description": "Gain of the amplifier: V/V in current clamp, V/A in voltage clamp", "Format": "number"},
    "time_offset": {"Description": "Time by which it is sampled later than the first channel", "Units": "s"},
    "recording_mode": {"Description": "Which clamp"},

    "conversion": {"Description": "Factor of a stored value, to have it in its units", "Format": "number"},
    "offset": {"Description": "What is added after that, in its units", "Format": "number"},
    "filtering": {"Description": "What is said of filters"},
}  # fmt: skip
# Columns that are there even if nothing is known, because BEP032 requires them.
_ALWAYS: Final = {
    "probes": ("probe_name", "type"),
    "electrodes": ("name", "probe_name", "x", "y", "z"),
    "channels": ("name", "electrode_name", "type", "units", "sampling_frequency"),
}  # fmt: skip
# All of the draft's columns of electrodes, whether we fill them or not: others must not take their names.
_RESERVED: Final = frozenset({
    *_ELECTRODES, "size", "material", "localization_method", "pipette_solution", "internal_pipette_diameter",
    "external_pipette_diameter", "location",
})  # fmt: skip
_MICROMETRES: Final = frozenset({"brain_x", "brain_y", "brain_z"})


@dataclass(frozen=True)
class EphysTable:
    """A table to be written.

    Attributes
    ----------
    path
        Below the dandiset.
    key
        The column that names a row.
    rows
        What is known of each; a column that is nowhere known is in none of them, unless BEP032 wants it.
    columns
        What may stand in it, in order, and what each means.
    """

    path: PurePosixPath
    key: str
    rows: Sequence[Mapping[str, str]]
    columns: Columns


def is_described(nwb: PurePosixPath) -> bool:
    """Whether a file is one beside which BEP032 wants tables, by its place in a BIDS dataset."""
    return ephys_datatype(nwb) == nwb.parent.name


def sidecar_path(nwb: PurePosixPath) -> PurePosixPath:
    """Return the place of the JSON: ``sub-1_ses-1_ecephys.json``."""
    return nwb.with_name(f"{nwb.name.split('.')[0]}.json")


def ephys_datatype(nwb: PurePosixPath) -> str | None:
    """Return ``ecephys`` or ``icephys`` if the name of an NWB file ends so, as BEP032 has it; else None."""
    suffix = nwb.name.split(".")[0].rpartition("_")[2]
    return suffix if suffix in _DATATYPES and nwb.name.endswith((".nwb", ".nwb.zarr")) else None


def ephys_companions(nwb: PurePosixPath) -> Iterator[PurePosixPath]:
    """Yield the places of all files that BEP032 has beside one, in the same order for every NWB file."""
    yield sidecar_path(nwb)
    for table in (*(table_path(nwb, what) for what in _ALWAYS), nwb.with_name(f"{_stem(nwb)}_events.tsv")):
        yield from (table, table.with_suffix(".json"))


def table_path(nwb: PurePosixPath, what: str) -> PurePosixPath:
    """Return the place of ``probes``, ``electrodes`` or ``channels``: one table for all runs of a session."""
    parts = (part for part in _stem(nwb).split("_") if part.partition("-")[0] not in _OF_RECORDINGS)
    return nwb.with_name(f"{'_'.join([*parts, what])}.tsv")


def ephys_sidecar(content: EphysContent) -> dict[str, Any]:
    """Return ``*_ecephys.json`` or ``*_icephys.json``.

    Of the keys that no NWB file states, BEP032 requires two, and recommends HardwareFilters; BIDS has ``n/a`` for them.
    """
    makers = {probe.manufacturer for probe in content.probes}
    models = {probe.model for probe in content.probes}
    rates = [channel.rate_hz for channel in content.channels if channel.rate_hz is not None]
    places = list(dict.fromkeys(e.location for e in content.electrodes if e.location))
    made = {
        "InstitutionName": content.institution,
        "PowerLineFrequency": _ABSENT,
        "Manufacturer": makers.pop() if len(makers) == 1 else None,
        "ManufacturersModelName": models.pop() if len(models) == 1 else None,
        "SamplingFrequency": _whole(max(rates)) if rates else None,
        "RecordingDuration": None if content.duration_s is None else _whole(float(f"{content.duration_s:.12g}")),
        "SoftwareFilters": _ABSENT,
        "HardwareFilters": _ABSENT,
        "BodyPartDetails": ", ".join(places),
    }
    return {key: value for key, value in made.items() if value not in (None, "")}


def ephys_tables(nwb: PurePosixPath, content: EphysContent) -> Iterator[EphysTable]:
    """Yield the tables of an NWB file: its probes, electrodes and channels, each if there are any.

    Parameters
    ----------
    nwb
        Its place below the dandiset.
    content
        What it says.
    """
    of_electrodes = {**_ELECTRODES, **{_free(key): _meaning(key, text) for key, text in content.columns.items()}}
    probes = [_probe(probe, content.electrodes) for probe in content.probes]
    electrodes = [_electrode(electrode) for electrode in content.electrodes]
    channels = [_channel(channel) for channel in content.channels]
    for what, rows, columns in (
        ("probes", probes, _PROBES), ("electrodes", electrodes, of_electrodes), ("channels", channels, _CHANNELS),
    ):  # fmt: skip
        if rows:
            stated = [{key: _cell(value) for key, value in row.items()} for row in rows]
            yield EphysTable(table_path(nwb, what), _ALWAYS[what][0], _stated(what, stated, columns), columns)


def shared_table(tables: Sequence[EphysTable]) -> tuple[EphysTable, set[tuple[str, str]]]:
    """Return the table of several recordings, and where they contradict each other: names of row and column.

    Those cells are absent: the table says what holds for all of them, and each recording has its own.
    """
    rows: dict[str, dict[str, str]] = {}
    differ = set()
    for table in tables:
        for row in table.rows:
            name = row[table.key]
            known = rows.setdefault(name, {})
            for column, value in row.items():
                if _ABSENT not in (known.get(column, _ABSENT), value) and known[column] != value:
                    differ.add((name, column))
                if known.get(column, _ABSENT) == _ABSENT:
                    known[column] = value
    for name, column in differ:
        rows[name][column] = _ABSENT
    columns = {key: meaning for table in reversed(tables) for key, meaning in table.columns.items()}
    order = list(dict.fromkeys(key for table in tables for key in table.columns))
    first, what = tables[0], tables[0].path.stem.rpartition("_")[2]
    of_all = {key: columns[key] for key in order}
    return EphysTable(first.path, first.key, _stated(what, list(rows.values()), of_all), of_all), differ


def _stated(what: str, rows: Sequence[Mapping[str, str]], columns: Columns) -> list[dict[str, str]]:
    """Return rows with the columns that say something, and those that BEP032 wants, in order."""
    used = {key for row in rows for key, value in row.items() if value != _ABSENT} | set(_ALWAYS[what])
    return [{key: row.get(key, _ABSENT) for key in columns if key in used} for row in rows]


def _probe(probe: Probe, electrodes: Sequence[Electrode]) -> dict[str, Any]:
    places = {electrode.location for electrode in electrodes if electrode.probe == probe.name}
    return {
        "probe_name": probe.name,
        "manufacturer": probe.manufacturer,
        "model": probe.model,
        "device_serial_number": probe.serial_number,
        "anatomical_location": places.pop() if len(places) == 1 else None,
        "description": probe.description,
    }


def _electrode(electrode: Electrode) -> dict[str, Any]:
    x, y, z = electrode.position_um
    return {
        **{_free(key): value for key, value in electrode.more.items()},
        "name": electrode.name, "probe_name": electrode.probe, "x": x, "y": y, "z": z,
        "hemisphere": electrode.hemisphere, "impedance": electrode.impedance_kohm, "shank_id": electrode.shank,
        "electrode_shape": electrode.shape, "anatomical_location": electrode.location,
    }  # fmt: skip


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "name": channel.name, "electrode_name": channel.electrode, "type": channel.kind, "units": channel.unit,
        "sampling_frequency": channel.rate_hz, "reference": channel.reference, "stream_id": ",".join(channel.streams),
        "gain": channel.gain, "time_offset": channel.time_offset_s, "recording_mode": channel.mode,
        "conversion": channel.conversion, "offset": channel.offset, "filtering": channel.filtering,
    }  # fmt: skip


def _free(column: str) -> str:
    """Return a column's name, or another one if BEP032 means something by it."""
    return f"nwb_{column}" if column in _RESERVED else column


def _meaning(column: str, description: str) -> Mapping[str, Any]:
    made = {"Description": description or f"{column} of the table of electrodes in the NWB file"}
    return {**made, "Units": "um"} if column in _MICROMETRES else made


def _stem(nwb: PurePosixPath) -> str:
    return nwb.name.split(".")[0].removesuffix(f"_{ephys_datatype(nwb)}")


def _cell(value: Any) -> str:
    if value is None or value == "":
        return _ABSENT
    return repr(_whole(value)) if isinstance(value, float) else " ".join(str(value).split())


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
