"""The NIDM document: complete, the same each time, and read by PyNIDM."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rdflib import Graph, Namespace

from dandify.dandiset.generate import describe
from dandiset_cases import add_units, image, session, write

PLACE = "derivatives/nidm/nidm.ttl"
NWB = "sub-m1/sub-m1_ses-s1_ecephys.nwb"
ZARR = "sub-m2/sub-m2_ses-s1_x.ome.zarr"
PREFIXES = {
    "nidm": Namespace("http://purl.org/nidash/nidm#"), "prov": Namespace("http://www.w3.org/ns/prov#"),
    "dct": Namespace("http://purl.org/dc/terms/"), "dctypes": Namespace("http://purl.org/dc/dcmitype/"),
    "ndar": Namespace("https://ndar.nih.gov/api/datadictionary/v2/dataelement/"),
    "nfo": Namespace("http://www.semanticdesktop.org/ontologies/2007/03/22/nfo#"),
    "crypto": Namespace("http://id.loc.gov/vocabulary/preservation/cryptographicHashFunctions#"),
    "reproschema": Namespace("http://schema.repronim.org/"), "sio": Namespace("http://semanticscience.org/ontology/sio.owl#"),
    "dandi": Namespace("http://schema.dandiarchive.org/"), "obo": Namespace("http://purl.obolibrary.org/obo/"),
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("nidm")
    write(add_units(session("m_1", "s1")), made / NWB)
    write(add_units(session("m_1", "s2")), made / NWB.replace("s1", "s2"))
    image(made / ZARR, {"subject_id": "m2", "species": "Danio rerio", "sex": "M", "age": "P5D"}, {"session_id": "s1"})
    report = describe(made, {"name": "A title", "description": "What.", "license": "CC0-1.0"}, nidm=True)
    assert report.files[PLACE] == "created"
    return made


def rows(root: Path, query: str) -> list[list[str]]:
    answer: Any = Graph().parse(root / PLACE).query(query, initNs=PREFIXES)
    return sorted([str(cell) for cell in row] for row in answer)


def test_every_file_is_an_acquisition_of_its_session_and_subject(root: Path) -> None:
    found = rows(
        root,
        """SELECT ?file ?session ?subject ?title WHERE {
             ?object a nidm:AcquisitionObject; nfo:filename ?file; prov:wasGeneratedBy ?activity.
             ?activity a nidm:Acquisition; dct:isPartOf ?part; prov:qualifiedAssociation ?who.
             ?part a nidm:Session; rdfs:label ?session; dct:isPartOf ?project.
             ?project a nidm:Project; dctypes:title ?title.
             ?who prov:hadRole sio:Subject; prov:agent ?agent. ?agent ndar:src_subject_id ?subject. }""",
    )
    assert [row for row in found if "participants" not in row[0]] == [
        [f"bids::{NWB}", "s1", "m_1", "A title"],
        [f"bids::{NWB.replace('s1', 's2')}", "s2", "m_1", "A title"],
        [f"bids::{ZARR}", "s1", "m2", "A title"],
    ]
    assert len(found) == 5


def test_files_have_their_checksums(root: Path) -> None:
    from dandi.files import dandi_file

    found = dict(
        rows(root, "SELECT ?file ?sum WHERE { ?o nfo:filename ?file; crypto:sha256|dandi:dandi-zarr-checksum ?sum }")
    )
    assert found[f"bids::{NWB}"] == hashlib.sha256((root / NWB).read_bytes()).hexdigest()
    assert found[f"bids::{ZARR}"] == dandi_file(root / ZARR, root).get_digest().value


def test_demographics_are_linked_to_concepts(root: Path) -> None:
    found = rows(
        root,
        """SELECT ?subject ?label ?value ?about ?link WHERE {
             ?object ?element ?value; prov:wasGeneratedBy/prov:qualifiedAssociation/prov:agent ?who.
             ?who ndar:src_subject_id ?subject.
             ?element a nidm:PersonalDataElement; rdfs:label ?label; nidm:isAbout ?about.
             OPTIONAL { ?element reproschema:choices [ rdfs:label ?value; reproschema:value ?link ] } }""",
    )
    obo = str(PREFIXES["obo"])
    assert found == [
        ["m2", "age", "0.0137", f"{obo}PATO_0000011", "None"],
        ["m2", "sex", "M", f"{obo}PATO_0000047", f"{obo}PATO_0000384"],
        ["m2", "species", "Danio rerio", f"{obo}OBI_0100026", f"{obo}NCBITaxon_7955"],
        ["m_1", "age", "0.1643", f"{obo}PATO_0000011", "None"],
        ["m_1", "sex", "F", f"{obo}PATO_0000047", f"{obo}PATO_0000383"],
        ["m_1", "species", "Mus musculus", f"{obo}OBI_0100026", f"{obo}NCBITaxon_10090"],
    ]


def test_it_does_not_change_by_itself(root: Path) -> None:
    before = (root / PLACE).read_bytes()
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-m", "dandify", "describe", str(root), "--nidm"], check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed},
        )  # fmt: skip
        assert (root / PLACE).read_bytes() == before


@pytest.fixture(scope="module")
def pynidm() -> str:
    """Return PyNIDM's program. It has an environment of its own: its rdflib and pandas are not ours."""
    found = os.environ.get("DANDIFY_PYNIDM") or shutil.which("pynidm")
    if not found:
        pytest.skip(
            "PyNIDM is absent: pip install pynidm in an environment of its own, and set DANDIFY_PYNIDM to pynidm"
        )
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("question", "answers"),
    [
        (["-p"], {"m_1", "m2"}),
        (["-i"], {"A title", "assessment-instrument"}),
        (["-de"], {"species", "sex", "PATO_0000011", "year"}),
        (["-u", "/subjects"], {"m_1", "m2"}),
    ],
    ids=["participants", "instruments", "elements", "subjects"],
)
def test_pynidm_answers(question: list[str], answers: set[str], pynidm: str, root: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(
        [pynidm, "query", "-nl", str(root / PLACE), *question], capture_output=True, text=True, check=True, env=clean
    )
    assert not [answer for answer in answers if answer not in done.stdout], done.stdout
