"""The table of species, held against dandi's own list and against NCBI Taxonomy itself."""

from __future__ import annotations

import pytest

from dandify.project.species import find_species, nearest_species, species_table


def test_there_are_many_and_each_is_there_once() -> None:
    table = species_table().values()
    assert len(table) > 900
    assert len({s.taxon for s in table}) == len(table)
    names = [name.lower() for s in table for name in (s.name, *s.synonyms)]
    assert len(set(names)) == len(names)


def test_dandi_has_the_same_ids() -> None:
    from dandi.metadata.util import species_map

    for record in species_map:
        assert species_table()[record.scientific_name].url == record.uri


@pytest.mark.slow
def test_ncbi_taxonomy_has_the_same_ids_and_names() -> None:
    """Every row, against the taxonomy that taxoniq ships; none of our numbers was written by hand."""
    reason = "pip install taxoniq (NCBI Taxonomy, 400 MB)"
    taxoniq = pytest.importorskip("taxoniq", reason=reason)
    plain = {"Arabidopsis thaliana", "Bacillus subtilis", "Chlamydomonas reinhardtii", "Dictyostelium discoideum",
             "Dionaea muscipula", "Escherichia coli", "Mimosa pudica", "Paramecium caudatum", "Paramecium tetraurelia",
             "Physarum polycephalum", "Saccharomyces cerevisiae", "Schizosaccharomyces pombe", "Stentor coeruleus",
             "Tetrahymena thermophila"}  # fmt: skip
    for species in species_table().values():
        taxon = taxoniq.Taxon(scientific_name=species.name)
        assert taxon.tax_id == species.taxon, species.name
        assert taxon.rank.name in ("species", "subspecies"), species.name
        try:
            assert taxon.common_name == species.common
        except taxoniq.NoValue:
            assert species.common is None
        # an animal, and not a plant or a bacterium of the same name
        assert (taxoniq.Taxon(33208) in taxon.lineage) == (species.name not in plain), species.name
        for old in species.synonyms:
            with pytest.raises(KeyError):
                taxoniq.Taxon(scientific_name=old)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mus musculus", "Mus musculus"),
        ("mus  Musculus", "Mus musculus"),
        ("Mus musculus - House mouse", "Mus musculus"),
        ("http://purl.obolibrary.org/obo/NCBITaxon_9823", "Sus scrofa"),
        ("https://purl.obolibrary.org/obo/NCBITaxon_9823/", "Sus scrofa"),
        ("Loligo pealei", "Doryteuthis pealeii"),
        # dandi 0.81 takes whatever begins with "mus" for a mouse, and every Caenorhabditis for C. elegans
        ("Mustela putorius furo", "Mustela putorius furo"),
        ("Musca domestica", "Musca domestica"),
        ("Caenorhabditis briggsae", "Caenorhabditis briggsae"),
        ("http://purl.obolibrary.org/obo/NCBITaxon_1", None),
        ("mouse", None),
        ("", None),
    ],
)
def test_names_that_are_found(text: str, name: str | None) -> None:
    found = find_species(text)
    assert (found and found.name) == name


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("mouse", "Mus musculus"), ("Rat", "Rattus norvegicus"), ("macaque", "Macaca mulatta"),
        ("ferret", "Mustela putorius furo"), ("Zebrafish", "Danio rerio"), ("fly", "Drosophila melanogaster"),
        ("Drosofila melanogaster", "Drosophila melanogaster"), ("pig", "Sus scrofa"),
        ("Xenopus", "Xenopus laevis"),
    ],
)  # fmt: skip
def test_what_may_be_meant(text: str, first: str) -> None:
    assert nearest_species(text)[0] == first
    assert len(nearest_species(text)) <= 3


def test_nothing_is_near_to_nothing() -> None:
    assert nearest_species("qqqqq") == ()
