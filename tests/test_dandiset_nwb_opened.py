"""One reading of an NWB file finds what the dandi client finds with its own three."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from pynwb import NWBFile

from dandify.dandiset import checks, checks_nwb, nwb_opened
from dandify.dandiset.nwb_opened import alone, opened
from dandify.dandiset.organize import organize
from dandify.dandiset.validate import validate
from dandify.findings import Finding
from dandiset_cases import (
    add_ecephys,
    add_icephys,
    add_ophys,
    add_position,
    add_units,
    movie,
    session,
    write,
)
from shared_data import shared

NAME = "sub-m1/sub-m1_ses-s1.nwb"
Edit = Callable[[h5py.File], Any]


def _movie(nwb: NWBFile) -> NWBFile:
    nwb.add_acquisition(movie("clip", ["gone.mp4"]))
    return nwb


MADE: dict[str, Callable[[], NWBFile]] = {
    "ecephys": lambda: add_ecephys(session("m1", "s1")),
    "icephys": lambda: add_icephys(session("m1", "s1")),
    "ophys": lambda: add_ophys(session("m1", "s1")),
    "units and position": lambda: add_units(add_position(session("m1", "s1"))),
    "missing video": lambda: _movie(session("m1", "s1")),
    "no subject": lambda: add_units(session(None)),
    "a bad subject": lambda: add_units(session("m/1", "s/1", species="mouse", sex="female", age="60 days")),
    "protein": lambda: add_units(session("protein1", species="none")),
}


def _move_spikes(file: h5py.File) -> None:
    file["units/spike_times"][3] = -1.0


def _wrong_type(file: h5py.File) -> None:
    del file["acquisition/ElectricalSeries/starting_time"]
    file["acquisition/ElectricalSeries/starting_time"] = "soon"


def _longer_timestamps(file: h5py.File) -> None:
    del file["acquisition/ElectricalSeries/starting_time"]
    made = file["acquisition/ElectricalSeries"].create_dataset("timestamps", data=np.arange(7.0))
    made.attrs.update({"interval": np.int32(1), "unit": "seconds"})


def _without_specifications(file: h5py.File) -> None:
    del file.attrs[".specloc"]
    del file["specifications"]


def _version(value: Any) -> Edit:
    return lambda file: file.attrs.__setitem__("nwb_version", value)


def _delete(name: str) -> Edit:
    return lambda file: file.__delitem__(name)


def _external(file: h5py.File) -> None:
    file["scratch/away"] = h5py.ExternalLink("other.h5", "/x")


def _broken_link(file: h5py.File) -> None:
    file["acquisition/nothing"] = h5py.SoftLink("/acquisition/gone")


def _unknown_type(file: h5py.File) -> None:
    file["acquisition/ElectricalSeries"].attrs["neurodata_type"] = "Nonesuch"


def _not_json(file: h5py.File) -> None:
    core = file["specifications/core"]
    place = core[next(iter(core))]
    del place["namespace"]
    place["namespace"] = "{"


# What is done to a file, and whether one reading is enough for it.
EDITS: list[tuple[str, Edit, bool]] = [
    ("no description", _delete("session_description"), False),
    ("no keywords", _delete("general/keywords"), True),
    ("no electrodes' locations", _delete("general/extracellular_ephys/electrodes/location"), False),
    ("text for a number", _wrong_type, False),
    ("more samples than times", _longer_timestamps, True),
    ("a negative spike", _move_spikes, True),
    ("no specifications", _without_specifications, False),
    ("unreadable specifications", _not_json, False),
    ("NWB-2.0.2", _version("NWB-2.0.2"), False),
    ("version 2", _version(2), False),
    ("version 1.0.6", _version("1.0.6"), False),
    ("version 2.1", _version("2.1"), False),
    ("external link", _external, True),
    ("broken link", _broken_link, True),
    ("unknown type", _unknown_type, True),
]


def _compare(path: Path, base: Path) -> bool:
    """Compare findings and metadata; whether one reading was enough."""
    from dandi.metadata.nwb import get_metadata

    with checks.quiet_dandi():
        theirs = list(checks.dandi(path, base))
        with opened(path) as file:
            if file is None:
                return False
            assert list(checks_nwb._said(file, path, base)) == theirs
            assert str(_record(file.metadata)) == str(_record(lambda: get_metadata(alone(path))))
    return True


def _record(extract: Callable[[], Any]) -> Any:
    try:
        return extract()
    except Exception as error:
        return repr(error)[:100]  # what follows is an address


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_files_as_pynwb_writes_them(make: Callable[[], NWBFile], tmp_path: Path) -> None:
    assert _compare(write(make(), tmp_path / NAME), tmp_path)


@pytest.mark.parametrize(("edit", "once"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
def test_files_with_defects(edit: Edit, once: bool, tmp_path: Path) -> None:
    path = write(add_units(add_ecephys(session("m1", "s1"))), tmp_path / NAME)
    with h5py.File(path, "r+") as file:
        edit(file)
    assert _compare(path, tmp_path) == once
    # Where one reading is not enough, the client's own way is taken, so nothing is missing.
    found = {(f.id, f.message[:40]) for f in checks_nwb.nwb(path, tmp_path, "nwb")}  # what follows are addresses
    assert found >= {(f.id, f.message[:40]) for f in checks.dandi(path, tmp_path)}


def _bids(root: Path) -> dict[str, Path]:
    """Make a BIDS dataset of NWB files: one for each of some defects, one of junk, a link to nothing."""
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    (root / "dandiset.yaml").write_text("name: x\n", encoding="utf-8")
    (root / ".bidsignore").write_text("dandiset.yaml\n**/ecephys/\n", encoding="utf-8")
    (root / "odd.txt").write_text("odd", encoding="utf-8")
    made = {}
    edits = {name: edit for name, edit, _ in EDITS}
    for number, name in enumerate(("no description", "a negative spike", "no specifications", "broken link")):
        path = root / f"sub-m1/ses-{number}/ecephys/sub-m1_ses-{number}_ecephys.nwb"
        made[name] = write(add_units(add_ecephys(session("m1", str(number)))), path)
        with h5py.File(path, "r+") as file:
            edits[name](file)
    made["junk"] = root / "sub-m1/ses-8/ecephys/sub-m1_ses-8_ecephys.nwb"
    made["not there"] = root / "sub-m1/ses-9/ecephys/sub-m1_ses-9_ecephys.nwb"
    for name in ("junk", "not there"):
        made[name].parent.mkdir(parents=True)
    made["junk"].write_bytes(b"junk")
    made["not there"].symlink_to("nowhere/annexed")
    return made


def _listed(findings: Iterable[Finding]) -> set[tuple[str, str, str, str]]:
    # dandi words its own differently where a link is broken; in others an address may follow.
    return {
        (f.id, f.severity, str(f.path), "" if f.id == "DANDI.FILE_CONTENT_MISSING" else f.message[:40])
        for f in findings
    }  # fmt: skip


def test_nwb_in_a_bids_dataset_is_found_the_same(tmp_path: Path) -> None:
    from dandi.files import find_dandi_files
    from dandi.validate._core import validate as client_validate

    made = _bids(tmp_path / "bids")
    with checks.quiet_dandi():
        theirs = _listed(f for r in client_validate(tmp_path / "bids") for f in checks.translate(r, tmp_path / "bids"))
        assets = {a.filepath: a for a in find_dandi_files(tmp_path / "bids", dandiset_path=tmp_path / "bids")}
        for name in ("no description", "a negative spike"):
            asset = assets[made[name]]
            assert _listed(checks_nwb.client_findings(asset)) == _listed(checks.of_asset(asset)), name
    report = validate(tmp_path / "bids")
    assert {str(path) for path in made.values()} <= {path for _, _, path, _ in theirs}
    assert "BIDS.NOT_INCLUDED" in {code for code, *_ in theirs}
    ours = _listed(report.findings)
    assert theirs <= ours
    assert {code for code, *_ in ours - theirs if not code.startswith("dandify.")} == set()
    bad = {path for _, severity, path, _ in ours if severity == "ERROR"}
    verdicts = {str(tmp_path / "bids" / v.path): v.ok for v in report.files}
    assert {path for path, ok in verdicts.items() if not ok} == bad & verdicts.keys()
    assert sum(not verdicts[str(path)] for path in made.values()) == 5


def test_a_bids_dataset_has_its_nwb_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(MADE["ecephys"](), tmp_path / "x.nwb")
    organize(source, tmp_path / "out", layout="bids", metadata={"name": "x"})
    read: list[object] = []

    def by_the_client(*given: object, **named: object) -> list[object]:
        read.append((given, named))
        return []

    monkeypatch.setattr("dandi.pynwb_utils.validate", by_the_client)
    monkeypatch.setattr("nwbinspector.inspect_nwbfile", by_the_client)
    assert validate(tmp_path / "out").errors == ()
    assert read == []


def test_junk_is_left_to_the_client(tmp_path: Path) -> None:
    path = tmp_path / "x.nwb"
    for content in (b"", b"junk", write(MADE["ecephys"](), tmp_path / "y.nwb").read_bytes()[:4000]):
        path.write_bytes(content)
        assert not _compare(path, tmp_path)
    assert not _compare(tmp_path / "gone.nwb", tmp_path)


def test_files_of_earlier_years_and_with_extensions() -> None:
    paths = sorted(shared("nwb/pynwb_back_compat").glob("*.nwb"))
    assert paths
    for path in paths:
        assert _compare(path, path.parent) == (not path.name.startswith("1.0.2")), path.name


def test_specifications_are_told_apart_by_what_they_say(tmp_path: Path) -> None:
    plain, changed = (write(MADE["ecephys"](), tmp_path / name / NAME) for name in ("a", "b"))
    with h5py.File(changed, "r+") as file:
        core = file["specifications/core"]
        place = core[next(iter(core))]
        text = json.loads(place["nwb.file"][()])
        (group,) = (g for g in text["groups"] if g.get("neurodata_type_def") == "NWBFile")
        group["datasets"].append({"name": "moon_phase", "dtype": "text", "doc": "Of the session."})
        del place["nwb.file"]
        place["nwb.file"] = json.dumps(text)
    errors = []
    for path in (plain, changed, plain):
        with checks.quiet_dandi(), opened(path) as file:
            assert file is not None
            errors.append([error.name for error in file.errors])
    assert errors == [[], ["root/moon_phase"], []]


def test_specifications_are_parsed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[Path] = []
    prepare = nwb_opened._prepare

    def counted(path: Path) -> Any:
        parsed.append(path)
        return prepare(path)

    monkeypatch.setattr(nwb_opened, "_prepared", OrderedDict())
    monkeypatch.setattr(nwb_opened, "_prepare", counted)
    paths = [write(make(), tmp_path / f"{i}.nwb") for i, make in enumerate(list(MADE.values())[:3])]
    for path in paths:
        assert _compare(path, tmp_path)
    assert parsed == paths[:1]


def test_the_client_opens_files_itself_again_afterwards(tmp_path: Path) -> None:
    from dandi import pynwb_utils
    from pynwb import NWBHDF5IO

    first, other = (write(session(who, "s1"), tmp_path / f"{who}.nwb") for who in ("m1", "m2"))
    with checks.quiet_dandi(), opened(first) as file:
        assert file is not None
        assert file.metadata()["subject_id"] == "m1"
        assert pynwb_utils.NWBHDF5IO is NWBHDF5IO
        assert pynwb_utils._get_pynwb_metadata(other)["subject_id"] == "m2"
