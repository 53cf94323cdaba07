"""Checks a dandiset, or a single image, as the archive will, and what the archive does not look at."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal

from dandify.dandiset import checks, checks_nwb
from dandify.dandiset.describe import YAML
from dandify.dandiset.duplicates import duplicates
from dandify.dandiset.facts import MANIFEST, kind_of
from dandify.dandiset.plain import PACKED_REMEDY, PICTURES, VIDEOS, is_packed, plain_kind
from dandify.dandiset.tables import TABLE_STAYS, TABLES
from dandify.dandiset.texts import PARTIAL
from dandify.errors import BadRequest
from dandify.findings import Finding

_ZARRS: Final = (".zarr", ".ngff")
_ASSETS: Final = frozenset({"nwb", "nwb-zarr", "ome-zarr", "zarr", "video", "picture", "bids"})
_SHARES: Final = ("full", "sample", "none")
_ORDER: Final = {"ERROR": 0, "WARNING": 1, "HINT": 2}
# NWB files in the seconds that a new process takes to load what checks them.
_WORTH_A_PROCESS: Final = 20

Share = Literal["full", "sample", "none"]


@dataclass(frozen=True)
class FileVerdict:
    """One file or Zarr, and whether the archive will take it.

    Attributes
    ----------
    path
        Below the dandiset.
    kind
        ``nwb``, ``nwb-zarr``, ``ome-zarr``, ``zarr``, ``video``, ``picture``, ``bids`` (a file of a BIDS dataset);
        ``dandiset.yaml``, ``manifest``, ``partial``, ``hidden``, ``linked`` (a link to a folder) and ``unknown`` are
        not uploaded.
    ok
        No error was found in it.
    """

    path: Path
    kind: str
    ok: bool


@dataclass(frozen=True)
class ValidationReport:
    """Everything that was found.

    Attributes
    ----------
    path
        What was checked.
    findings
        By path, the worst first.
    files
        Every file, unknown ones too.
    """

    path: Path
    findings: tuple[Finding, ...]
    files: tuple[FileVerdict, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """What the archive refuses, or what makes a file useless."""
        return self._of("ERROR")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What deserves a look."""
        return self._of("WARNING")

    def to_json(self) -> str:
        """Return the report as JSON: counts, findings in the shape of dandi's ValidationResult, files."""
        record = {
            "path": str(self.path),
            "errors": len(self.errors),
            "warnings": len(self.warnings),
            "findings": [asdict(f) | {"path": f.path and str(f.path)} for f in self.findings],
            "files": [asdict(f) | {"path": f.path.as_posix()} for f in self.files],
        }
        return json.dumps(record, indent=2, ensure_ascii=False)

    def _of(self, severity: str) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity == severity)


@dataclass(frozen=True)
class ValidationProgress:
    """One step: a file was checked, so many of all."""

    path: Path
    done_files: int
    total_files: int


ProgressCallback = Callable[[ValidationProgress], None]


@dataclass(frozen=True)
class _Job:
    """One file to check."""

    path: Path
    base: Path
    kind: str
    in_bids: bool
    data: Share


