"""Species by name, offline: NCBI Taxonomy's ids, Latin and common names of those that neuroscience works with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final

TAXON_URL: Final = re.compile(r"https?://purl\.obolibrary\.org/obo/NCBITaxon_(\d+)/?")
_URL: Final = "http://purl.obolibrary.org/obo/NCBITaxon_"


@dataclass(frozen=True)
class Species:
    """A species, or a subspecies that has a name of its own in the field.

    Attributes
    ----------
    taxon
        Its number in NCBI Taxonomy.
    name
        Its Latin name there.
    common
        Its common name there; None if it has none.
    synonyms
        Latin names it had before, which papers still use.
    words
        What people call it. They are no names: ``rat`` is several species.
    """

    taxon: int
    name: str
    common: str | None
    synonyms: tuple[str, ...] = ()
    words: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The NCBITaxon URL, as DANDI identifies species."""
        return f"{_URL}{self.taxon}"

    @property
    def title(self) -> str:
        """Latin and common name, as DANDI writes them: ``Mus musculus - House mouse``."""
        return f"{self.name} - {self.common[:1].upper()}{self.common[1:]}" if self.common else self.name


@cache
def species_table() -> Mapping[str, Species]:
    """Return every species that is known by name, the usual ones of each group first.

    The rows are those of ``species.tsv``. Numbers, Latin names and common names are NCBI Taxonomy's of September 2024;
    ``tests/test_project_species.py`` says how they are compared with it.
    """
    text = files("dandify.project").joinpath("species.tsv").read_text(encoding="utf-8")
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    return MappingProxyType({
        name: Species(int(taxon), name, common or None, _parts(synonyms), _parts(words))
        for taxon, name, common, synonyms, words in rows
    })  # fmt: skip


def find_species(text: str) -> Species | None:
    """Return the species of a Latin name, old ones too, or of an NCBITaxon URL; None if it is not in the table.

    A common name finds nothing: it may mean several species, and nobody should guess which.
    """
    if found := TAXON_URL.fullmatch(text.strip()):
        return _by_taxon().get(int(found[1]))
    return _by_name().get(_plain(text.partition(" - ")[0]))


def nearest_species(text: str, count: int = 3) -> tuple[str, ...]:
    """Return the Latin names that may be meant, the likeliest first: by common name or genus, else by spelling."""
    wanted = _plain(text)
    words = _by_word()
    if wanted in words:
        return words[wanted][:count]
    if of_genus := [name for name in species_table() if name.partition(" ")[0].lower() == wanted]:
        return tuple(of_genus[:count])
    near = get_close_matches(wanted, words, n=count, cutoff=0.75)
    return tuple(dict.fromkeys(name for word in near for name in words[word][:1]))


@cache
def _by_name() -> Mapping[str, Species]:
    return {_plain(name): s for s in species_table().values() for name in (s.name, *s.synonyms)}


@cache
def _by_taxon() -> Mapping[int, Species]:
    return {s.taxon: s for s in species_table().values()}


@cache
def _by_word() -> Mapping[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for s in species_table().values():
        for word in dict.fromkeys(map(_plain, (s.name, s.common or s.name, *s.synonyms, *s.words))):
            found.setdefault(word, []).append(s.name)
    return {word: tuple(names) for word, names in found.items()}


def _plain(text: str) -> str:
    return " ".join(text.lower().split())


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split("; ") if part)
