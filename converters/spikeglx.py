"""SpikeGLX: Neuropixels probes (AP, LF, sync), NIDQ board and OneBox; ``.bin`` with ``.meta`` beside it.

The keys of a ``.meta`` are described at https://billkarsh.github.io/SpikeGLX/Sgl_help/Metadata_30.html, file names and
folders in the chapter "Gates and triggers" of the user's manual. neuroconv reads the probes; the sync words, the analog
and the digital channels are mapped here, because neuroconv 0.10 reads a digital channel whole into memory, refuses
several triggers and more than 16 lines, and gives channels of different gains no unit.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from dandify.errors import BadRequest, BadSource
from dandify.sources import Channel, Converter, NWBSource, RawArray, Source, Stream, Verdict
from dandify.sources.vendors.spikeglx_meta import (
    NAME,
    File,
    bit_of,
    board_gain,
    lines_of,
    probe_gains,
    ranges,
    read_file,
)

if TYPE_CHECKING:
    from pynwb import NWBFile

_PROBE_FOLDER = re.compile(r".+_g\d+_(imec|obx)\d+", re.IGNORECASE)
_RUN_FOLDER = re.compile(r".+_g\d+", re.IGNORECASE)


@dataclass(frozen=True)
class _Part:
    """A stream and where it comes from."""

    file: File
    stream: Stream
    role: str  # "neural", "sync", "analog", "digital"
    columns: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SpikeGLXSource(NWBSource):
    """One run, or a part of one."""

    parts: tuple[_Part, ...] = ()

    def add_to_nwbfile(self, nwbfile: NWBFile, *, shift_s: float = 0.0) -> None:
        """Add probes, electrodes, series and digital events."""
        for part in self.parts:
            if part.role == "neural":
                self._add_neural(nwbfile, part, shift_s)
            elif part.role == "digital":
                self._add_digital(nwbfile, part, shift_s)
            else:
                self._add_time_series(nwbfile, part, shift_s)

    def _add_neural(self, nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
        from dandify.sources.neuroconv import add_recording

        file, stream = part.file, part.stream
        interface, device = _interface(part)
        recording = interface.recording_extractor
        gains = [c.gain for c in stream.channels]
        if all(g is not None for g in gains):
            # neo 0.14 takes the gains of the first channels of the table also where other channels were saved.
            recording.set_channel_gains([g * 1e6 for g in gains if g is not None])
            recording.set_channel_offsets([0.0] * len(gains))
        # neuroconv's group of a phase 3A probe, whose device is "imec" without a number, ends in a point.
        recording.set_property("group_name", [g.rstrip(".") for g in recording.get_property("group_name")])
        segments = sorted({p.file.segment for p in self.parts if p.file.stream_id == file.stream_id})
        add_recording(
            nwbfile, interface, name=_series_name(self.parts, part), description=str(stream.description),
            shift_s=shift_s, segment=segments.index(file.segment), starting_time_s=stream.starting_time_s,
            array=stream.array, device=device, lfp=file.band == "lf",
        )  # fmt: skip

    def _add_time_series(self, nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
        from dandify.sources.neuroconv import add_device, add_time_series

        stream = part.stream
        if part.file.device == "nidq":
            add_device(nwbfile, _board(part.file))
        assert stream.array is not None
        assert stream.unit is not None
        add_time_series(
            nwbfile, name=_series_name(self.parts, part), description=str(stream.description), array=stream.array,
            unit=stream.unit, conversion=stream.conversion, rate_hz=stream.rate_hz,
            starting_time_s=stream.starting_time_s + shift_s,
        )  # fmt: skip

    def _add_digital(self, nwbfile: NWBFile, part: _Part, shift_s: float) -> None:
        from dandify.sources.events import add_edges, find_edges
        from dandify.sources.neuroconv import add_device

        stream, file = part.stream, part.file
        lines = {bit_of(line): line for line in lines_of(file, tuple(c.name for c in stream.channels))}
        if file.device == "nidq":
            add_device(nwbfile, _board(file))
        add_edges(
            nwbfile, find_edges(file.array(part.columns), sorted(lines)), name=_series_name(self.parts, part),
            description=str(stream.description), source_description=f"{file.bin.name}, recorded by SpikeGLX",
            rate_hz=file.rate_hz, starting_time_s=stream.starting_time_s + shift_s, line_names=lines,
        )  # fmt: skip


class SpikeGLX(Converter):
    """SpikeGLX runs."""

    name = "spikeglx"
    title = "SpikeGLX (Neuropixels, NIDQ, OneBox)"
    patterns = tuple(f"*.{kind}.{suffix}" for kind in ("ap", "lf", "nidq", "obx") for suffix in ("bin", "meta"))
    looks_like = (
        "a run folder NAME_g0/ with NAME_g0_imec0/NAME_g0_t0.imec0.ap.bin and .meta, NAME_g0_t0.nidq.bin and .meta"
    )
    becomes = "ElectricalSeries (AP), LFP (LF), TimeSeries (sync, analog), EventsTable (digital lines)"

    def claim(self, path: Path) -> Path | None:
        """Return the folder of the run: that of all its probes, or the one that holds the file."""
        if not self.matches(path) or not NAME.fullmatch(path.name):
            return None
        folder = path.parent
        if _PROBE_FOLDER.fullmatch(folder.name) and _RUN_FOLDER.fullmatch(folder.parent.name):
            above = folder.parent.name.lower().removeprefix("catgt_")
            if folder.name.lower().startswith(f"{above}_"):
                return folder.parent
        return folder

    def identify(self, path: Path) -> Verdict:
        """Look for files with SpikeGLX names, and into the first ``.meta`` of them."""
        try:
            found = _members(path)
            metas = [f for f in found if f.suffix.lower() == ".meta"]
            if metas:
                with metas[0].open("rb") as file:
                    text = file.read(65536).decode("utf-8", "replace")
                if "nSavedChans=" not in text:
                    return Verdict(False, f"{metas[0].name} has no nSavedChans, which every SpikeGLX .meta has")
                return Verdict(True, f"{metas[0].name} is a SpikeGLX .meta")
        except OSError as error:
            return Verdict(False, f"cannot be read: {error}")
        if found:
            return Verdict(True, f"{found[0].name} is named as SpikeGLX names its files")
        return Verdict(False, "no file named RUN_g0_t0.imec0.ap.bin, .lf.bin, .nidq.bin or .meta")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        """Read the ``.meta`` files and compare them with the sizes of the ``.bin`` files."""
        if options:
            raise BadRequest(f"spikeglx takes no options: {', '.join(options)}", file=path)
        problems: list[str] = []
        found = _members(path)
        files = sorted(
            (read_file(b, problems) for b in _pairs(path, found)),
            key=lambda f: (f.segment, f.device != "nidq", f.device, f.band),
        )
        _check_run(path, files)
        zero = min(f.first_s for f in files)
        several = len({f.segment for f in files}) > 1
        parts = tuple(p for f in files for p in _parts(f, files, f.first_s - zero, f".{f.label}" if several else ""))
        return SpikeGLXSource(
            format=self.name, path=path, files=tuple(found), streams=tuple(p.stream for p in parts), parts=parts,
            facts=_facts(files), problems=tuple(problems),
        )  # fmt: skip


converter = SpikeGLX()


def _members(folder: Path) -> list[Path]:
    """Files of the run: in the folder itself and in the folders of its probes."""
    if not folder.is_dir():
        return []
    probe_folders = (f for f in folder.iterdir() if f.is_dir() and _belongs(f, folder))
    return sorted(
        f for home in (folder, *probe_folders) for f in home.iterdir() if f.is_file() and NAME.fullmatch(f.name)
    )


def _belongs(probe_folder: Path, folder: Path) -> bool:
    run = folder.name.lower().removeprefix("catgt_")
    return bool(_PROBE_FOLDER.fullmatch(probe_folder.name)) and probe_folder.name.lower().startswith(f"{run}_")


def _pairs(path: Path, found: list[Path]) -> list[Path]:
    """Every ``.bin``; all of them and all ``.meta`` must have their companion."""
    names = {f.with_suffix("") for f in found}
    for base in sorted(names):
        for suffix, other, remedy in (
            (".meta", ".bin", "copy the .bin beside it, or take the .meta away"),
            (".bin", ".meta", "copy it from the acquisition computer: without it rate, channels and gains are unknown"),
        ):  # fmt: skip
            have, lacks = base.with_name(base.name + suffix), base.with_name(base.name + other)
            if have in found and lacks not in found:
                raise BadSource(f"its companion {lacks.name} is missing", file=have, remedy=remedy)
    if not names:
        raise BadSource("no SpikeGLX file in it", file=path, remedy="name the folder of the run")
    return [base.with_name(base.name + ".bin") for base in sorted(names)]


def _check_run(path: Path, files: list[File]) -> None:
    """Refuse what is not one run, and segments that do not have the same probes."""
    runs = sorted({f.run for f in files})
    if len(runs) > 1:
        raise BadSource(
            f"files of {len(runs)} runs lie together: {', '.join(runs)}", file=path,
            remedy="move each run into a folder of its own",
        )  # fmt: skip
    seen: dict[tuple[tuple[int, int], str], File] = {}
    for file in files:
        if (other := seen.setdefault((file.segment, file.stream_id), file)) is not file:
            raise BadSource(f"the same stream twice: also in {other.bin}", file=file.bin, remedy="remove the copy")
    probes = {f.stream_id for f in files if f.device.startswith("imec")}
    for segment in sorted({f.segment for f in files}):
        some = next(f for f in files if f.segment == segment)
        if lacking := probes - {f.stream_id for f in files if f.segment == segment}:
            raise BadSource(
                f"{some.label} has no {', '.join(sorted(lacking))}, which other triggers of the run have", file=path,
                remedy=f"copy the missing files, or move those of {some.label} into a folder of their own",
            )  # fmt: skip


def _parts(file: File, files: list[File], starting_time_s: float, suffix: str) -> list[_Part]:
    """Cut a file's columns into streams."""
    at, cuts = 0, []
    for key, kinds in (("snsApLfSy", "ap lf sy"), ("snsMnMaXaDw", "mn ma xa xd"), ("snsXaDwSy", "xa xd sy")):
        for kind, count in zip(kinds.split(), file.meta.get(key, "0,0,0,0").split(","), strict=False):
            if int(count):
                cuts.append((kind, (at, at + int(count))))
            at += int(count)
    has_ap = any(f.segment == file.segment and f.device == file.device and f.band == "ap" for f in files)
    out = []
    for kind, columns in cuts:
        if kind == "sy" and file.band == "lf" and has_ap:
            continue  # the same word as in the AP file, at a twelfth of its rate
        role = {"ap": "neural", "lf": "neural", "sy": "sync", "xd": "digital"}.get(kind, "analog")
        name = f"{file.device}.{'sync' if kind == 'sy' else kind}{suffix}"
        out.append(_Part(file, _stream(file, name, kind, role, columns, starting_time_s), role, columns))
    return out


