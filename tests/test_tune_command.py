"""`dandify tune`: what it opens, what it writes into dandify.yaml, and that `convert` obeys."""

from __future__ import annotations

import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr
from click.testing import CliRunner
from rich.console import Console

import dandify
from dandify.cli.main import main
from dandify.errors import BadRequest, BadSource, UnknownFormat
from dandify.examples.run import write_recordings
from dandify.ngff.write import write_ome_zarr
from dandify.nwb.request import StreamChoice
from dandify.nwb.write import write_nwb
from dandify.project.config import read_config
from dandify.project.tuned import TunedStream, write_tuned
from dandify.report.text import duration_short
from dandify.report.tune import prediction_lines, print_tuning
from dandify.runs.tune import parse_seconds, tune
from dandify.tuning.material import Archive
from dandify.tuning.result import Prediction, TuningResult
from nwb_cases import ephys, recording

VALUES = recording()
AP = "ElectricalSeriesAPImec0"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two mice, short recordings, and a dandify.yaml."""
    folder = tmp_path_factory.mktemp("lab")
    write_recordings(folder, seconds=0.6, channels=16)
    return folder


@pytest.fixture(scope="module")
def tuned(lab: Path) -> dandify.TuningResult:
    return tune(lab / "raw/mouse01", budget=2, backend="hdf5", workers=2)


def test_streams_have_the_names_that_convert_gives_them(tuned: Any, lab: Path, tmp_path: Path) -> None:
    report = dandify.convert(config=lab / "dandify.yaml", out=tmp_path / "out", stub=True)
    with h5py.File(report.sessions[0].plan.nwb) as file:
        there = set(file["acquisition"]) | set(file["processing/ecephys/LFP"])
    assert {s.name for s in tuned.streams} <= there
    assert AP in {s.name for s in tuned.streams}
    assert not any(s.backend == "ome-zarr" for s in tuned.streams)  # --backend hdf5


def test_of_a_session_with_recordings_images_alone_become_ome_zarr(lab: Path) -> None:
    result = tune(lab / "raw/mouse01", budget=0.5, backend="ome-zarr")
    assert [(s.name, s.kind) for s in result.streams] == [("light sheet", "Image")]
    with pytest.raises(BadRequest, match="for backend ome-zarr") as error:
        tune(lab / "raw/mouse01/mouse01_g0", budget=0.5, backend="ome-zarr")
    assert "becomes hdf5" in str(error.value)


def test_every_stream_has_a_best_row_or_a_reason(tuned: Any) -> None:
    assert all(s.best("balanced") is not None or s.skipped for s in tuned.streams)
    assert set(tuned.best()) == {s.name for s in tuned.streams if not s.skipped}
    assert {r["stream"] for r in tuned.to_table()} == set(tuned.best())
    assert tuned.touched_bytes <= sum(s.raw_bytes for s in tuned.streams)


def test_the_prediction_is_what_convert_writes(tuned: Any, lab: Path, tmp_path: Path) -> None:
    config = tmp_path / "dandify.yaml"
    text = (lab / "dandify.yaml").read_text(encoding="utf-8").replace("[raw/", f"[{(lab / 'raw').as_posix()}/")
    config.write_text(text, encoding="utf-8")
    result = tune(lab / "raw/mouse01", budget=2, backend="hdf5", apply=config, workers=2)
    assert result.prediction is not None
    assert result.prediction.sessions == 2
    report = dandify.convert(config=config, out=tmp_path / "out")
    best = result.best()
    written = {d.path_in_file: d for d in report.sessions[0].written[0].datasets}
    with h5py.File(report.sessions[0].plan.nwb) as file:
        for place, dataset in written.items():
            if place.split("/")[-2] not in best:
                continue
            row = best[place.split("/")[-2]]
            assert file[place].chunks == tuple(map(min, row.chunks, file[place].shape))
            assert dataset.stored_bytes == pytest.approx(row.stored_bytes, rel=0.02, abs=300)
            assert file[place].shuffle is not row.compression.endswith("-plain")  # type: ignore[union-attr]
    names = {place.split("/")[-2] for place in written}
    assert AP in names
    stored = sum(d.stored_bytes for s in report.sessions for w in s.written[:1] for d in w.datasets)
    assert result.prediction.stored_bytes == pytest.approx(stored, rel=0.05)
    manifest = json.loads(Path(report.sessions[0].written[0].manifest).read_text(encoding="utf-8"))
    wanted = read_config(config).output.streams[AP].transforms
    (found,) = [d for d in manifest["datasets"] if d["name"].endswith(f"{AP}/data")]
    assert {t["name"] for t in found["details"].get("transforms", [])} <= set(wanted)


def test_tune_json_and_html_of_the_command_line(lab: Path, tmp_path: Path) -> None:
    source = str(lab / "raw/mouse01/mouse01_g0/mouse01_g0_imec0")
    page = tmp_path / "tuned.html"
    done = CliRunner().invoke(
        main, ["tune", source, "--budget", "1s", "--json", "--objective", "size", "--html", str(page)]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert_opens_offline(page)
    record = json.loads(done.stdout)
    assert record["objective"] == "size"
    stream = next(s for s in record["streams"] if s["name"].startswith("ElectricalSeriesAP"))
    assert stream["best"]["size"] in [row["name"] for row in stream["rows"]]
    assert all(len(row["reads"]) == 3 for row in stream["rows"])
    assert record["prediction"]["sessions"] == 1


def test_a_page_in_a_folder_that_is_not_there_is_refused_before_anything_is_measured(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dandify, "tune", lambda *_, **__: pytest.fail("it was measured"))
    done = CliRunner().invoke(main, ["tune", str(lab / "raw/mouse01"), "--html", str(tmp_path / "not/x.html")])
    assert done.exit_code
    assert "its folder is not there" in done.output + str(done.exception)


class _Page(HTMLParser):
    """Notes what a page asks for from elsewhere, its words, and whether its tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.from_elsewhere: list[str] = []
        self.tags: Counter[str] = Counter()
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.from_elsewhere += [f"{tag} {k}={v}" for k, v in attrs if k in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def assert_opens_offline(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    page = _Page()
    page.feed(text)
    assert not page.open
    assert not page.from_elsewhere
    assert "script" not in page.tags
    assert "url(" not in text
    assert page.tags["circle"] >= 4
    assert page.tags["rect"] > 50
    assert "best" in page.words
    assert "bits by themselves" in page.words
    assert path.stat().st_size < 1_000_000


def test_the_table_of_the_command_line_names_the_best_and_who_reads_it(lab: Path) -> None:
    done = CliRunner().invoke(main, ["tune", str(lab / "raw/mouse01"), "--budget", "1s", "--ignore", "*.bin"])
    assert done.exit_code == 0, done.output
    assert "best" in done.output
    assert re.search(r"you would save .* of ", done.output)
    assert "Neuroglancer" in done.output
    assert "50 ms a request and 30 MB/s" in done.output


def test_no_figure_is_cut_off_in_a_terminal_of_80_columns(tuned: dandify.TuningResult) -> None:
    said = io.StringIO()
    print_tuning(tuned, Console(file=said, width=80, force_terminal=True, color_system=None))
    assert "…" not in said.getvalue()
    assert max(len(line) for line in said.getvalue().splitlines() if "─" in line) <= 80
    assert str(round(tuned.streams[0].rows[0].ratio, 2)) in said.getvalue()


@pytest.mark.parametrize(("write_s", "said"), [
    (0.4, "Writing takes about 400 ms on 2 cores, not verified; uploading"),
    (100.0, "Writing takes about 1:40 on 2 cores, not verified, if disks keep up (1500 MB/s read, 400 written); "),
])  # fmt: skip
def test_the_prediction_says_what_disks_must_give(write_s: float, said: str) -> None:
    result = TuningResult((), "balanced", "any", 0, 1.0, Archive(), 2, 1.0)
    prediction = Prediction(3, 0, 10**11, 4e10, 5e10, 0, write_s, 1e4, read_bytes=15 * 10**10)
    lines = prediction_lines(prediction, result)
    assert any(line.startswith(said) for line in lines), lines
    assert any("you would save 60 GB of 100 GB" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 us"), (4.3e-5, "43 us"), (9.996e-4, "1 ms"), (0.1234, "123 ms"), (0.9996, "1 s"), (1.25, "1.2 s"),
     (99.6, "100 s")],
)  # fmt: skip
def test_durations_have_two_digits_and_a_unit(seconds: float, said: str) -> None:
    assert duration_short(seconds) == said


LAYOUTS = {
    "no-output": "metadata: {lab: X}  # ours\nsessions:\n  # the first\n  - {subject_id: '001', sources: [a]}\n",
    "block": (
        "output:   # how\n  backend: hdf5  # for MATLAB\n  ngff: '0.4'\n\n# then\nsessions:\n"
        '  - subject_id: "001"\n    metadata: {session_start_time: 2026-03-01T14:30:00+01:00}\n    sources: [a]\n'
    ),
    "flow": "output: {ngff: '0.4'}\nsessions:\n- {subject_id: m1, sources: [a]}   # odd   spaces\n",
    "streams": (
        "sessions: [{subject_id: m1, sources: [a]}]\noutput:\n    streams:\n        # by hand\n"
        "        Other: {chunks: [5]}\n        # dandify tune 2020-01-01: old\n        AP: {compression: gzip}\n"
        "        # after\n        Last:\n            chunks: [1,\n              2]\n"
    ),
    "flow-streams": "sessions: [{subject_id: m1, sources: [a]}]\noutput:\n  streams: {Other: {chunks: [5]}}\n",
    "windows": "sessions: [{subject_id: m1, sources: [a]}]\r\n# end\r\n",
}
AP_TUNED = TunedStream("gzip:planar", (30_000, 2), ("divide",), "2026-11-27: 3.43 times smaller")
LIGHT = TunedStream("blosc-zstd", (1, 64, 64, 64), (), "2026-11-27: 2.1 times smaller")


@pytest.mark.parametrize("name", list(LAYOUTS))
def test_apply_keeps_every_other_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dandify.yaml"
    path.write_bytes(LAYOUTS[name].encode())
    write_tuned(path, {"AP": AP_TUNED, "light sheet: 1": LIGHT})
    text = path.read_bytes().decode()
    streams = read_config(path).output.streams
    assert (streams["AP"].compression, streams["AP"].chunks) == ("gzip:planar", [30_000, 2])
    assert streams["AP"].transforms == ["divide"]
    assert streams["light sheet: 1"].chunks == [1, 64, 64, 64]
    assert set(streams) - {"AP", "light sheet: 1"} == {k for k in ("Other", "Last") if f"{k}:" in LAYOUTS[name]}
    new = text.splitlines()
    assert new[next(i for i, line in enumerate(new) if "AP: {" in line) - 1].strip() == (
        "# dandify tune 2026-11-27: 3.43 times smaller"
    )
    assert "2020-01-01" not in text
    if "flow" not in name:
        kept = [line for line in LAYOUTS[name].splitlines() if "AP" not in line and "2020" not in line]
        assert [line for line in new if line in kept] == kept
    assert text.count("\r\n") == (text.count("\n") if name == "windows" else 0)
    write_tuned(path, {"AP": AP_TUNED, "light sheet: 1": LIGHT})  # again: the same file
    assert path.read_bytes().decode() == text
    assert not list(tmp_path.glob("*.partial"))


def test_apply_says_the_backend_where_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "dandify.yaml"
    path.write_text(LAYOUTS["block"], encoding="utf-8")
    write_tuned(path, {"AP": AP_TUNED}, backend="hdf5")
    assert "backend: hdf5  # for MATLAB" in path.read_text(encoding="utf-8")
    write_tuned(path, {"AP": AP_TUNED}, backend="zarr")
    assert read_config(path).output.backend == "zarr"


def test_a_damaged_config_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "dandify.yaml"
    path.write_text("sessions: []\n", encoding="utf-8")
    with pytest.raises(BadRequest, match="no sessions are listed"):
        write_tuned(path, {"AP": AP_TUNED})
    assert path.read_text(encoding="utf-8") == "sessions: []\n"


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_streams_of_write_nwb(tmp_path: Path, backend: str) -> None:
    choice = StreamChoice("gzip:isal-plain" if backend == "hdf5" else "blosc-lz4-bytes", (700, 35), ("recentre",))
    path = tmp_path / ("a.nwb" if backend == "hdf5" else "a.nwb.zarr")
    report = write_nwb(
        ephys(VALUES, 70), path, backend=backend, streams={"ElectricalSeries": choice, "absent": choice}
    )  # fmt: skip
    assert report.verified
    if backend == "hdf5":
        with h5py.File(path) as file:
            data = file["acquisition/ElectricalSeries/data"]
            assert (data.chunks, data.shuffle, data.compression) == ((700, 35), False, "gzip")
    else:
        data = zarr.open(str(path), "r")["acquisition/ElectricalSeries/data"]
        assert (data.chunks, data.compressor.cname, data.compressor.shuffle) == ((700, 35), "lz4", 1)


def test_streams_that_cannot_be_are_refused_by_name(tmp_path: Path) -> None:
    for choice, words in ((StreamChoice("rar"), "no compression 'rar'"), (StreamChoice(chunks=(5,)), "chunks 5")):
        with pytest.raises(BadRequest, match=words):
            write_nwb(ephys(VALUES, 70), tmp_path / "a.nwb", streams={"ElectricalSeries": choice})
    assert not (tmp_path / "a.nwb").exists()


@pytest.mark.parametrize("backend", ["hdf5", "zarr"])
def test_nwb_files_are_tuned(tmp_path: Path, backend: str) -> None:
    path = tmp_path / ("a.nwb" if backend == "hdf5" else "a.nwb.zarr")
    write_nwb(ephys(VALUES, 70), path, backend=backend)
    (stream,) = tune(path, budget=1).streams
    assert (stream.name, stream.kind, stream.backend) == ("ElectricalSeries", "ElectricalSeries", backend)
    assert stream.rows
    assert stream.touched_bytes >= VALUES.nbytes


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr_is_tuned(tmp_path: Path, version: str) -> None:
    pixels = np.random.default_rng(1).poisson(30, (2, 20, 96, 80)).astype("<u2")
    path = tmp_path / "brain.ome.zarr"
    write_ome_zarr(pixels, path, axes="czyx", scale={"z": 2, "y": 1, "x": 1}, version=version)
    (stream,) = tune(path, budget=1).streams
    assert (stream.name, stream.backend, stream.shape) == ("brain", "ome-zarr", pixels.shape)
    best = stream.best("size")
    assert best is not None
    report = write_ome_zarr(
        pixels, tmp_path / "again.ome.zarr", axes="czyx", scale={"z": 2, "y": 1, "x": 1}, chunks=best.chunks,
        compression=best.compression or "", version="0.4",
    )  # fmt: skip
    assert report.datasets[0].stored_bytes == pytest.approx(best.stored_bytes, rel=0.02)


def test_what_cannot_be_tuned_is_named(tmp_path: Path, lab: Path) -> None:
    (tmp_path / "notes.txt").write_text("no recording", encoding="utf-8")
    cases: list[tuple[type[Exception], str, Any, dict[str, Any]]] = [
        (BadRequest, "no such file", tmp_path / "absent", {}),
        (BadRequest, "nothing here", tmp_path / "notes.txt", {}),
        (BadRequest, "no arrays of 64 KiB", lab / "raw/mouse01/trials.csv", {}),
        (BadRequest, "leave --backend out", lab / "raw/mouse01/brain.ome.tif", {"backend": "hdf5"}),
        (BadRequest, "no backend", lab / "raw/mouse01", {"backend": "tape"}),
        (BadRequest, "is no time", lab / "raw/mouse01", {"budget": "soon"}),
    ]
    for kind, words, source, options in cases:
        with pytest.raises((kind, BadSource, UnknownFormat), match=words):
            tune(source, **options)
    broken = tmp_path / "broken.nwb"
    broken.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(BadSource, match="cannot open it"):
        tune(broken)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("5min", 300), (2, 2), ("1.5", 1.5)])
def test_budgets(text: Any, seconds: float) -> None:
    assert parse_seconds(text) == seconds
