"""The page of `dandify tune --html`: figures drawn as SVG here, tables, no script, and nothing from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from html import escape
from math import ceil, floor, log10
from pathlib import Path

from dandify.errors import BadRequest
from dandify.report import text
from dandify.report.text import duration_short as short
from dandify.report.tune import ROLES, prediction_lines, ranges, readers_of_rows, sample_line
from dandify.tuning.result import Row, StreamResult, TuningResult

_WIDTH, _HEIGHT = 760, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 20, 48
_BAR = 2.6  # width of a byte's value in a histogram
_BARS_HEIGHT = 90
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --faint: #8a97a6; --line: #d5dce4; --page: #ffffff; --best: #c2410c;
  --front: #1d6fb8; --soft: #f3f6f9; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6ebf1; --faint: #8795a5; --line: #37424f; --page: #151b22;
  --best: #fb923c; --front: #60a5fa; --soft: #1e2630; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 1180px;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.4rem; border-top: 1px solid var(--line);
  padding-top: 1.2rem; } h1, h2, p { overflow-wrap: anywhere; }
p.small, td, th, figcaption { font-size: 13px; } p.small, figcaption { color: var(--faint); }
.total { background: var(--soft); padding: .8rem 1rem; border-radius: 6px; }
div.wide { overflow-x: auto; margin: 1rem 0; } table { border-collapse: collapse; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; vertical-align: bottom; } .t { text-align: left; } tr.best td { background: var(--soft);
  font-weight: 600; }
.words td { white-space: normal; } figure { margin: 1rem 0; } svg { max-width: 100%; height: auto; }
svg text { fill: var(--ink); font-size: 12px; }
@media (max-width: 600px) { svg text { font-size: 20px; } }  /* figures are drawn at half their size there */
.axis { stroke: var(--line); } .dot { fill: var(--faint); } .tried { fill: var(--line); } .front { fill: var(--front); }
.best { fill: var(--best); } .bar { fill: var(--front); }
.way { fill: none; stroke: var(--front); stroke-dasharray: 4 3; }
"""


def write_html(result: TuningResult, path: Path) -> Path:
    """Write the page, whole or not at all.

    Parameters
    ----------
    result
        Of `dandify.tune`.
    path
        Of the page; replaced if it is there.

    Raises
    ------
    BadRequest
        If its folder is not there.
    """
    require_folder(path)
    temporary = path.with_name(path.name + ".partial")
    temporary.write_text(page_of(result), encoding="utf-8")
    os.replace(temporary, path)
    return path


def require_folder(path: Path) -> None:
    """Refuse a page in a folder that is not there: before anything is measured for it.

    Raises
    ------
    BadRequest
        If it is not there.
    """
    if not path.absolute().parent.is_dir():
        raise BadRequest("its folder is not there", file=path, remedy=f"make it first: mkdir {path.parent}")


def page_of(result: TuningResult) -> str:
    """Give the page as text."""
    parts = [
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>dandify tune</title><style>{_STYLE}</style></head><body>", "<h1>What suits these data</h1>",
    ]  # fmt: skip
    if result.stopped:
        parts.append('<p class="total">Stopped before the end: this is what was measured so far.</p>')
    if result.prediction is not None:
        lines = "<br>".join(map(escape, prediction_lines(result.prediction, result)))
        parts.append(f'<p class="total">{lines}</p>')
    parts.append(
        f'<p class="small">Objective {escape(result.objective)}, readers {escape(result.readers)}, seed {result.seed}; '
        f"read {text.size(result.touched_bytes)} of {text.size(result.raw_bytes)}; archive: {result.archive}; "
        f"{text.count(result.workers, 'core')}; measured in {text.duration(result.seconds)}.</p>"
    )
    parts += [f'<p class="small">{escape(line)}.</p>' for line in result.notes]
    for stream in result.streams:
        parts += _stream(stream, result)
    parts.append("</body></html>")
    return "\n".join(parts) + "\n"


