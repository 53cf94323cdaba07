"""The archive's pages: what stands on them, that nothing on them is run, and what a browser shows."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests

from archive_api import Api
from browsers import document, screenshot
from dandify.archive.open_with import Asked, services_for
from dandify.archive.pages import size_text
from dandify.archive.serve import RunningArchive, running_archive
from test_archive_publish import COMPLETE, add, checked, made

ATTACK = '<script>document.title="taken"</script>'


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningArchive]:
    with running_archive(tmp_path_factory.mktemp("archive") / "folder") as running:
        yield running


@pytest.fixture(scope="module")
def api(archive: RunningArchive) -> Api:
    return Api(archive.url, archive.token)


@pytest.fixture(scope="module")
def mouse(api: Api) -> str:
    here = made(api)
    about = {
        "wasAttributedTo": [
            {"schemaKey": "Participant", "identifier": "mouse01",
             "species": {"schemaKey": "SpeciesType", "name": "Mus musculus - House mouse"}},
        ],
        "approach": [{"schemaKey": "ApproachType", "name": "electrophysiological approach"}],
    }  # fmt: skip
    for session, data in (("1", b"a"), ("2", b"bb")):
        add(api, here, f"sub-mouse01/sub-mouse01_ses-{session}_ecephys.nwb", data, **about)
    add(api, here, "README.txt", b"read me")
    checked(api, here)
    for _ in range(100):  # what the assets are of is summed up when all of them are checked
        if "dataStandard" in api.ok("GET", f"/dandisets/{here}/versions/draft/")["assetsSummary"]:
            return here
        time.sleep(0.1)
    raise AssertionError("not summed up in 10 s")


def text_of(page: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<script>.*?</script>", "", page, flags=re.S))))


def get(archive: RunningArchive, path: str) -> str:
    answer = requests.get(archive.url + path, timeout=20)
    assert answer.ok, answer.text
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def test_dandisets_are_listed_and_searched(archive: RunningArchive, mouse: str) -> None:
    listed = get(archive, "/")
    assert f"/dandiset/{mouse}/draft" in listed
    assert "A mouse 3 10 B Valid" in text_of(listed)
    assert f"/dandiset/{mouse}/draft" in get(archive, "/?search=hippocampus")
    assert "No dandiset has these words" in get(archive, "/?search=zebrafish")


def test_a_dandiset_is_described(archive: RunningArchive, mouse: str) -> None:
    page = get(archive, f"/dandiset/{mouse}")
    text = text_of(page)
    for expected in (
        "A mouse", "Two recordings of <b>one</b> mouse.", "Doe, Jane", "0000-0002-1825-0097", "contact person",
        "hippocampus", "CC0-1.0", "1 subject mouse01", "Mus musculus - House mouse", "electrophysiological approach",
        "sub-mouse01/ 3 B 2 files", "README.txt 7 B", "Valid", "Neurodata Without Borders (NWB)",
    ):  # fmt: skip
        assert expected in text
    assert "<b>one</b>" not in page, "texts are shown, not run"


def test_folders_are_walked_through(archive: RunningArchive, mouse: str) -> None:
    page = get(archive, f"/dandiset/{mouse}/draft?location=sub-mouse01")
    assert "sub-mouse01_ses-1_ecephys.nwb 1 B" in text_of(page)
    assert "README.txt" not in text_of(page)
    place = re.search(r'"(/dandiset/[^"]*/asset/[^"]*)"', page)
    assert place
    asset = text_of(get(archive, place[1]))
    assert "sub-mouse01_ses-1_ecephys.nwb Valid 1 B" in asset
    assert '"encodingFormat": "application/x-nwb"' in asset
    assert "Neurosift" in asset
    download = re.search(r'"(/api/assets/[^"]*/download/)"', page)
    assert download
    assert requests.get(archive.url + download[1], timeout=10).content == b"a"


def test_what_keeps_it_from_being_published_is_listed(archive: RunningArchive, api: Api) -> None:
    here = made(api, {**COMPLETE, "license": []})
    add(api, here, "sub-1/broken.nwb", b"broken", encodingFormat=None)
    checked(api, here)
    text = text_of(get(archive, f"/dandiset/{here}"))
    assert "Invalid" in text
    assert "sub-1/broken.nwb: encodingFormat" in text
    assert "dandiset: license" in text


@pytest.mark.parametrize("path", [
    "/dandiset/999999", "/dandiset/x", "/dandiset/{mouse}/0.1.2", "/dandiset/{mouse}/draft/asset/none",
])  # fmt: skip
def test_what_is_not_there_is_not_found(archive: RunningArchive, mouse: str, path: str) -> None:
    assert requests.get(archive.url + path.format(mouse=mouse), timeout=10).status_code == 404


def test_nothing_of_a_dandiset_is_run(archive: RunningArchive, api: Api, tmp_path: Path) -> None:
    people = [{"schemaKey": "Person", "name": ATTACK, "identifier": ATTACK, "roleName": [f"dcite:{ATTACK}"]}]
    metadata = {**COMPLETE, "description": ATTACK, "keywords": [ATTACK], "contributor": people}
    here = str(api.ok("POST", "/dandisets/", json={"name": ATTACK, "metadata": metadata})["identifier"])
    asset = add(api, here, "a.nwb", b"attack", encodingFormat=ATTACK, approach=[{"name": ATTACK}])
    for path in ("/", f"/dandiset/{here}", f"/dandiset/{here}/draft/asset/{asset}", f"/?search={ATTACK}",
                 f"/dandiset/{here}?location={ATTACK}"):  # fmt: skip
        assert ATTACK not in get(archive, path)
    shown = document(f"{archive.url}/dandiset/{here}/draft/asset/{asset}", tmp_path)
    assert "<title>taken" not in shown
    assert "<title>a.nwb" in shown


def test_a_browser_shows_a_page(archive: RunningArchive, mouse: str, tmp_path: Path) -> None:
    from PIL import Image

    with Image.open(screenshot(f"{archive.url}/dandiset/{mouse}", tmp_path)) as picture:
        colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 50, "text is there, in more than one colour"
    assert max(count for count, _ in colours) < picture.width * picture.height * 0.99


@pytest.mark.parametrize(("path", "names"), [
    ("sub-1/a.nwb", ["NWB Explorer", "Neurosift"]),
    ("sub-1/a.ome.zarr", ["Neuroglancer", "OME-Zarr validator", "VTK/ITK Viewer"]),
    ("sub-1/a.nwb.zarr", ["Neuroglancer"]),
    ("sub-1/a.nii.gz", ["Neuroglancer"]),
    ("sub-1/a.mp4", []),
], ids=str)  # fmt: skip
def test_what_opens_an_asset(path: str, names: list[str]) -> None:
    asked = Asked(path, 100, "http://h/api/assets/1/download/", "http://h/bucket/zarr/1/", "000001", "draft")
    found = services_for(asked)
    assert sorted(found) == names
    if "Neurosift" in found:
        assert found["Neurosift"] == (
            "https://neurosift.app/nwb?url=http://h/api/assets/1/download/&dandisetId=000001&dandisetVersion=draft"
        )
    if "VTK/ITK Viewer" in found:
        assert found["VTK/ITK Viewer"].endswith("&image=http://h/bucket/zarr/1")
    if "Neuroglancer" in found:
        assert '"source": "http://h/bucket/zarr/1/"' in unquote(found["Neuroglancer"])


def test_large_files_have_no_nwb_explorer() -> None:
    asked = Asked("a.nwb", 10**9 + 1, "http://h/d/", "http://h/b", "000001", "draft")
    assert list(services_for(asked)) == ["Neurosift"]


@pytest.mark.parametrize(("count", "text"), [
    (0, "0 B"), (999, "999 B"), (1000, "1 kB"), (123_456, "123 kB"), (1_500_000, "1.5 MB"), (10**15, "1 PB"),
    (5 * 10**18, "5e+03 PB"),
])  # fmt: skip
def test_sizes_are_said(count: int, text: str) -> None:
    assert size_text(count) == text
