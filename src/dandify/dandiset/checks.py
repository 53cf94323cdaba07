"""The single checks of `dandify.dandiset.validate`: each takes a path and yields findings."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from dandify.dandiset.describe import YAML, problems_in, read_description
from dandify.dandiset.names import ASSET_PATH, MAX_PATH
from dandify.environment import environment, for_dandi
from dandify.errors import BadSource
from dandify.findings import Finding, Severity
from dandify.tree_state import missing_target

_ZARR_OBJECT_BYTES: Final = 5 * 2**30  # dandi sends each file of a Zarr in one part

_CHARACTER = re.compile(r"[A-z0-9(),&\s#+~_=./-]")

_SAID: Final = "can be given to dandify organize in columns of --table, or to dandify convert"
SCHEMA_REMEDY: Final = "it breaks its NWB schema there: write it again, or mend it, with the tool that made it"
REMEDIES: Final = {
    "DANDI.NO_DANDISET_FOUND": "dandify organize writes dandiset.yaml; or check the folder of the dandiset",
    "DANDI.NON_DANDI_FILENAME": "dandify organize gives it a name that DANDI takes",
    "DANDI.NON_DANDI_FOLDERNAME": "dandify organize puts it into the folder of its subject",
    "DANDI.METADATA_MISMATCH_SUBJECT": "dandify organize puts it into the folder of its subject",
    "DANDI.FILE_CONTENT_MISSING": "get the content of the link (datalad get), or remove it",
    "NWBI.check_subject_exists": f"subject_id, species, sex and age {_SAID}",
    "NWBI.check_subject_id_exists": f"subject_id {_SAID}",
    "NWBI.check_subject_species_exists": f"species, a Latin name such as 'Mus musculus', {_SAID}",
    "NWBI.check_subject_sex": f"sex, M, F, U (unknown) or O (other), {_SAID}",
    "NWBI.check_subject_age": f"age, such as P60D, {_SAID}",
    "NWBI.check_image_series_external_file_relative": "dandify organize copies the video and names it relatively",
    "NWBI.check_image_series_external_file_valid": "dandify organize brings the video along",
    "NWBI.unreadable": "convert or download it again",
    "BIDS.EMPTY_FILE": "get its content, or remove it; an OME-Zarr of which no chunk is stored counts as empty",
    "dandi_zarr.tree_depth_exceeded": "write chunk keys with '.' instead of '/', or fewer groups in each other",
}


def dandi(path: Path, base: Path | None) -> Iterator[Finding]:
    """Yield what the dandi client finds in one asset: pynwb, nwbinspector, Zarr structure, names in the dandiset.

    Without a ``base``, the folder of the dandiset, names are not looked at.
    """
    with quiet_dandi():
        from dandi.exceptions import UnknownAssetError
        from dandi.files import dandi_file

        try:
            asset = dandi_file(path, base)
        except UnknownAssetError as error:  # an empty folder called .zarr
            yield Finding(
                "dandify.not_an_asset", "dandify", "file", "ERROR", f"the archive does not take it: {error}", path,
                remedy="remove it",
            )  # fmt: skip
            return
        found = list(of_asset(asset))
    yield from found


def of_asset(asset: Any) -> Iterator[Finding]:
    """Yield what the dandi client finds in one of its assets (`dandi.files.LocalAsset`)."""
    for result in asset.get_validation_errors():
        yield from translate(result, asset.filepath)


def dandi_bids(folder: Path, base: Path) -> Iterator[Finding]:
    """Yield what the dandi client finds in a BIDS dataset, but inside of NWB files.

    Those are `dandify.dandiset.checks_nwb`'s; what the BIDS validator says of their names is here.

    Parameters
    ----------
    folder, base
        Of the dataset, and of the dandiset.
    """
    with quiet_dandi():
        from dandi.files import NWBBIDSAsset, find_dandi_files

        found: list[Finding] = []
        try:
            for asset in find_dandi_files(folder, dandiset_path=base):
                if not isinstance(asset, NWBBIDSAsset) and missing_target(asset.filepath) is None:
                    found += (f for result in asset.get_validation_errors() for f in translate(result, folder))
        except (OSError, RuntimeError, ValueError) as error:  # it runs a program of its own, and reads its JSON
            yield Finding(
                "dandify.bids_validator", "dandi", "folder", "ERROR",
                f"the BIDS validator did not run: {error}", folder,
                remedy="pip install bids-validator-deno",
            )  # fmt: skip
            return
    yield from dict.fromkeys(found)  # what is said of a file is said with the dataset too


def content(path: Path) -> Iterator[Finding]:
    """Say that a file is a link to nothing; of such, nothing else can be said."""
    if target := missing_target(path):
        yield Finding(
            "DANDI.FILE_CONTENT_MISSING", "dandi", "file", "ERROR",
            f"its content is not there: it is a link to {target}", path,
            remedy=REMEDIES["DANDI.FILE_CONTENT_MISSING"],
        )  # fmt: skip


def translate(result: Any, path: Path) -> Iterator[Finding]:
    """Yield a `dandi.validate.types.ValidationResult` as a finding; what is no complaint is left out."""
    if result.severity is None or result.severity.name == "INFO":
        return
    code = str(result.id)
    named = hasattr(result.origin_result, "name") and not isinstance(result.origin_result, Exception)
    if code.startswith("pynwb.") and named:
        code = f"pynwb.{result.origin_result.name}"  # dandi puts the whole message into the id
    yield finding(
        code, result.origin.validator.value, result.scope.value, result.severity.name, result.message or str(result.id),
        result.path or path, inside=(result.within_asset_paths or {}).values(),
    )  # fmt: skip


def finding(
    code: str, origin: str, scope: str, severity: str, message: str, path: Path, *, inside: Iterable[str | None]
) -> Finding:
    """Return what one of the client's validators said as a finding, with the places in the file that it is about."""
    severities: dict[str, Severity] = {"HINT": "HINT", "WARNING": "WARNING"}
    places = sorted({place for place in inside if place not in (None, "", "/")})
    code, message = inspector_failure(code, message)
    if code.startswith("BIDS."):
        message = _bids_line(message)
    where = f" [{'; '.join(places)}]" if places else ""
    if code.startswith("pynwb.") and "Could not find an IO" in message:  # it is not HDF5 at all
        remedy: str | None = REMEDIES["NWBI.unreadable"]
    else:
        remedy = REMEDIES.get(code) or (SCHEMA_REMEDY if code.startswith("pynwb.") else None)
    return Finding(
        code, origin, scope, severities.get(severity, "ERROR"), f"{message}{where}", path,
        remedy=remedy,
    )  # fmt: skip


