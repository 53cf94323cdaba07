"""The contract's tests find what they are there for: converters that break one promise each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources import Array, Channel, Converter, RawArray, Source, Stream, Verdict
from dandify.store.region import Region
from dandify.testing import check, check_converter, sources

Edit = Callable[[Source], Source]
INT16 = np.dtype("<i2")
HERE = Path(__file__).resolve()


class Acme(Converter):
    """One header line, then interleaved int16: keeps every promise."""

    name = "acme"
    title = "Acme recorder"
    patterns = ("*.acme",)
    looks_like = "NAME.acme"
    becomes = "TimeSeries"

    def identify(self, path: Path) -> Verdict:
        if not path.is_file():
            return Verdict(False, "no file")
        with path.open("rb") as file:
            yes = file.read(5) == b"ACME "
        return Verdict(yes, "its first word")

    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        with path.open("rb") as file:
            header = file.readline()
        samples, rest = divmod(path.stat().st_size - len(header), 8)
        if rest or not samples:
            raise BadSource("is cut off", file=path)
        array = RawArray(path, np.dtype("<i2"), samples, 4, header_bytes=len(header))
        stream = Stream(
            name="Acme", kind="TimeSeries", axes=("t", "c"), array=array, rate_hz=1000.0, unit="volts",
            channels=tuple(Channel(f"ch{i}") for i in range(4)),
        )  # fmt: skip
        return Source(format="acme", path=path, files=(path,), streams=(stream,), facts={"device": "Acme"})


def edited(edit: Edit) -> Converter:
    class Edited(Acme):
        def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
            return edit(super().open(path))

    return Edited()


def stream(**fields: Any) -> Edit:
    return lambda source: replace(source, streams=(replace(source.streams[0], **fields),))


def array(make: Callable[[RawArray], Array]) -> Edit:
    return lambda source: stream(array=make(source.streams[0].array))(source)  # type: ignore[arg-type]  # Acme's is raw


@dataclass(frozen=True, eq=False)
class Wrapped(Array):
    whole: RawArray
    dtype: np.dtype[Any] = INT16
    block: tuple[int, ...] = (10, 4)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.whole.shape

    def read(self, region: Region) -> NDArray[Any]:
        return self.whole[region]


class Unpicklable(Wrapped):
    def __reduce__(self) -> Any:
        raise TypeError("it holds a lock")


class Shifted(Wrapped):
    def read(self, region: Region) -> NDArray[Any]:
        return self.whole[region] + np.int16(region[0].start)


class Floats(Wrapped):
    def read(self, region: Region) -> NDArray[Any]:
        return self.whole[region].astype("f4")


class Shared(Wrapped):
    """Has a place in the file that all threads move."""

    place: ClassVar[list[int]] = [0]

    def read(self, region: Region) -> NDArray[Any]:
        self.place[0] = region[0].start
        time.sleep(0.0005)
        length = region[0].stop - region[0].start
        first = min(self.place[0], self.shape[0] - length)
        return self.whole[first : first + length, region[1]]


kept_open: list[Any] = []


class KeepsOpen(Wrapped):
    def read(self, region: Region) -> NDArray[Any]:
        kept_open.append(self.whole.path.open("rb"))
        return self.whole[region]


class Greedy(Acme):
    def identify(self, path: Path) -> Verdict:
        return Verdict(path.exists(), "it is there")


class Fragile(Acme):
    def identify(self, path: Path) -> Verdict:
        return Verdict(path.read_bytes()[0] == ord("A"), "its first letter")


class Curious(Acme):
    def claim(self, path: Path) -> Path | None:
        if path.exists():
            path.read_bytes()
        return super().claim(path)


class Rude(Acme):
    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        if path.stat().st_size % 8 != 14 % 8:
            raise ValueError("cannot reshape array")
        return super().open(path)


class Untidy(Acme):
    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        path.with_suffix(".index").write_text("cached")
        return super().open(path)


class Nameless(Acme):
    title = ""
    patterns = "*.acme"  # type: ignore[assignment]  # the mistake that is to be found


class Reading(Acme):
    def open(self, path: Path, options: Mapping[str, Any] = MappingProxyType({})) -> Source:
        source = super().open(path)
        assert source.streams[0].array is not None
        source.streams[0].array[:]
        return source


BROKEN: dict[str, tuple[str, Converter, str]] = {
    "attributes": ("its class attributes say what it is", Nameless(), "patterns is '*.acme', not a tuple"),
    "claim": ("claim looks at names only", Curious(), "opens"),
    "others": ("it refuses the samples of others", Greedy(), "says yes to"),
    "junk": ("it never raises on junk, and refuses it", Greedy(), "says yes to random bytes"),
    "fragile": ("it never raises on junk, and refuses it", Fragile(), "IndexError"),
    "rude": ("it never raises on junk, and refuses it", Rude(), "ValueError('cannot reshape array') on truncated"),
    "reads": ("open reads headers only", Reading(), "bytes of samples"),
    "axes": ("its streams are consistent", edited(stream(axes=("t",))), "1 axes and shape"),
    "kind": ("its streams are consistent", edited(stream(kind="Series")), "kind 'Series'"),
    "channels": ("its streams are consistent", edited(stream(channels=(Channel("a"),))), "1 channels"),
    "shape": ("its streams are consistent", edited(stream(shape=(5, 4))), "that of its array"),
    "same-name": (
        "its streams are consistent",
        edited(lambda s: replace(s, streams=s.streams * 2)),
        "two streams are called 'Acme'",
    ),
    "facts": ("its facts are known ones", edited(lambda s: replace(s, facts={"colour": "red"})), "'colour'"),
    "absent-fact": ("its facts are known ones", edited(lambda s: replace(s, facts={"device": ""})), "is absent"),
    "format": ("its facts are known ones", edited(lambda s: replace(s, format="acne")), "'acne'"),
    "relative": ("its files are there", edited(lambda s: replace(s, files=(Path("a.acme"),))), "not absolute"),
    "absent": ("its files are there", edited(lambda s: replace(s, files=(s.path.with_name("b"),))), "does not exist"),
    "elsewhere": ("its files are there", edited(lambda s: replace(s, files=(HERE,))), "lies outside"),
    "pickle": ("it can be pickled", edited(array(Unpicklable)), "it holds a lock"),
    "regions": ("regions equal slices of the whole", edited(array(Shifted)), "is not the slice of a larger read"),
    "dtype": ("regions equal slices of the whole", edited(array(Floats)), "float32, not"),
    "threads": ("eight threads read the same", edited(array(Shared)), "from 8 threads differ"),
    "block": ("blocks are sensible", edited(array(lambda a: Wrapped(a, block=(0, 4)))), "does not lie in"),
    "block-axes": ("blocks are sensible", edited(array(lambda a: Wrapped(a, block=(4,)))), "block (4,)"),
    "handles": ("no file stays open", edited(array(KeepsOpen)), "a.acme is still open"),
    "no-rate": ("it becomes a valid NWB file", edited(stream(rate_hz=None)), "neither a rate nor times"),
    "untidy": ("the sample is left as it was", Untidy(), "a.index was written"),
}  # fmt: skip


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / "a.acme"
    path.write_bytes(b"ACME 4 1000.0\n" + np.random.default_rng(0).integers(-99, 99, 4000, "<i2").tobytes())
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    (tmp_path / "other").mkdir()
    path = tmp_path / "other" / "b.acme"
    path.write_bytes(b"BCME 4 1000.0\n")
    return path


def test_a_converter_that_keeps_the_contract_passes(sample: Path, other: Path) -> None:
    checks = check_converter(Acme(), sample, others=[other])
    assert not [c for c in checks if not c.ok]


@pytest.mark.parametrize(("name", "converter", "message"), BROKEN.values(), ids=BROKEN)
def test_each_broken_promise_is_named(
    sample: Path, other: Path, name: str, converter: Converter, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "OPEN_BYTES", 1000)  # the sample is small
    checks = check_converter(converter, sample, others=[other])
    for file in kept_open:
        file.close()
    kept_open.clear()
    (found,) = [c for c in checks if c.name == name]
    assert not found.ok
    assert message in found.message


def test_every_promise_has_a_converter_that_breaks_it() -> None:
    named = {name for name, _, _ in BROKEN.values()} | {"it knows its own sample"}
    assert set(sources.SOURCE_CHECKS) <= named


def test_a_sample_that_is_not_known_is_told_with_the_reason(other: Path) -> None:
    *_, last = check_converter(Acme(), other)
    assert (last.name, last.ok) == ("it knows its own sample", False)
    assert "b.acme: its first word" in last.message


def test_a_folder_is_searched_for_the_acquisition(sample: Path) -> None:
    (sample.parent / "notes.txt").write_text("nothing")
    assert all(c.ok for c in check_converter(Acme(), sample.parent))


def test_names_of_checks_are_distinct(sample: Path) -> None:
    names = [c.name for c in check_converter(Acme(), sample)]
    assert all(len(list(group)) == 1 for _, group in itertools.groupby(sorted(names)))
