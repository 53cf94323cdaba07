"""Small Olympus images as FluoView lays them out: OIF with its folder, and OIB, a compound file ([MS-CFB])."""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from tiff_makers import pixels

END, FREE, FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


@dataclass(frozen=True)
class Image:
    """What is written: lengths of the axes of FluoView's order, and what the settings state."""

    c: int = 2
    z: int = 3
    t: int = 1
    height: int = 20
    width: int = 28
    order: str = "XYCZT"
    pixel: float = 0.177
    step_nm: float = 840
    lambdas: int = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.t, self.c, self.z, self.height, self.width)


def files_of(image: Image, name: str = "cell") -> dict[str, bytes]:
    """Every file of an OIF by its path."""
    folder = f"{name}.oif.files"
    values = pixels(image.shape) & 0xFFF
    out = {f"{name}.oif": _utf16(_main(image, folder))}
    steps = {"C": image.c, "Z": image.z, "T": image.t}
    letters = [a for a in image.order[2:] if a in steps and (steps[a] > 1 or a == "C")]
    for place in product(*(range(steps[a]) for a in letters)):
        at = dict(zip(letters, place, strict=True))
        stem = "s_" + "".join(f"{a}{at[a] + 1:03d}" for a in letters)
        plane = values[at.get("T", 0), at.get("C", 0), at.get("Z", 0)]
        out[f"{folder}/{stem}.tif"] = _tiff(plane)
        out[f"{folder}/{stem}.pty"] = _utf16(
            {"Acquisition Parameters Common": {"ObjectiveLens Name": '"UPLFLN   40X  NA:0.75"'},
             "File Info": {"DataName": f'"{stem}.tif"'}}
        )  # fmt: skip
    for i, bgr in enumerate([b"\0\xff\0\0", b"\0\0\xff\0", b"\0\0\0\0"][: image.c]):
        table = np.tile(np.frombuffer(bgr, "u1"), (256, 1)).tobytes()
        out[f"{folder}/s_LUT{i + 1}.lut"] = _utf16({"FileInformation": {"Name": f'"LUT{i + 1}"'}}, table)
    out[f"{folder}/s_Thumb.bmp"] = b"BM" + bytes(200)
    return out


def write_oif(folder: Path, image: Image = Image(), name: str = "cell") -> Path:
    for path, content in files_of(image, name).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder / f"{name}.oif"


def write_oib(
    path: Path, image: Image = Image(), *, scattered: bool = False, version: int = 4, without: str | None = None
) -> Path:
    """Write the same as one compound file; ``without`` names a file that is listed and left out."""
    files = files_of(image, path.stem)
    streams, info = {}, {"Version": '"2.0.0.0"', "Name": '"COFAImages"', "Compression": '"None"'}
    for number, (name, content) in enumerate(files.items()):
        key = f"Stream{number + 1:05d}"
        inner = name.replace(f"{path.stem}.oif.files/", "Storage00001/")
        info[key] = f'"{inner}"'
        if name.endswith(".oif"):
            info["MainFileName"] = key
        if without is None or not name.endswith(without):
            streams[("Storage00001/" if "/" in name else "") + key] = content
    info["Storage00001"] = f'"{path.stem}.oif.files"'
    streams["OibInfo.txt"] = _utf16({"OibSaveInfo": info})
    path.write_bytes(compound(streams, scattered=scattered, version=version))
    return path