def validate(
    path: Path | str,
    *,
    workers: int | Literal["auto"] | None = None,
    doi: bool = False,
    data: Share = "full",
    progress: ProgressCallback | None = None,
) -> ValidationReport:
    """Check a dandiset, a file or folder of it, or an OME-Zarr of any tool, wherever it lies.

    Runs the validators of the dandi client (pynwb, nwbinspector with the dandi configuration, Zarr structure, names,
    BIDS), and what they leave out: OME-Zarr content, NWB in Zarr, subjects in paths and files, missing media, HDF5
    filters that some readers lack, the server's rules for paths and sizes, the same content twice, and the extraction
    of metadata as the upload does it. Nothing is changed, the network is not used, and no code in data is run.

    Parameters
    ----------
    path
        A dandiset, or something in one.
    workers
        Processes. More than one pays from a few dozen NWB files on, each of which takes about a tenth of a second;
        ``auto`` is then one for each core. A script that asks for it needs the usual ``if __name__ == "__main__":``.
        None is one.
    doi
        Whether it is to be published: what would stand in the way of that is an error then.
    data
        How much of OME-Zarr images is decoded, and compared level by level or with the checksums of their manifests:
        ``full``, a ``sample`` of one chunk in sixteen, or ``none``: then headers, indexes and lengths only.
    progress
        Called after each file.

    Raises
    ------
    BadRequest
        If there is no such file or folder, or ``data`` is something else.
    """
    root = Path(os.path.abspath(path))  # without "..": media are looked for below it
    if not root.exists():
        raise BadRequest("no such file or folder", file=root)
    if data not in _SHARES:
        raise BadRequest(f"data {data!r}", remedy=f"one of {', '.join(_SHARES)}")
    dandiset = next((f for f in (root, *root.parents) if (f / YAML).is_file()), None)
    base = dandiset or (root if _is_folder(root) else root.parent)
    bids = _bids_datasets(base) if _is_folder(root) else []
    jobs = [
        # A link is a way to an image that is checked for itself; in a dandiset it is one that dandi does not take.
        _job(p, base, bids, data, linked=_is_linked(p) and (p != root or dandiset not in (None, root)))
        for p in _files(root)
    ]
    findings: list[Finding] = []
    verdicts: list[FileVerdict] = []
    for folder in bids:
        findings += checks.dandi_bids(folder, base)
    bad = {f.path for f in findings if f.severity == "ERROR"}
    for job, found in zip(jobs, _run(jobs, _processes(workers, jobs), progress), strict=True):
        findings += found
        errors = {f.path for f in found if f.severity == "ERROR"}
        bad |= errors
        ok = not errors and not (job.in_bids and job.path in bad)
        verdicts.append(FileVerdict(job.path.relative_to(base), job.kind, ok))
    if dandiset is None and [j.kind for j in jobs] == ["ome-zarr"] and jobs[0].path == root:
        findings += checks.alone(root)
    elif root == base or dandiset is None:
        assets = [v for v in verdicts if v.kind in _ASSETS]
        findings += checks.dandiset(base, assets=len(assets), zarrs=sum("zarr" in v.kind for v in assets), doi=doi)
        held = [(base / v.path, v.kind) for v in assets if _holds_data(v)]
        findings += duplicates((path, kind) for path, kind in held if path.exists())
    findings = sorted(dict.fromkeys(findings), key=lambda f: (str(f.path or ""), _ORDER[f.severity], f.id))
    return ValidationReport(root, tuple(findings), tuple(verdicts))


