"""NWB files of electrical recordings that tables have to cope with, and the tables that they should give."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from pynwb import NWBFile
from pynwb.device import Device
from pynwb.ecephys import LFP, ElectricalSeries, SpikeEventSeries
from pynwb.icephys import CurrentClampSeries, CurrentClampStimulusSeries, IZeroClampSeries, VoltageClampSeries

from dandiset_cases import session


@dataclass(frozen=True)
class Case:
    """A file, and what must be written beside it: each table as lines of cells with spaces between, and the JSON."""

    make: Callable[[], NWBFile]
    datatype: str
    probes: str
    electrodes: str
    channels: str
    sidecar: dict[str, Any]


def tsv(table: str) -> str:
    """Return a table with tabs; ``~`` stands for a space within a cell."""
    lines = (line.split() for line in table.strip().splitlines())
    return "".join("\t".join(cell.replace("~", " ") for cell in cells) + "\n" for cells in lines)


def device_of(nwb: NWBFile, name: str, description: str, manufacturer: str) -> Device:
    """Add a device that states its maker itself, as it was before NWB 2.9."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return nwb.create_device(name=name, description=description, manufacturer=manufacturer)


def tutorial_ecephys() -> NWBFile:
    """Return what nwb2bids' tutorial describes: one shank of eight sites, one series of all of them."""
    nwb = session("001", "A", species="Mus musculus", sex="M")
    nwb.fields["institution"] = None
    device = device_of(
        nwb, "ExampleProbe", "This is an example ecephys probe used for demonstration purposes.",
        "`nwb2bids` test suite",
    )  # fmt: skip
    group = nwb.create_electrode_group(
        name="ExampleShank", description="A shank.", location="hippocampus", device=device
    )
    for _ in range(8):
        nwb.add_electrode(imp=150_000.0, location="hippocampus", group=group, filtering="HighpassFilter")
    region = nwb.create_electrode_table_region(region=list(range(8)), description="All.")
    series = {
        "name": "ExampleElectricalSeries",
        "data": np.ones((10, 8)),
        "rate": 30_000.0,
        "conversion": 0.00000302734375,
    }
    nwb.add_acquisition(ElectricalSeries(electrodes=region, **series))
    return nwb


def region_of(nwb: NWBFile, *rows: int) -> Any:
    return nwb.create_electrode_table_region(region=list(rows), description="Some.")


def two_probes() -> NWBFile:
    """Sites of the same names on two probes, series of some of them only, LFP, spikes, columns of the lab's own."""
    nwb = session("m1", "1")
    model = nwb.create_device_model(
        name="NP1000", manufacturer="imec", model_number="PRB_1_4_0480_1", description="A probe."
    )
    for name in ("electrode_name", "inter_sample_shift", "contact_shapes", "bank", "size", "tags"):
        nwb.add_electrode_column(name=name, description=f"The {name}.", **({"index": True} if name == "tags" else {}))
    for p in range(2):
        device = nwb.create_device(name=f"Probe{p}", description="unknown", model=model, serial_number=f"19{p}")
        group = nwb.create_electrode_group(name=f"Group{p}", description="A shank.", location="unknown", device=device)
        for i in range(3):
            nwb.add_electrode(
                group=group, location=("VISp", "CA1")[p] if i else "unknown", rel_x=16.0 * i, rel_y=20.5, x=1.5, y=-2.0,
                z=float(i), reference="a screw", electrode_name=f"e{i}", inter_sample_shift=0.25 * i,
                contact_shapes="square", bank=i, size=12.0, tags=["a", "b"],
            )  # fmt: skip
    values = np.arange(200, dtype=np.int16).reshape(100, 2)
    nwb.add_acquisition(
        ElectricalSeries(
            name="Raw", data=values, electrodes=region_of(nwb, 4, 5), rate=20_000.0, conversion=2e-6, offset=1e-3,
            channel_conversion=[1.0, 0.5], filtering="Over 300 Hz",
        )
    )  # fmt: skip
    at = np.arange(100) / 1000
    low = ElectricalSeries(name="Low", data=values, electrodes=region_of(nwb, 1, 4), timestamps=at, conversion=1e-6)
    spikes = SpikeEventSeries(name="Spikes", data=values[:, :1], timestamps=at, electrodes=region_of(nwb, 0))
    module = nwb.create_processing_module(name="ecephys", description="Made of it.")
    bands = LFP()
    module.add(bands)
    bands.add_electrical_series(low)
    module.add(spikes)
    return nwb


