"""The unmodified dandi client against the embedded archive: upload, list, download, move, delete."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from archive_api import Api, dandi_cli
from dandify.archive.client import quiet_dandi
from dandify.archive.download import compare_trees, download
from dandify.archive.local import read_record
from dandify.archive.send import UploadProgress
from dandify.archive.serve import RunningArchive, running_archive
from dandify.archive.upload import UploadReport, upload
from dandify.dandiset.describe import write_identifier
from dandify.errors import BadRequest, BadSource, DandifyError

NWB = "sub-m1/sub-m1_ses-a_ecephys.nwb"
VIDEO = "sub-m1/sub-m1_ses-a_ecephys/cam_external_file_0.mp4"
ZARR2 = "sub-m1/sub-m1_ses-a_v04.ome.zarr"
ZARR3 = "sub-m1/sub-m1_ses-a_v05.ome.zarr"
YAML = "# by hand\nname: A trial  # of the embedded archive\ndescription: What it is\nstarted: 2024-01-02\n"


def write_nwb(path: Path, *, subject: bool = True) -> None:
    from pynwb import NWBHDF5IO, NWBFile, TimeSeries
    from pynwb.file import Subject

    nwb = NWBFile(
        session_description="a trial",
        identifier=path.name,
        session_start_time=datetime(2024, 1, 2, 12, tzinfo=UTC),
        session_id="a",
    )
    if subject:
        nwb.subject = Subject(subject_id="m1", species="Mus musculus", sex="F", age="P60D")
    data = np.arange(500, dtype="int16")
    nwb.add_acquisition(TimeSeries(name="v", data=data, unit="volts", rate=1000.0, description="a ramp"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwb)


def write_ome_zarr(path: Path, *, zarr_format: int) -> None:
    """Write an OME-Zarr of one level, 8 x 8 pixels in four chunks."""
    import json

    import tensorstore

    two = zarr_format == 2
    chunks: dict[str, Any] = (
        {"chunks": [4, 4], "dtype": "<u2", "dimension_separator": "/"}
        if two
        else {
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4]}},
            "data_type": "uint16",
            "dimension_names": ["y", "x"],
        }
    )
    spec = {
        "driver": "zarr" if two else "zarr3",
        "kvstore": {"driver": "file", "path": str(path / "0")},
        "metadata": {"shape": [8, 8], **chunks},
        "create": True,
    }
    array = tensorstore.open(spec).result()
    array.write(np.arange(64, dtype="u2").reshape(8, 8)).result()
    scales = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [0.5, 0.5]}]}]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    multiscales = [{"axes": axes, "datasets": scales, "name": "x", **({"version": "0.4"} if two else {})}]
    if two:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
    else:
        ome = {"version": "0.5", "multiscales": multiscales}
        group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
        (path / "zarr.json").write_text(json.dumps(group))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a dandiset with everything that a first conversion makes."""
    root = tmp_path_factory.mktemp("made") / "dandiset"
    write_nwb(root / NWB)
    (root / VIDEO).parent.mkdir(parents=True)
    (root / VIDEO).write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 300)
    write_ome_zarr(root / ZARR2, zarr_format=2)
    write_ome_zarr(root / ZARR3, zarr_format=3)
    (root / f"{NWB}.manifest.json").write_text("{}")
    (root / "participants.tsv").write_text("participant_id\nsub-m1\n")
    (root / "sub-m1" / "x.ome.zarr.partial" / "0").mkdir(parents=True)
    (root / "sub-m1" / "x.ome.zarr.partial" / "0" / "chunk").write_text("half")
    (root / "dandiset.yaml").write_text(YAML)
    return root


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@dataclass(frozen=True)
class Uploaded:
    root: Path
    archive: RunningArchive
    report: UploadReport
    steps: list[UploadProgress]


@pytest.fixture(scope="module")
def uploaded(made: Path, archive: RunningArchive, tmp_path_factory: pytest.TempPathFactory) -> Uploaded:
    root = tmp_path_factory.mktemp("uploaded") / "dandiset"
    shutil.copytree(made, root)
    steps: list[UploadProgress] = []
    report = upload(root, to=archive.url, token=archive.token, create=True, progress=steps.append)
    return Uploaded(root, archive, report, steps)