def _bids_line(message: str) -> str:
    """Return what a BIDS validator says in one line: the key it is about, and what for, without the field's manual."""
    said, _, manual = message.partition("issueMessage:")
    said, _, key = said.partition("subCode:")
    where = f"{key.strip()}: " if key.strip() else ""
    first = next((line.strip() for line in manual.strip().splitlines()), "").removeprefix("Field description: ")
    return where + " ".join([*said.split(), *([f"({first.rstrip('.')})"] if first else [])])


def inspector_failure(code: str, message: str) -> tuple[str, str]:
    """Shorten what nwbinspector says where reading or a check of its own fails: a traceback, with a sentence as id."""
    if code.startswith("NWBI.During io.read()"):
        return "NWBI.unreadable", f"pynwb cannot read it: {without_builder(message.strip().splitlines()[-1])}"
    found = re.match(r"NWBI\.During evaluation of '(\w+)' - (.*)", code, re.DOTALL)
    if found is None:
        return code, message
    lines = (found[2] if "Traceback" in found[2] else message).strip().splitlines()
    return f"NWBI.{found[1]}", f"nwbinspector's own check failed: {lines[-1]}"


def without_builder(message: str) -> str:
    """Return what hdmf says where it cannot make an object, without the whole content of the group, and its place."""
    found = re.search(r"\((?P<place>\S+) (?:Group|Dataset)Builder \{.*\}, ([\"'])(?P<said>.*)\2\)", message, re.DOTALL)
    return f"{found['said']} [{found['place']}]" if found else message


def path_rules(path: Path, base: Path) -> Iterator[Finding]:
    """Yield what the server refuses of a path."""
    name = path.relative_to(base).as_posix()
    if len(name) > MAX_PATH:
        yield Finding(
            "dandify.path_length", "dandify", "file", "ERROR",
            f"a path of {len(name)} characters; the archive takes {MAX_PATH}", path, remedy="use shorter ids",
        )  # fmt: skip
    if not ASSET_PATH.fullmatch(name):
        wrong = sorted({c for c in name if not _CHARACTER.fullmatch(c)})
        what = f"the characters {' '.join(wrong)}" if wrong else "two dots in a row, or one at an end"
        yield Finding(
            "dandify.path_characters", "dandify", "file", "ERROR", f"the archive refuses paths with {what}", path,
            remedy="rename it, or organize it again",
        )  # fmt: skip


