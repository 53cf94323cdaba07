"""Walks an NWB file in HDF5 without its cached specifications, which are most of the objects of a small file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py

SPECIFICATIONS = "specifications"
"""Where pynwb caches them, below the root."""


def nodes(group: h5py.Group, place: str = "", seen: set[int] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield each group and dataset below a group with its place, ``/acquisition/x``, in the order of names.

    A link to another file is yielded as `h5py.ExternalLink`, and not followed; soft links are left out, because what
    they lead to has a place of its own. Half the work of `h5py.Group.visititems`.

    Parameters
    ----------
    group, place
        Where to begin, and what that is called.
    seen
        Addresses of groups that have been walked through: a group may have two names, and even lie in itself.
    """
    seen = set() if seen is None else seen
    for name in group:
        link = group.id.links.get_info(name.encode()).type
        if link == h5py.h5l.TYPE_EXTERNAL:
            yield f"{place}/{name}", group.get(name, getlink=True)
        if link != h5py.h5l.TYPE_HARD or (not place and name == SPECIFICATIONS):
            continue
        item = group[name]
        yield f"{place}/{name}", item
        if isinstance(item, h5py.Group):
            address = h5py.h5o.get_info(item.id).addr
            if address not in seen:
                seen.add(address)
                yield from nodes(item, f"{place}/{name}", seen)
