"""The plan of a dandiset: a place for every file and its media, and the refusal of whatever cannot be placed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from dandify.dandiset.facts import Facts, kind_of, read_facts
from dandify.dandiset.media import Medium, media_of
from dandify.dandiset.names import image_name, image_path, nwb_path, sanitize_label, session_label
from dandify.errors import BadRequest, BadSource, MissingMetadata, Need

_MAX_LISTED = 10

K = TypeVar("K")


@dataclass(frozen=True)
class Placement:
    """A file and its place.

    Attributes
    ----------
    source
        Where it is.
    target
        Where it goes, below the dandiset.
    kind
        What it is.
    media
        For an NWB file: the media that the copy refers to by new names; empty if nothing in it changes.
    """

    source: Path
    target: PurePosixPath
    kind: Literal["nwb", "nwb-zarr", "ome-zarr", "media"]
    media: tuple[Medium, ...] = ()


def plan_layout(
    files: Sequence[Facts], dandiset: Path, *, subject_id: str | None = None, session_id: str | None = None
) -> tuple[Placement, ...]:
    """Return a place for every file and medium.

    Parameters
    ----------
    files
        What they say of themselves.
    dandiset
        Its folder, for the ids of what is there already.
    subject_id, session_id
        Of files that state none.

    Raises
    ------
    MissingMetadata
        Naming every file that states no subject or session.
    BadRequest
        If two ids, or two files, would get one name.
    BadSource
        If media are missing, or data are in other files.
    """
    stated = [_supplied(f, subject_id, session_id) for f in files]
    needs = [need for f in stated for need in _needs(f)]
    if needs:
        raise MissingMetadata(needs, where="the name of a file in the dandiset")
    _refuse_links(stated)
    _refuse_shared_labels(stated, dandiset)
    placed: list[Placement] = []
    for facts in stated:
        placed += _places(facts)
    _refuse_missing([m for p in placed for m in p.media])
    _refuse_shared_names(placed)
    return tuple(placed)


def _supplied(facts: Facts, subject_id: str | None, session_id: str | None) -> Facts:
    return replace(
        facts,
        subject_id=facts.subject_id or subject_id,
        session_id=facts.session_id or (session_id if facts.session_start_time is None else None),
    )


def _needs(facts: Facts) -> Iterator[Need]:
    if not facts.subject_id:
        yield Need("subject_id", "id of the subject", "--subject-id VALUE", str(facts.path))
    if not facts.session_id and facts.session_start_time is None:
        yield Need("session_id", "id of the session", "--session-id VALUE", str(facts.path))


def _places(facts: Facts) -> Iterator[Placement]:
    assert facts.subject_id is not None
    start = facts.session_start_time
    if facts.kind == "ome-zarr":
        name = image_name(facts.path.name)
        target = image_path(facts.subject_id, facts.session_id, name, session_start_time=start)
        yield Placement(facts.path, target, "ome-zarr")
        return
    target = nwb_path(
        facts.subject_id, facts.session_id, facts.modalities, session_start_time=start, entities=facts.entities,
        suffix=".nwb.zarr" if facts.kind == "nwb-zarr" else ".nwb",
    )  # fmt: skip
    media = media_of(facts, target)
    yield Placement(facts.path, target, facts.kind, media)
    for destination, source in {m.target: m.source for m in media}.items():
        yield Placement(source, destination, "media")


def _refuse_links(files: Sequence[Facts]) -> None:
    """Refuse NWB files whose data are in other files: brought elsewhere they would be broken, and dandi takes none."""
    for facts in files:
        if facts.links:
            more = f", and {len(facts.links) - 1} more" if len(facts.links) > 1 else ""
            raise BadSource(
                f"a part of it is a link to another file: {facts.links[0]}{more}", file=facts.path,
                remedy="make it one file: NWBHDF5IO(OUT, 'w').export(src_io, write_args={'link_data': False})",
            )  # fmt: skip


def _refuse_missing(media: Sequence[Medium]) -> None:
    missing = [m for m in media if not m.source.is_file()]
    if not missing:
        return
    lines = [f"  {m.reference.name} ({m.reference.dataset})" for m in missing[:_MAX_LISTED]]
    if len(missing) > _MAX_LISTED:
        lines.append(f"  and {len(missing) - _MAX_LISTED} more")
    raise BadSource(
        "\n".join(["files that an NWB file refers to are not there:", *lines]), file=missing[0].source,
        remedy="put them where the NWB file says, or convert again from where they are now",
    )  # fmt: skip


def _refuse_shared_labels(files: Sequence[Facts], dandiset: Path) -> None:
    """Keep two animals out of one folder, and two sessions from one name: also against what is there already."""
    subjects: dict[str, tuple[str, Path]] = {}
    sessions: dict[tuple[str, str], tuple[str, Path]] = {}
    wanted = {sanitize_label(f.subject_id or "").casefold() for f in files}
    for facts in (*files, *_present(dandiset, wanted)):
        subject = facts.subject_id or ""
        label = sanitize_label(subject)
        _claim(subjects, label.casefold(), subject, facts.path, "subjects", f"sub-{label}")
        session = session_label(facts.session_id, facts.session_start_time)
        if session is not None:
            stated = facts.session_id or session
            key = (label.casefold(), session.casefold())
            _claim(sessions, key, stated, facts.path, f"sessions of subject {subject!r}", f"ses-{session}")


def _claim(seen: dict[K, tuple[str, Path]], key: K, stated: str, path: Path, what: str, name: str) -> None:
    other, where = seen.setdefault(key, (stated, path))
    if other != stated:
        raise BadRequest(
            f"two {what} would both be {name}: {other!r} ({where}) and {stated!r}", file=path,
            remedy="names keep letters, digits and '+' only, and no file system is trusted with their case; "
            "change one of the ids",
        )  # fmt: skip


def _present(dandiset: Path, labels: set[str]) -> Iterator[Facts]:
    """Read the ids of the NWB files that the touched subjects have in the dandiset already."""
    if not dandiset.is_dir():
        return
    for folder in sorted(dandiset.glob("sub-*")):
        if not folder.is_dir() or folder.name.removeprefix("sub-").casefold() not in labels:
            continue
        for path in sorted(folder.iterdir()):
            kind = kind_of(path)
            if kind in ("nwb", "nwb-zarr"):
                with suppress(BadSource):  # damaged: `validate` tells, and it may be about to be replaced
                    facts = read_facts(path, kind)
                    if facts.subject_id:
                        yield facts


def _refuse_shared_names(placed: Sequence[Placement]) -> None:
    seen: dict[str, Placement] = {}
    for placement in placed:
        other = seen.setdefault(str(placement.target).casefold(), placement)
        if other is not placement:
            raise BadRequest(
                f"two files would both be {placement.target}: {other.source} and {placement.source}",
                remedy="they state the same subject and session; give them different session ids, or leave one out",
            )