def _stream(file: File, name: str, kind: str, role: str, columns: tuple[int, int], starting_time_s: float) -> Stream:
    names = file.names[slice(*columns)]
    common: dict[str, Any] = {"name": name, "rate_hz": file.rate_hz, "starting_time_s": starting_time_s}
    where = f"{file.bin.name}, recorded by SpikeGLX"
    if role == "neural":
        gains = probe_gains(file, names)
        channels = tuple(Channel(n, "volts", g, 0.0) for n, g in zip(names, gains, strict=True)) if gains else ()
        channels = channels or tuple(Channel(n) for n in names)
        band = "action potential band" if kind == "ap" else "local field potential band"
        return Stream(
            **common, kind="LFP" if kind == "lf" else "ElectricalSeries", axes=("t", "c"), array=file.array(columns),
            unit="volts", conversion=gains[0] if gains and len(set(gains)) == 1 else 1.0,
            channels=channels,
            description=f"Raw {band} of probe {file.device} ({where}).",
        )  # fmt: skip
    if role == "sync":
        return Stream(
            **common, kind="TimeSeries", axes=("t", "c"), array=file.array(columns), unit="n.a.",
            channels=tuple(Channel(n) for n in names),
            description=f"16-bit status word {', '.join(names)} of {file.device}: bit 6 carries the sync wave"
            f"{_period(file)}, the other bits are status and error flags of the hardware ({where}).",
        )  # fmt: skip
    if role == "digital":
        listed = ", ".join(lines_of(file, names))
        words = tuple(Channel(n) for n in names)
        return Stream(
            **common, kind="EventsTable", axes=("t", "c"), array=file.array(columns), channels=words,
            description=f"Edges of the digital lines {listed} of {file.device}.",
        )  # fmt: skip
    gain = board_gain(file, kind)
    what = {"mn": "multiplexed neural", "ma": "multiplexed analog", "xa": "analog"}[kind]
    return Stream(
        **common, kind="TimeSeries", axes=("t", "c"), array=file.array(columns), unit="volts", conversion=gain,
        channels=tuple(Channel(n, "volts", gain, 0.0) for n in names),
        description=f"The {what} channels {', '.join(names)} of {file.device}, in this order ({where}).",
    )  # fmt: skip


