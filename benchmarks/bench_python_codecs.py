"""Every codec that Python alone reads, on chunks of a second of each recording, in memory and on one core."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from benchmarks.harness import Options, table

CHANNELS = 64  # of a chunk, and as many seconds as the first block has
REPEATS = 3


def run(options: Options) -> None:
    """Encode, decode and compare; codecs whose package is missing are named with what installs it."""
    from dandify.tuning.codecs import codecs_for
    from dandify.tuning.trial import Tally, Unfit, chunks_of, time_chunks

    rows, missing = [], set()
    for one in options.chosen():
        if one.kind != "recording" or one.rows is None:
            continue
        values = one.block(0)[: int(one.rate_hz)]
        pieces = chunks_of(values, (len(values), CHANNELS), 0)
        for codec in codecs_for("zarr", "python", values.dtype, signals=True):
            if codec.missing:
                missing.add(f"{codec.title}: {codec.missing}")
                continue
            if codec.group == "any" and codec.key != "blosc-zstd":
                continue
            coder, tally = codec.make(pieces), Tally()
            try:
                for _ in range(REPEATS):
                    with ThreadPoolExecutor(1) as alone:  # Blosc uses threads of its own in the main one
                        timed = alone.submit(time_chunks, coder, pieces).result()
                    tally.encode.append((timed.raw, timed.encode_s))
                    tally.decode.append((timed.raw, timed.decode_s))
            except Unfit as error:
                rows.append([one.name, codec.title, str(error), "", ""])
                continue
            rows.append([one.name, codec.title, f"{timed.raw / timed.stored:.2f}", *_speeds(tally)])
    print(f"codecs of --readers python on chunks of a second of {CHANNELS} channels; MB/s of CPU time of one core,")
    print(f"median of {REPEATS}; all came back bit by bit. NumPy {np.__version__}\n")
    print(table(["set", "codec", "ratio", "encode MB/s", "decode MB/s"], rows, markdown=options.markdown))
    for line in sorted(missing):
        print(f"not measured: {line}")


def _speeds(tally: Any) -> tuple[str, str]:
    return f"{tally.encode_mbs:.0f}", f"{tally.decode_mbs:.0f}"
