"""Names of assets: they depend on what a file says of itself, never on the batch it is organized with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Final

from dandify.errors import BadRequest
from dandify.project.rules import label

# The types of the NWB core schema 2.11, by the part of the schema that defines them; types that say nothing of the
# modality (base, device, epoch, file) are left out.
_CORE: Final = {
    "ecephys": """ElectricalSeries SpikeEventSeries FeatureExtraction EventDetection EventWaveform FilteredEphys LFP
        ElectrodeGroup ElectrodesTable ClusterWaveforms Clustering""",
    "icephys": """PatchClampSeries CurrentClampSeries IZeroClampSeries CurrentClampStimulusSeries VoltageClampSeries
        VoltageClampStimulusSeries IntracellularElectrode SweepTable IntracellularElectrodesTable
        IntracellularStimuliTable IntracellularResponsesTable IntracellularRecordingsTable SimultaneousRecordingsTable
        SequentialRecordingsTable RepetitionsTable ExperimentalConditionsTable""",
    "ophys": """OnePhotonSeries TwoPhotonSeries RoiResponseSeries DfOverF Fluorescence ImageSegmentation
        PlaneSegmentation ImagingPlane OpticalChannel MotionCorrection CorrectedImageStack ImagingRetinotopy""",
    "ogen": "OptogeneticSeries OptogeneticStimulusSite",
    "behavior": """SpatialSeries BehavioralEpochs BehavioralEvents BehavioralTimeSeries PupilTracking EyeTracking
        CompassDirection Position""",
    "image": """GrayscaleImage RGBImage RGBAImage ExternalImage ImageSeries ImageMaskSeries OpticalSeries
        IndexSeries""",
}
# Extensions whose types inherit from none of the above: ndx-pose, ndx-fiber-photometry, ndx-photometry,
# ndx-optogenetics, ndx-patterned-ogen, ndx-sound.
_EXTENSIONS: Final = {
    "behavior": """PoseEstimation PoseEstimationSeries PoseTraining Skeleton Skeletons SkeletonInstance
        AcousticWaveformSeries""",
    "ophys": """FiberPhotometry FiberPhotometryTable FiberPhotometryResponseSeries CommandedVoltageSeries FibersTable
        MultiCommandedVoltage""",
    "ogen": """OptogeneticExperimentMetadata OptogeneticEpochsTable OptogeneticVirus OptogeneticEffector
        PatternedOptogeneticSeries PatternedOptogeneticStimulusSite""",
}
MODALITY: Final[Mapping[str, str]] = MappingProxyType({
    name: modality
    for table in (_CORE, _EXTENSIONS)
    for modality, names in table.items()
    for name in names.split()
})  # fmt: skip
"""Modality by neurodata type."""

_PHYSIOLOGY: Final = frozenset({"ecephys", "icephys", "ophys"})
_EVENTS: Final = frozenset({
    "EventsTable", "Events", "LabeledEvents", "TTLs", "AnnotatedEventsTable", "EventTypesTable", "TtlsTable",
    "TimeIntervals",
})  # fmt: skip
_KNOWN: Final = frozenset({*MODALITY, *_EVENTS, "Units"})

MAX_PATH: Final = 512
"""Characters of an asset's path that the archive takes (dandi-archive, models/asset.py)."""

# The archive's own pattern is ([A-z0-9(),&\s#+~_=-]?\/?\.?[A-z0-9(),&\s#+~_=-])+. Its optional first character makes it
# backtrack exponentially on a path it does not match; without it the language is the same and matching is linear.
# A-z really is meant: it lets [ ] ^ ` and the backslash through, as the archive does.
ASSET_PATH: Final = re.compile(r"(?:/?\.?[A-z0-9(),&\s#+~_=-])+")
"""What paths of assets the archive takes (dandi-archive, models/asset.py)."""

MAX_NAME: Final = 255 - len(".replaced")
"""Bytes of a name: what file systems take, less what is put behind it while a file is replaced. Labels are ASCII."""

ENTITIES: Final = ("tis", "slice", "cell", "desc", "probe")
"""Optional parts of an NWB file's name, in the order that dandi wants."""

IMAGE_ENTITIES: Final = ("sample", "acq", "stain", "run", "chunk")
"""Optional parts of an image's name, in the order of BIDS's."""

_IMAGE_SUFFIX: Final = r"(\.ome)?\.(zarr|ngff|png|jpe?g|gif|mp4|avi|wmv|mov|flv|mkv)$"
_NAMED = re.compile(r"sub-(?P<subject>[^_.]+)(?:_ses-(?P<session>[^_.]+))?(?:[_.]|$)")


def sanitize_label(text: str) -> str:
    """Return an id as it stands in names: letters, digits and ``+``, which BIDS and DANDI both allow.

    ``mouse_01-a`` becomes ``mouse01A``. Two ids may give one label; `dandify.dandiset.organize` refuses that.

    Raises
    ------
    BadRequest
        If no letter and no digit is left.
    """
    found = label(text)
    if not found:
        raise BadRequest(f"the id {text!r} has no letter and no digit", remedy="file names are made of it; change it")
    return found


def session_label(session_id: str | None, session_start_time: datetime | None) -> str | None:
    """Return the label of a session: its id, else its start as ``YYYYMMDDTHHMMSS``; None if neither is known."""
    if session_id:
        return sanitize_label(session_id)
    return session_start_time.strftime("%Y%m%dT%H%M%S") if session_start_time else None


