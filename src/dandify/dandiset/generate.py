"""Describes a dandiset in its own files: ``dandiset.yaml``, README, tables and sidecars; what is there is kept."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any, Final, Literal

from dandify.dandiset import tables
from dandify.dandiset.context import Context, entities_of
from dandify.dandiset.describe import (
    YAML,
    DandisetMetadata,
    MetadataProblem,
    document_of,
    problems_in,
    read_description,
    unsaid,
    write_description,
)
from dandify.dandiset.ephys_files import ephys_documents
from dandify.dandiset.facts import MANIFEST
from dandify.dandiset.gather import gather
from dandify.dandiset.readme import is_ours, readme
from dandify.dandiset.tables import Described, Layout
from dandify.dandiset.texts import PARTIAL, Change, json_text, read_text, write_text
from dandify.errors import BadRequest, BadSource

_ZARRS: Final = (".zarr", ".ngff")
_TEXTS: Final = (".json", ".tsv", ".md", ".yaml", ".txt")
_DESCRIPTION: Final = "dataset_description.json"
_READMES: Final = ("README.md", "README", "README.txt", "README.rst")  # those that BIDS knows
_IGNORED: Final = (YAML, f"*{MANIFEST}")


@dataclass(frozen=True)
class DescribeReport:
    """What `describe` did.

    Attributes
    ----------
    dandiset
        The folder.
    files
        What became of each file that describes it, by its path below the folder.
    kept
        Fields of ``dandiset.yaml`` that were given and stay as they are, because it says something else.
    lacking
        What DANDI's schema holds against ``dandiset.yaml``: what is wrong, and what is still needed for a DOI.
    """

    dandiset: Path
    files: Mapping[str, Change]
    kept: tuple[str, ...]
    lacking: tuple[MetadataProblem, ...]


def describe(
    dandiset: Path | str,
    metadata: DandisetMetadata | Mapping[str, Any] | None = None,
    *,
    layout: Layout | Literal["auto"] = "auto",
    overwrite: bool = False,
    nidm: bool = False,
    add: DandisetMetadata | Mapping[str, Any] | None = None,
) -> DescribeReport:
    """Write or complete the files that describe a dandiset, out of what its assets and ``dandiset.yaml`` say.

    ``dandiset.yaml`` and ``README.md`` are written in every layout. In that of BIDS also ``dataset_description.json``,
    ``participants.tsv``, ``samples.tsv``, the subjects' ``sessions.tsv``, the JSON of each, ``.bidsignore``, a
    sidecar of each image, and what the draft BEP032 wants beside electrical recordings: a sidecar, and tables of
    probes, electrodes and channels. In that of DANDI, whose archive takes no tables, ``participants.tsv`` and
    ``sessions.tsv`` are written only if there are images: these cannot say themselves whose they are, and the tables
    keep it for the upload; so does ``samples.tsv``, of samples whose kind `organize` was told. What is in a file
    already is kept; only what it lacks is added. README.md is written anew until a person changes it.

    Parameters
    ----------
    dandiset
        Its folder.
    metadata
        For ``dandiset.yaml``: a `DandisetMetadata`, or ``dandiset:`` of a dandify.yaml.
    layout
        ``dandi`` or ``bids``; ``auto`` takes BIDS where there is a ``dataset_description.json``.
    overwrite
        Replace values of ``dandiset.yaml`` and ``dataset_description.json`` that differ.
    nidm
        Write ``derivatives/nidm/nidm.ttl`` as well; for its checksums every file is read.
    add
        People, keywords and other entries of lists that are put to those that are there, see
        `dandify.dandiset.describe.write_description`.

    Raises
    ------
    BadRequest
        If there is no such folder, or the metadata do not fit DANDI's schema.
    BadSource
        If a file that is there is damaged.
    """
    root = Path(dandiset)
    if not root.is_dir():
        raise BadRequest("no such folder", file=root, remedy="dandify organize CONVERTED --dandiset DIR")
    if layout == "auto":
        layout = "bids" if (root / _DESCRIPTION).is_file() else "dandi"
    before, given = read_description(root) or {}, document_of(metadata)
    kept = () if overwrite else tuple(key for key in given if key in before and before[key] != given[key])
    done: dict[str, Change] = {YAML: write_description(root, metadata, overwrite=overwrite, add=add)}
    stated = read_description(root) or {}
    kept = tuple(dict.fromkeys((*kept, *unsaid(stated, add))))
    assets = list(_gathered(Context(root), _walk(root), {}))
    present = next((text for name in _READMES if (text := read_text(root / name)) is not None), None)
    if present is None or is_ours(present):
        done["README.md"] = write_text(root / "README.md", readme(stated, assets))
    if layout == "bids":
        from dandify import __version__

        is_new = not (root / _DESCRIPTION).exists()
        made = tables.dataset_description(stated, made_by=__version__ if is_new else None)
        done[_DESCRIPTION] = write_text(root / _DESCRIPTION, json_text(root / _DESCRIPTION, made, overwrite=overwrite))
        done[".bidsignore"] = write_text(root / ".bidsignore", _ignore(root / ".bidsignore"))
    beside = ephys_documents(root, {a.path: root / a.path for a in assets}) if layout == "bids" else ()
    done |= {path: write_text(root / path, text) for path, text in chain(_documents(root, assets, layout), beside)}
    if nidm:
        done |= _write_nidm(root, stated, assets)
    return DescribeReport(root, done, kept, tuple(problems_in(stated)))


def write_tables(
    dandiset: Path,
    layout: Layout,
    origins: Mapping[PurePosixPath, Path],
    given: Mapping[PurePosixPath, Mapping[str, str | None]] = MappingProxyType({}),
    named: Mapping[PurePosixPath, Mapping[str, str]] = MappingProxyType({}),
    *,
    replaced: Collection[PurePosixPath] = (),
    dry_run: bool = False,
) -> dict[str, Change]:
    """Write or complete the tables and sidecars of assets that are being organized; see `describe`.

    Each asset adds what it says itself, so that the tables depend on what is in a dandiset, not on what came first.

    Parameters
    ----------
    dandiset
        Its folder.
    layout
        ``dandi`` or ``bids``.
    origins
        The assets by their path below the dandiset, and where each is before it is there: its manifest stays there.
        A table or a sidecar among them is left as it comes.
    given
        What the user says of the subjects and sessions of assets that do not say it themselves, by NWB's keys; None
        takes away what one says.
    named
        Sample, stain and so on of assets, by the keys of BIDS, as the user writes them; names hold less.
    replaced
        Those of the assets that take the place of others: tables of their own follow them.
    dry_run
        Only return what would become of each file.

    Raises
    ------
    BadSource
        If a table that is there is damaged.
    """
    told = {*given, *(path for path, said in named.items() if said.get("sample_type"))}
    # NWB files say themselves whose they are
    wanted = [
        p for p in origins
        if layout == "bids" or (not p.name.endswith((".nwb", ".nwb.zarr")) and (p in told or p.suffix in _ZARRS))
    ]  # fmt: skip
    alone = Context(dandiset, alone=True)
    assets = [
        _told(asset, given.get(asset.path, {}))
        for asset in _gathered(alone, (dandiset / p for p in wanted if p.suffix not in _TEXTS), origins)
    ]
    beside = ephys_documents(dandiset, origins, replaced) if layout == "bids" else ()
    return {
        path: write_text(dandiset / path, text, dry_run=dry_run)
        for path, text in chain(_documents(dandiset, assets, layout, told, named), beside)
        if PurePosixPath(path) not in origins
    }


def _told(asset: Described, given: Mapping[str, str | None]) -> Described:
    if not given:
        return asset
    said = {**asset.facts.subject, **given}
    session_id = said.pop("session_id", None) or asset.facts.session_id
    start = said.pop("session_start_time", None)
    subject = {key: value for key, value in said.items() if value}
    began = datetime.fromisoformat(start) if start else asset.facts.start
    return replace(asset, facts=replace(asset.facts, subject=subject, session_id=session_id, start=began))


def _write_nidm(root: Path, stated: Mapping[str, Any], assets: Sequence[Described]) -> dict[str, Change]:
    from dandify import __version__
    from dandify.dandiset.nidm import PLACE, nidm_document

    text = nidm_document(stated, assets, lambda path: _checksum(root / path), version=__version__)
    return {str(PLACE): write_text(root / PLACE, text)}


def _checksum(path: Path) -> tuple[str, str]:
    if path.is_dir():
        from dandi.files import dandi_file

        return "dandi-zarr-checksum", str(dandi_file(path, path.parent).get_digest().value)
    with path.open("rb") as file:
        return "sha256", hashlib.file_digest(file, "sha256").hexdigest()


def _documents(
    root: Path,
    assets: Sequence[Described],
    layout: Layout,
    told: Collection[PurePosixPath] = (),
    named: Mapping[PurePosixPath, Mapping[str, str]] = MappingProxyType({}),
) -> Iterator[tuple[str, str]]:
    images = [a for a in assets if a.facts.image is not None]
    if layout == "dandi":
        assets = [a for a in assets if a.facts.image is not None or a.path in told]
    rows = tables.sessions(assets, years=layout == "dandi")
    if layout == "bids" or assets:
        subjects = tables.participants(assets, ages=layout == "bids")
        subjects = [row for row in subjects if layout == "bids" or len(row) > 1]  # else a name says it all
        yield from _table(root, "participants.tsv", subjects, ("participant_id",))
    if layout == "dandi" and assets:
        flat = [{"participant_id": f"sub-{subject}", **row} for subject, found in rows.items() for row in found]
        flat = [row for row in flat if len(row) > 2]
        yield from _table(root, "sessions.tsv", flat, ("participant_id", "session_id"))
        kinds = [row for row in tables.samples(assets, named) if row["sample_type"] != tables.ABSENT]
        yield from _table(root, "samples.tsv", kinds, ("sample_id", "participant_id"))
    elif layout == "bids":
        yield from _table(root, "samples.tsv", tables.samples(assets, named), ("sample_id", "participant_id"))
        for subject, found in rows.items():
            yield from _table(root, f"sub-{subject}/sub-{subject}_sessions.tsv", found, ("session_id",))
        for asset in images:
            if asset.facts.image is not None and "micr" in asset.path.parts:
                path = str(asset.path.with_name(asset.path.name.split(".")[0] + ".json"))
                stain = {**entities_of(asset.path), **named.get(asset.path, {})}.get("stain")
                yield path, json_text(root / path, tables.image_sidecar(asset.facts.image, stain))


def _table(root: Path, path: str, rows: tables.Rows, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    if not rows:
        return
    text = tables.merge_table(read_text(root / path), rows, keys)
    yield path, text
    if meanings := tables.meanings(text):
        beside = path.removesuffix(".tsv") + ".json"
        yield beside, json_text(root / beside, meanings)


def _ignore(path: Path) -> str:
    lines = (read_text(path) or "").splitlines()
    return "".join(f"{line}\n" for line in [*lines, *(p for p in _IGNORED if p not in lines)])


def _gathered(context: Context, paths: Iterable[Path], origins: Mapping[PurePosixPath, Path]) -> Iterator[Described]:
    for path in paths:
        below = PurePosixPath(path.relative_to(context.dandiset).as_posix())
        with suppress(BadSource):  # `validate` tells of damaged files
            yield Described(below, gather(path, context, origin=origins.get(below)))


def _walk(folder: Path) -> Iterator[Path]:
    """Yield recordings, images and media; tables and sidecars are no assets to describe."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.endswith(PARTIAL):
            continue
        if path.is_dir() and path.suffix not in _ZARRS:
            if path.name not in ("derivatives", "sourcedata"):
                yield from _walk(path)
        elif path.suffix not in _TEXTS:
            yield path
