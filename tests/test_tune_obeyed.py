"""`convert` does what `dandify tune --apply` wrote, and says so; what was not measured is like what was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner

import dandify
from dandify.cli.main import main
from dandify.errors import BadRequest
from dandify.examples.run import write_recordings
from dandify.nwb.write import write_nwb
from dandify.project.config import read_config
from dandify.report.tune import prediction_lines, tuning_record
from dandify.runs import tune as runs_tune
from dandify.runs.materials import project_sessions
from dandify.runs.tune import predict, tune
from dandify.tuning.sampling import take_sample
from nwb_cases import ephys, recording

AP = "ElectricalSeriesAPImec0"


@pytest.fixture(scope="module", name="lab")
def _lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    write_recordings(two_mice := tmp_path_factory.mktemp("two mice"), seconds=0.6, channels=16)
    return two_mice


def config_of(lab: Path, path: Path, streams: str) -> Path:
    text = (lab / "dandify.yaml").read_text(encoding="utf-8").replace("[raw/", f"[{(lab / 'raw').as_posix()}/")
    path.write_text(f"{text}output:\n  streams:\n{streams}", encoding="utf-8")
    return path


def test_convert_says_what_it_obeys(lab: Path, tmp_path: Path) -> None:
    config = config_of(
        lab, tmp_path / "dandify.yaml",
        f"    {AP}: {{compression: 'gzip:isal', chunks: [3000, 8], transforms: [divide, recentre]}}\n"
        "    Image: {compression: blosc-lz4, chunks: [1, 4, 32, 32]}\n",
    )  # fmt: skip
    done = CliRunner().invoke(main, ["convert", str(config), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    said = [line for line in done.output.splitlines() if "as dandify.yaml says" in line]
    assert any(f"{AP} (gzip:isal, chunks 3000x8" in line for line in said)
    assert any(line.endswith(": blosc-lz4, chunks 1x4x32x32") for line in said)
    (manifest,) = [m for m in (tmp_path / "out").rglob("*.nwb.manifest.json") if "mouse01" in m.name]
    details = next(
        d["details"] for d in json.loads(manifest.read_text(encoding="utf-8"))["datasets"] if f"{AP}/data" in d["name"]
    )  # fmt: skip
    for name, why in details.get("transforms_left_out", {}).items():
        assert any(f"not {name}: {why}" in line for line in said)
    assert len(details["transforms"]) + len(details.get("transforms_left_out", ())) == 2


def test_a_dry_run_plans_images_as_dandify_yaml_says(lab: Path, tmp_path: Path) -> None:
    config = config_of(lab, tmp_path / "dandify.yaml", "    Image: {compression: blosc-lz4, chunks: [1, 4, 32, 32]}\n")
    report = dandify.convert(config=config, out=tmp_path / "out", dry_run=True)
    planned = report.sessions[0].planned
    assert planned is not None
    assert planned.images[0].levels[0].chunks == (1, 4, 32, 32)
    assert "lz4" in planned.images[0].encoder.lower()


def images(folder: Path, *, named: bool) -> Path:
    """Two image files of three axes and two of four, and a dandify.yaml."""
    rng = np.random.default_rng(3)
    for name, shape, axes in (("a", (6, 90, 100), "ZYX"), ("b", (7, 90, 100), "ZYX"), ("c", (2, 5, 90, 100), "CZYX"),
                              ("d", (2, 9, 90, 100), "CZYX")):  # fmt: skip
        said = {"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, "PhysicalSizeZ": 2.0, **({"Name": name} if named else {})}
        tifffile.imwrite(folder / f"{name}.ome.tif", rng.poisson(30, shape).astype("<u2"),
                         metadata={"axes": axes, **said})  # fmt: skip
    path = folder / "dandify.yaml"
    path.write_text(
        "subjects: {m1: {species: Mus musculus, sex: F, age: P90D}}\nsessions:\n"
        "  - {subject_id: m1, session_id: s1, sources: [a.ome.tif]}\n"
        "  - {subject_id: m1, session_id: s2, sources: [b.ome.tif]}\n"
        "  - {subject_id: m1, session_id: s3, sources: [c.ome.tif]}\n"
        "  - {subject_id: m1, session_id: s4, sources: [d.ome.tif]}\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("named", [True, False], ids=["named", "all of one name"])
def test_images_of_other_axes_are_tuned_apart(tmp_path: Path, named: bool) -> None:
    config = images(tmp_path, named=named)
    result = tune(config, budget=2, apply=config)
    assert len({s.name for s in result.streams}) == 2
    streams = read_config(config).output.streams
    report = dandify.convert(config=config, out=tmp_path / "out")
    assert [str(s.error) for s in report.failed] == []
    written = [w for s in report.sessions for w in s.written]
    assert len(written) == 4
    assert all(any("as dandify.yaml says" in note for note in w.notes) for w in written)
    stored = sum(w.datasets[0].stored_bytes for w in written)
    assert result.prediction is not None
    assert result.prediction.stored_bytes == pytest.approx(stored, rel=0.03)
    # the two that were measured and those that are like them; where all have one name, the larger ones
    assert len(streams) == (4 if named else 1)


def test_chunks_of_all_images_hold_for_those_of_as_many_axes(tmp_path: Path) -> None:
    config = images(tmp_path, named=True)
    with config.open("a", encoding="utf-8") as file:
        file.write("output: {streams: {Image: {compression: blosc-lz4, chunks: [2, 64, 64]}}}\n")
    report = dandify.convert(config=config, out=tmp_path / "out")
    assert [str(s.error) for s in report.failed] == []
    notes = [w.notes[-1] for s in report.sessions for w in s.written]
    assert len([n for n in notes if n.endswith("blosc-lz4, chunks 2x64x64")]) == 2
    assert len([n for n in notes if n.endswith("blosc-lz4")]) == 2


def test_a_stream_tuned_for_another_backend_is_named(lab: Path, tmp_path: Path) -> None:
    config = config_of(lab, tmp_path / "dandify.yaml", f"    {AP}: {{compression: 'gzip:isal', chunks: [3000, 8]}}\n")
    report = dandify.convert(config=config, out=tmp_path / "out", backend="zarr")
    (failed,) = report.failed
    assert f"({AP}): no compression 'gzip:isal' for backend zarr" in str(failed.error)


def test_the_prediction_with_apply_is_of_what_convert_writes(lab: Path, tmp_path: Path) -> None:
    config = config_of(lab, tmp_path / "dandify.yaml", "    Absent: {chunks: [5, 1]}\n")
    result = tune(lab / "raw/mouse01", budget=2, readers="python", ignore=["*.tif"])
    everything = project_sessions(config, backend="zarr")
    free, bound = predict(result, everything), predict(result, everything, written=True)
    assert free is not None
    assert bound is not None
    assert bound.by_convert
    rows = [result.best()[s.name] for s in result.streams if s.name in result.best()]
    assert free.by_convert == all(r.written for r in rows)
    assert free.stored_bytes <= bound.stored_bytes or free.by_convert
    assert any("convert does not write" in line for line in prediction_lines(replace(free, by_convert=False), result))


def test_nwb_files_of_another_backend_are_refused_before_they_are_measured(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.nwb"
    write_nwb(ephys(recording(), 70), path)
    config = config_of(lab, tmp_path / "dandify.yaml", "    Absent: {chunks: [5, 1]}\n")
    before = config.read_text(encoding="utf-8").replace("output:\n", "output:\n  backend: zarr\n")
    config.write_text(before, encoding="utf-8")
    monkeypatch.setattr(runs_tune, "tune_materials", None)
    with pytest.raises(BadRequest, match=r"a\.nwb is an NWB file of backend hdf5, and the sessions are to be zarr"):
        tune(path, budget=1, apply=config)
    assert config.read_text(encoding="utf-8") == before


def test_ctrl_c_while_a_sample_is_read_keeps_the_streams_before(
    lab: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []

    def stop(material: Any, *rest: Any, **more: Any) -> Any:
        taken.append(material.name)
        if len(taken) == 2:
            raise KeyboardInterrupt
        return take_sample(material, *rest, **more)

    monkeypatch.setattr("dandify.tuning.tune.take_sample", stop)
    config = config_of(lab, tmp_path / "dandify.yaml", "    Absent: {chunks: [5, 1]}\n")
    before = config.read_text(encoding="utf-8")
    done = CliRunner().invoke(main, ["tune", str(lab / "raw/mouse01"), "--budget", "1s", "--apply", str(config)])
    assert done.exit_code == 1
    assert "stopped; this is what was measured so far" in done.output
    assert taken[0] in done.output
    assert "best" in done.output
    assert "stopped before it was measured" in done.output
    assert "is as it was" in done.output
    assert config.read_text(encoding="utf-8") == before


ROW = {
    "name", "codec", "compression", "chunks", "transforms", "role", "ratio", "ratio_low", "ratio_high", "stored_bytes",
    "smaller_bytes", "files",
    "encode_mbs", "decode_mbs", "write_mbs", "prove_mbs", "by_engine", "reads", "figures", "readers", "written",
}  # fmt: skip
STREAM = {
    "name", "kind", "backend", "path", "shape", "dtype", "raw_bytes", "rate_hz", "rows", "tried", "windows",
    "touched_bytes", "histogram", "missing", "faults", "notes", "skipped", "best", "front", "why",
}  # fmt: skip
RESULT = {
    "schema", "streams", "objective", "readers", "seed", "budget_s", "archive", "workers", "seconds", "stopped",
    "prediction", "notes", "raw_bytes", "touched_bytes",
}  # fmt: skip
PREDICTION = {
    "sessions", "files", "raw_bytes", "stored_bytes", "default_bytes", "unmeasured_bytes", "write_s", "upload_s",
    "by_convert", "saved_bytes", "smaller_bytes", "read_bytes",
}  # fmt: skip


def test_the_json_has_these_fields(lab: Path) -> None:
    """Programs read them: a field that goes or changes its meaning raises the schema's number."""
    record = json.loads(json.dumps(tuning_record(tune(lab / "raw/mouse01", budget=1, ignore=["*.tif"]))))
    assert record["schema"] == 2
    assert set(record) == RESULT
    assert set(record["prediction"]) == PREDICTION
    assert all(set(stream) == STREAM for stream in record["streams"])
    stream = next(s for s in record["streams"] if s["rows"])
    assert set(stream["best"]) == {"balanced", "size", "speed", "read"}
    assert all(set(row) == ROW for row in stream["rows"])
    assert set(stream["rows"][0]["readers"]) == {"can", "cannot"}
    assert set(stream["rows"][0]["reads"][0]) == {"name", "requests", "stored_bytes", "local_s", "archive_s"}
    assert set(stream["windows"][0]) == {"start", "shape", "place", "weight"}


def test_a_stream_of_which_a_part_is_measured_has_windows_and_an_interval(tmp_path: Path) -> None:
    """Of one window, only its beginning would be measured: here the first half is quiet, and the second is not."""
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(0, s, (60_000, 64)) for s in (2, 90)]).astype("<i2")
    path = tmp_path / "a.nwb"
    write_nwb(ephys(values, 64), path, chunks={"ElectricalSeries": (3000, 64)})
    (stream,) = tune(path, budget=1.5).streams
    assert {"start", "end"} <= {w.place for w in stream.windows}
    with h5py.File(path) as file:
        whole = values.nbytes / file["acquisition/ElectricalSeries/data"].id.get_storage_size()
    for row in stream.rows:
        assert row.ratio_low is not None
        assert row.ratio_high is not None
        assert row.ratio_low <= row.ratio <= row.ratio_high
    default = stream.role("default")
    assert default is not None
    assert default.ratio == pytest.approx(whole, rel=0.15)