def _period(file: File) -> str:
    seconds = file.meta.get("syncSourcePeriod")
    return f" (period {seconds} s)" if seconds else ""


def _board(file: File) -> dict[str, str]:
    product = file.meta.get("niDev1ProductName")
    fields = {"name": "NIDQBoard", "manufacturer": "National Instruments"}
    return {**fields, "model_number": product} if product else fields


def _series_name(parts: tuple[_Part, ...], part: _Part) -> str:
    """Name of the NWB object; neuroconv's, where neuroconv has one."""
    file = part.file
    device = file.device.capitalize()
    kind = part.stream.name.split(".")[1].upper()
    if part.role == "neural":
        alone = file.meta.get("typeImEnabled") == "1"
        name = f"ElectricalSeries{kind}{'' if alone else device}"
    elif part.role == "sync":
        name = f"TimeSeries{device}Sync"
    elif part.role == "digital":
        name = "EventsNIDQ" if file.device == "nidq" else f"Events{device}"
    else:
        kinds = {p.stream.name.split(".")[1] for p in parts if p.role == "analog" and p.file.device == file.device}
        name = f"TimeSeries{'NIDQ' if file.device == 'nidq' else device}{kind if len(kinds) > 1 else ''}"
    return f"{name}_{file.label}" if len({p.file.segment for p in parts}) > 1 else name


