"""``derivatives/nidm/nidm.ttl``: project, sessions, acquisitions and demographics in the terms of NIDM-Experiment."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from rdflib import RDF, RDFS, BNode, Graph, Literal, Namespace, URIRef

from dandify.dandiset.context import entities_of
from dandify.dandiset.tables import Described, participants
from dandify.dandiset.vocabulary import BEHAVIOR, ELECTROPHYSIOLOGY, MICROSCOPY, OPTOGENETICS
from dandify.project.species import find_species

PLACE: Final = PurePosixPath("derivatives/nidm/nidm.ttl")
"""Where it lies below a dandiset; at the top, BIDS would not take it."""

_NIDM: Final = Namespace("http://purl.org/nidash/nidm#")
_NIIRI: Final = Namespace("http://iri.nidash.org/")
_PROV: Final = Namespace("http://www.w3.org/ns/prov#")
_DCT: Final = Namespace("http://purl.org/dc/terms/")
_DCTYPES: Final = Namespace("http://purl.org/dc/dcmitype/")
_DCAT: Final = Namespace("http://www.w3.org/ns/dcat#")
_SIO: Final = Namespace("http://semanticscience.org/ontology/sio.owl#")
_NDAR: Final = Namespace("https://ndar.nih.gov/api/datadictionary/v2/dataelement/")
_NFO: Final = Namespace("http://www.semanticdesktop.org/ontologies/2007/03/22/nfo#")
_CRYPTO: Final = Namespace("http://id.loc.gov/vocabulary/preservation/cryptographicHashFunctions#")
_ONLI: Final = Namespace("http://neurolog.unice.fr/ontoneurolog/v3.0/instrument.owl#")
_REPROSCHEMA: Final = Namespace("http://schema.repronim.org/")
_BIDS: Final = Namespace("http://bids.neuroimaging.io/")
_DANDI: Final = Namespace("http://schema.dandiarchive.org/")
_OBO: Final = Namespace("http://purl.obolibrary.org/obo/")
_ILX: Final = Namespace("http://uri.interlex.org/base/")
_SCHEMA: Final = Namespace("https://schema.org/")
_PREFIXES: Final = {
    "nidm": _NIDM, "niiri": _NIIRI, "prov": _PROV, "dct": _DCT, "dctypes": _DCTYPES, "dcat": _DCAT, "sio": _SIO,
    "ndar": _NDAR, "nfo": _NFO, "crypto": _CRYPTO, "onli": _ONLI, "reproschema": _REPROSCHEMA, "bids": _BIDS,
    "dandi": _DANDI, "obo": _OBO, "ilx": _ILX, "schema": _SCHEMA,
}  # fmt: skip

# NIDM has terms for scanners only. These are the approaches' own, of the BICCN's list of approaches.
_MODALITIES: Final = {
    ELECTROPHYSIOLOGY: _ILX["ilx_0741202"],
    BEHAVIOR: _ILX["ilx_0739413"],
    MICROSCOPY: _ILX["ilx_0739404"],
    OPTOGENETICS: _ILX["ilx_0737732"],
    "cell population imaging": _ILX["ilx_0739402"],
}
# What the columns of participants.tsv are about: organism, sex, age, strain, genotype.
_CONCEPTS: Final = {
    "species": (_OBO["OBI_0100026"], "organism"),
    "sex": (_OBO["PATO_0000047"], "biological sex"),
    "age": (_OBO["PATO_0000011"], "age"),
    "strain": (URIRef("http://www.ebi.ac.uk/efo/EFO_0005135"), "strain"),
    "genotype": (_OBO["GENO_0000536"], "genotype"),
}
_MEANINGS: Final = {
    "species": "Latin name of the species", "sex": "Sex", "age": "Age at the session in years", "strain": "Strain",
    "genotype": "Genotype",
}  # fmt: skip
_SEXES: Final = {"M": _OBO["PATO_0000384"], "F": _OBO["PATO_0000383"]}

Checksum = Callable[[PurePosixPath], tuple[str, str]]


def nidm_document(dandiset: Mapping[str, Any], assets: Sequence[Described], checksum: Checksum, *, version: str) -> str:
    """Return the NIDM document of a dandiset as Turtle; the same for the same content.

    Parameters
    ----------
    dandiset
        What ``dandiset.yaml`` says, in dandischema's form.
    assets
        What is in it.
    checksum
        Gives, of an asset's path, ``sha256`` or ``dandi-zarr-checksum`` and its value.
    version
        Of dandify.
    """
    return _Writer(dandiset, checksum).write(assets, version)


class _Writer:
    """Builds the graph. Names are made of what they name, so that a document does not change by itself."""

    def __init__(self, dandiset: Mapping[str, Any], checksum: Checksum) -> None:
        self._graph = Graph()
        for prefix, namespace in _PREFIXES.items():
            self._graph.bind(prefix, namespace, override=True)
        self._checksum = checksum
        identity = str(dandiset.get("identifier") or dandiset.get("name") or "dandiset").rpartition(":")[2]
        self._root = uuid.uuid5(uuid.NAMESPACE_URL, f"{_NIIRI}{identity}")
        self._stated = dandiset
        self._project = self._name("project")
        self._dataset = self._name("dataset")

    def write(self, assets: Sequence[Described], version: str) -> str:
        self._describe_project()
        by_label: dict[str, list[Described]] = {}
        for asset in assets:
            by_label.setdefault(entities_of(asset.path).get("sub", ""), []).append(asset)
        for row in participants(assets):
            label = row["participant_id"].removeprefix("sub-")
            own = by_label.get(label, [])
            person = self._person(label, own)
            self._demographics(label, row, person, own)
            for asset in own:
                self._acquisition(label, asset, person)
        self._provenance(version)
        return self._graph.serialize(format="turtle")

    def _describe_project(self) -> None:
        stated = self._stated
        self._add(self._project, RDF.type, _NIDM.Project, _PROV.Activity)
        self._add(self._project, _DCTYPES.title, Literal(str(stated.get("name") or "untitled")))
        if stated.get("description"):
            self._add(self._project, _DCT.description, Literal(str(stated["description"])))
        self._add(self._dataset, RDF.type, _BIDS.Dataset, _PROV.Collection, _PROV.Entity)
        for item in stated.get("license") or ():
            self._add(self._dataset, _DCT.license, Literal(str(item).rpartition(":")[2]))
        for person in stated.get("contributor") or ():
            if isinstance(person, Mapping) and person.get("schemaKey") == "Person" and person.get("name"):
                self._add(self._dataset, _DCAT.author, Literal(str(person["name"])))

    def _person(self, label: str, own: Sequence[Described]) -> URIRef:
        person = self._name("person", label)
        stated = next((a.facts.subject["subject_id"] for a in own if a.facts.subject.get("subject_id")), label)
        self._add(person, RDF.type, _PROV.Agent, _PROV.Person)
        self._add(person, _NDAR.src_subject_id, Literal(stated))
        return person

    def _demographics(self, label: str, row: Mapping[str, str], person: URIRef, own: Sequence[Described]) -> None:
        """Say who a subject is, as an assessment within the subject's first session."""
        labels = sorted({entities_of(a.path).get("ses", "") for a in own})
        activity = self._activity("demographics", label, session=labels[0] if labels else "", person=person)
        self._add(activity, RDF.type, _ONLI["instrument-based-assessment"])
        made = self._name("demographics of", label)
        self._add(made, RDF.type, _ONLI["assessment-instrument"], _NIDM.AcquisitionObject, _PROV.Entity)
        self._add(made, _NFO.filename, Literal("bids::participants.tsv"))
        self._add(made, _PROV.wasGeneratedBy, activity)
        self._add(self._dataset, _PROV.hadMember, made)
        for key in _CONCEPTS:
            if key in row:
                self._add(made, self._element(key, row[key]), Literal(row[key]))

    def _element(self, key: str, value: str) -> URIRef:
        """Return a column of the demographics, described by its concept; values that are concepts are linked too."""
        element = self._name("element", key)
        concept, name = _CONCEPTS[key]
        self._add(element, RDF.type, _NIDM.PersonalDataElement, _PROV.Entity)
        self._add(element, RDFS.label, Literal(key))
        self._add(element, _DCT.description, Literal(_MEANINGS[key]))
        self._add(element, _NIDM.sourceVariable, Literal(key))
        self._add(element, _NIDM.isAbout, concept)
        self._add(concept, RDF.type, _PROV.Entity)
        self._add(concept, RDFS.label, Literal(name))
        self._add(_NIDM.PersonalDataElement, RDFS.subClassOf, _NIDM.DataElement)
        if key == "age":
            self._add(element, _NIDM.hasUnit, Literal("year"))
        link = _SEXES.get(value) if key == "sex" else None
        if key == "species" and (species := find_species(value)):
            link = URIRef(species.url)
        if link is not None and not any(
            (choice, RDFS.label, Literal(value)) in self._graph
            for choice in self._graph.objects(element, _REPROSCHEMA.choices)
        ):
            choice = BNode(uuid.uuid5(self._root, f"choice {key} {value}").hex)
            self._add(element, _REPROSCHEMA.choices, choice)
            self._add(choice, RDFS.label, Literal(value))
            self._add(choice, _REPROSCHEMA.value, link)
        return element

    def _acquisition(self, label: str, asset: Described, person: URIRef) -> None:
        path = str(asset.path)
        session = entities_of(asset.path).get("ses", "")
        activity = self._activity("acquisition", label, path, session=session, person=person)
        facts = asset.facts
        if facts.start:
            self._add(activity, _PROV.startedAtTime, Literal(facts.start))
        if facts.end:
            self._add(activity, _PROV.endedAtTime, Literal(facts.end))
        made = self._name("file", path)
        self._add(made, RDF.type, _NIDM.AcquisitionObject, _PROV.Entity)
        self._add(made, _NFO.filename, Literal(f"bids::{path}"))
        self._add(made, _PROV.wasGeneratedBy, activity)
        self._add(self._dataset, _PROV.hadMember, made)
        for approach in facts.approaches:
            if approach in _MODALITIES:
                self._add(made, _NIDM.hadAcquisitionModality, _MODALITIES[approach])
                self._add(_MODALITIES[approach], RDFS.label, Literal(approach))
        algorithm, value = self._checksum(asset.path)
        term = _CRYPTO.sha256 if algorithm == "sha256" else _DANDI[algorithm]
        self._add(made, term, Literal(value))

    def _activity(self, *kind: str, session: str, person: URIRef) -> URIRef:
        """Return an acquisition of a session of a subject; ``kind`` begins with what it is and the subject."""
        whole = self._name("session", kind[1], session)
        self._add(whole, RDF.type, _NIDM.Session, _PROV.Activity)
        self._add(whole, _DCT.isPartOf, self._project)
        if session:
            self._add(whole, RDFS.label, Literal(session))
        activity = self._name(*kind)
        self._add(activity, RDF.type, _NIDM.Acquisition, _PROV.Activity)
        self._add(activity, _DCT.isPartOf, whole)
        association = BNode(uuid.uuid5(self._root, f"association {kind}").hex)
        self._add(activity, _PROV.qualifiedAssociation, association)
        self._add(association, RDF.type, _PROV.Association)
        self._add(association, _PROV.agent, person)
        self._add(association, _PROV.hadRole, _SIO.Subject)
        return activity

    def _provenance(self, version: str) -> None:
        """Say what wrote the document; no times, which would change it each time."""
        document, activity, software = self._name("document"), self._name("generation"), self._name("dandify")
        self._add(document, RDF.type, _PROV.Entity)
        self._add(document, RDFS.label, Literal("NIDM RDF document"))
        self._add(document, _DCT["format"], Literal("turtle"))
        self._add(document, _NFO.filename, Literal(PLACE.name))
        self._add(document, _PROV.wasGeneratedBy, activity)
        self._add(activity, RDF.type, _PROV.Activity)
        self._add(activity, _PROV.used, self._dataset)
        self._add(activity, _PROV.wasAssociatedWith, software)
        self._add(software, RDF.type, _PROV.SoftwareAgent)
        self._add(software, RDFS.label, Literal("dandify"))
        self._add(software, _SCHEMA.softwareVersion, Literal(version))

    def _name(self, *what: str) -> URIRef:
        return _NIIRI[str(uuid.uuid5(self._root, "\n".join(what)))]

    def _add(self, subject: Any, predicate: URIRef, *values: Any) -> None:
        for value in values:
            self._graph.add((subject, predicate, value))
