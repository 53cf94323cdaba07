"""Promises of a converter about detection and opening, and all of the contract in one call."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from dandify.errors import DandifyError
from dandify.sources import Converter, Source, Verdict
from dandify.testing.case import Case, Check
from dandify.testing.observe import differences, files_of, imitate, opened_files, sample_bytes, snapshot
from dandify.testing.sources import SOURCE_CHECKS

OPEN_SECONDS = 20.0  # headers of the largest sessions are read in a few seconds; samples are not
OPEN_BYTES = 2**20  # times of a few blocks may be looked at, samples not


def check_converter(
    converter: Converter,
    sample: Path | str,
    *,
    others: Sequence[Path | str] = (),
    options: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Check, ...]:
    """Try every promise of the contract; nothing is raised, and nothing is written beside the sample.

    Parameters
    ----------
    converter
        What is tried.
    sample
        A recording of its format: the acquisition, or any file of it.
    others
        Recordings of other formats, which it must refuse.
    options
        What `Converter.open` is to be given.
    """
    sample = Path(os.path.abspath(sample))
    before = snapshot(sample)
    checks = [_try("its class attributes say what it is", lambda: attributes(converter))]
    checks.append(_try("claim looks at names only", lambda: claim_opens_nothing(converter, sample)))
    root = _root(converter, sample)
    if root is None:
        found = "no file of the sample is claimed and identified; " + _verdicts(converter, sample)
        return (*checks, Check("it knows its own sample", False, found))
    checks.append(Check("it knows its own sample", True))
    case = Case(converter, sample, root, tuple(Path(os.path.abspath(o)) for o in others), options)
    checks.append(_try("it refuses the samples of others", lambda: refuses_others(case)))
    checks.append(_try("it never raises on junk, and refuses it", lambda: survives_junk(case)))
    opened: list[Source] = []
    checks.append(_try("open reads headers only", lambda: open_is_cheap(case, opened)))
    if opened:
        source = opened[0]
        checks += [_try(name, lambda check=check: check(case, source)) for name, check in SOURCE_CHECKS.items()]  # type: ignore[misc]  # mypy infers no type for a lambda with a default
    changed = _try("the sample is left as it was", lambda: differences(before, snapshot(sample)))
    return (*checks, changed)


def attributes(converter: Converter) -> Iterator[str]:
    """Yield what is wrong with the class attributes."""
    for name in ("name", "title", "looks_like", "becomes"):
        value = getattr(converter, name, None)
        if not isinstance(value, str) or not value.strip():
            yield f"{name} is {value!r}, not a text"
    if not str(getattr(converter, "name", "")).isidentifier():
        yield "name is no identifier"
    for name in ("patterns", "requires"):
        value = getattr(converter, name, None)
        if not isinstance(value, tuple) or not all(isinstance(v, str) and v for v in value):
            yield f"{name} is {value!r}, not a tuple of texts"
    if not getattr(converter, "patterns", None):
        yield "patterns are missing"
    if not isinstance(converter.priority, int):
        yield f"priority is {converter.priority!r}, not an integer"


def claim_opens_nothing(converter: Converter, sample: Path) -> Iterator[str]:
    """Yield what `claim` opens, or raises on a path that does not exist."""
    for file in files_of(sample)[:50]:
        with opened_files() as opened:
            converter.claim(file)
        yield from (f"claim({file.name}) opens {name}" for name in opened)
        absent = Path(file.anchor) / "no-such-folder" / file.relative_to(sample.parent)
        try:
            converter.claim(absent)
        except Exception as error:  # whatever it is, it breaks the promise
            yield f"claim raises {error!r} on a path that does not exist"


def refuses_others(case: Case) -> Iterator[str]:
    """Yield samples of other formats that are taken for this one."""
    for other in case.others:
        for root in _roots(case.converter, other):
            if verdict := case.converter.identify(root):
                yield f"says yes to {root}: {verdict.reason}"


def survives_junk(case: Case) -> Iterator[str]:
    """Yield what goes wrong on empty files, random bytes, folders and truncated files under the sample's names."""
    random = np.random.default_rng(0)
    contents: dict[str, Callable[[bytes], bytes | None]] = {
        "empty files": lambda head: b"",
        "random bytes": lambda head: random.bytes(len(head) or 100),
        "folders in place of files": lambda head: None,
        "truncated files": lambda head: head[: len(head) // 2],
    }
    for what, content in contents.items():
        with tempfile.TemporaryDirectory() as folder:
            root = imitate(case.root, Path(folder), content)
            try:
                verdict = case.converter.identify(root)
            except Exception as error:  # whatever it is, it breaks the promise
                yield f"identify raises {error!r} on {what}"
                continue
            if not isinstance(verdict, Verdict) or not verdict.reason:
                yield f"identify gives {verdict!r} on {what}, not a verdict with a reason"
            elif verdict and what != "truncated files":
                yield f"identify says yes to {what}: {verdict.reason}"
            elif verdict:
                try:
                    case.converter.open(root, case.options)
                except DandifyError:
                    pass
                except Exception as error:  # the user would see a traceback
                    yield f"open raises {error!r} on {what}, not an error with cause, file and remedy"


def open_is_cheap(case: Case, opened: list[Source]) -> Iterator[str]:
    """Yield what `open` reads or how long it takes; put what it returns into ``opened``."""
    begin = time.perf_counter()
    with sample_bytes() as read:
        source = case.converter.open(case.root, case.options)
    seconds = time.perf_counter() - begin
    if not isinstance(source, Source):
        yield f"open returns {type(source).__name__}, not a Source"
        return
    opened.append(source)
    if read[0] > OPEN_BYTES:
        yield f"open reads {read[0]} bytes of samples"
    if seconds > OPEN_SECONDS:
        yield f"open takes {seconds:.1f} s"


def _try(name: str, check: Callable[[], Iterator[str]]) -> Check:
    try:
        messages = list(check())
    except Exception as error:  # a check that cannot be carried out is a promise not kept
        messages = [f"{type(error).__name__}: {error}"]
    return Check(name, not messages, "; ".join(dict.fromkeys(messages[:5])))


def _roots(converter: Converter, sample: Path) -> list[Path]:
    claimed = [converter.claim(p) for p in dict.fromkeys([sample, *files_of(sample)])]
    return list(dict.fromkeys(Path(os.path.abspath(root)) for root in claimed if root is not None))


def _root(converter: Converter, sample: Path) -> Path | None:
    for root in _roots(converter, sample):
        try:
            if converter.identify(root):
                return root
        except Exception:  # told by `_verdicts`
            continue
    return None


def _verdicts(converter: Converter, sample: Path) -> str:
    told = []
    for root in _roots(converter, sample)[:5]:
        try:
            told.append(f"{root.name}: {converter.identify(root).reason}")
        except Exception as error:  # the message is what it is about
            told.append(f"{root.name}: identify raises {error!r}")
    return "; ".join(told) or f"none of its names fits {', '.join(converter.patterns)}"