@pytest.fixture
def own_key(archive: RunningArchive, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the dandi client itself the key, as its own documentation says; return the name of the variable."""
    name = f"{archive.url.removeprefix('http://')}_API_KEY"
    monkeypatch.setenv(name, archive.token)
    monkeypatch.setenv("DANDI_NO_ET", "1")
    return name


def small(root: Path, identifier: str | None = None) -> Path:
    """Make a dandiset of one video."""
    root.mkdir(parents=True)
    (root / "clip.mp4").write_bytes(os.urandom(1000))
    line = f'identifier: "{identifier}"\n' if identifier else ""
    (root / "dandiset.yaml").write_text(f"name: Small\n{line}")
    return root


def remote(archive: RunningArchive, identifier: str) -> Any:
    from dandi.dandiapi import DandiAPIClient

    client = DandiAPIClient(f"{archive.url}/api", token=archive.token)
    return client.get_dandiset(identifier, "draft", lazy=False)


# --- upload --------------------------------------------------------------------------------------------------------


def test_every_file_has_a_result(uploaded: Uploaded) -> None:
    results = {asset.path: asset.status for asset in uploaded.report.assets}
    assert results == {
        NWB: "uploaded",
        VIDEO: "uploaded",
        ZARR2: "uploaded",
        ZARR3: "uploaded",
        f"{NWB}.manifest.json": "skipped",
        "participants.tsv": "skipped",
        "sub-m1/x.ome.zarr.partial": "skipped",
    }
    assert all(asset.message for asset in uploaded.report.assets if asset.status == "skipped")
    sent = sum(asset.bytes for asset in uploaded.report.assets if asset.status == "uploaded")
    assert uploaded.report.bytes_sent == sent > 0
    assert not uploaded.report.failed
    assert {step.path for step in uploaded.steps if step.step == "uploaded"} == {NWB, VIDEO, ZARR2, ZARR3}


def test_the_dandiset_is_created_and_its_identifier_noted(uploaded: Uploaded) -> None:
    assert uploaded.report.created
    identifier = uploaded.report.dandiset_id
    assert (uploaded.root / "dandiset.yaml").read_text() == YAML.replace(
        "name: A", f"identifier: '{identifier}'\nname: A"
    )
    found = remote(uploaded.archive, identifier).get_raw_metadata()
    assert (found["name"], found["description"], found["started"]) == ("A trial", "What it is", "2024-01-02")
    assert found["identifier"] == f"DANDI:{identifier}"
    assert found["assetsSummary"]["numberOfFiles"] == 4


def test_the_archive_has_the_metadata_and_digests(uploaded: Uploaded) -> None:
    from dandi.files import dandi_file
    from dandischema.models import Asset

    draft = remote(uploaded.archive, uploaded.report.dandiset_id)
    assets = {asset.path: asset for asset in draft.get_assets()}
    assert sorted(assets) == sorted([NWB, VIDEO, ZARR2, ZARR3])
    for path, asset in assets.items():
        local = dandi_file(uploaded.root / path, uploaded.root)
        assert asset.get_digest() == local.get_digest()
        Asset.model_validate(asset.get_raw_metadata())
    assert assets[NWB].get_raw_metadata()["wasAttributedTo"][0]["species"]["name"] == "Mus musculus - House mouse"


def test_uploaded_again_nothing_is_sent(uploaded: Uploaded) -> None:
    before = {a.path: a.identifier for a in remote(uploaded.archive, uploaded.report.dandiset_id).get_assets()}
    again = upload(uploaded.root, to=uploaded.archive.url, token=uploaded.archive.token)
    assert {asset.status for asset in again.assets} == {"skipped"}
    assert (again.bytes_sent, again.created) == (0, False)
    after = {a.path: a.identifier for a in remote(uploaded.archive, uploaded.report.dandiset_id).get_assets()}
    assert after == before


def test_what_changed_is_sent_again(archive: RunningArchive, tmp_path: Path) -> None:
    root = small(tmp_path / "d")
    write_ome_zarr(root / "x.ome.zarr", zarr_format=2)
    first = upload(root, to=archive.url, token=archive.token, create=True)
    chunk = root / "x.ome.zarr" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[::-1])
    (root / "x.ome.zarr" / "0" / "1" / "1").unlink()
    (root / "clip.mp4").write_bytes(b"other")
    second = upload(root, to=archive.url, token=archive.token)
    assert {asset.status for asset in second.assets} == {"uploaded"}
    assert second.bytes_sent == 5 + chunk.stat().st_size
    fetched = download(archive.url, first.dandiset_id, tmp_path / "back")
    assert compare_trees(root, fetched).equal


def test_the_same_bytes_under_two_names_are_sent_once(archive: RunningArchive, tmp_path: Path) -> None:
    root = small(tmp_path / "d")
    upload(root, to=archive.url, token=archive.token, create=True)
    shutil.copy(root / "clip.mp4", root / "again.mp4")
    report = upload(root, to=archive.url, token=archive.token)
    assert {asset.path: asset.status for asset in report.assets} == {"clip.mp4": "skipped", "again.mp4": "uploaded"}
    assert report.bytes_sent == 0


def test_equal_files_that_come_at_a_time_all_arrive(archive: RunningArchive, tmp_path: Path) -> None:
    """As sidecars do: the archive refuses the second of two equal uploads."""
    root = small(tmp_path / "d")
    content = b"a film of its own" * 5000
    for number in range(8):
        (root / f"clip{number}.mp4").write_bytes(content)
    report = upload(root, to=archive.url, token=archive.token, create=True, validate=False)
    assert {asset.status for asset in report.assets} == {"uploaded"}
    assert report.bytes_sent == len(content) + (root / "clip.mp4").stat().st_size


def test_equal_bytes_that_somebody_else_sends_meanwhile(archive: RunningArchive, tmp_path: Path) -> None:
    root, api = tmp_path / "d", Api(archive.url, archive.token)
    root.mkdir()
    (root / "dandiset.yaml").write_text("name: x\n")
    (root / "clip.mp4").write_bytes(content := b"a film that two have" * 4000)
    other = api.dandiset()
    theirs: list[str] = []

    def send_too(step: UploadProgress) -> None:
        if step.step == "uploading" and not theirs:
            theirs.append(api.blob(other, content))

    report = upload(root, to=archive.url, token=archive.token, create=True, progress=send_too)
    assert [(asset.status, asset.message) for asset in report.assets] == [("uploaded", "")]
    found = api.ok("GET", f"/dandisets/{report.dandiset_id}/versions/draft/assets/")["results"]
    assert [asset["blob"] for asset in found] == theirs


def test_one_bad_file_does_not_stop_the_others(archive: RunningArchive, tmp_path: Path) -> None:
    root = small(tmp_path / "d")
    write_nwb(root / "sub-m1" / "sub-m1.nwb", subject=False)
    (root / "empty.mp4").touch()
    (root / "a@b.mp4").write_bytes(b"the archive takes no @")
    (root / "broken.nwb").write_bytes(b"not HDF5")
    report = upload(root, to=archive.url, token=archive.token, create=True)
    messages = {asset.path: asset.message for asset in report.failed}
    assert sorted(messages) == ["a@b.mp4", "broken.nwb", "empty.mp4", "sub-m1/sub-m1.nwb"]
    assert "subject" in messages["sub-m1/sub-m1.nwb"].lower()
    assert "not allowed" in messages["a@b.mp4"]
    assert "empty" in messages["empty.mp4"]
    assert [asset.path for asset in report.assets if asset.status == "uploaded"] == ["clip.mp4"]


def test_a_zarr_whose_upload_was_stopped_at_its_end_is_completed(archive: RunningArchive, tmp_path: Path) -> None:
    """All files are there, and nobody has asked for the checksum: the client itself leaves it so."""
    root = small(tmp_path / "d")
    here = upload(root, to=archive.url, token=archive.token, create=True).dandiset_id
    write_ome_zarr(root / "x.ome.zarr", zarr_format=2)
    api = Api(archive.url, archive.token)
    zarr_id = api.zarr(here, "x.ome.zarr")
    api.put_asset(here, "x.ome.zarr", zarr_id=zarr_id)
    for file in (root / "x.ome.zarr").rglob("*"):
        if file.is_file():
            api.zarr_file(zarr_id, file.relative_to(root / "x.ome.zarr").as_posix(), file.read_bytes())
    report = upload(root, to=archive.url, token=archive.token)
    assert (report.failed, report.bytes_sent) == ((), 0)
    assert api.ok("GET", f"/zarr/{zarr_id}/")["status"] == "Complete"
    assert report.verdict is not None
    assert report.verdict.unchecked == ()


def test_who_waits_for_the_archive_lets_others_go_on(archive: RunningArchive, tmp_path: Path) -> None:
    """The client sleeps for two seconds after each Zarr; with one job, the second must not wait for that."""
    root = small(tmp_path / "d")
    names = [f"{name}.ome.zarr" for name in "abc"]
    for name in names:
        write_ome_zarr(root / name, zarr_format=2)
    steps: list[UploadProgress] = []
    upload(root, to=archive.url, token=archive.token, create=True, jobs=1, progress=steps.append)
    order = [(step.path, step.step) for step in steps]
    waits = [order.index((name, "server calculating checksum")) for name in names]
    assert max(waits) < min(order.index((name, "uploaded")) for name in names)


# --- refusals ------------------------------------------------------------------------------------------------------


def test_without_an_identifier_and_create(archive: RunningArchive, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="--create"):
        upload(small(tmp_path / "d"), to=archive.url, token=archive.token)


def test_a_dandiset_that_the_archive_does_not_have(archive: RunningArchive, tmp_path: Path) -> None:
    root = small(tmp_path / "d", "999999")
    with pytest.raises(BadRequest, match="has no dandiset 999999"):
        upload(root, to=archive.url, token=archive.token, create=True)
    assert "999999" in (root / "dandiset.yaml").read_text()


@pytest.mark.parametrize("name", ["dandi", "pynwb", "hdmf", "bidsschematools"])
def test_what_the_client_calls_does_not_log_on_the_terminal(name: str) -> None:
    """A logger without a handler of its own prints warnings; that of BIDS does for each file that no rule knows."""
    before = list(logging.getLogger(name).handlers)
    with quiet_dandi("http://127.0.0.1:9"):
        assert len(logging.getLogger(name).handlers) == len(before) + 1
    assert logging.getLogger(name).handlers == before


def test_a_wrong_key_is_refused_and_never_shown(archive: RunningArchive, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="does not take the API key") as caught:
        upload(small(tmp_path / "d"), to=archive.url, token="sesame", create=True)
    assert "sesame" not in str(caught.value)


def test_a_missing_key(archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DANDIFY_API_KEY", raising=False)
    monkeypatch.setenv("DANDI_API_KEY", archive.token)  # of another archive: never sent to this one
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    with pytest.raises(BadRequest, match="DANDIFY_API_KEY"):
        upload(small(tmp_path / "d"), to=archive.url, create=True)


def test_the_key_of_the_environment(archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DANDIFY_API_KEY", archive.token)
    assert not upload(small(tmp_path / "d"), to=archive.url, create=True).failed


def test_nobody_answers(tmp_path: Path) -> None:
    with pytest.raises(DandifyError, match="cannot be reached"):
        upload(small(tmp_path / "d"), to="http://127.0.0.1:9", token="x", create=True)


@pytest.mark.parametrize(
    ("says", "cause"),
    [
        ({"cli-minimal-version": "99.0.0"}, "refuses this dandi client"),
        ({"schema_version": "99.0.0", "allowed_schema_versions": ["99.0.0"]}, "do not go together"),
    ],
    ids=["client", "schema"],
)
def test_a_client_too_old(says: dict[str, Any], cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandify.archive import documents

    ours = documents.info
    monkeypatch.setattr(documents, "info", lambda archive: {**ours(archive), **says})
    root = small(tmp_path / "d")
    with running_archive(tmp_path / "archive") as newer, pytest.raises(DandifyError, match=cause) as caught:
        upload(root, to=newer.url, token=newer.token, create=True)
    assert caught.value.remedy == "pip install -U dandi"
    assert read_record(root).identifier is None


def test_a_name_that_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="sandbox"):
        upload(small(tmp_path / "d"), to="dandy", token="x", create=True)


def test_a_folder_that_is_no_dandiset(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="dandify organize"):
        upload(tmp_path, to="dandi")


@pytest.mark.parametrize(
    ("text", "cause"),
    [("name: [", "not YAML"), ("- a", "mapping"), ("identifier: 12", "six digits"), ("identifier: x", "six digits")],
    ids=["yaml", "list", "number", "word"],
)
def test_a_damaged_dandiset_yaml(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "dandiset.yaml").write_text(text)
    with pytest.raises(BadSource, match=cause):
        upload(tmp_path, to="dandi")


def test_the_identifier_is_written_beside_what_was_there(tmp_path: Path) -> None:
    file = tmp_path / "dandiset.yaml"
    before = '# top\nname: "Quoted: yes"  # why\nkeywords: [a,\n  b]\n# end\n'
    file.write_text(before)
    write_identifier(tmp_path, "000042")
    assert read_record(tmp_path).identifier == "000042"
    after = file.read_text()
    for piece in ("# top", '"Quoted: yes"  # why', "# end", "identifier: '000042'"):
        assert piece in after
    assert [path.name for path in tmp_path.iterdir()] == ["dandiset.yaml"]


# --- the plain client ----------------------------------------------------------------------------------------------


def test_downloaded_it_is_the_same_byte_by_byte(uploaded: Uploaded, tmp_path: Path) -> None:
    fetched = download(uploaded.archive.url, uploaded.report.dandiset_id, tmp_path / "back")
    report = compare_trees(uploaded.root, fetched)
    assert report.equal
    assert {NWB, VIDEO, f"{ZARR2}/.zattrs", f"{ZARR3}/0/c/1/1"} <= set(report.identical)
    assert report.bytes == uploaded.report.bytes_sent
    assert f"{NWB}.manifest.json" in report.not_uploaded

    (fetched / NWB).write_bytes((fetched / NWB).read_bytes()[:-1] + b"?")
    (fetched / VIDEO).unlink()
    (fetched / "more").touch()
    worse = compare_trees(uploaded.root, fetched)
    assert (worse.different, worse.missing, worse.extra) == ((NWB,), (VIDEO,), ("more",))
    assert not worse.equal


def test_a_download_is_taken_up_again(uploaded: Uploaded, tmp_path: Path) -> None:
    for _ in range(2):
        fetched = download(uploaded.archive.url, uploaded.report.dandiset_id, tmp_path)
    assert compare_trees(uploaded.root, fetched).equal


def test_a_dandiset_that_is_not_there_is_not_downloaded(archive: RunningArchive, tmp_path: Path) -> None:
    with pytest.raises(DandifyError, match="could not be downloaded"):
        download(archive.url, "999999", tmp_path)


def test_the_command_line_uploads_lists_and_downloads(made: Path, archive: RunningArchive, tmp_path: Path) -> None:
    from dandi.dandiapi import DandiAPIClient

    identifier = DandiAPIClient(f"{archive.url}/api", token=archive.token).create_dandiset("By hand", {}).identifier
    root = tmp_path / "dandiset"
    shutil.copytree(made, root)
    shutil.rmtree(root / "sub-m1" / "x.ome.zarr.partial")
    (root / "dandiset.yaml").write_text(f"identifier: '{identifier}'\n")
    dandi_cli(archive, "upload", "-i", archive.url, "-J", "2", cwd=root)
    url = f"{archive.url}/api/dandisets/{identifier}/versions/draft"
    listed = dandi_cli(archive, "ls", "-r", "-f", "json_lines", url, cwd=tmp_path)
    assert all(path in listed for path in (NWB, VIDEO, ZARR2, ZARR3))
    dandi_cli(archive, "download", "-o", str(tmp_path), url, cwd=tmp_path)
    assert compare_trees(root, tmp_path / identifier).equal


@pytest.mark.usefixtures("own_key")
def test_moved_and_deleted(archive: RunningArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dandi.delete import delete
    from dandi.move import MoveExisting, MoveWorkOn, move

    root = small(tmp_path / "d")
    (root / "sub-1").mkdir()
    write_ome_zarr(root / "sub-1" / "x.ome.zarr", zarr_format=2)
    identifier = upload(root, to=archive.url, token=archive.token, create=True).dandiset_id
    monkeypatch.chdir(root)
    draft = remote(archive, identifier)

    def paths() -> list[str]:
        return [asset.path for asset in draft.get_assets()]

    move(
        "clip.mp4",
        dest="sub-1/film.mp4",
        dandi_instance=archive.url,
        existing=MoveExisting.ERROR,
        work_on=MoveWorkOn.BOTH,
        devel_debug=True,
    )
    draft.get_asset_by_path("sub-1/x.ome.zarr").rename("sub-2/y.ome.zarr")  # `dandi move` mistakes a Zarr for a folder
    (root / "sub-2").mkdir()
    shutil.move(root / "sub-1" / "x.ome.zarr", root / "sub-2" / "y.ome.zarr")
    assert paths() == ["sub-1/film.mp4", "sub-2/y.ome.zarr"]
    # The old name of the moved Zarr is free: what is uploaded there next does not write into the moved one.
    write_ome_zarr(root / "sub-1" / "x.ome.zarr", zarr_format=3)
    assert not upload(root, to=archive.url, token=archive.token).failed
    fetched = download(archive.url, identifier, tmp_path / "back")
    assert compare_trees(root, fetched).equal

    delete(["sub-1/film.mp4", "sub-2/y.ome.zarr"], dandi_instance=archive.url, force=True, devel_debug=True)
    assert paths() == ["sub-1/x.ome.zarr"]
    delete([f"{archive.url}/api/dandisets/{identifier}"], dandi_instance=archive.url, force=True, devel_debug=True)
    with pytest.raises(DandifyError):
        download(archive.url, identifier, tmp_path / "gone")
