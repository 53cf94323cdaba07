from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pynwb
import pytest
from dandi.organize import ORGANIZED_FILENAME_REGEX, ORGANIZED_FOLDER_REGEX
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from dandify.dandiset.names import (
    MODALITY,
    ids_in_name,
    image_name,
    image_path,
    modalities_of,
    nwb_path,
    sanitize_label,
    session_label,
)
from dandify.errors import BadRequest

BIDS_LABEL = r"[0-9a-zA-Z+]+"
SERVER_PATH = r"([A-z0-9(),&\s#+~_=-]?\/?\.?[A-z0-9(),&\s#+~_=-])+"

IDS = st.text(min_size=1, max_size=40).filter(lambda t: re.search("[0-9A-Za-z]", t))
SOME_MODALITIES = st.sets(st.sampled_from(sorted(set(MODALITY.values()))))


@pytest.mark.parametrize(
    ("text", "label"),
    [("mouse01", "mouse01"), ("mouse_01", "mouse01"), ("s.2 x", "s2X"), ("a+b", "a+b"), ("é1", "e1"), ("M-1", "M1")],
)
def test_labels(text: str, label: str) -> None:
    assert sanitize_label(text) == label


@pytest.mark.parametrize("text", ["", "___", "αβ"])
def test_an_id_of_which_nothing_is_left_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="no letter and no digit"):
        sanitize_label(text)


@given(subject=IDS, session=IDS, modalities=SOME_MODALITIES, cell=st.none() | IDS)
def test_nwb_paths_satisfy_dandi_bids_and_the_server(
    subject: str, session: str, modalities: set[str], cell: str | None
) -> None:
    path = nwb_path(subject, session, modalities, entities={"cell": cell} if cell else {})
    assert re.fullmatch(ORGANIZED_FILENAME_REGEX, path.name)
    assert re.fullmatch(ORGANIZED_FOLDER_REGEX, str(path.parent))
    assert re.fullmatch(rf"sub-{BIDS_LABEL}", str(path.parent))
    assert re.fullmatch(SERVER_PATH, str(path))
    assert ids_in_name(path.name) == (sanitize_label(subject), sanitize_label(session))


@given(subject=IDS, session=IDS, image=st.text(max_size=40))
def test_an_image_has_no_dots_but_those_of_its_suffix(subject: str, session: str, image: str) -> None:
    path = image_path(subject, session, image)
    assert path.suffixes == [".ome", ".zarr"]
    assert image_path(subject, session, image_name(path.name)) == path


def test_names() -> None:
    start = datetime(2024, 5, 1, 9, 30, 5)
    assert str(nwb_path("m_1", "s 1", ["ophys", "behavior"])) == "sub-m1/sub-m1_ses-s1_behavior+ophys.nwb"
    assert str(nwb_path("m1", None, [], session_start_time=start)) == "sub-m1/sub-m1_ses-20240501T093005.nwb"
    assert str(nwb_path("m1", "1", ["icephys"], entities={"cell": "c1", "tis": "t1"}, suffix=".nwb.zarr")) == (
        "sub-m1/sub-m1_ses-1_tis-t1_cell-c1_icephys.nwb.zarr"
    )
    assert str(image_path("m1", "1", "light sheet.v2")) == "sub-m1/sub-m1_ses-1_lightSheetV2.ome.zarr"
    assert str(image_path("m1", "1", "", suffix=".png")) == "sub-m1/sub-m1_ses-1_image.png"
    assert session_label(None, None) is None
    with pytest.raises(BadRequest, match="session id"):
        nwb_path("m1", None)


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("sub-m1_ses-1_stack.ome.zarr", "stack"), ("stack.v2.ome.zarr", "stack.v2"), ("x.zarr", "x"),
        ("sub-m1_sample-A_SPIM.ome.zarr", "sample-A_SPIM"),
    ],
)  # fmt: skip
def test_the_own_name_of_an_image(name: str, own: str) -> None:
    assert image_name(name) == own


@pytest.mark.parametrize(
    ("image", "entities", "name"),
    [
        ("sample-A_stain-DAPI_SPIM", {"sample": "A", "stain": "DAPI", "suffix": "SPIM"}, "sample-A_stain-DAPI_SPIM"),
        ("chunk-1_sample-A_x", {"sample": "A", "chunk": "1", "suffix": "x"}, "sample-A_chunk-1_x"),
        ("stack", {"sample": "A 1", "suffix": "CONF"}, "sample-A1_stack_CONF"),
        ("sample-A.1", {"sample": "A.1"}, "sample-A1"),
        ("run-2_cam", {"run": "2"}, "run-2_cam"),
        ("left-eye", {}, "leftEye"),
    ],
)  # fmt: skip
def test_the_sample_of_an_image_stays_in_its_name(image: str, entities: dict[str, str], name: str) -> None:
    assert image_path("m1", "1", image, entities=entities).name == f"sub-m1_ses-1_{name}.ome.zarr"


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        ("sub-m1_ses-1_x.nwb", ("m1", "1")), ("sub-m-1_ecephys.nwb", ("m-1", None)), ("recording.nwb", (None, None)),
        ("sub-m1.nwb", ("m1", None)),
    ],
)  # fmt: skip
def test_ids_in_names(name: str, ids: tuple[str | None, str | None]) -> None:
    assert ids_in_name(name) == ids


@pytest.mark.parametrize(
    ("types", "parents", "modalities"),
    [
        (["ElectricalSeries", "ProcessingModule"], {}, ("ecephys",)),
        (["Units", "DynamicTable"], {"Units": "DynamicTable"}, ("ecephys",)),
        (["Units", "TwoPhotonSeries"], {}, ("ophys",)),
        (["Units", "SpatialSeries"], {}, ("behavior", "ecephys")),
        (["TimeIntervals"], {}, ("behavior",)),
        (["TimeIntervals", "TwoPhotonSeries"], {}, ("ophys",)),
        (["ImageSeries"], {}, ("image",)),
        (["PoseEstimation"], {"PoseEstimation": "NWBDataInterface"}, ("behavior",)),
        (["FiberPhotometryResponseSeries"], {}, ("ophys",)),
        (["MyProbeSeries"], {"MyProbeSeries": "MyBase", "MyBase": "ElectricalSeries"}, ("ecephys",)),
        (["Odd"], {"Odd": "Even", "Even": "Odd"}, ()),
        (["TimeSeries", "Device"], {}, ()),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, (list, tuple)) else "",
)  # fmt: skip
def test_modalities(types: list[str], parents: dict[str, str], modalities: tuple[str, ...]) -> None:
    assert modalities_of(types, parents) == modalities


def test_the_table_of_modalities_is_that_of_the_schema() -> None:
    schema = Path(pynwb.__file__).parent / "nwb-schema" / "core"
    for modality in ("ecephys", "icephys", "ophys", "ogen", "behavior", "image"):
        tree = YAML(typ="safe").load((schema / f"nwb.{modality}.yaml").read_text(encoding="utf-8"))
        for name in _defined(tree):
            assert MODALITY[name] == modality


def _defined(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "neurodata_type_def" in node:
            yield node["neurodata_type_def"]
        for value in node.values():
            yield from _defined(value)
    elif isinstance(node, list):
        for item in node:
            yield from _defined(item)
