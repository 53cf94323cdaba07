"""The words by which the DANDI archive sorts what was done: approaches and techniques, by type, suffix and mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

ELECTROPHYSIOLOGY: Final = "electrophysiological approach"
BEHAVIOR: Final = "behavioral approach"
MICROSCOPY: Final = "microscopy approach; cell population imaging"
OPTOGENETICS: Final = "optogenetic approach"

# What dandi's own map (dandi/metadata/util.py, neurodata_typemap) lacks: dandi-cli 1665 and 1754 ask for it. Types that
# inherit from one that is known need no row. Approaches are labels of the BICCN's list, as dandi's are.
_MORE: Final[Mapping[str, tuple[str | None, str | None]]] = MappingProxyType({
    "PoseEstimation": (BEHAVIOR, "behavioral technique"),
    "PoseEstimationSeries": (BEHAVIOR, "behavioral technique"),
    "PoseTraining": (BEHAVIOR, "behavioral technique"),
    "FiberPhotometry": ("cell population imaging", "fiber photometry technique"),
    "FiberPhotometryTable": ("cell population imaging", "fiber photometry technique"),
    "FiberPhotometryResponseSeries": ("cell population imaging", "fiber photometry technique"),
    "FibersTable": ("cell population imaging", "fiber photometry technique"),
    "RoiResponseSeries": (MICROSCOPY, None),
    "Fluorescence": (MICROSCOPY, None),
    "DfOverF": (MICROSCOPY, None),
    "ImageSegmentation": (MICROSCOPY, None),
    "OptogeneticStimulusSite": (OPTOGENETICS, None),
    "OptogeneticEpochsTable": (OPTOGENETICS, None),
    "OptogeneticExperimentMetadata": (OPTOGENETICS, None),
    "PatternedOptogeneticSeries": (OPTOGENETICS, None),
    "IntracellularElectrode": (ELECTROPHYSIOLOGY, None),
    "IntracellularRecordingsTable": (ELECTROPHYSIOLOGY, None),
    "ImageSeries": (None, None),
    "EventsTable": (None, None),
    "AcousticWaveformSeries": (None, None),
})  # fmt: skip

SUFFIX_TECHNIQUES: Final[Mapping[str, str]] = MappingProxyType({
    "TEM": "transmission electron microscopy technique",
    "SEM": "scanning electron microscopy technique",
    "uCT": "micro-CT technique",
    "BF": "bright-field microscopy technique",
    "DF": "dark-field microscopy technique",
    "PC": "phase-contrast microscopy technique",
    "DIC": "differential interference contrast microscopy technique",
    "FLUO": "fluorescence microscopy technique",
    "CONF": "confocal microscopy technique",
    "PLI": "polarized-light microscopy technique",
    "CARS": "coherent anti-Stokes Raman microscopy technique",
    "2PE": "two-photon microscopy technique",
    "MPE": "multi-photon microscopy technique",
    "SR": "super-resolution microscopy technique",
    "NLO": "nonlinear optical microscopy technique",
    "OCT": "optical coherence tomography technique",
    "SPIM": "selective plane illumination microscopy technique",
    "XPCT": "X-ray phase-contrast tomography technique",
})  # fmt: skip
"""By the suffixes of BIDS's microscopy files."""

SUFFIX_OF_MODE: Final[Mapping[str, str]] = MappingProxyType({
    "BrightField": "BF",
    "LaserScanningConfocalMicroscopy": "CONF",
    "SpinningDiskConfocal": "CONF",
    "SlitScanConfocal": "CONF",
    "SweptFieldConfocal": "CONF",
    "MultiPhotonMicroscopy": "MPE",
    "StructuredIllumination": "SR",
    "PALM": "SR",
    "STORM": "SR",
    "STED": "SR",
    "SecondHarmonicGenerationImaging": "NLO",
    "SPIM": "SPIM",
})  # fmt: skip
"""BIDS suffix by the ``AcquisitionMode`` of an OME-XML channel; modes that BIDS has no suffix for are left out."""


def described_types(
    types: Iterable[str], parents: Mapping[str, str]
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return approaches, measurement techniques and measured variables of an NWB file from the types in it.

    Types of extensions count as what they inherit from.
    """
    from dandi.metadata.util import neurodata_typemap

    approaches, techniques, variables = set(), set(), set()
    for name in types:
        known: str | None = name
        seen: set[str] = set()
        while known is not None and known not in neurodata_typemap and known not in _MORE and known not in seen:
            seen.add(known)
            known = parents.get(known)
        if known in neurodata_typemap:
            entry = neurodata_typemap[known]
            approach, technique = entry["approach"], entry["technique"]
        elif known is not None and known in _MORE:
            approach, technique = _MORE[known]
        else:
            continue
        variables.add(name)
        approaches |= {approach} - {None}
        techniques |= {technique} - {None}
    return tuple(sorted(approaches)), tuple(sorted(techniques)), tuple(sorted(variables))
