"""The electrodes of an NWB file and the probes they are on: its table of sites, its pipettes, its devices."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from dandify.dandiset.ephys_content import Electrode, Probe
from dandify.dandiset.ephys_names import first_unique, joined, known, number
from dandify.dandiset.nwb_tree import children, is_array, link_of, plain, text_of

_ECEPHYS: Final = "general/extracellular_ephys"
_DEVICES: Final = "general/devices"
# Columns of the electrodes table by which labs and neuroconv call electrodes and channels; the first that names each.
_ELECTRODE_NAMES: Final = ("electrode_name", "electrode_names", "contact_ids", "contact_id", "electrode_label", "label")
_CHANNEL_NAMES: Final = ("channel_name", "channel_names")
_SHANKS: Final = ("shank_ids", "shank_id")
_SHAPES: Final = ("contact_shapes", "contact_shape", "electrode_shape")
_SHIFT: Final = "inter_sample_shift"  # of SpikeInterface: a part of the sampling interval
_OWN: Final = frozenset({
    "id", "group", "group_name", "location", "imp", "x", "y", "z", "rel_x", "rel_y", "rel_z", "filtering", "reference",
    "hemisphere", _SHIFT, *_CHANNEL_NAMES, *_SHANKS, *_SHAPES,
})  # fmt: skip
# NWB's x, y and z are places in the brain; those of BEP032 are on the probe, as NWB's rel_x, rel_y and rel_z.
_IN_BRAIN: Final = {"brain_x": ("x", "posterior"), "brain_y": ("y", "inferior"), "brain_z": ("z", "right")}
_HEMISPHERES: Final = {"l": "L", "left": "L", "r": "R", "right": "R"}
PIPETTE_COLUMNS: Final = {
    "description": "What is said of the electrode", "cell_id": "Id of the cell", "slice": "What is said of the slice",
    "seal": "What is said of the seal", "resistance": "Resistance of the electrode, as it is stated",
    "initial_access_resistance": "Initial access resistance, as it is stated",
    "filtering": "What is said of the filters of the electrode",
}  # fmt: skip
"""What is stated of a pipette and BEP032 has no column for, and what it means."""


class Sites:
    """The table of extracellular electrodes, and the probes they are on.

    Parameters
    ----------
    root
        The file's root group, see `dandify.dandiset.nwb_tree.open_tree`.
    """

    def __init__(self, root: Any) -> None:
        folder = root.get(_ECEPHYS)
        table = folder.get("electrodes") if folder is not None else None
        groups = {name: g for name, g in children(folder) if link_of(g, "device")}
        self.devices = {name: link_of(group, "device") for name, group in groups.items()}
        self._columns: dict[str, list[str | None]] = {}
        self.columns: dict[str, str] = {}
        self._ids: list[str | None] = []
        if table is None:
            self.electrodes: tuple[Electrode, ...] = ()
            return
        described = {}
        for name, column in children(table, _columns_of(table)):
            # Columns of lists have an index, and a cell of a table has no room for one.
            if is_array(column) and len(column.shape) == 1 and f"{name}_index" not in table and name != "group":
                self._columns[name] = [_cell(value) for value in column[...]]
                described[name] = plain(column.attrs.get("description")) or ""
        count = max(map(len, self._columns.values()), default=0)
        self._columns = {name: values for name, values in self._columns.items() if len(values) == count}
        stated = table.get("id")
        self._ids = [_cell(v) for v in stated[...]] if is_array(stated) else []
        if len(set(self._ids)) != count:
            self._ids = [str(i) for i in range(count)]
        own = next((c for c in _ELECTRODE_NAMES if c in self._columns and all(self._columns[c])), None)
        self.columns = {
            name: described[name] for name, values in self._columns.items()
            if name not in _OWN and name != own and any(map(known, values))
        } | {
            name: f"{column} in the brain, more towards {way}, as NWB has it"
            for name, (column, way) in _IN_BRAIN.items() if any(map(known, self._columns.get(column, ())))
        }  # fmt: skip
        self.electrodes = tuple(self._electrodes(own, count))

    def _electrodes(self, own: str | None, count: int) -> Iterator[Electrode]:
        stated = self._columns.get(own or "", [None] * count)
        groups = self._columns.get("group_name", [None] * count)
        numbered = [f"e{self.label(row)}" for row in range(count)]
        for row, name in enumerate(first_unique(stated, joined(groups, stated), numbered)):
            group = groups[row]
            impedance = self.number("imp", row)
            yield Electrode(
                name=name,
                probe=self.devices.get(group or ""),
                position_um=(self.number("rel_x", row), self.number("rel_y", row), self.number("rel_z", row)),
                impedance_kohm=impedance / 1e3 if impedance is not None else None,
                shank=self._one_of(_SHANKS, row) or group,
                shape=self._one_of(_SHAPES, row),
                location=self.text("location", row),
                hemisphere=_HEMISPHERES.get((self.text("hemisphere", row) or "").lower()),
                more={
                    name: value
                    for name in self.columns
                    if (value := self.text(_IN_BRAIN.get(name, (name, ""))[0], row))
                },
            )

    def label(self, row: int) -> str:
        """Return the number of an electrode, with three digits or more."""
        return str(self._ids[row]).zfill(3)

    def channel_name(self, row: int) -> str | None:
        """Return what the table calls the channel of an electrode."""
        return self._one_of(_CHANNEL_NAMES, row)

    def text(self, column: str, row: int) -> str | None:
        """Return a cell, if there is such a column and it is known there."""
        return known(self._columns[column][row]) if column in self._columns else None

    def number(self, column: str, row: int) -> float | None:
        """Return a cell that is a number."""
        return number(self.text(column, row))

    def _one_of(self, columns: Sequence[str], row: int) -> str | None:
        return next((value for column in columns if (value := self.text(column, row))), None)


def pipette(name: str, group: Any) -> Electrode:
    """Return an IntracellularElectrode."""
    more = {key: text for key in PIPETTE_COLUMNS if (text := known(text_of(group, key)))}
    ohms = number(more.get("resistance"))  # NWB wants ohms there, as text; who writes "5 MOhm" is quoted
    if ohms is not None:
        del more["resistance"]
    return Electrode(
        name=name, probe=link_of(group, "device"), location=known(text_of(group, "location")),
        impedance_kohm=ohms / 1e3 if ohms is not None else None, more=more,
    )  # fmt: skip


def is_pipette(group: Any) -> bool:
    """Whether it is an IntracellularElectrode, which lies beside tables of recordings."""
    return not hasattr(group, "shape") and "colnames" not in group.attrs and link_of(group, "device") is not None


def probes(root: Any, names: Iterable[str | None]) -> Iterator[Probe]:
    """Yield devices, each once, in the order in which they are named."""
    devices = root.get(_DEVICES) or {}
    for name in dict.fromkeys(name for name in names if name):
        device = devices.get(name)
        if device is None:
            yield Probe(name)
            continue
        model = _model(root, device)
        yield Probe(
            name,
            manufacturer=known(text_of(device, "manufacturer")) or model.get("manufacturer"),
            model=known(text_of(device, "model_name")) or model.get("model") or text_of(device, "model_number"),
            serial_number=text_of(device, "serial_number"),
            description=known(text_of(device, "description")),
        )


def _columns_of(table: Any) -> list[str]:
    return [text for value in np.ravel(table.attrs.get("colnames", ())) if (text := plain(value))]


def _model(root: Any, device: Any) -> dict[str, str | None]:
    """Return name and maker of a device's model, which NWB has apart since its version 2.9."""
    name = link_of(device, "model")
    model = (root.get(f"{_DEVICES}/models") or {}).get(name) if name else None
    if model is None:
        return {"model": name}
    return {"model": name, "manufacturer": known(text_of(model, "manufacturer"))}


def _cell(value: Any) -> str | None:
    """Return a value of a column as text; true and false too, and nothing for what is no number."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).lower()
    text = plain(value)
    if text is not None and isinstance(value, (float, np.floating)):
        return text.removesuffix(".0")
    return text
