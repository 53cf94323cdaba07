"""Pages of TIFF files as one array: uncompressed rows straight from the file, other pages decoded strip by strip."""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dandify.errors import BadSource
from dandify.sources.contract import Array
from dandify.sources.gather import gather_into
from dandify.sources.tiff_header import Header, Page, read_header
from dandify.store.region import Region, extent

_AGAIN = "copy the file again from the microscope's computer"
_NONE = -1
_NATIVE = "<" if sys.byteorder == "little" else ">"


class PageRef(NamedTuple):
    """Where a page lies.

    Attributes
    ----------
    file
        Index of its file; -1 for a plane that no file holds, whose values are 0.
    ifd
        Byte of its directory; -1: the first of the file, which is read when the page is.
    data
        Byte of its first value if it is one uncompressed run, else -1.
    order
        Byte order of the values, ``<`` or ``>``.
    """

    file: int
    ifd: int
    data: int
    order: str


@dataclass(frozen=True, eq=False)
class TiffPages(Array):
    """Pages of one or several TIFF files: leading axes, then y and x.

    Parameters
    ----------
    files
        The files.
    pages
        In C order of the leading axes; where there is a channel axis and pages have samples, one for each group of
        samples.
    leading
        Lengths of the axes before y and x. That of the channel axis counts the samples.
    height, width
        Pixels of each page.
    dtype
        Native type of the values; files of the other byte order are converted.
    samples
        Values of each pixel of a page.
    channel_axis
        Which of the leading axes goes over the samples; None if pages have one sample.
    planar
        The samples of a page lie apart.
    rows
        Of a page that can be read by themselves: 1 of runs of bytes; those of a strip, or of a row of tiles, else.
    """

    files: tuple[Path, ...]
    pages: tuple[PageRef, ...]
    leading: tuple[int, ...]
    height: int
    width: int
    dtype: np.dtype[Any]
    samples: int = 1
    channel_axis: int | None = None
    planar: bool = False
    rows: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., y, x)."""
        return (*self.leading, self.height, self.width)

    @property
    def form(self) -> tuple[int, int, int, str]:
        """Height, width, samples and type of every page."""
        return (self.height, self.width, self.samples, self.dtype.name)

    @property
    def block(self) -> tuple[int, ...]:
        """Those rows of one page that can be read by themselves."""
        leading = (self.samples if i == self.channel_axis else 1 for i in range(len(self.leading)))
        return (*leading, self.rows, self.width)

    def read(self, region: Region) -> NDArray[Any]:
        """Read the rows of the pages that a region touches.

        Raises
        ------
        dandify.errors.BadSource
            If a file has become shorter, a page is damaged, or is not of this array's size and type.
        """
        out = np.empty(extent(region), self.dtype)
        self.read_into(region, out)
        return out

    def read_into(self, region: Region, out: NDArray[Any]) -> None:
        """Read into an array; raises as `read` does."""
        with _Reader(self) as reader:
            if self.samples == 1 and out.flags.c_contiguous and extent(region[-1:]) == (self.width,):
                self._read_rows(reader, region, out)
            else:
                gather_into(out, region, self.leading, self.samples, self.channel_axis, reader.fill)

    def _read_rows(self, reader: _Reader, region: Region, out: NDArray[Any]) -> None:
        """Read whole rows of pages of one sample: of each page a run of bytes, unless it has to be decoded."""
        lead, rows, columns = region[:-2], region[-2], region[-1]
        numbers = np.arange(math.prod(self.leading)).reshape(self.leading)[lead].reshape(-1)
        planes = out.reshape(-1, rows.stop - rows.start, self.width)
        for number, plane in zip(numbers.tolist(), planes, strict=True):
            if not reader.fill_run(plane, number, rows):
                reader.fill(plane[..., None], number, rows, columns, slice(0, 1))


class _Reader:
    """Reads pages one after the other; the file of the last one stays open until the read is done."""

    def __init__(self, array: TiffPages) -> None:
        self.array = array
        self.open: tuple[Path, BinaryIO] | None = None
        self.decoder: tuple[Path, Any] | None = None

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *_: object) -> None:
        for held in (self.open, self.decoder):
            if held is not None:
                held[1].close()
        self.open = self.decoder = None

    def fill_run(self, target: NDArray[Any], index: int, rows: slice) -> bool:
        """Put whole rows of a page into ``target`` (y, x) if they lie in the file as they would in memory."""
        array, ref = self.array, self.array.pages[index]
        if ref.file < 0 or ref.data < 0 or ref.order != _NATIVE:
            return False
        path = array.files[ref.file]
        try:
            _into(self._file(path), target, ref.data + rows.start * array.width * array.dtype.itemsize)
        except (OSError, EOFError) as error:
            raise _unread(path, ref, error) from None
        return True

    def fill(self, target: NDArray[Any], index: int, rows: slice, columns: slice, samples: slice) -> None:
        """Put a part of a page into ``target`` (y, x, samples)."""
        ref = self.array.pages[index]
        if ref.file < 0:
            target[...] = 0
            return
        path = self.array.files[ref.file]
        if ref.ifd < 0:
            page = read_header(path, pages=1).first
            require_form(path, page, self.array.form)
            ref = ref_of(page, ref.file)
        if ref.data >= 0:
            try:
                self._raw(self._file(path), ref, target, rows, columns, samples)
            except (OSError, EOFError) as error:
                raise _unread(path, ref, error) from None
            return
        try:
            self._decoded(self._tiff(path), ref, target, rows, columns, samples)
        except (OSError, ArithmeticError, ValueError, RuntimeError, LookupError, TypeError, struct.error) as error:
            message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise BadSource(
                f"cannot be decoded: {message}", file=path, place=_page_at(path, ref.ifd), remedy=_AGAIN
            ) from None

    def _file(self, path: Path) -> BinaryIO:
        if self.open is None or self.open[0] != path:
            self.__exit__()
            self.open = (path, path.open("rb", buffering=0))
        return self.open[1]

    def _tiff(self, path: Path) -> Any:
        """Return a handle of this read's own: tifffile's pages are not safe to share between threads."""
        import tifffile

        if self.decoder is None or self.decoder[0] != path:
            self.__exit__()
            self.decoder = (path, tifffile.TiffFile(path))
        return self.decoder[1]

    def _raw(
        self, file: BinaryIO, ref: PageRef, target: NDArray[Any], rows: slice, columns: slice, samples: slice
    ) -> None:
        array = self.array
        stored = array.dtype.newbyteorder(ref.order)  # type: ignore[arg-type]  # "<" or ">"
        inner = 1 if array.planar else array.samples
        count = rows.stop - rows.start
        for plane in range(samples.start, samples.stop) if array.planar else (0,):
            start = (plane * array.height + rows.start) * array.width * inner
            whole = columns.stop - columns.start == array.width
            if whole and inner == 1 and array.samples == 1 and stored.isnative and target.flags.c_contiguous:
                _into(file, target, ref.data + start * stored.itemsize)
                return
            if (
                not whole and inner * array.width * array.dtype.itemsize > 2**16
            ):  # long rows, of which few bytes are wanted
                values = np.empty((count, columns.stop - columns.start, inner), stored)
                for i in range(count):
                    _into(
                        file,
                        values[i],
                        ref.data + (start + (i * array.width + columns.start) * inner) * stored.itemsize,
                    )
            else:
                values = np.empty((count, array.width, inner), stored)
                _into(file, values, ref.data + start * stored.itemsize)
                values = values[:, columns]
            if array.planar:
                target[..., plane - samples.start] = values[..., 0]
            else:
                target[...] = values[..., samples]

    def _decoded(
        self, tif: Any, ref: PageRef, target: NDArray[Any], rows: slice, columns: slice, samples: slice
    ) -> None:
        import tifffile

        tif.filehandle.seek(ref.ifd)
        page = tifffile.TiffPage(tif, index=0)
        for number in _segments(page, rows, columns, samples if self.array.planar else slice(0, 1)):
            tif.filehandle.seek(page.dataoffsets[number])
            data = tif.filehandle.read(page.databytecounts[number]) if page.databytecounts[number] else None
            if data is not None and len(data) < page.databytecounts[number]:
                raise ValueError("the file ends in it")
            values, where, shape = page.decode(data, number, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
            _place(target, values, where, shape, (rows, columns, samples), page)


def _page_at(path: Path, ifd: int) -> str:
    """Name the page whose directory begins at a byte, by its number if the file can still be read so far."""
    with suppress(BadSource):
        number = next((i for i, page in enumerate(read_header(path).pages, start=1) if page.ifd == ifd), None)
        if number is not None:
            return f"page {number}"
    return f"page at byte {ifd}"


ABSENT = PageRef(_NONE, _NONE, _NONE, "<")


def ref_of(page: Page, file: int) -> PageRef:
    """Where a page of the file with that index lies."""
    return PageRef(file, page.ifd, page.data, page.order)


def require_form(path: Path, page: Page, form: tuple[int, int, int, str], *, place: str = "page 1") -> None:
    """Refuse a page that is not of the size and type of the others.

    Raises
    ------
    dandify.errors.BadSource
        If it is not.
    """
    if page.form != form:
        raise BadSource(
            f"is {_words(page.form)}; the pages of this image are {_words(form)}", file=path, place=place,
            remedy="move it to another folder if it does not belong to the image, else export it again",
        )  # fmt: skip


def _unread(path: Path, ref: PageRef, error: Exception) -> BadSource:
    return BadSource(f"cannot be read: {error}", file=path, place=_page_at(path, ref.ifd), remedy=_AGAIN)


def tiff_pages(
    files: Iterable[tuple[Path, Page] | None], *, leading: tuple[int, ...], channel_axis: int | None = None
) -> TiffPages:
    """Make an array of pages in C order of the leading axes.

    Parameters
    ----------
    files
        Each page with its file; None for one that no file holds.
    leading
        Lengths of the leading axes in pages: without samples.
    channel_axis
        Which of the leading axes the samples of a page go along; with several samples it must be given.
    """
    planes = list(files)
    found = [plane for plane in planes if plane is not None]
    paths = tuple(dict.fromkeys(path for path, _ in found))
    number = {path: i for i, path in enumerate(paths)}
    first = found[0][1]
    for other, page in found:
        if page.form != first.form:
            require_form(other, page, first.form, place=_page_at(other, page.ifd))
        if page.planar != first.planar:
            raise BadSource("has its samples in another order than the first page", file=other)
    samples = first.samples
    if samples == 1:
        channel_axis = None
    return TiffPages(
        paths,
        tuple(ABSENT if plane is None else ref_of(plane[1], number[plane[0]]) for plane in planes),
        tuple(n * samples if i == channel_axis else n for i, n in enumerate(leading)),
        first.height,
        first.width,
        first.dtype,
        samples,
        channel_axis,
        first.planar,
        _rows({page.rows for _, page in found}, first.height),
    )


def _rows(found: set[int], height: int) -> int:
    """Rows that can be read by themselves of pages that differ in it; strips of runs of bytes are no limit."""
    return min(math.lcm(*found), height)


def runs(header: Header, count: int) -> list[Page]:
    """Pages of a file with one directory for several planes that follow each other, as ImageJ writes them over 4 GB.

    Raises
    ------
    dandify.errors.BadSource
        If the file is too short for them.
    """
    from dataclasses import replace

    first = header.first
    end = first.data + count * first.nbytes
    if end > header.size:
        raise BadSource(
            f"is cut off: {count} planes end at byte {end}, the file has {header.size}", file=header.path,
            place=f"plane {(header.size - first.data) // first.nbytes + 1}", remedy=_AGAIN,
        )  # fmt: skip
    return [replace(first, data=first.data + i * first.nbytes) for i in range(count)]


def _into(file: BinaryIO, values: NDArray[Any], offset: int) -> None:
    file.seek(offset)
    view = memoryview(values.reshape(-1).view(np.uint8))  # type: ignore[arg-type]  # NumPy's stubs before Python 3.12
    while view:
        got = file.readinto(view)  # type: ignore[attr-defined]  # an unbuffered file has it
        if not got:
            raise EOFError("it ends within a page")
        view = view[got:]


def _segments(page: Any, rows: slice, columns: slice, planes: slice) -> Iterator[int]:
    """Numbers of the strips or tiles that hold a part of a page."""
    if page.is_tiled:
        high, wide = page.tilelength, page.tilewidth
    else:
        high, wide = min(page.rowsperstrip, page.imagelength), page.imagewidth
    down, across = -(-page.imagelength // high), -(-page.imagewidth // wide)
    for plane in range(planes.start, planes.stop):
        for y in range(rows.start // high, -(-rows.stop // high)):
            for x in range(columns.start // wide, -(-columns.stop // wide)):
                yield (plane * down + y) * across + x


def _place(
    target: NDArray[Any], values: Any, where: Any, shape: Any, wanted: tuple[slice, slice, slice], page: Any
) -> None:
    """Put a decoded strip or tile (1, y, x, samples) where it belongs in ``target`` (y, x, samples)."""
    rows, columns, samples = wanted
    plane, _, top, left, _ = where
    bottom, right = min(top + shape[1], page.imagelength), min(left + shape[2], page.imagewidth)
    y0, y1 = max(rows.start, top), min(rows.stop, bottom)
    x0, x1 = max(columns.start, left), min(columns.stop, right)
    inner = slice(plane - samples.start, plane - samples.start + 1) if page.planarconfig == 2 else slice(None)
    part = target[y0 - rows.start : y1 - rows.start, x0 - columns.start : x1 - columns.start, inner]
    if values is None:  # a strip that was never written
        part[...] = page.nodata
        return
    chosen = slice(0, 1) if page.planarconfig == 2 else samples
    part[...] = values[0, y0 - top : y1 - top, x0 - left : x1 - left, chosen]


def _words(form: tuple[int, int, int, str]) -> str:
    height, width, samples, dtype = form
    return f"{height} x {width} {dtype}{f' with {samples} samples' if samples > 1 else ''} (height x width)"