def _stream(stream: StreamResult, result: TuningResult) -> Iterator[str]:
    shape = " x ".join(map(str, stream.shape))
    yield f"<h2>{escape(stream.name)}</h2>"
    yield (
        f'<p class="small">{escape(stream.kind)} {shape} {escape(stream.dtype)}, {text.size(stream.raw_bytes)}, for '
        f"{stream.backend}; {escape(str(stream.path))}</p>"
    )
    if stream.skipped:
        yield f"<p>{escape(stream.skipped)}</p>"
        return
    for sentence in stream.why(result.objective) or ():
        yield f"<p>{escape(sentence)}</p>"
    best = stream.best(result.objective)
    if stream.rows:
        yield _scatter(stream, best)
        yield _table(stream, best)
        yield _readers(stream)
    yield f'<p class="small">{escape(sample_line(stream))}.</p>'
    for line in (*stream.missing, *stream.notes):
        yield f'<p class="small">{escape(line)}</p>'
    for fault in stream.faults:
        yield f"<p><strong>Not bit-identical, a bug: {escape(fault.candidate)}</strong>: {escape(fault.what)}</p>"
    if stream.histogram:
        yield _histogram(stream)


def _scatter(stream: StreamResult, best: Row | None) -> str:
    """Size against speed, both logarithmic; the front is joined."""
    tried = [(t.encode_mbs, 100 / t.ratio, t.name) for t in stream.tried]
    xs = [r.encode_mbs for r in stream.rows] + [x for x, _, _ in tried]
    ys = [100 / r.ratio for r in stream.rows] + [y for _, y, _ in tried]
    across, up = _Scale(xs, _LEFT, _WIDTH - _RIGHT), _Scale(ys, _HEIGHT - _BOTTOM, _TOP)
    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img" aria-label="size against speed">']
    for tick in across.ticks():
        x = across(tick)
        parts.append(f'<line class="axis" x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in up.ticks():
        y = up(tick)
        parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g} %</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">MB/s of one core, encoding</text>')
    for x, y, name in tried:
        parts.append(_dot(across(x), up(y), 2.5, "tried", f"{name}: {100 / y:.2f}, {x:.0f} MB/s, not to the end"))
    front = stream.front
    joined = sorted(_unbeaten(front), key=lambda r: r.encode_mbs)
    line = " ".join(f"{across(r.encode_mbs):.1f},{up(100 / r.ratio):.1f}" for r in joined)
    parts.append(f'<polyline class="way" points="{line}"/>')
    for row in stream.rows:
        kind = "best" if row is best else "front" if row in front else "dot"
        title = f"{row.name}: {row.ratio:.2f}, {row.encode_mbs:.0f} MB/s a core, {row.write_mbs:.0f} MB/s on all"
        parts.append(_dot(across(row.encode_mbs), up(100 / row.ratio), 7 if row is best else 5, kind, title))
        if row.role or row is best:
            label = ", ".join(filter(None, ["best" if row is best else "", ROLES[row.role]]))
            x = across(row.encode_mbs)
            side = "end" if x > _WIDTH * 0.8 else "start"
            shift = -10 if side == "end" else 10
            parts.append(
                f'<text x="{x + shift:.1f}" y="{up(100 / row.ratio) - 8:.1f}" text-anchor="{side}">{label}</text>'
            )
    parts.append("</svg>")
    caption = (
        "Stored size in per cent of raw against encoding speed: lower and further right is better. Blue rows are "
        "beaten by none in size, writing and reading at once, those joined not in the first two alone; pale dots were "
        "given up early."
    )
    return f"<figure>{''.join(parts)}<figcaption>{caption}</figcaption></figure>"


def _unbeaten(rows: Sequence[Row]) -> list[Row]:
    """Rows that none beats in size and speed of encoding, as measured."""
    return [
        r for r in rows
        if not any(o.ratio >= r.ratio and o.encode_mbs >= r.encode_mbs and o is not r for o in rows)
    ]  # fmt: skip