def two_bands() -> NWBFile:
    """Two sites recorded in two bands, of which a cell names both channels, as neuroconv writes it."""
    nwb = session("m1", "1")
    device = nwb.create_device(name="Probe", description="unknown")
    group = nwb.create_electrode_group(name="Shank", description="A shank.", location="unknown", device=device)
    nwb.add_electrode_column(name="channel_name", description="Names.")
    for i in (6, 7):
        nwb.add_electrode(group=group, location="unknown", channel_name=f"AP{i},LF{i}")
    values = np.zeros((100, 2), np.int16)
    nwb.add_acquisition(ElectricalSeries(name="SeriesAP", data=values, electrodes=region_of(nwb, 0, 1), rate=30_000.0))
    bands = LFP()
    nwb.create_processing_module(name="ecephys", description="Made of it.").add(bands)
    bands.add_electrical_series(
        ElectricalSeries(name="low", data=values[:, :1], electrodes=region_of(nwb, 0), rate=2500.0)
    )
    return nwb


def patch_clamp() -> NWBFile:
    """Two pipettes, one of which recorded in three modes; sweeps; a stimulus, which is no recording."""
    nwb = session("m1", "1")
    amplifier = device_of(nwb, "amplifier", "An amplifier.", "Axon")
    first = nwb.create_icephys_electrode(
        name="patch 1", description="A pipette.", device=amplifier, location="VISp2/3", resistance="5200000.0",
        seal="2 GOhm",
    )  # fmt: skip
    other = nwb.create_icephys_electrode(
        name="patch 2", description="A pipette.", device=amplifier, resistance="5 MOhm"
    )
    values, at = np.arange(100, dtype=np.float32), {"rate": 20_000.0, "conversion": 1e-3}
    clamp = {"data": values, "rate": 10_000.0, "conversion": 1e-12}
    for i in range(3):
        sweep = {"name": f"sweep{i}", "starting_time": float(i), **at}
        nwb.add_acquisition(CurrentClampSeries(data=values, electrode=first, gain=10.0, **sweep))
    nwb.add_acquisition(VoltageClampSeries(name="vc", electrode=first, gain=5e8, **clamp))
    nwb.add_acquisition(IZeroClampSeries(name="rest", data=values, electrode=first, gain=10.0, **at))
    nwb.add_acquisition(CurrentClampSeries(name="second", data=values, electrode=other, gain=10.0, **at))
    nwb.add_stimulus(CurrentClampStimulusSeries(name="given", data=values, electrode=other, gain=1.0, **at))
    return nwb


