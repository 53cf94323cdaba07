"""What a reader fetches beside chunks, to find them: nodes of HDF5's tree, and indexes of shards."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, prod

import numpy as np

from dandify.store.region import Region
from dandify.tuning.material import Material

NODE_CHUNKS = 64  # of a node of HDF5's version 1 B-tree: twice its K of 32 (HDF5 File Format Specification, III.A.1)
FILLED = 0.9  # of it, where chunks are added in order: so much stays when the last node is split (H5Pset_btree_ratios)
_NODE_HEAD, _KEY_HEAD, _OFFSET = 24, 8, 8  # bytes
_SLOT, _CHECKSUM = 16, 4  # bytes of a shard's index: offset and length of a chunk, and CRC-32C
_Places = tuple[tuple[int, int], ...]


def finding(material: Material, region: Region, chunks: tuple[int, ...]) -> tuple[int, int]:
    """Count the requests, and their bytes, that reading a region takes beside one for each chunk.

    Of HDF5, nodes of the tree that lists chunks by their place, each read once: so many reads of a file object by h5py
    were counted. Of an OME-Zarr 0.5, the index of each shard; a shard that is read as a whole is one request,
    so that fewer than nothing may be left. TensorStore also fetches neighbouring chunks of a shard in one, which is not
    counted. Of Zarr v2, nothing: chunks have names. What opening a file takes is left out: it depends on all else that
    lies in it.

    Parameters
    ----------
    material
        The stream.
    region
        That is read.
    chunks
        Shape of a chunk.
    """
    places = tuple((s.start, s.stop) for s in region)
    if material.backend == "hdf5":
        nodes = _nodes(places, material.shape, chunks)
        keys = NODE_CHUNKS + 1
        return nodes, nodes * (_NODE_HEAD + keys * (_KEY_HEAD + _OFFSET * (len(chunks) + 1)) + NODE_CHUNKS * _OFFSET)
    if material.shards_of is None:
        return 0, 0
    shards = material.shards_of(chunks)
    touched = prod((stop - 1) // s - start // s + 1 for (start, stop), s in zip(places, shards, strict=True))
    slots = prod(s // c for s, c in zip(shards, chunks, strict=True))
    whole = prod(_chunks_of_whole(*each) for each in zip(places, material.shape, shards, chunks, strict=True))
    return touched - whole, touched * (slots * _SLOT + _CHECKSUM)


def files_of(material: Material, chunks: tuple[int, ...]) -> int:
    """Count the files that hold the chunks of a stream; of an image, those of its finest resolution."""
    if material.backend == "hdf5":
        return 1
    each = chunks if material.shards_of is None else material.shards_of(chunks)
    return prod(ceil(n / e) for n, e in zip(material.shape, each, strict=True))


def _chunks_of_whole(place: tuple[int, int], length: int, shard: int, chunk: int) -> int:
    """Count, along an axis, the chunks of shards that lie in a place from end to end."""
    first = ceil(place[0] / shard) * shard
    last = place[1] if place[1] == length else place[1] // shard * shard
    return max(0, ceil((last - first) / chunk))


@lru_cache(maxsize=4096)  # each shape is judged with many codecs, again and again
def _nodes(places: _Places, shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    """Count the nodes of HDF5's tree, over all its levels, in which the chunks of a region are listed."""
    grid = [ceil(n / c) for n, c in zip(shape, chunks, strict=True)]
    touched = np.ix_(*(np.arange(a // c, (b - 1) // c + 1) for (a, b), c in zip(places, chunks, strict=True)))
    listed = np.unique(np.ravel_multi_index(np.broadcast_arrays(*touched), grid))
    filled, entries, found = FILLED * NODE_CHUNKS, prod(grid), 0
    while entries > NODE_CHUNKS:
        listed = np.unique((listed / filled).astype(np.int64))
        found += len(listed)
        entries = ceil(entries / filled)
    return found + 1  # the root