def _dot(x: float, y: float, radius: float, kind: str, title: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{escape(title)}</title></circle>'


class _Scale:
    """A logarithmic axis from the values on it to pixels."""

    def __init__(self, values: Sequence[float], low: float, high: float) -> None:
        plain = [max(1e-6, v) for v in values]
        self.first, self.last = log10(min(plain)) - 0.04, log10(max(plain)) + 0.04
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        share = (log10(max(1e-6, value)) - self.first) / (self.last - self.first)
        return self.low + share * (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round numbers within the axis: 1, 2 and 5 of each decade, more where that gives fewer than three."""
        for steps in ((1,), (1, 2, 5), (1, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9), tuple(k / 10 for k in range(10, 100))):
            decades = range(floor(self.first), ceil(self.last) + 1)
            found = [s * 10.0**d for d in decades for s in steps if self.first <= log10(s * 10.0**d) <= self.last]
            if len(found) >= 3:
                return found[:: max(1, ceil(len(found) / 8))]
        return found


def _table(stream: StreamResult, best: Row | None) -> str:
    """Two tables, of which none is wider than a page: what rows become, and what reading them costs."""
    size_heads = (
        '<th>#</th><th class="t"></th><th class="t">chunks</th><th class="t">codec</th><th class="t">transforms</th>'
        "<th>ratio</th><th>95 %</th><th>size</th><th>files</th><th>encode<br>MB/s a core</th>"
        "<th>decode<br>MB/s a core</th><th>write<br>MB/s, all cores</th>"
    )
    read_heads = "<th>#</th>" + "".join(
        f"<th>{escape(r.name)}<br>requests; disk / archive</th>" for r in stream.rows[0].reads
    )
    sizes, reads = (
        f'<div class="wide"><table><tr>{heads}</tr>{"".join(found)}</table></div>'
        for heads, found in (
            (size_heads, (_size_row(n, row, stream, best) for n, row in enumerate(stream.rows, 1))),
            (read_heads, (_read_row(n, row, best) for n, row in enumerate(stream.rows, 1))),
        )
    )
    return sizes + reads


def _readers(stream: StreamResult) -> str:
    """Who can and who cannot read what rows make."""
    head = '<tr><th class="t">rows</th><th class="t">can read it</th><th class="t">cannot read it</th></tr>'
    rows = "".join(
        f'<tr><td class="t">{ranges(numbers)}</td><td class="t">{escape(", ".join(readers.can))}</td>'
        f'<td class="t">{escape(", ".join(readers.cannot)) or "nobody that was tried"}</td></tr>'
        for numbers, readers in readers_of_rows(stream.rows)
    )
    return f'<div class="wide words"><table>{head}{rows}</table></div>'


def _size_row(number: int, row: Row, stream: StreamResult, best: Row | None) -> str:
    marks = ["best" if row is best else "front" if row in stream.front else "", ROLES[row.role]]
    marks.append("" if row.written or row.role else "measured only")
    interval = "" if row.ratio_low is None else f"{row.ratio_low:.2f} to {row.ratio_high:.2f}"
    words = [", ".join(filter(None, marks)), "x".join(map(str, row.chunks)), row.codec, ", ".join(row.transforms)]
    numbers = [
        f"{row.ratio:.2f}", interval, text.size(row.stored_bytes), str(row.files), f"{row.encode_mbs:.0f}",
        f"{row.decode_mbs:.0f}", f"{row.write_mbs:.0f}",
    ]  # fmt: skip
    cells = [f'<td class="t">{escape(word)}</td>' for word in words] + [f"<td>{figure}</td>" for figure in numbers]
    return _row(number, cells, marked=row is best)


def _read_row(number: int, row: Row, best: Row | None) -> str:
    cells = [
        f"<td>{r.requests:.0f}; {short(r.local_s)} / {short(r.archive_s)}</td>" for r in row.reads
    ]  # fmt: skip
    return _row(number, cells, marked=row is best)


def _row(number: int, cells: Sequence[str], *, marked: bool) -> str:
    return f"<tr{' class=best' if marked else ''}><td>{number}</td>{''.join(cells)}</tr>"


def _histogram(stream: StreamResult) -> str:
    """How often each value of each byte occurs: what an encoder of bytes can use."""
    figures = []
    for number, counts in enumerate(stream.histogram):
        total, most = sum(counts), max(counts)
        bars = "".join(_bar(value, count / most, count / total) for value, count in enumerate(counts) if count)
        entropy = -sum(c / total * log10(c / total) for c in counts if c) / log10(2)
        name = "lowest" if number == 0 else "highest" if number == len(stream.histogram) - 1 else f"number {number}"
        width = 256 * _BAR
        figures.append(
            f'<figure><svg viewBox="0 0 {width:.0f} {_BARS_HEIGHT + 18}" width="{width:.0f}" role="img" '
            f'aria-label="histogram of bytes">{bars}<text x="0" y="{_BARS_HEIGHT + 14}">0</text>'
            f'<text x="{width:.0f}" y="{_BARS_HEIGHT + 14}" text-anchor="end">255</text></svg>'
            f"<figcaption>Values of the {name} byte in the sample: {entropy:.2f} bits by themselves.</figcaption>"
            "</figure>"
        )
    return "".join(figures)


def _bar(value: int, height: float, share: float) -> str:
    place = f'x="{value * _BAR:.1f}" y="{_BARS_HEIGHT * (1 - height):.2f}"'
    size = f'width="{_BAR - 0.5:.1f}" height="{_BARS_HEIGHT * height:.2f}"'
    return f'<rect class="bar" {place} {size}><title>{value}: {share:.2%}</title></rect>'
