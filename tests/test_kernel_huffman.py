"""Huffman codes: complete, within the limit, and as short as the package-merge algorithm's, whatever the counts."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dandify.kernels.huffman import canonical, code_lengths

UNHURRIED = settings(deadline=None)


def lengths_of(counts: Sequence[int], longest: int) -> NDArray[np.uint8]:
    lengths = np.empty(len(counts), np.uint8)
    code_lengths(np.array(counts, np.int64), longest, lengths)
    return lengths


def package_merge(counts: Sequence[int], longest: int) -> int:
    """Bits of the best code of limited length (Larmore and Hirschberg 1990)."""
    leaves = sorted((c, (s,)) for s, c in enumerate(counts) if c)
    merged: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(longest):
        row = list(heapq.merge(leaves, merged))
        merged = [(a[0] + b[0], a[1] + b[1]) for a, b in zip(row[::2], row[1::2], strict=False)]
    return sum(counts[s] for _, symbols in merged[: len(leaves) - 1] for s in symbols)


def fibonacci(size: int) -> list[int]:
    counts = [1, 1]
    while len(counts) < size:
        counts.append(counts[-1] + counts[-2])
    return counts


CASES = [
    pytest.param([0] * 286, id="nothing"),
    pytest.param([0, 0, 9, 0], id="one"),
    pytest.param([3, 0], id="the-first"),
    pytest.param([5, 5], id="two"),
    pytest.param([10**9, 1], id="two-uneven"),
    pytest.param(fibonacci(40), id="fibonacci"),
    pytest.param(fibonacci(60)[::-1], id="fibonacci-falling"),
    pytest.param([1 << i for i in range(45)], id="powers"),
    pytest.param([1] * 286, id="all-equal"),
    pytest.param([10**6] + [1] * 285, id="one-among-rare"),
]


@pytest.mark.parametrize("longest", [7, 13, 15])
@pytest.mark.parametrize("counts", CASES)
def test_codes_are_complete(counts: list[int], longest: int) -> None:
    if sum(c > 0 for c in counts) > 1 << longest:
        counts = counts[: 1 << longest]
    valid(counts, longest)


@UNHURRIED
@given(st.lists(st.one_of(st.just(0), st.integers(1, 9), st.integers(1, 2**40)), min_size=2, max_size=128))
def test_codes_of_any_counts(counts: list[int]) -> None:
    valid(counts, 7)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 2000), min_size=2, max_size=40))
def test_codes_are_nearly_the_best(counts: list[int]) -> None:
    # A depth of 31 needs a sum of Fibonacci's F(33): here nothing is cut, and Huffman's code is the best.
    assert int(np.dot(counts, lengths_of(counts, 30))) == package_merge(counts, 30)
    for longest, worst in ((13, 1.01), (7, 1.5)):  # 13 is what blocks are coded with
        best = package_merge(counts, longest)
        assert best <= int(np.dot(counts, lengths_of(counts, longest))) <= worst * best


def valid(counts: list[int], longest: int) -> None:
    lengths = lengths_of(counts, longest)
    assert lengths.max() <= longest
    assert sum(2.0 ** -int(n) for n in lengths if n) == 1
    assert all(n > 0 for n, c in zip(lengths, counts, strict=True) if c)
    codes = np.zeros(lengths.size, np.uint32)
    canonical(lengths, codes)
    words = sorted(format(int(c), f"0{n}b")[::-1] for c, n in zip(codes, lengths, strict=True) if n)
    assert not any(b.startswith(a) for a, b in itertools.pairwise(words))
    # RFC 1951, 3.2.2: codes of one length are consecutive, in the order of their symbols
    for n in set(lengths[lengths > 0].tolist()):
        values = [int(format(int(c), f"0{n}b")[::-1], 2) for c in codes[lengths == n]]
        assert values == list(range(values[0], values[0] + len(values)))