def sizes(path: Path) -> Iterator[Finding]:
    """Yield what the server refuses because of its size."""
    if path.is_file():
        if path.stat().st_size == 0:
            yield Finding(
                "dandify.empty_file", "dandify", "file", "ERROR", "is empty, and the archive refuses empty files", path,
                remedy="remove it, or write it again",
            )  # fmt: skip
        return
    for file in path.rglob("*"):
        if file.is_file() and file.stat().st_size > _ZARR_OBJECT_BYTES:
            yield Finding(
                "dandify.zarr_object_size", "dandify", "file", "ERROR",
                f"{file.relative_to(path).as_posix()} is larger than 5 GiB, which a file of a Zarr may not be", path,
                remedy="convert again with smaller shards",
            )  # fmt: skip


def ome_zarr(path: Path, *, data: Literal["full", "sample", "none"] = "full") -> Iterator[Finding]:
    """Check an OME-Zarr: metadata, scales, chunks, values, what does not belong there."""
    from dandify.ngff.check import check_ome_zarr

    for problem in check_ome_zarr(path, data=data):
        inside = problem.path.relative_to(path).as_posix() if path in problem.path.parents else ""
        yield Finding(
            problem.id, "dandify", "file", problem.severity,
            f"{problem.message} [{inside}]" if inside else problem.message, path, remedy=problem.remedy,
        )  # fmt: skip
    if "".join(path.suffixes) != ".ome.zarr":
        yield Finding(
            "dandify.image_name", "dandify", "file", "WARNING",
            "the archive recognizes an OME-Zarr only by a name with no dots but those of .ome.zarr", path,
            remedy="rename it, or organize it again",
        )  # fmt: skip


def alone(path: Path) -> Iterator[Finding]:
    """Yield what is to be said of an image that lies in no dandiset."""
    yield Finding(
        "dandify.not_in_dandiset", "dandify", "file", "HINT", "lies in no dandiset, and is checked for itself", path,
        remedy="dandify organize puts it into one",
    )  # fmt: skip


def dandiset(base: Path, *, assets: int, zarrs: int, doi: bool = False) -> Iterator[Finding]:
    """Yield what is to be said of the dandiset as a whole; with ``doi``, what keeps it from one is an error."""
    file = base / YAML
    if not assets:
        yield Finding("dandify.no_assets", "dandify", "dandiset", "ERROR", "nothing in it can be uploaded", base)
    try:
        document = read_description(base)
    except BadSource as error:
        said = f"{error.place}: {error.cause}" if error.place else error.cause
        yield Finding("dandify.dandiset_yaml", "dandify", "dandiset", "ERROR", said, file, remedy=error.remedy)
        return
    if document is None:
        yield Finding(
            "DANDI.NO_DANDISET_FOUND", "dandi", "dandiset", "ERROR", "there is no dandiset.yaml", base,
            remedy=REMEDIES["DANDI.NO_DANDISET_FOUND"],
        )  # fmt: skip
        return
    if not document.get("identifier") and not document.get("name"):
        yield Finding(
            "dandify.no_name", "dandify", "dandiset", "WARNING", "it has no name, and an archive creates none without",
            file, remedy="dandify describe DANDISET --name TITLE", key="name",
        )  # fmt: skip
    problems = list(problems_in(document))
    for problem in problems:
        if problem.blocks == "draft":
            yield Finding(
                "dandify.dandiset_metadata", "dandischema", "dandiset", "ERROR" if doi else "WARNING",
                f"{problem.place}: {problem.message}", file,
                remedy="mend it in dandiset.yaml; the archive takes uploads, but gives no DOI", key=problem.place,
            )  # fmt: skip
    lacking = [problem.place for problem in problems if problem.blocks == "publication"]
    if lacking:
        yield Finding(
            "dandify.unpublishable", "dandischema", "dandiset", "ERROR" if doi else "HINT",
            f"for a DOI it needs {', '.join(lacking)}", file, remedy="write them into dandiset.yaml",
        )  # fmt: skip
    if zarrs:
        yield Finding(
            "dandify.zarr_without_doi", "dandify", "dandiset", "ERROR" if doi else "HINT",
            f"the archive gives no DOI to a dandiset with Zarr, and this one has {zarrs}", base,
            remedy="where a DOI is needed, put images into a dandiset of their own",
        )  # fmt: skip


@contextmanager
def quiet_dandi() -> Iterator[None]:
    """Keep the dandi client off the network and from talking on the terminal while the block runs."""
    cache = os.environ.get("DANDI_CACHE", "ignore")  # of its own accord, it keeps pickles of results in the home folder
    loggers = [logging.getLogger(name) for name in ("dandi", "pynwb", "hdmf", "hdmf_zarr", "bidsschematools")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with environment(for_dandi() | {"DANDI_CACHE": cache}), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what matters of it comes back as a result of the validators
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