def compound(streams: Mapping[str, bytes], *, scattered: bool = False, version: int = 4) -> bytes:
    """Make a compound file; ``scattered`` interleaves the sectors of its streams."""
    size = 4096 if version == 4 else 512
    big = {n: b for n, b in streams.items() if len(b) >= 4096}
    small = {n: b for n, b in streams.items() if n not in big}
    mini, starts = bytearray(), dict[str, int]()
    mini_fat: list[int] = []
    for name, content in small.items():
        count = -(-len(content) // 64)
        first = len(mini_fat)
        starts[name] = first if count else END
        mini_fat += [first + i + 1 for i in range(count)][: max(0, count - 1)] + ([END] if count else [])
        mini += content.ljust(64 * count, b"\0")
    chains = {name: _sectors(content, size) for name, content in big.items()}
    chains["\0mini"] = _sectors(bytes(mini), size)
    chains["\0minifat"] = _sectors(struct.pack(f"<{len(mini_fat)}I", *mini_fat), size, b"\xff")
    placed: list[tuple[str, int]] = []
    if scattered:
        longest = max(map(len, chains.values()))
        placed = [(n, i) for i in range(longest) for n, c in chains.items() if i < len(c)]
    else:
        placed = [(n, i) for n, c in chains.items() for i in range(len(c))]
    where = {key: number for number, key in enumerate(placed)}
    sectors = [chains[n][i] for n, i in placed]
    fat = [where.get((n, i + 1), END) for n, i in placed]
    for name in big:
        starts[name] = where[(name, 0)]
    directory = _sectors(_directory(streams, starts, where.get(("\0mini", 0), END), len(mini)), size)
    directory_start = len(sectors)
    fat += [directory_start + i + 1 for i in range(len(directory) - 1)] + [END]
    sectors += directory
    tables = 1
    while tables * (size // 4) < len(fat) + tables:
        tables += 1
    table_start = len(sectors)
    fat += [FAT] * tables
    fat += [FREE] * (tables * (size // 4) - len(fat))
    sectors += _sectors(struct.pack(f"<{len(fat)}I", *fat), size)
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + struct.pack(
        "<16sHHHHH6s9I", b"", 0x3E, version, 0xFFFE, 12 if version == 4 else 9, 6, b"",
        len(directory) if version == 4 else 0, tables, directory_start, 0, 4096,
        where.get(("\0minifat", 0), END), len(chains["\0minifat"]), END, 0,
    )  # fmt: skip
    numbers = [table_start + i for i in range(tables)] + [FREE] * (109 - tables)
    return (header + struct.pack("<109I", *numbers)).ljust(size, b"\0") + b"".join(sectors)


def _directory(streams: Mapping[str, bytes], starts: Mapping[str, int], mini: int, mini_size: int) -> bytes:
    top = [n for n in streams if "/" not in n]
    inner = [n for n in streams if "/" in n]
    names = ["Root Entry", "Storage00001", *top, *inner]
    number = {n: i for i, n in enumerate(names)}

    def entry(name: str, kind: int, right: int, child: int, start: int, size: int) -> bytes:
        text = (name.rpartition("/")[2] + "\0").encode("utf-16-le")
        return struct.pack(
            "<64sHBBIII16sIQQIQ", text, len(text), kind, 1, FREE, right, child, b"", 0, 0, 0, start, size
        )

    rows = [entry("Root Entry", 5, FREE, 1, mini, mini_size)]
    rows.append(entry("Storage00001", 1, number[top[0]], number[inner[0]] if inner else FREE, 0, 0))
    for group in (top, inner):
        for i, name in enumerate(group):
            right = number[group[i + 1]] if i + 1 < len(group) else FREE
            rows.append(entry(name, 2, right, FREE, starts[name], len(streams[name])))
    return b"".join(rows)


def _sectors(content: bytes, size: int, fill: bytes = b"\0") -> list[bytes]:
    return [content[i : i + size].ljust(size, fill) for i in range(0, len(content), size)]


def _tiff(plane: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(
        file, plane, metadata=None, photometric="minisblack", rowsperstrip=10, software="FV10-ASW 2.0.0.7"
    )  # fmt: skip
    return file.getvalue().ljust(4200, b"\0")  # planes of microscopes are no small streams


def _utf16(sections: Mapping[str, Mapping[str, Any]], table: bytes | None = None) -> bytes:
    text = "".join(f"[{s}]\r\n" + "".join(f"{k}={v}\r\n" for k, v in keys.items()) for s, keys in sections.items())
    if table is None:
        return b"\xff\xfe" + text.encode("utf-16-le")
    return b"\xff\xfe" + (text + "[ColorLUTData]\r\n").encode("utf-16-le") + table


def _main(image: Image, folder: str) -> dict[str, dict[str, Any]]:
    sizes = {"X": image.width, "Y": image.height, "C": image.c, "Z": image.z, "T": image.t, "A": 0, "L": image.lambdas,
             "P": 0, "Q": 0}  # fmt: skip
    order = "".join(a for a in image.order if a in "XY" or sizes[a] > 1 or a == "C")
    units = {"X": "um", "Y": "um", "C": "Ch", "Z": "nm", "T": "ms"}
    ends = {"Z": -image.step_nm * (image.z - 1), "T": 1500.0 * (image.t - 1)}
    axes = {
        f"Axis {i} Parameters Common": {
            "AxisCode": f'"{a}"', "AxisName": f'"{a}"', "MaxSize": n if n > 1 or a in "XYC" else 0,
            "UnitName": f'"{units.get(a, "")}"', "StartPosition": 0.0, "EndPosition": ends.get(a, 0.0),
            **({"Interval": -image.step_nm} if a == "Z" else {}),
        }
        for i, (a, n) in enumerate(sizes.items())
    }  # fmt: skip
    channels = {
        f"Channel {i + 1} Parameters": {
            "CH Name": f"\"CH{i + 1}\"", "DyeName": "\"Alexa Fluor 546\"" if i == 1 else "\"None\"",
            "EmissionWavelength": 572 if i == 1 else 0, "ExcitationWavelength": 543 if i == 1 else 0,
        }
        for i in range(image.c)
    }  # fmt: skip
    return {
        "Acquisition Parameters Common": {
            "Acquisition Device": '"FV1000"', "ImageCaputreDate": "'2012-07-26 15:13:35'",
            "ImageCaputreDate+MilliSec": 976,
        },
        **axes,
        "Axis Parameter Common": {"AxisCount": len(order), "AxisOrder": f'"{order}"'},
        **channels,
        "File Info": {"DataName": '"cell.oib"', "UserComment": '" 40xWater"', "UserName": '"Guest"'},
        "ProfileSaveInfo": {
            **{f"LutFileName{i}": f'"{folder}\\s_LUT{i + 1}.lut"' for i in range(image.c)}, "Name": '"COFAImages"',
            "Version": '"2.0.0.0"',
        },
        "Reference Image Parameter": {
            "HeightConvertValue": image.pixel, "HeightUnit": '"um"', "ImageDepth": 2, "ValidBitCounts": 12,
            "WidthConvertValue": image.pixel, "WidthUnit": '"um"',
        },
        "Version Info": {"SystemName": '"FLUOVIEW FV1000"', "SystemVersion": '"2.1.2.5"'},
    }  # fmt: skip