def _processes(asked: int | Literal["auto"] | None, jobs: Sequence[_Job]) -> int:
    if asked == "auto":
        slow = sum(job.kind in ("nwb", "nwb-zarr") for job in jobs)
        return min(os.cpu_count() or 1, max(1, slow // _WORTH_A_PROCESS))
    return asked or 1


def _run(jobs: Sequence[_Job], workers: int, progress: ProgressCallback | None) -> Iterator[tuple[Finding, ...]]:
    def told(results: Iterator[tuple[Finding, ...]]) -> Iterator[tuple[Finding, ...]]:
        for count, (job, found) in enumerate(zip(jobs, results, strict=True), 1):
            if progress is not None:
                progress(ValidationProgress(job.path, count, len(jobs)))
            yield found

    if workers > 1 and len(jobs) > 1:
        context = multiprocessing.get_context("spawn")  # the same on every platform, and safe beside HDF5's locks
        with ProcessPoolExecutor(workers, mp_context=context) as pool:
            yield from told(pool.map(_check, jobs))
    else:
        yield from told(map(_check, jobs))


def _check(job: _Job) -> tuple[Finding, ...]:
    return tuple(_findings(job))


def _findings(job: _Job) -> Iterator[Finding]:
    path, base = job.path, job.base
    if job.kind in _ASSETS and (missing := list(checks.content(path))):
        yield from missing
        return
    if job.kind == "partial":
        yield Finding(
            "dandify.partial", "dandify", "file", "WARNING", "is unfinished, and is not uploaded", path,
            remedy="run dandify organize again, or remove it",
        )  # fmt: skip
    elif job.kind == "linked":
        yield Finding(
            "dandify.linked_folder", "dandi", "folder", "ERROR",
            "is a link to a folder, which dandi does not follow: nothing in it is uploaded", path,
            remedy="put the folder itself there; dandify organize --mode symlink links file by file",
        )  # fmt: skip
    elif job.kind == "unknown":
        yield _unknown(path, base)
    if job.kind not in _ASSETS:
        return
    yield from checks.path_rules(path, base)
    empty = list(checks.sizes(path))
    yield from empty
    if any(f.id == "dandify.empty_file" for f in empty):
        return
    if job.kind in ("nwb", "nwb-zarr"):
        yield from checks_nwb.nwb(path, base, "nwb" if job.kind == "nwb" else "nwb-zarr", in_bids=job.in_bids)
        return
    if not job.in_bids and (path.is_file() or path.suffix in _ZARRS):  # an image within a plate is none for dandi
        yield from checks.dandi(path, base)
    if job.kind == "ome-zarr":
        yield from checks.ome_zarr(path, data=job.data)


def _holds_data(verdict: FileVerdict) -> bool:
    """Whether it is worth a word if two are the same: tables and JSON of a BIDS dataset often are."""
    return verdict.kind != "bids" or plain_kind(verdict.path) is not None


def _unknown(path: Path, base: Path) -> Finding:
    if path.suffix.lower() in (".nwb", *VIDEOS, *PICTURES):
        return Finding(
            "dandify.suffix_case", "dandify", "file", "ERROR",
            f"dandi does not upload {path.suffix}, in capitals", path,
            remedy=f"rename it to {path.suffix.lower()}; dandify organize does so and mends what refers to it",
        )  # fmt: skip
    ours = path.parent == base and path.name in TABLES
    said = TABLE_STAYS if ours else "dandi uploads such files only in a BIDS dataset"
    return Finding(
        "dandify.not_uploaded", "dandify", "file", "HINT", said, path,
        remedy=PACKED_REMEDY if is_packed(path) else None,
    )  # fmt: skip


def _is_folder(path: Path) -> bool:
    return path.is_dir() and path.suffix not in _ZARRS and kind_of(path) != "ome-zarr"


def _is_linked(path: Path) -> bool:
    """Whether it is a link to a folder, or is called a Zarr and leads nowhere."""
    return path.is_symlink() and (path.is_dir() or (path.suffix in _ZARRS and not path.exists()))


def _files(root: Path) -> Iterator[Path]:
    """Every file, and every Zarr and hidden folder as a whole, by path."""
    if not _is_folder(root) or root.name.endswith(PARTIAL):
        yield root
        return
    for path in sorted(root.iterdir()):
        if path.name.startswith(".") or _is_linked(path):
            yield path
        else:
            yield from _files(path)


def _bids_datasets(base: Path) -> list[Path]:
    """Return the outermost BIDS datasets; what lies in them belongs to them."""
    found: list[Path] = []
    for folder in sorted({p.parent for p in _files(base) if p.name == "dataset_description.json"}):
        if not any(outer in folder.parents for outer in found):
            found.append(folder)
    return found


def _job(path: Path, base: Path, bids: Sequence[Path], data: Share, *, linked: bool) -> _Job:
    in_bids = any(folder in path.parents for folder in bids)
    kind = "linked" if linked else _kind(path, base, in_bids=in_bids)
    return _Job(path, base, kind, in_bids, data)


def _kind(path: Path, base: Path, *, in_bids: bool) -> str:
    if path.parent == base and path.name == YAML:
        return YAML
    if path.name.startswith("."):
        return "hidden"
    if path.name.endswith(PARTIAL):
        return "partial"
    if path.name.endswith(MANIFEST):
        return "manifest"
    if path.is_dir():
        return kind_of(path) or ("ome-zarr" if path.suffixes[-2:] == [".ome", ".zarr"] else "zarr")
    if path.suffix == ".nwb":
        return "nwb"
    if in_bids:
        return "bids"
    if path.suffix in VIDEOS:
        return "video"
    return "picture" if path.suffix in PICTURES else "unknown"
