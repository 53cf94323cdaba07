"""From the rig to DANDI: raw neurophysiology recordings become NWB and OME-Zarr, organized, validated and uploaded.

Every verb of the command line is a function here; each is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dandify.archive.serve import serve as serve_archive
    from dandify.archive.upload import upload
    from dandify.dandiset.check import check
    from dandify.dandiset.generate import describe
    from dandify.dandiset.organize import organize
    from dandify.dandiset.validate import validate
    from dandify.examples.run import demo
    from dandify.ngff.labels import write_ome_zarr_labels
    from dandify.ngff.plan import plan_ome_zarr, plan_ome_zarr_labels
    from dandify.ngff.plate import plan_ome_zarr_plate, write_ome_zarr_plate
    from dandify.ngff.write import write_ome_zarr
    from dandify.nwb.compare import compare_nwb
    from dandify.nwb.plan import plan_nwb
    from dandify.nwb.repack import repack
    from dandify.nwb.write import write_nwb
    from dandify.project.scan import scan
    from dandify.report.view import view
    from dandify.runs.convert import convert
    from dandify.runs.tune import tune
    from dandify.runs.verify import verify
    from dandify.sources.formats import formats
    from dandify.testing import check_converter

__version__ = "0.1.0"

_HOMES = {
    "check": "dandify.dandiset.check",
    "check_converter": "dandify.testing",
    "compare_nwb": "dandify.nwb.compare",
    "convert": "dandify.runs.convert",
    "demo": "dandify.examples.run",
    "describe": "dandify.dandiset.generate",
    "formats": "dandify.sources.formats",
    "organize": "dandify.dandiset.organize",
    "plan_nwb": "dandify.nwb.plan",
    "plan_ome_zarr": "dandify.ngff.plan",
    "plan_ome_zarr_labels": "dandify.ngff.plan",
    "plan_ome_zarr_plate": "dandify.ngff.plate",
    "repack": "dandify.nwb.repack",
    "scan": "dandify.project.scan",
    "serve_archive": "dandify.archive.serve:serve",
    "tune": "dandify.runs.tune",
    "upload": "dandify.archive.upload",
    "validate": "dandify.dandiset.validate",
    "verify": "dandify.runs.verify",
    "view": "dandify.report.view",
    "write_nwb": "dandify.nwb.write",
    "write_ome_zarr": "dandify.ngff.write",
    "write_ome_zarr_labels": "dandify.ngff.labels",
    "write_ome_zarr_plate": "dandify.ngff.plate",
}

__all__ = [
    "__version__",
    "check",
    "check_converter",
    "compare_nwb",
    "convert",
    "demo",
    "describe",
    "formats",
    "organize",
    "plan_nwb",
    "plan_ome_zarr",
    "plan_ome_zarr_labels",
    "plan_ome_zarr_plate",
    "repack",
    "scan",
    "serve_archive",
    "tune",
    "upload",
    "validate",
    "verify",
    "view",
    "write_nwb",
    "write_ome_zarr",
    "write_ome_zarr_labels",
    "write_ome_zarr_plate",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'dandify' has no attribute {name!r}")
    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    return sorted(__all__)