TWO_PROBES = Case(
    two_probes,
    "ecephys",
    probes="""
        probe_name type manufacturer model  device_serial_number
        Probe0     n/a  imec         NP1000 190
        Probe1     n/a  imec         NP1000 191
    """,
    electrodes="""
        name probe_name x y z shank_id electrode_shape anatomical_location bank nwb_size brain_x brain_y brain_z
        Group0_e0 Probe0 0  20.5 n/a Group0 square n/a  0 12 1.5 -2 0
        Group0_e1 Probe0 16 20.5 n/a Group0 square VISp 1 12 1.5 -2 1
        Group0_e2 Probe0 32 20.5 n/a Group0 square VISp 2 12 1.5 -2 2
        Group1_e0 Probe1 0  20.5 n/a Group1 square n/a  0 12 1.5 -2 0
        Group1_e1 Probe1 16 20.5 n/a Group1 square CA1  1 12 1.5 -2 1
        Group1_e2 Probe1 32 20.5 n/a Group1 square CA1  2 12 1.5 -2 2
    """,
    channels="""
        name electrode_name type units sampling_frequency reference stream_id time_offset conversion offset filtering
        Raw_ch004    Group1_e1 n/a    V 20000 a~screw Raw    1.25e-05 2e-06 0.001 Over~300~Hz
        Raw_ch005    Group1_e2 n/a    V 20000 a~screw Raw    2.5e-05  1e-06 0.001 Over~300~Hz
        Low_ch001    Group0_e1 LFP    V n/a   a~screw Low    n/a      1e-06 n/a   n/a
        Low_ch004    Group1_e1 LFP    V n/a   a~screw Low    n/a      1e-06 n/a   n/a
        Spikes_ch000 Group0_e0 SPIKES V n/a   a~screw Spikes n/a      1     n/a   n/a
    """,
    sidecar={
        "InstitutionName": "Test University", "PowerLineFrequency": "n/a", "Manufacturer": "imec",
        "ManufacturersModelName": "NP1000", "SamplingFrequency": 20000, "RecordingDuration": 0.099,
        "SoftwareFilters": "n/a", "HardwareFilters": "n/a", "BodyPartDetails": "VISp, CA1",
    },
)  # fmt: skip
PATCH_CLAMP = Case(
    patch_clamp,
    "icephys",
    probes="""
        probe_name type manufacturer description
        amplifier  n/a  Axon         An~amplifier.
    """,
    electrodes="""
        name    probe_name x   y   z   impedance anatomical_location description seal   resistance
        patch~1 amplifier  n/a n/a n/a 5200      VISp2/3             A~pipette.  2~GOhm n/a
        patch~2 amplifier  n/a n/a n/a n/a       n/a                 A~pipette.  n/a    5~MOhm
    """,
    channels="""
        name electrode_name type units sampling_frequency stream_id gain recording_mode conversion
        patch~1_I=0           patch~1 VM V 20000 rest                 10        I=0           0.001
        patch~2_current-clamp patch~2 VM V 20000 second               10        current-clamp 0.001
        patch~1_current-clamp patch~1 VM V 20000 sweep0,sweep1,sweep2 10        current-clamp 0.001
        patch~1_voltage-clamp patch~1 IM A 10000 vc                   500000000 voltage-clamp 1e-12
    """,
    sidecar={
        "InstitutionName": "Test University", "PowerLineFrequency": "n/a", "Manufacturer": "Axon",
        "SamplingFrequency": 20000, "RecordingDuration": 2.005, "SoftwareFilters": "n/a", "HardwareFilters": "n/a",
        "BodyPartDetails": "VISp2/3",
    },
)  # fmt: skip
BANDS = Case(
    two_bands,
    "ecephys",
    probes="""
        probe_name type
        Probe      n/a
    """,
    electrodes="""
        name probe_name x   y   z   shank_id
        e000 Probe      n/a n/a n/a Shank
        e001 Probe      n/a n/a n/a Shank
    """,
    channels="""
        name electrode_name type units sampling_frequency stream_id conversion
        AP6  e000           n/a  V     30000              SeriesAP  1
        AP7  e001           n/a  V     30000              SeriesAP  1
        LF6  e000           LFP  V     2500               low       1
    """,
    sidecar={
        "InstitutionName": "Test University", "PowerLineFrequency": "n/a", "SamplingFrequency": 30000,
        "RecordingDuration": 0.04, "SoftwareFilters": "n/a", "HardwareFilters": "n/a",
    },
)  # fmt: skip
CASES = {"two probes": TWO_PROBES, "patch clamp": PATCH_CLAMP, "two bands": BANDS}

# Columns that the draft requires, the first ones of a table and in this order, and the others that it knows.
DRAFT = {
    "probes": (
        ("probe_name", "type"),
        {"AP", "ML", "DV", "AP_angle", "ML_angle", "manufacturer", "model", "device_serial_number", "electrode_count",
         "width", "height", "depth", "rotation_angle", "coordinate_reference_point", "anatomical_reference_point",
         "hemisphere", "anatomical_location", "material"},
    ),
    "electrodes": (
        ("name", "probe_name", "x", "y", "z"),
        {"hemisphere", "impedance", "shank_id", "size", "electrode_shape", "material", "anatomical_location",
         "localization_method", "pipette_solution", "internal_pipette_diameter", "external_pipette_diameter"},
    ),
    "channels": (
        ("name", "electrode_name", "type", "units", "sampling_frequency"),
        {"low_cutoff", "high_cutoff", "reference", "notch", "stream_id", "description", "software_filter_types",
         "status", "status_description", "gain", "time_offset", "time_reference_channel", "ground", "recording_mode"},
    ),
}  # fmt: skip
REQUIRED_KEYS = {"PowerLineFrequency", "SamplingFrequency", "SoftwareFilters"}
