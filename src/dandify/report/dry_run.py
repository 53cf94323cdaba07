"""What `convert --dry-run` shows: outputs, and of each large array its chunks, its encoder, and why."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape

from dandify.nwb.plan import DatasetPlan, NWBPlan
from dandify.report import text
from dandify.runs.convert import ConvertReport
from dandify.runs.dry_run import PlannedImage, PlannedOutputs


def print_dry_run(report: ConvertReport, console: Console) -> None:
    """Print the plans of all sessions."""
    for session in report.sessions:
        if session.planned is not None:
            if session.planned.nwb is not None:
                _print_nwb(session.planned.nwb, console)
            for image in session.planned.images:
                _print_image(image, console)
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
                "error": None if session.error is None else str(session.error),
                "skipped": [str(p) for p in session.skipped],
                **_planned_record(session.planned),
            }
            for session in report.sessions
        ],
    }


def _planned_record(planned: PlannedOutputs | None) -> dict[str, Any]:
    if planned is None:
        return {"nwb": None, "images": []}
    return {
        "nwb": None if planned.nwb is None else _nwb_record(planned.nwb),
        "images": [
            {
                "path": str(i.path), "axes": list(i.axes), "shape": list(i.shape), "dtype": i.dtype,
                "raw_bytes": i.raw_bytes,
            }
            for i in planned.images
        ],
    }  # fmt: skip


def _print_nwb(plan: NWBPlan, console: Console) -> None:
    console.print(
        f"{escape(str(plan.path))}: {text.size(plan.raw_bytes)} raw, about {text.size(plan.estimated_bytes)} stored, "
        f"{text.size(plan.memory_bytes)} of memory",
        soft_wrap=True,
    )
    for one in plan.datasets:
        console.print(
            f"  {escape(one.path_in_file)}: {_by(one.shape)} {one.dtype} in {one.count} chunks of {_by(one.chunks)}, "
            f"{escape(one.encoder)}, about {text.size(one.estimated_bytes)} ({one.ratio:.2f}), "
            f"{text.size(one.memory_bytes)} of memory",
            soft_wrap=True,
        )
        console.print(f"    chunks: {escape(one.reason)}", soft_wrap=True)
        console.print(f"    encoder: {escape(one.encoder_reason)}", soft_wrap=True)


def _print_image(image: PlannedImage, console: Console) -> None:
    console.print(
        f"{escape(str(image.path))}: {''.join(image.axes)} {_by(image.shape)} {image.dtype}, "
        f"{text.size(image.raw_bytes)} raw, with its pyramid",
        soft_wrap=True,
    )


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
