"""Edges of digital lines: block by block equal to all at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dandify.sources import MemoryArray
from dandify.sources.derived import Moved, Texts
from dandify.sources.events import add_edges, find_edges
from nwb_written import new_nwbfile


@dataclass(frozen=True, eq=False)
class Blocks(MemoryArray):
    """An array that is read in blocks of few rows."""

    rows: int = 1

    @property
    def block(self) -> tuple[int, ...]:
        return (self.rows, *self.shape[1:])


WORDS = st.lists(st.lists(st.integers(-32768, 32767), min_size=2, max_size=2), min_size=1, max_size=40)


@given(words=WORDS, rows=st.integers(1, 7))
def test_edges_do_not_depend_on_the_blocks(words: list[list[int]], rows: int) -> None:
    values = np.array(words, np.int16)
    edges = find_edges(Blocks(values, rows), range(32))
    bits = np.unpackbits(values.astype("<i2").view(np.uint8).reshape(len(words), 4), axis=1, bitorder="little")
    where, line = np.nonzero(np.diff(bits.astype(int), axis=0))
    assert edges.samples.tolist() == (where + 1).tolist()
    assert edges.bits.tolist() == line.tolist()
    assert edges.rising.tolist() == (bits[where + 1, line] == 1).tolist()
    assert edges.high_at_start == tuple(np.flatnonzero(bits[0]).tolist())


def test_a_table_says_which_lines_were_high_and_is_left_out_when_empty() -> None:
    nwbfile = new_nwbfile()
    names = {0: "XD0", 1: "XD1"}
    for values in ([[1], [1]], [[1], [3], [2]]):
        add_edges(
            nwbfile, find_edges(MemoryArray(np.array(values, np.int16)), (0, 1)), name="Lines", description="Edges.",
            source_description="a board", rate_hz=10.0, starting_time_s=1.0, line_names=names,
        )  # fmt: skip
    assert set(nwbfile.events) == {"Lines"}
    table = nwbfile.events["Lines"]
    assert table.description == "Edges. High in the first sample: XD0."
    assert table.to_dataframe().to_numpy().tolist() == [[1.1, "XD1", "rising"], [1.2, "XD0", "falling"]]


def test_moved_times_and_texts() -> None:
    times = Moved(MemoryArray(np.array([10, 20, 30])), -1.0, 10.0)
    assert times[1:].tolist() == [1.0, 2.0]
    assert times.moved(5.0)[:].tolist() == [5.0, 6.0, 7.0]
    texts = Texts(MemoryArray(np.array(["ö".encode(), b"ab\0"], "S8")))
    assert texts[:].tolist() == ["ö", "ab"]
    assert texts[1:1].tolist() == []
