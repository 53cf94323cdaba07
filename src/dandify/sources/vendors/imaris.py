"""What an Imaris file (IMS 5.5) says of its images: where they lie, true sizes, voxels, channels, times.

Source: Bitplane, "Imaris 5.5 File Format Description" (Ims5.5FileFormat). Attributes are arrays of single characters.
The datasets are as long as whole chunks; the true size of an image is an attribute.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dandify.sources.contract import Channel
from dandify.sources.microscopy import micrometres

_LEVEL: Final = "ResolutionLevel 0"
_NUMBERED: Final = re.compile(r"(?:TimePoint|Channel) (\d+)")
_TIME: Final = re.compile(r"TimePoint(\d+)")


@dataclass(frozen=True)
class ImsImage:
    """One image of a file.

    Attributes
    ----------
    name
        Of the image; empty where nobody named it.
    datasets
        Names in the order t c.
    times, colours
        Numbers of time points and channels.
    size
        z, y, x without padding.
    dtype, chunk
        Of the datasets.
    scale
        Micrometres for z y x, seconds for t, as far as stated.
    channels
        In order.
    start
        When the first time point was recorded.
    description
        As typed by the operator.
    objective
        Power and aperture, as stated.
    uncalibrated
        A voxel is one micrometre along every axis, which is what Imaris states when it is told nothing.
    """

    name: str
    datasets: tuple[str, ...]
    times: int
    colours: int
    size: tuple[int, int, int]
    dtype: Any
    chunk: tuple[int, int, int]
    scale: Mapping[str, float]
    channels: tuple[Channel, ...]
    start: datetime | None
    description: str
    objective: str
    uncalibrated: bool


def is_imaris(file: Any) -> bool:
    """Whether an open HDF5 file has the groups of Imaris."""
    data, info = _directories(file)
    return f"{data}/{_LEVEL}" in file and info in file


def images_of(file: Any) -> Iterator[ImsImage]:
    """Yield the images of an open HDF5 file.

    Raises
    ------
    ValueError
        If something is missing or contradicts itself.
    """
    data, info = _directories(file)
    for number in range(max(1, _whole(_text(file.attrs, "NumberOfDataSets")))):
        suffix = str(number) if number else ""
        if f"{data}{suffix}" in file:
            yield _image(file, f"{data}{suffix}", f"{info}{suffix}")


def _directories(file: Any) -> tuple[str, str]:
    return (
        _text(file.attrs, "DataSetDirectoryName") or "DataSet",
        _text(file.attrs, "DataSetInfoDirectoryName") or "DataSetInfo",
    )


def _image(file: Any, data: str, info: str) -> ImsImage:
    if f"{data}/{_LEVEL}" not in file:
        raise ValueError(f"{data} has no {_LEVEL}")
    times = _numbered(file[f"{data}/{_LEVEL}"])
    if not times:
        raise ValueError(f"{data}/{_LEVEL} has no time points")
    stated = _whole(_text(_attributes(file, f"{info}/TimeInfo"), "DatasetTimePoints"))
    if times != list(range(len(times))) or stated > len(times):
        raise ValueError(f"{data} has the time points {_listed(times)}, and {max(stated, times[-1] + 1)} are stated")
    channels = _numbered(file[f"{data}/{_LEVEL}/TimePoint 0"])
    if not channels or channels != list(range(len(channels))):
        raise ValueError(f"{data} has the channels {_listed(channels)}")
    names = [f"{data}/{_LEVEL}/TimePoint {t}/Channel {c}" for t in times for c in channels]
    about = _attributes(file, f"{info}/Image")
    size, dtype, chunk = _form(file, names, about)
    scale, uncalibrated = _scale(about, size)
    moments = _moments(_attributes(file, f"{info}/TimeInfo"), len(times))
    if len(times) > 1 and len(moments) == len(times):
        span = (moments[-1] - moments[0]).total_seconds()
        if span > 0:
            scale["t"] = span / (len(times) - 1)
    start = moments[0] if moments else _moment(_text(about, "RecordingDate"))
    return ImsImage(
        name=_said(about, "Name"), datasets=tuple(f"{n}/Data" for n in names), times=len(times),
        colours=len(channels), size=size, dtype=dtype, chunk=chunk, scale=scale,
        channels=tuple(_channel(_attributes(file, f"{info}/Channel {c}"), c) for c in channels),
        start=start, description=_said(about, "Description"), objective=_objective(about), uncalibrated=uncalibrated,
    )  # fmt: skip


def _form(
    file: Any, names: Sequence[str], about: Mapping[str, Any]
) -> tuple[tuple[int, int, int], Any, tuple[int, int, int]]:
    """Size without padding, type and chunk, which all datasets must have in common."""
    forms = set()
    chunk: tuple[int, int, int] | None = None
    for name in names:
        if f"{name}/Data" not in file:
            raise ValueError(f"{name} has no pixels")
        group, data = file[name], file[f"{name}/Data"]
        keys = [f"ImageSize{a}" if f"ImageSize{a}" in group.attrs else a for a in "ZYX"]
        sizes = [_whole(_text(group.attrs if k in group.attrs else about, k)) for k in keys]
        if data.ndim != 3:
            raise ValueError(f"{name} has {data.ndim} axes, not z, y and x")
        if min(sizes) < 1:
            raise ValueError(f"{name} does not state the size of its image")
        if any(n > m for n, m in zip(sizes, data.shape, strict=True)):
            raise ValueError(f"{name} states {sizes} pixels (z y x) and has {list(data.shape)}")
        forms.add((*sizes, data.dtype.newbyteorder("=")))
        if len(forms) > 1:
            raise ValueError(f"{name} has another size or type than {names[0]}")
        chunk = chunk or tuple(data.chunks or (1, *data.shape[1:]))
    z, y, x, dtype = forms.pop()
    assert chunk is not None
    return (z, y, x), dtype, chunk


def _scale(about: Mapping[str, Any], size: Sequence[int]) -> tuple[dict[str, float], bool]:
    """Distance of voxels: the extent of the image, from edge to edge, over their number."""
    unit = _text(about, "Unit") or "um"
    found = {}
    for number, (axis, count) in enumerate(zip("xyz", reversed(size), strict=True)):
        try:
            length = float(_text(about, f"ExtMax{number}")) - float(_text(about, f"ExtMin{number}"))
        except ValueError:
            continue
        if (value := micrometres(abs(length) / count, unit)) is not None:
            found[axis] = value
    return {a: found[a] for a in "zyx" if a in found}, found == {"x": 1.0, "y": 1.0, "z": 1.0}


def _channel(about: Mapping[str, Any], number: int) -> Channel:
    name = _said(about, "Name") or f"Channel {number}"
    color = None
    try:
        parts = [float(p) for p in _text(about, "Color").split()]
    except ValueError:
        parts = []
    if len(parts) == 3 and all(0 <= p <= 1 for p in parts) and max(parts) > 0:
        color = "".join(f"{round(p * 255):02X}" for p in parts)
    emission, excitation = (_wave(_text(about, f"LSM{kind}Wavelength")) for kind in ("Emission", "Excitation"))
    return Channel(name, color=color, wavelength_nm=emission, excitation_nm=excitation)


def _wave(text: str) -> float | None:
    """Nanometres; 0 is what is written where nobody said anything."""
    value = _whole(text.removesuffix("nm"))
    return float(value) if value > 0 else None


def _moments(about: Mapping[str, Any], count: int) -> list[datetime]:
    """Return the times of the time points; none unless all are stated."""
    found = {}
    for key in about:
        if (match := _TIME.fullmatch(key)) and (moment := _moment(_text(about, key))):
            found[int(match[1])] = moment
    return [found[i] for i in range(1, count + 1)] if set(range(1, count + 1)) <= found.keys() else []


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)  # Imaris has no zones
    except ValueError:
        return None


def _objective(about: Mapping[str, Any]) -> str:
    power, aperture = _said(about, "LensPower"), _said(about, "NumericalAperture")
    lens = power if not power or power[-1:].lower() == "x" else f"{power}x"
    return " ".join(filter(None, (lens, f"NA {aperture}" if aperture else "")))


def _said(about: Mapping[str, Any], key: str) -> str:
    """Text of an attribute; empty for what Imaris writes where nobody said anything."""
    text = _text(about, key)
    return "" if text.startswith("(") and text.endswith(" not specified)") else text


def _attributes(file: Any, name: str) -> Mapping[str, Any]:
    return dict(file[name].attrs) if name in file else {}


def _text(about: Mapping[str, Any], key: str) -> str:
    """Return an attribute as text: Imaris makes each of its characters an element, others write strings or numbers."""
    value = about.get(key)
    if value is None:
        return ""
    if getattr(value, "dtype", None) is not None and value.dtype.kind == "S":
        return b"".join(value.reshape(-1).tolist()).decode("utf-8", "replace").strip("\0 ")
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    if getattr(value, "size", 1) == 1 and hasattr(value, "reshape"):
        value = value.reshape(-1)[0]
    return str(value).strip()


def _numbered(group: Any) -> list[int]:
    return sorted(int(m[1]) for m in map(_NUMBERED.fullmatch, group) if m)


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "") or "none"


def _whole(text: str) -> int:
    try:
        return int(float(text))
    except (ValueError, OverflowError):
        return 0
