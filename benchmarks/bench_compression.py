"""What compresses which kind of data how far: the tuner's best rows for each backend and each choice of readers."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bench_tuning import material_of
from benchmarks.harness import Options, machine, table

BUDGET_S = 20.0
WAYS = (("hdf5", "any"), ("hdf5", "plugins"), ("zarr", "any"), ("zarr", "python"))


def rows_of(one: Any, raw: Path, backend: str, readers: str) -> list[list[str]]:
    """Give the rows that are best balanced and smallest, and what there is to compare with."""
    from dandify.tuning.material import Archive
    from dandify.tuning.tune import tune_materials

    material = replace(material_of(one, raw), backend=backend, transforms=())
    result = tune_materials(
        [material], objective="balanced", readers=readers, budget_s=BUDGET_S, seed=0, workers=os.cpu_count() or 1,
        archive=Archive(),
    )  # fmt: skip
    (stream,) = result.streams
    chosen = {"best": stream.best("balanced"), "smallest": stream.best("size"), "convert": stream.role("default")}
    if (backend, readers) == WAYS[0]:
        chosen["neuroconv"] = stream.role("usual")
    lines: dict[str, tuple[str, Any]] = {}
    for what, row in chosen.items():
        if row is not None:
            known = lines.get(row.name)
            lines[row.name] = (f"{known[0]}, {what}" if known else what, row)
    return [
        [
            f"{backend}, {readers}", what, row.codec, "x".join(map(str, row.chunks)), f"{row.ratio:.2f}",
            f"{row.encode_mbs:.0f}", f"{row.decode_mbs:.0f}",
        ]
        for what, row in lines.values()
    ]  # fmt: skip


def run(options: Options) -> None:
    """Print a table for each set."""
    print(f"tune, balanced, no transforms, budget {BUDGET_S:g} s each; MB/s of CPU time of one core. {machine()}\n")
    for one in options.chosen():
        with tempfile.TemporaryDirectory() as folder:
            raw = Path(folder) / "raw.dat"
            one.write(raw, options.megabytes)
            print(f"{one.title}, {raw.stat().st_size / 1e6:.3g} MB\n")
            found = [row for backend, readers in WAYS for row in rows_of(one, raw, backend, readers)]
        head = ["backend, readers", "row", "codec", "chunks", "ratio", "encode MB/s", "decode MB/s"]
        print(table(head, found, markdown=options.markdown), flush=True)
