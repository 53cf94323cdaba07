"""NWBFiles that are odd and legal: every neurodata type of pynwb, and data in every form that pynwb takes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hdmf.common import AlignedDynamicTable, DynamicTable, DynamicTableRegion, VectorData, VectorIndex
from hdmf.data_utils import DataChunkIterator
from pynwb import NWBFile, TimeSeries
from pynwb.base import Image, ImageReferences, Images
from pynwb.behavior import (
    BehavioralEpochs,
    BehavioralEvents,
    BehavioralTimeSeries,
    CompassDirection,
    EyeTracking,
    Position,
    PupilTracking,
    SpatialSeries,
)
from pynwb.core import ScratchData
from pynwb.device import DeviceModel
from pynwb.ecephys import LFP, ElectricalSeries, FeatureExtraction, FilteredEphys, SpikeEventSeries
from pynwb.epoch import TimeIntervals
from pynwb.event import DurationVectorData, EventsTable, TimestampVectorData
from pynwb.icephys import IZeroClampSeries, VoltageClampSeries, VoltageClampStimulusSeries
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries, OpticalSeries, RGBAImage, RGBImage
from pynwb.misc import AbstractFeatureSeries, AnnotationSeries, DecompositionSeries, IntervalSeries
from pynwb.ogen import OptogeneticSeries
from pynwb.ophys import (
    CorrectedImageStack,
    DfOverF,
    Fluorescence,
    ImageSegmentation,
    MotionCorrection,
    OnePhotonSeries,
    OpticalChannel,
    RoiResponseSeries,
    TwoPhotonSeries,
)

from nwb_cases import add_electrodes, new_file, recording

LARGE = 20_000  # rows of float64 that are more than hdmf is left with


def _noise(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape)


def ecephys() -> NWBFile:
    """Spike events, LFP, filtered signals, features, units with doubly indexed waveforms, spectral bands."""
    nwb = new_file()
    region = add_electrodes(nwb, 4)
    some = nwb.create_electrode_table_region([3, 1], "Two of them.")
    raw = ElectricalSeries(
        name="raw", data=recording(30_000, 4), electrodes=region, rate=30_000.0, filtering="none",
        channel_conversion=[1.0, 2.0, 3.0, 4.0], conversion=1e-6, offset=0.5, description="Raw.",
    )  # fmt: skip
    nwb.add_acquisition(raw)
    nwb.add_acquisition(
        SpikeEventSeries(
            name="spikes", data=_noise(500, 2, 40).astype("f4"), timestamps=np.sort(_noise(500)), electrodes=some,
            description="Snippets.",
        )
    )  # fmt: skip
    module = nwb.create_processing_module("ecephys", "Processed.")
    lfp = ElectricalSeries(
        name="lfp", data=_noise(LARGE, 2).astype("f2"), electrodes=some, rate=1000.0, description="float16."
    )
    module.add(LFP(electrical_series=lfp))
    module.add(FilteredEphys(electrical_series=ElectricalSeries(
        name="filtered", data=_noise(LARGE, 4), electrodes=nwb.create_electrode_table_region([0, 1, 2, 3], "All."),
        timestamps=np.arange(LARGE) / 1e3, description="Filtered.",
    )))  # fmt: skip
    module.add(FeatureExtraction(
        electrodes=nwb.create_electrode_table_region([0, 1], "Two."), description=["energy", "peak"],
        times=np.arange(3000.0), features=_noise(3000, 2, 2),
    ))  # fmt: skip
    module.add(DecompositionSeries(
        name="bands", data=_noise(1000, 2, 8), metric="power", rate=100.0, source_timeseries=lfp,
        source_channels=nwb.create_electrode_table_region([3, 1], "Two."), description="Bands.",
    ))  # fmt: skip
    for k in range(8):
        module["bands"].add_band(
            band_name=f"b{k}", band_limits=(k * 10.0, k * 10.0 + 9), band_mean=k * 10.0, band_stdev=1.0
        )
    nwb.add_unit_column("label", "A word for each.")
    for k in range(40):
        nwb.add_unit(
            spike_times=np.sort(_noise(400, seed=k)), obs_intervals=np.array([[0.0, 1.0], [2.0, 3.0]]),
            electrodes=[0, 3], electrode_group=nwb.electrode_groups["shank0"], waveform_mean=_noise(30, 2),
            waveform_sd=_noise(30, 2), waveforms=[[_noise(30), _noise(30)], [_noise(30)]], label="gut" if k else "µ",
        )  # fmt: skip
    nwb.units.waveform_rate = 30_000.0
    return nwb


def ophys() -> NWBFile:
    """Movies, masks of every sort - truth values, compound pixels and voxels -, responses, corrected movies."""
    nwb = new_file()
    scope = nwb.create_device("scope", description="A scope.")
    nwb.add_device_model(DeviceModel(name="model", manufacturer="Us"))
    plane = nwb.create_imaging_plane(
        name="plane", description="A plane.", device=scope, location="V1", imaging_rate=30.0, excitation_lambda=920.0,
        optical_channel=[OpticalChannel(name=c, description=c, emission_lambda=500.0) for c in ("red", "green")],
        indicator="GCaMP6f", grid_spacing=[0.1, 0.2], grid_spacing_unit="meters", origin_coords=[1.0, 2.0, 3.0],
        origin_coords_unit="meters",
    )  # fmt: skip
    movie = TwoPhotonSeries(
        name="movie", data=np.abs(_noise(60, 40, 50) * 99).astype("u2"), imaging_plane=plane, rate=30.0,
        unit="n.a.", field_of_view=[0.1, 0.2], pmt_gain=2.0, description="A movie.",
    )  # fmt: skip
    nwb.add_acquisition(movie)
    nwb.add_acquisition(OnePhotonSeries(
        name="volume", data=(_noise(10, 20, 30, 12) * 9).astype("i8"), imaging_plane=plane, rate=3.0, unit="n.a.",
        description="(frame, x, y, z) int64.", exposure_time=0.1, binning=2, power=3.0, intensity=4.0,
    ))  # fmt: skip
    module = nwb.create_processing_module("ophys", "Processed.")
    corrected = ImageSeries(
        name="corrected", data=np.abs(_noise(60, 40, 50) * 9).astype("u1"), unit="n.a.", rate=30.0, description="Moved."
    )
    shift = TimeSeries(name="xy_translation", data=_noise(60, 2), unit="pixels", rate=30.0, description="Shifts.")
    module.add(MotionCorrection(corrected_image_stacks=CorrectedImageStack(
        name="stack", corrected=corrected, original=movie, xy_translation=shift
    )))  # fmt: skip
    segmentation = ImageSegmentation()
    module.add(segmentation)
    dense = segmentation.create_plane_segmentation("Masks.", plane, "dense", [movie])
    pixels = segmentation.create_plane_segmentation("Pixels.", plane, "pixels")
    voxels = segmentation.create_plane_segmentation("Voxels.", plane, "voxels")
    for k in range(60):
        dense.add_roi(image_mask=_noise(40, 50, seed=k) > 1)
        pixels.add_roi(pixel_mask=[(x, x + k, 0.5) for x in range(k + 1)])
        voxels.add_roi(voxel_mask=[(x, x + k, 2, 1.0) for x in range(k + 1)])
    rois = dense.create_roi_table_region("All of them.", list(range(60)))
    series = RoiResponseSeries(
        name="dff", data=_noise(400, 60), rois=rois, unit="n.a.", rate=30.0, description="Responses."
    )
    module.add(DfOverF(roi_response_series=series))
    module.add(Fluorescence(name="Fluorescence", roi_response_series=RoiResponseSeries(
        name="raw", data=_noise(400, 60).astype("f4"), unit="n.a.", timestamps=np.arange(400) / 30,
        rois=dense.create_roi_table_region("All of them.", list(range(60))), description="Raw.",
    )))  # fmt: skip
    return nwb


def images() -> NWBFile:
    """Pictures with an order, series of indices into them, external files, optical stimuli."""
    nwb = new_file()
    grey = GrayscaleImage(name="grey", data=(_noise(300, 300) * 40 + 99).astype("u1"), resolution=2.5, description="G.")
    colour = RGBImage(name="colour", data=np.zeros((200, 150, 3), "u1"))
    alpha = RGBAImage(name="alpha", data=_noise(200, 150, 4))
    plain = Image.__subclasses__()[0](name="small", data=np.eye(3, dtype="u1"), description="µ")
    every = Images(
        name="pictures", images=[grey, colour, alpha, plain], description="Stimuli.",
        order_of_images=ImageReferences(name="order_of_images", data=[alpha, grey, colour, plain]),
    )  # fmt: skip
    nwb.add_stimulus_template(every)
    nwb.add_stimulus(IndexSeries(
        name="shown", data=np.arange(LARGE, dtype="u4") % 4, indexed_images=every, unit="N/A", rate=60.0,
        description="Which.",
    ))  # fmt: skip
    nwb.add_acquisition(ImageSeries(
        name="video", external_file=["a b.avi", "µ.avi"], format="external", starting_frame=[0, 10], rate=30.0,
        dimension=[640, 480], description="Elsewhere.", num_samples=20,
    ))  # fmt: skip
    nwb.add_stimulus(OpticalSeries(
        name="gratings", data=np.zeros((30, 60, 60, 3), "u1"), distance=0.2, field_of_view=[1.0, 2.0],
        orientation="up", rate=60.0, unit="n.a.", format="raw", description="Constant.",
    ))  # fmt: skip
    return nwb


def behaviour() -> NWBFile:
    """Containers of many series; truth values; texts; intervals; NaNs; linked timestamps and linked data."""
    nwb = new_file()
    module = nwb.create_processing_module("behavior", "µ-behaviour.")
    times = np.arange(LARGE) / 50
    xy = SpatialSeries(
        name="xy", data=np.where(_noise(LARGE, 2) > 2, np.nan, _noise(LARGE, 2)), timestamps=times, unit="meters",
        reference_frame="The corner.", description="With gaps.",
    )  # fmt: skip
    module.add(Position(spatial_series=xy))
    module.add(CompassDirection(spatial_series=SpatialSeries(
        name="head", data=_noise(LARGE), timestamps=xy, unit="radians", reference_frame="North.", description="Where.",
    )))  # fmt: skip
    module.add(PupilTracking(time_series=[
        TimeSeries(name="diameter", data=np.full(LARGE, np.nan), timestamps=xy, unit="m", description="No pupil."),
        TimeSeries(name="open", data=_noise(100_000) > 0, rate=50.0, unit="n.a.", description="Truth values."),
    ]))  # fmt: skip
    module.add(EyeTracking(spatial_series=SpatialSeries(
        name="eye", data=xy, rate=50.0, reference_frame="The head.", unit="meters", description="The same data.",
    )))  # fmt: skip
    module.add(BehavioralEpochs(interval_series=IntervalSeries(
        name="runs", data=np.array([1, -1] * 5, "i1"), timestamps=np.arange(10.0), description="Runs.",
    )))  # fmt: skip
    module.add(BehavioralEvents(time_series=TimeSeries(
        name="licks", data=np.arange(7) ** 40, timestamps=np.arange(7.0), unit="n.a.", description="Large integers.",
        control=[0, 1, 0, 1, 0, 1, 0], control_description=["a", "µ"], continuity="instantaneous", comments="c",
    )))  # fmt: skip
    module.add(BehavioralTimeSeries(time_series=TimeSeries(
        name="nobody", data=np.zeros((0, 3)), rate=1.0, unit="n.a.", description="No rows."
    )))  # fmt: skip
    nwb.add_acquisition(AnnotationSeries(
        name="notes", data=["a", "ü" * 300, ""], timestamps=np.arange(3.0), description="Texts.",
    ))  # fmt: skip
    nwb.add_acquisition(AbstractFeatureSeries(
        name="features", feature_units=["m", "s"], features=["size", "time"], data=_noise(10, 2), rate=1.0,
        description="Features.",
    ))  # fmt: skip
    return nwb


def tables() -> NWBFile:
    """Regions of other tables, three levels of indices, all types of columns, events, no rows, scratch."""
    nwb = new_file()
    for k in range(5):
        nwb.add_epoch(start_time=k * 1.0, stop_time=k + 0.5, tags=["a", f"µ{k}"])
    nwb.add_invalid_time_interval(start_time=1.0, stop_time=2.0, tags=["noise"])
    other = DynamicTable(name="other", description="Another.", id=list(range(9)))
    other.add_column("value", "Numbers.", data=np.arange(9, dtype=">i4"))
    other.add_column("flag", "Truth.", data=[True, False, True] * 3)
    other.add_column("word", "Words.", data=["", "µ", "x" * 99] * 3)
    other.add_column("when", "Times.", data=[datetime(2024, 1, 2, tzinfo=UTC).isoformat()] * 9)
    other.add_column("wide", "Rows.", data=_noise(9, 3, 2))
    other.add_column("half", "float16.", data=np.arange(9, dtype="f2"))
    other.add_column("long", "uint64.", data=np.full(9, 2**64 - 1, "u8"))
    nwb.add_scratch(other)
    cells = VectorData(name="cells", description="Nested.", data=np.arange(12.0))
    inner = VectorIndex(name="cells_index", data=np.array([2, 5, 9, 12]), target=cells)
    outer = VectorIndex(name="cells_index_index", data=[1, 4], target=inner)
    region = DynamicTableRegion(name="region", description="Rows of the other.", data=[8, 0, 3], table=other)
    index = VectorIndex(name="region_index", data=[1, 3], target=region)
    nwb.add_scratch(DynamicTable(
        name="ragged", description="Ragged.", id=[7, 9], columns=[cells, inner, outer, region, index],
        colnames=["cells", "region"],
    ))  # fmt: skip
    nwb.add_scratch(DynamicTable(name="nothing", description="No rows.", columns=[
        VectorData(name="a", description="A.", data=np.zeros(0, int)),
        VectorData(name="b", description="B.", data=np.zeros((0, 2))),
    ]))  # fmt: skip
    nwb.add_scratch(AlignedDynamicTable(
        name="aligned", description="Side by side.",
        category_tables=[DynamicTable(name="left", description="Left.", columns=[
            VectorData(name="v", description="V.", data=[1, 2])])],
        columns=[VectorData(name="w", description="W.", data=["a", "b"])],
    ))  # fmt: skip
    nwb.add_scratch(ScratchData(name="array", data=_noise(LARGE), description="Any."))
    nwb.add_scratch(ScratchData(name="text", data="µ", description="Any."))
    nwb.add_scratch(ScratchData(name="number", data=3.5, description="Any."))
    nwb.add_scratch(ScratchData(name="words", data=["a", "b"], description="Any."))
    nwb.add_time_intervals(TimeIntervals(name="blocks", description="No rows."))
    nwb.add_events_table(EventsTable(
        name="pokes", description="Pokes.", id=np.arange(LARGE), colnames=["timestamp", "duration", "port"], columns=[
            TimestampVectorData(name="timestamp", description="T.", data=np.arange(LARGE) / 7, resolution=1e-4),
            DurationVectorData(name="duration", description="D.", data=np.full(LARGE, np.nan)),
            VectorData(name="port", description="P.", data=list(range(LARGE))),
        ],
    ))  # fmt: skip
    return nwb


def intracellular() -> NWBFile:
    """All tables of intracellular recordings, with rows that hold references, and every type of clamp."""
    nwb = new_file()
    device = nwb.create_device("amplifier", description="An amplifier.")
    electrode = nwb.create_icephys_electrode(name="e0", description="A pipette.", device=device, cell_id="c")
    rows = []
    for k in range(4):
        common: dict[str, Any] = {"electrode": electrode, "gain": 1.0, "rate": 20_000.0, "sweep_number": np.uint64(k)}
        stimulus = VoltageClampStimulusSeries(name=f"s{k}", data=_noise(LARGE, seed=k), **common)
        response: Any = VoltageClampSeries(
            name=f"r{k}", data=recording(40_000, 1, k)[:, 0], capacitance_fast=1e-12, resistance_comp_bandwidth=3.0,
            **common,
        ) if k else IZeroClampSeries(name="r0", data=_noise(LARGE), **common)  # fmt: skip
        rows.append(nwb.add_intracellular_recording(
            electrode=electrode, response=response,
            **({"stimulus": stimulus, "stimulus_start_index": 3, "stimulus_index_count": 9} if k else {}),
        ))  # fmt: skip
    nwb.intracellular_recordings.add_column(name="tag", description="A word.", data=["a", "µ", "", "d"])
    pairs = [nwb.add_icephys_simultaneous_recording(recordings=rows[:2]),
             nwb.add_icephys_simultaneous_recording(recordings=rows[2:])]  # fmt: skip
    sequence = nwb.add_icephys_sequential_recording(simultaneous_recordings=pairs, stimulus_type="square")
    repetition = nwb.add_icephys_repetition(sequential_recordings=[sequence])
    nwb.add_icephys_experimental_condition(repetitions=[repetition])
    nwb.add_trial(start_time=0.0, stop_time=1.0, timeseries=[nwb.acquisition["r1"], nwb.stimulus["s1"]])
    return nwb


def words() -> NWBFile:
    """All text fields of a session, in many scripts; several authors and dates; optogenetics."""
    nwb = NWBFile(
        session_description="µ — 漢字 \U0001f400", identifier="i/d:µ",
        session_start_time=datetime(2024, 5, 1, tzinfo=UTC),
        file_create_date=[datetime(2024, 5, 2, tzinfo=UTC), datetime(2024, 5, 3, 1, 2, 3, 456, tzinfo=UTC)],
        experimenter=("Doe, Jané", "漢, 字"), keywords=["a", "é"], related_publications=["doi:10/a", "doi:10/b"],
        notes="line\nline", pharmacology="p", protocol="p", slices="s", source_script="print('µ')",
        source_script_file_name="a b.py", data_collection="d", surgery="s", virus="v", stimulus_notes="n", lab="l",
        institution="I", was_generated_by=[["tool", "1.0"], ["other", "2.0"]],
    )  # fmt: skip
    laser = nwb.create_device("laser", description="A laser.")
    site = nwb.create_ogen_site(name="site", device=laser, description="Here.", excitation_lambda=473.0, location="V1")
    nwb.add_stimulus(OptogeneticSeries(name="pulses", data=_noise(LARGE), site=site, rate=1000.0, description="W."))
    return nwb


def forms() -> NWBFile:
    """Numbers of every type, order in memory, and sort of iterator."""
    nwb = new_file()
    base = recording(30_000, 4)
    arrays: dict[str, Any] = {
        name: base.astype(name)
        for name in ("i1", "u1", "i2", ">i2", "u4", ">u4", "i8", "u8", ">i8", "f2", "f4", ">f4", "f8", ">f8")
    }
    arrays |= {
        "bool": base > 0, "fortran": np.asfortranarray(base), "backwards": base[::-1], "every_other": base[::2, 1::2],
        "broadcast": np.broadcast_to(np.float32(1.5), (40_000, 2)), "readonly": _frozen(base),
        "nan": np.where(base > 9, np.nan, base), "inf": np.where(base > 9, -np.inf, base), "zeros": np.zeros_like(base),
        "list": base[:, 0].tolist(), "list_of_lists": base[:9].tolist(), "tuple": (1.5, 2.5),
        "one": np.array([3]), "no_rows": base[:0], "no_columns": np.zeros((5, 0)), "four_axes": _noise(9, 8, 7, 60),
        "wide": _noise(3, 30_000), "long_axis": _noise(1, 2, 9000), "text": ["a", "µ"], "bytes": [b"a", b"bc"],
        "fixed_text": np.array(["a", "µµ"]), "large_text": [f"µ{k}" for k in range(9000)],
        "one_way": DataChunkIterator(data=(row for row in base), buffer_size=100),
        "array_iterator": DataChunkIterator(data=base, buffer_size=100),
    }  # fmt: skip
    for name, data in arrays.items():
        series = TimeSeries(name=f"t_{name}".replace(">", "b"), data=data, rate=1.0, unit="V", description=name)
        nwb.add_acquisition(series)
    return nwb


def _frozen(values: Any) -> Any:
    values = values.copy()
    values.flags.writeable = False
    return values


ODD: dict[str, Callable[[], NWBFile]] = {
    make.__name__: make for make in (ecephys, ophys, images, behaviour, tables, intracellular, words, forms)
}
