"""Errors that say what was found, where, why, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


class DandifyError(Exception):
    """An error a person can act on: cause, file, place, remedy.

    Parameters
    ----------
    cause
        What was found and what was expected, one sentence.
    file
        The file or folder it is about.
    place
        Where in it: a line, a column, a stream, a byte, a page.
    remedy
        What to do, best a command.
    """

    exit_code = 1

    def __init__(
        self, cause: str, *, file: Path | str | None = None, place: str | None = None, remedy: str | None = None
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.file = None if file is None else str(file)
        self.place = place
        self.remedy = remedy

    def __str__(self) -> str:
        where = " ".join(part for part in (self.file, self.place and f"({self.place})") if part)
        text = f"{where}: {self.cause}" if where else self.cause
        return f"{text}\n  remedy: {self.remedy}" if self.remedy else text

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.cause, self.file, self.place, self.remedy))


def _rebuild(kind: type[DandifyError], cause: str, file: str | None, place: str | None, remedy: str | None) -> object:
    return kind(cause, file=file, place=place, remedy=remedy)


class BadSource(DandifyError):
    """A raw file that is damaged, truncated, or contradicts its companion."""


class UnknownFormat(DandifyError):
    """Nothing here that a converter knows."""


class OutputExists(DandifyError):
    """The output is there already and nobody asked to replace it."""


class VerificationFailed(DandifyError):
    """What was written does not decode to what was read."""


class BadRequest(DandifyError):
    """Options, metadata or configuration that cannot be carried out."""

    exit_code = 2


@dataclass(frozen=True)
class Need:
    """Something no file states and the user must supply.

    Attributes
    ----------
    key
        The metadata key, dotted: ``species``, ``pixel_size_um.z``.
    what
        What it is, in words, with the accepted form.
    remedy
        How to supply it.
    file
        The source that needs it; None where the session does.
    """

    key: str
    what: str
    remedy: str
    file: str | None = None


class MissingMetadata(BadRequest):
    """Required metadata are missing; all of them are listed at once.

    Attributes
    ----------
    needs
        The missing values, in the order in which they should be asked for.
    """

    def __init__(self, needs: Sequence[Need], *, where: str) -> None:
        self.needs = tuple(needs)
        self.where = where
        lines = "".join(
            f"\n  {n.key}: {n.what}{f' [{n.file}]' if n.file else ''}\n      {n.remedy}" for n in self.needs
        )
        super().__init__(f"{where} lacks {len(self.needs)} required value(s):{lines}")

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_missing, (self.needs, self.where))


def _rebuild_missing(needs: Sequence[Need], where: str) -> MissingMetadata:
    return MissingMetadata(needs, where=where)
