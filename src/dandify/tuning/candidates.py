"""Candidates: chunk shapes times codecs times exact transforms, as many as the backend and the readers allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import isqrt, prod

from dandify.store.readcost import usual_chunks
from dandify.store.shapes import HDF5_LIMITS, ZARR_LIMITS, best_lengths, shapes_of, text
from dandify.store.zarr_image import BITS
from dandify.tuning.codecs import Codec, codecs_for, usual_codec
from dandify.tuning.material import Material

IMAGE_BYTES = (4 * 2**20, 2**20)  # raw, of a chunk of an image
IMAGE_DEPTHS = (64, 16, 2)  # planes: an odd number would cut through the voxels of the next level, and is not written
_OCTET = 8  # values: Blosc shuffles no bits of other blocks, which a sample in blocks of another length would not show
DEFAULT, USUAL = "default", "usual"
"""Roles: what `convert` writes when nothing is asked for, and what neuroconv does."""


@dataclass(frozen=True)
class Candidate:
    """One way to write a stream.

    Attributes
    ----------
    codec
        How chunks are encoded.
    chunks
        Their shape.
    transforms
        Exact transforms before: names.
    role
        `DEFAULT` or `USUAL`; empty otherwise.
    """

    codec: Codec
    chunks: tuple[int, ...]
    transforms: tuple[str, ...] = ()
    role: str = ""

    @property
    def name(self) -> str:
        """Unique among the candidates of a stream, and the same every time."""
        transforms = f" {'+'.join(self.transforms)}" if self.transforms else ""
        return f"{self.codec.key} {text(self.chunks)}{transforms}"

    @property
    def nominal_s(self) -> float:
        """Seconds that encoding and decoding a megabyte usually take."""
        return 1 / self.codec.encode_mbs + 1 / self.codec.decode_mbs


def shapes_for(material: Material) -> tuple[tuple[int, ...], ...]:
    """Chunk shapes of a stream: one for each width of signals, the lengths of frames, depths and sides of images."""
    if material.backend == "ome-zarr":
        return _image_shapes(material)
    limits = HDF5_LIMITS if material.backend == "hdf5" else ZARR_LIMITS
    found = shapes_of(material.shape, material.dtype.itemsize, rate_hz=material.rate_hz, limits=limits)
    return tuple(s.chunks for s in best_lengths(found))


def transforms_for(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Every choice among transforms, none first."""
    return tuple(chosen for n in range(len(names) + 1) for chosen in combinations(names, n))


def candidates_for(
    material: Material, readers: str, transforms: Sequence[str], shapes: Sequence[tuple[int, ...]] | None = None
) -> tuple[tuple[Candidate, ...], tuple[Codec, ...]]:
    """Give all candidates of a stream, and the codecs that were left out because a package is missing.

    Parameters
    ----------
    material
        The stream.
    readers
        ``any``, ``plugins`` or ``python``.
    transforms
        Names of those that change something on its sample.
    shapes
        Of chunks; those of `shapes_for` if None.
    """
    signals = material.inner <= 1 and len(material.shape) <= 2
    codecs = codecs_for(material.backend, readers, material.dtype, signals=signals, raw_bytes=material.raw_bytes)
    there = [codec for codec in codecs if codec.missing is None]
    found = [
        Candidate(codec, chunks, chosen)
        for chunks in (shapes_for(material) if shapes is None else shapes)
        for codec in there
        for chosen in transforms_for(transforms)
        if not codec.key.endswith(BITS) or prod(chunks) % _OCTET == 0
    ]
    return tuple(found), tuple(codec for codec in codecs if codec.missing is not None)


def usual_candidate(material: Material) -> Candidate | None:
    """Give what neuroconv would write, to compare with; None for images and Zarr."""
    if material.backend != "hdf5":
        return None
    chunks = usual_chunks(material.shape, material.dtype.itemsize)
    return Candidate(usual_codec(), tuple(map(min, chunks, material.shape)), role=USUAL)


def default_image_chunks(material: Material) -> tuple[int, ...]:
    """Chunks that an OME-Zarr image has when nobody asks: `IMAGE_DEPTHS` and `IMAGE_BYTES`, the first of each."""
    return _image_chunks(material, IMAGE_DEPTHS[0], IMAGE_BYTES[0])


def _image_shapes(material: Material) -> tuple[tuple[int, ...], ...]:
    made = [_image_chunks(material, depth, size) for depth in IMAGE_DEPTHS for size in IMAGE_BYTES]
    return tuple(dict.fromkeys(made))


def _image_chunks(material: Material, depth: int, size: int) -> tuple[int, ...]:
    """One time point and channel, so many planes, and the largest square of a power of two; even, or all there is."""
    *leading, height, width = material.shape
    deep = bool(leading) and (not material.spacing or material.spacing[len(leading) - 1] > 0)
    planes = min(depth, leading[-1]) if deep else 1
    side = 1 << (isqrt(max(1, size // (planes * material.dtype.itemsize))).bit_length() - 1)
    chunks = (*(1 for _ in leading[:-1]), *((planes,) if leading else ()), min(side, height), min(side, width))
    assert prod(chunks) > 0
    return chunks