def nwb_path(
    subject_id: str,
    session_id: str | None,
    modalities: Iterable[str] = (),
    *,
    session_start_time: datetime | None = None,
    entities: Mapping[str, str] = MappingProxyType({}),
    suffix: str = ".nwb",
) -> PurePosixPath:
    """Return ``sub-<id>/sub-<id>_ses-<id>[_<entity>-<id>]_<modality>.nwb``.

    Parameters
    ----------
    subject_id, session_id
        As the file states them.
    modalities
        From `modalities_of`; joined with ``+`` in alphabetical order.
    session_start_time
        Names the session if it has no id.
    entities
        More parts of the name, by the keys of `ENTITIES`: the cell or slice that an intracellular recording is of.
    suffix
        ``.nwb`` or ``.nwb.zarr``.

    Raises
    ------
    BadRequest
        If there is neither a session id nor a start.
    """
    folder, stem = _stem(subject_id, session_id, session_start_time)
    parts = [f"{key}-{sanitize_label(entities[key])}" for key in ENTITIES if entities.get(key)]
    parts += ["+".join(sorted(set(modalities)))] if modalities else []
    return PurePosixPath(folder, "_".join([stem, *parts]) + suffix)


def image_path(
    subject_id: str,
    session_id: str | None,
    image: str,
    *,
    session_start_time: datetime | None = None,
    entities: Mapping[str, str] = MappingProxyType({}),
    suffix: str = ".ome.zarr",
) -> PurePosixPath:
    """Return ``sub-<id>/sub-<id>_ses-<id>[_<entity>-<id>]_<image>.ome.zarr``, or that of a picture or video.

    There is no other dot in the name, because DANDI tells an OME-Zarr by exactly these suffixes.

    Parameters
    ----------
    subject_id, session_id, session_start_time
        See `nwb_path`.
    image
        The image's own name: the file's, without suffixes and without a ``sub-<id>_ses-<id>_`` of dandify.
    entities
        Parts of BIDS's names, as of `entities_in_name`: they stay such, so that the sample is known by the name.
    suffix
        ``.ome.zarr``, or ``.png``, ``.mp4``, ...

    Raises
    ------
    BadRequest
        If there is neither a session id nor a start.
    """
    folder, stem = _stem(subject_id, session_id, session_start_time)
    stated = [f"{key}-{found}" for key in IMAGE_ENTITIES if (found := label(entities.get(key, "")))]
    way = label(entities.get("suffix", ""))
    words = [word for word in image.split("_") if "-" not in word or word.partition("-")[0] not in entities]
    own = label("_".join(words[:-1] if way and words and label(words[-1]) == way else words))
    parts = [*stated, *filter(None, (own, way))] or ["image"]
    return PurePosixPath(folder, f"{'_'.join([stem, *parts])}{suffix}")


def image_name(file_name: str) -> str:
    """Return an image's own name from that of its file: ``sub-m1_ses-1_stack.ome.zarr`` is ``stack``."""
    stem = re.sub(_IMAGE_SUFFIX, "", file_name, flags=re.IGNORECASE)
    found = re.fullmatch(r"sub-[^_.]+(?:_ses-[^_.]+)?_(?P<own>.+)", stem)
    return found["own"] if found else stem


def ids_in_name(file_name: str) -> tuple[str | None, str | None]:
    """Return the subject and session that a name in DANDI's or BIDS's form states."""
    found = _NAMED.match(file_name)
    return (found["subject"], found["session"]) if found else (None, None)


def entities_in_name(stem: str) -> dict[str, str]:
    """Return the parts of a BIDS name but subject and session: ``{"sample": "A", "suffix": "SPIM"}``.

    ``suffix`` is what it ends with, if anything is said of a sample; else it may be any word.
    """
    *pairs, last = stem.split("_")
    found = {key: value for key, dash, value in (p.partition("-") for p in (*pairs, last)) if dash and key and value}
    if "sample" in found and "-" not in last:
        found["suffix"] = last
    return {key: found[key] for key in (*IMAGE_ENTITIES, "suffix") if key in found}


def modalities_of(types: Iterable[str], parents: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """Return the modalities of a file from the neurodata types in it, in alphabetical order.

    Spike times without the recording they come from count as ecephys, as in the DANDI archive's approaches; events and
    trials count as behavior where nothing else is there.

    Parameters
    ----------
    types
        Every neurodata type in the file.
    parents
        What types of extensions inherit from; the specifications cached in the file say it.
    """
    present = {_core_type(name, parents) for name in types}
    found = {MODALITY[name] for name in present if name in MODALITY}
    if "Units" in present and not found & _PHYSIOLOGY:
        found.add("ecephys")
    if not found and present & _EVENTS:
        found.add("behavior")
    return tuple(sorted(found))


def _core_type(name: str, parents: Mapping[str, str]) -> str:
    """Follow a type's ancestors to the first one that is known."""
    seen: set[str] = set()
    current = name
    while current not in _KNOWN and current in parents and current not in seen:
        seen.add(current)
        current = parents[current]
    return current


def _stem(subject_id: str, session_id: str | None, start: datetime | None) -> tuple[str, str]:
    session = session_label(session_id, start)
    if session is None:
        raise BadRequest("a name needs a session id or the start of the session", remedy="give --session-id")
    folder = f"sub-{sanitize_label(subject_id)}"
    return folder, f"{folder}_ses-{session}"
