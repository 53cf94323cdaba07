"""Damaged files of microscopes: whatever their bytes, they are read, or end in an error that names the file."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from czi_maker import STAGE, XML, ZSTD1, stack, write_czi
from dandify.errors import DandifyError
from dandify.sources.registry import by_name
from lif_maker import SETTINGS, Picture, write_lif
from nd2_maker import Nd2, write_nd2

TRIALS = 120
LARGEST = 10 * 2**20  # a damaged length may be any; such arrays are not read

MADE: dict[str, Callable[[Path], Path]] = {
    "czi": lambda folder: write_czi(
        folder / "a.czi", stack({"S": 2, "T": 2, "C": 2}, (20, 24), compression=ZSTD1, xml=STAGE), XML
    ),
    "lif": lambda folder: write_lif(
        folder / "a.lif",
        [
            Picture("scan", "MCYX", (3, 2, 12, 16), tiles=[(1, 2)] * 3, settings=SETTINGS),
            Picture("colours", "YXC", (12, 16, 3), "uint8"),
        ],
    ),
    "nd2": lambda folder: write_nd2(folder / "a.nd2", Nd2({"T": 2, "P": 2}, channels=2, compression=0)),
}


@pytest.mark.parametrize("name", MADE)
def test_bytes_that_are_changed_raise_nothing_else(tmp_path: Path, name: str) -> None:
    converter, chance = by_name(name), random.Random(4)
    path = MADE[name](tmp_path)
    content = path.read_bytes()
    filled = [i for i, byte in enumerate(content) if byte]
    told: list[str | None] = []
    for _ in range(TRIALS):
        changed = bytearray(content)
        for _ in range(chance.choice([1, 1, 2, 4])):
            at = chance.choice(filled) if chance.random() < 0.8 else chance.randrange(len(changed))
            changed[at] = chance.choice([0, 255, changed[at] ^ 1 << chance.randrange(8)])
        path.write_bytes(changed)
        converter.identify(path)
        try:
            for stream in converter.open(path).streams[:8]:
                if stream.array is not None and stream.nbytes < LARGEST:
                    stream.array[tuple(slice(None) for _ in stream.shape)]
        except DandifyError as error:
            told.append(error.file)
    assert set(told) == {str(path)}
    assert TRIALS // 10 < len(told) < TRIALS
