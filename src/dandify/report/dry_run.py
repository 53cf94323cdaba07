"""What `convert --dry-run` shows: outputs, of each large array its chunks, encoder and why; of images their levels."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from dandify.ngff.plan import LevelPlan, OMEZarrPlan
from dandify.ngff.plate import OMEZarrPlatePlan
from dandify.nwb.plan import DatasetPlan, NWBPlan
from dandify.report import text
from dandify.report.convert import notes_record, print_notes
from dandify.runs.convert import ConvertReport
from dandify.runs.dry_run import PlannedOutputs


def print_dry_run(report: ConvertReport, console: Console) -> None:
    """Print the plans of all sessions."""
    for session in report.sessions:
        if session.planned is not None:
            if session.planned.nwb is not None:
                _print_nwb(session.planned.nwb, console)
            for image in session.planned.images:
                _print_image(image, console)
            for plate in session.planned.plates:
                _print_plate(plate, console)
        print_notes(session.plan, console)
        for path in session.skipped:
            console.print(f"{escape(str(path))}: is there already, and would be left", soft_wrap=True)
        if session.error is not None:
            console.print(f"[red]would fail[/] {session.plan.name}: {escape(str(session.error))}", soft_wrap=True)
    console.print("nothing was written")


def dry_run_record(report: ConvertReport) -> dict[str, Any]:
    """Return the plans as JSON-ready values."""
    return {
        "dry_run": True,
        "out": str(report.out),
        "sessions": [
            {
                "name": session.plan.name,
                "notes": notes_record(session.plan),
                "error": None if session.error is None else str(session.error),
                "skipped": [str(p) for p in session.skipped],
                **_planned_record(session.planned),
            }
            for session in report.sessions
        ],
    }


def _planned_record(planned: PlannedOutputs | None) -> dict[str, Any]:
    if planned is None:
        return {"nwb": None, "images": [], "plates": []}
    return {
        "nwb": None if planned.nwb is None else _nwb_record(planned.nwb),
        "images": [image_record(i) for i in planned.images],
        "plates": [_plate_record(p) for p in planned.plates],
    }


def _print_nwb(plan: NWBPlan, console: Console) -> None:
    console.print(
        f"{escape(str(plan.path))}: {text.size(plan.raw_bytes)} raw, about {text.size(plan.estimated_bytes)} stored, "
        f"{text.size(plan.memory_bytes)} of memory",
        soft_wrap=True,
    )
    for one in plan.datasets:
        console.print(
            f"  {escape(one.path_in_file)}: {_by(one.shape)} {one.dtype} in {text.count(one.count, 'chunk')} of "
            f"{_by(one.chunks)}, {escape(one.encoder)}, about {text.size(one.estimated_bytes)} ({one.ratio:.2f}), "
            f"{text.size(one.memory_bytes)} of memory",
            soft_wrap=True,
        )
        console.print(f"    chunks: {escape(one.reason)}", soft_wrap=True)
        console.print(f"    encoder: {escape(one.encoder_reason)}", soft_wrap=True)


def _print_image(plan: OMEZarrPlan, console: Console) -> None:
    """Print an image, with its labels, and what DANDI says of it."""
    print_levels(plan, console)
    for one in plan.labels:
        print_levels(one, console)
    print_verdict(plan, console)


def _print_plate(plan: OMEZarrPlatePlan, console: Console) -> None:
    """Print a plate, the levels of its first field, and what DANDI says of it."""
    shapes = sorted({_by(field.levels[0].shape) for field in plan.fields.values()})
    console.print(
        f"{escape(str(plan.path))}: plate of {plan.wells} wells, {len(plan.fields)} fields of {', '.join(shapes)}, "
        f"{text.size(plan.raw_bytes)} raw, about {text.size(plan.estimated_bytes)} stored in "
        f"{text.count(plan.files, 'file')}",
        soft_wrap=True,
    )
    console.print("the first of them:")
    print_levels(plan.first, console)
    print_verdict(plan.deepest, console)


def print_levels(plan: OMEZarrPlan, console: Console) -> None:
    """Print what an image, or labels, would be: levels, chunks, sizes, memory."""
    finest = plan.levels[0]
    console.print(
        f"{escape(str(plan.path))}: {''.join(plan.axes)} {_by(finest.shape)} {plan.dtype}, {text.size(plan.raw_bytes)} "
        f"raw, about {text.size(plan.estimated_bytes)} stored in {text.count(plan.files, 'file')}, "
        f"{text.size(plan.memory_bytes)} of memory, about {text.size(plan.peak_bytes)} with what libraries hold",
        soft_wrap=True,
    )
    console.print(
        f"  OME-Zarr {plan.version}, {escape(plan.encoder)}, levels by {plan.downsample}; {escape(plan.reason)}",
        soft_wrap=True,
    )
    console.print(f"  {_voxels(plan)}", soft_wrap=True)
    for level in plan.levels:
        shards = f" in shards of {_by(level.shards)}" if level.shards else ""
        console.print(
            f"  level {level.path}: {_by(level.shape)}, chunks of {_by(level.chunks)}{shards}, "
            f"{text.count(level.files, 'file')}, about {text.size(level.estimated_bytes)}",
            soft_wrap=True,
        )
    for note in plan.notes:
        console.print(f"  {escape(note)}", soft_wrap=True)


def _voxels(plan: OMEZarrPlan) -> str:
    """Sizes of the voxels in micrometres, and where the first of them lies, if not at 0."""
    finest = plan.levels[0]
    sizes = [f"{a} {size:g}" for a, size in zip(plan.axes, finest.scale, strict=True) if a in "zyx"]
    place = [f"{a} {start:g}" for a, start in zip(plan.axes, finest.translation, strict=True) if a in "zyx"]
    there = f", the first at {', '.join(place)} um" if any(finest.translation) else ""
    return f"voxels of {', '.join(sizes)} um{there}"


def print_verdict(plan: OMEZarrPlan, console: Console) -> None:
    """Print who opens it, and whether DANDI takes it."""
    opened = [viewer.name for viewer, opens in plan.viewers if opens]
    closed = [f"{v.name} ({v.note})" if v.note else v.name for v, opens in plan.viewers if not opens]
    not_opened = f"; not: {', '.join(closed)}" if closed else ""
    console.print(f"  opened by {', '.join(opened)}{escape(not_opened)}", soft_wrap=True)
    accepted = f"DANDI accepts it: paths of {plan.depth} parts, files of up to {text.size(plan.largest_file_bytes)}"
    console.print(f"  {escape('; '.join(plan.refusals) or accepted)}", soft_wrap=True)
    console.print(f"  {escape(plan.publication)}", soft_wrap=True)


def _plate_record(plan: OMEZarrPlatePlan) -> dict[str, Any]:
    return {
        "path": str(plan.path), "name": plan.name, "wells": plan.wells, "files": plan.files,
        "raw_bytes": plan.raw_bytes, "estimated_bytes": plan.estimated_bytes,
        "fields": {place.rstrip("/"): image_record(field) for place, field in plan.fields.items()},
    }  # fmt: skip


def image_record(plan: OMEZarrPlan) -> dict[str, Any]:
    """Return the plan of an image, or of labels, as JSON-ready values."""
    return {
        "path": str(plan.path), "name": plan.name, "version": plan.version, "axes": list(plan.axes),
        "shape": list(plan.levels[0].shape), "dtype": plan.dtype, "downsample": plan.downsample,
        "encoder": plan.encoder, "levels": [_level_record(level) for level in plan.levels], "files": plan.files,
        "depth": plan.depth, "raw_bytes": plan.raw_bytes, "estimated_bytes": plan.estimated_bytes,
        "memory_bytes": plan.memory_bytes, "peak_bytes": plan.peak_bytes, "reason": plan.reason,
        "viewers": {viewer.name: opens for viewer, opens in plan.viewers}, "refusals": list(plan.refusals),
        "publication": plan.publication, "labels": [image_record(one) for one in plan.labels],
        "notes": list(plan.notes),
    }  # fmt: skip


def _level_record(level: LevelPlan) -> dict[str, Any]:
    return {
        "path": level.path, "shape": list(level.shape), "chunks": list(level.chunks),
        "shards": None if level.shards is None else list(level.shards), "scale": list(level.scale),
        "translation": list(level.translation), "files": level.files, "raw_bytes": level.raw_bytes,
        "estimated_bytes": level.estimated_bytes, "largest_file_bytes": level.largest_file_bytes,
    }  # fmt: skip


def _nwb_record(plan: NWBPlan) -> dict[str, Any]:
    return {
        "path": str(plan.path), "backend": plan.backend, "raw_bytes": plan.raw_bytes,
        "estimated_bytes": plan.estimated_bytes, "memory_bytes": plan.memory_bytes,
        "datasets": [_dataset_record(d) for d in plan.datasets],
    }  # fmt: skip


def _dataset_record(one: DatasetPlan) -> dict[str, Any]:
    return {
        "name": one.name, "path_in_file": one.path_in_file, "shape": list(one.shape), "dtype": one.dtype,
        "chunks": list(one.chunks), "count": one.count, "encoder": one.encoder, "raw_bytes": one.raw_bytes,
        "estimated_bytes": one.estimated_bytes, "ratio": one.ratio, "memory_bytes": one.memory_bytes,
        "reason": one.reason, "encoder_reason": one.encoder_reason,
    }  # fmt: skip


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