def _facts(files: list[File]) -> dict[str, Any]:
    facts: dict[str, Any] = {"session_id": files[0].run}
    stamps = [f.meta.get("fileCreateTime_original") or f.meta.get("fileCreateTime", "") for f in files]
    # Dates of patients' recordings are replaced by zeros.
    if starts := [datetime.fromisoformat(s) for s in stamps if s and not s.startswith("0000")]:
        facts["session_start_time"] = min(starts)
    if versions := sorted({f.meta["appVersion"] for f in files if "appVersion" in f.meta}):
        facts["software"] = f"SpikeGLX {', '.join(versions)}"
    if notes := dict.fromkeys(f.meta["userNotes"] for f in files if f.meta.get("userNotes")):
        facts["description"] = "; ".join(notes)
    probes = {f.device: _probe(f) for f in files if f.device.startswith("imec")}
    if probes := {device: text for device, text in probes.items() if text}:
        facts["probes"] = tuple(probes.values())
    return facts


def _probe(file: File) -> str:
    model, serial = file.meta.get("imDatPrb_pn", ""), file.meta.get("imDatPrb_sn") or file.meta.get("imProbeSN")
    return " ".join(filter(None, (model, serial and f"serial number {serial}")))


def _interface(part: _Part) -> tuple[Any, dict[str, Any] | None]:
    """Make neuroconv's interface for a probe; where it cannot, one around the samples and what probeinterface reads.

    neo 0.14 does not open probes of type 1110, and without the ``.meta`` of the AP band neuroconv finds no geometry.
    """
    from dandify.sources.neuroconv import Wrapped, binary_recording, build

    file, stream = part.file, part.stream
    if file.band == "ap" or _ap_meta(file).is_file():
        try:
            arguments = {"folder_path": file.bin.parent, "stream_id": file.stream_id}
            return build("SpikeGLXRecordingInterface", arguments), None
        except (IndexError, KeyError, ValueError, AssertionError):
            if int(file.meta.get("imDatPrb_type") or 0) != 1110:
                raise
    assert isinstance(stream.array, RawArray)
    names = [c.name for c in stream.channels]
    recording = binary_recording(stream.array, rate_hz=file.rate_hz, names=names, gains_to_uv=None)
    probe = _read_probe(file)
    recording.set_probe(probe, group_mode="by_shank" if probe.shank_ids is not None else "auto")
    name, shanks = f"Neuropixels{file.device.capitalize()}", recording.get_channel_groups()
    recording.set_property("group_name", [f"{name}Shank{s}" if len(set(shanks)) > 1 else name for s in shanks])
    recording.set_property("channel_name", names)
    device = {"name": name, "manufacturer": "imec", "model_number": probe.model_name}
    serial = file.meta.get("imDatPrb_sn")
    return Wrapped(recording), {**device, "serial_number": serial} if serial else device


def _read_probe(file: File) -> Any:
    import probeinterface  # type: ignore[import-untyped]  # has no types

    if file.band == "ap":
        return probeinterface.read_spikeglx(file.bin.with_suffix(".meta"))
    with tempfile.TemporaryDirectory() as folder:
        # probeinterface counts saved channels as in an AP file; those of the LF band are 384 higher.
        meta = Path(folder) / f"{file.bin.stem}.meta"
        total = len(re.findall(r"\(([^()]*)\)", file.meta["~imroTbl"])) - 1
        saved = [n - total if n >= total else n for n in ranges(file.meta["snsSaveChanSubset"])]
        changed = {**file.meta, "snsSaveChanSubset": ",".join(map(str, saved))}
        meta.write_text("".join(f"{key}={value}\n" for key, value in changed.items()), encoding="utf-8")
        return probeinterface.read_spikeglx(meta)


def _ap_meta(file: File) -> Path:
    path: Path = file.bin
    return path.with_name(path.name.replace(".lf.bin", ".ap.meta"))
