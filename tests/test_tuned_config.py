"""`dandify tune --apply` on files of dandify.yaml as people have them: what is theirs stays, to the byte."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dandify.errors import BadRequest
from dandify.project.config import read_config
from dandify.project.tuned import TunedStream, write_tuned

AP = TunedStream("gzip:planar", (30_000, 2), ("divide",), "2026-11-27: 3.43 times smaller")
MARK = "# dandify tune 2026-11-27: 3.43 times smaller"
ENTRY = 'AP: {compression: "gzip:planar", chunks: [30000, 2], transforms: [divide]}'
SESSIONS = "sessions: [{subject_id: m1, sources: [a]}]"

STREAMS = "output:\n  streams:\n"
OTHER = f"    # of B\n    B: {{chunks: [5]}}\n{SESSIONS}\n"
MICE = "subjects: {m1: &mouse {species: Mus musculus}, m2: *mouse}\n"
NARROW = f"{MICE}{STREAMS}    B: &narrow {{chunks: [5, 1]}}\n    C: *narrow  # the same\n"
NESTED = """\
sessions:
- subject_id: m1
  sources:
  - path: a
    options:
      x: |
        # text
    metadata: {}
  - b
"""
KEPT = {
    "no end of the last line": (
        f"{SESSIONS}\noutput:\n  streams:\n    B: {{chunks: [5]}}",
        f"{SESSIONS}\noutput:\n  streams:\n    B: {{chunks: [5]}}\n    {MARK}\n    {ENTRY}\n",
    ),
    "no output and no end": (
        f"# lab\n{SESSIONS}",
        f"# lab\n{SESSIONS}\noutput:\n  streams:\n    {MARK}\n    {ENTRY}\n",
    ),
    "empty lines at the end": (f"{SESSIONS}\n\n\n", f"{SESSIONS}\n\n\noutput:\n  streams:\n    {MARK}\n    {ENTRY}\n"),
    "tabs in comments": (
        f"#\ttabs\there\n{SESSIONS} # and\there\n",
        f"#\ttabs\there\n{SESSIONS} # and\there\noutput:\n  streams:\n    {MARK}\n    {ENTRY}\n",
    ),
    "line ends of both kinds": (
        f"# one\r\n# two\n{SESSIONS}\r\n",
        f"# one\r\n# two\n{SESSIONS}\r\noutput:\r\n  streams:\r\n    {MARK}\r\n    {ENTRY}\r\n",
    ),
    "anchors elsewhere": (f"{NARROW}{SESSIONS}\n", f"{NARROW}    {MARK}\n    {ENTRY}\n{SESSIONS}\n"),
    "a comment behind": (
        f"output:\n  streams:\n    AP: {{compression: gzip}}  # MATLAB: '#1'\n{SESSIONS}\n",
        f"output:\n  streams:\n    {MARK}\n    {ENTRY}  # MATLAB: '#1'\n{SESSIONS}\n",
    ),
    "comments within": (
        f"{STREAMS}    AP:   # the probe\n      compression: gzip\n      # asked by Ann\n      chunks: [5, 1]\n{OTHER}",
        f"{STREAMS}    # the probe\n    # asked by Ann\n    {MARK}\n    {ENTRY}\n{OTHER}",
    ),
    "nested sources": (
        f"output:\n  backend: hdf5\n{NESTED}",
        f"output:\n  backend: hdf5\n  streams:\n    {MARK}\n    {ENTRY}\n{NESTED}",
    ),
}


@pytest.mark.parametrize("name", list(KEPT))
def test_what_is_theirs_stays_to_the_byte(tmp_path: Path, name: str) -> None:
    before, after = KEPT[name]
    path = tmp_path / "dandify.yaml"
    path.write_bytes(before.encode())
    for _ in range(2):  # tuned again, nothing changes
        write_tuned(path, {"AP": AP})
        assert path.read_bytes().decode() == after
    assert read_config(path).output.streams["AP"].chunks == [30_000, 2]


REFUSED = {
    "braces": "{sessions: [{subject_id: m1, sources: [a]}]}\n",
    "the end of the document": f"{SESSIONS}\n...\n",
    "an anchor that would go": (
        f"output:\n  streams:\n    AP: &narrow {{chunks: [5, 1]}}\n    C: *narrow\n{SESSIONS}\n"
    ),
    "merged keys": f"output:\n  streams:\n    <<: {{AP: {{chunks: [5, 1]}}}}\n{SESSIONS}\n",
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_no_line_can_be_put_into_is_left_alone_and_said_how(tmp_path: Path, name: str) -> None:
    path = tmp_path / "dandify.yaml"
    path.write_text(REFUSED[name], encoding="utf-8")
    with pytest.raises(BadRequest) as caught:
        write_tuned(path, {"AP": AP})
    assert ENTRY in str(caught.value)
    assert path.read_text(encoding="utf-8") == REFUSED[name]
    assert [p.name for p in tmp_path.iterdir()] == ["dandify.yaml"]


@pytest.mark.skipif(os.name == "nt", reason="links and modes are those of POSIX")
def test_a_link_stays_one_and_the_mode_too(tmp_path: Path) -> None:
    real = tmp_path / "shared.yaml"
    real.write_text(f"{SESSIONS}\n", encoding="utf-8")
    real.chmod(0o664)
    link = tmp_path / "dandify.yaml"
    link.symlink_to(real)
    write_tuned(link, {"AP": AP})
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o664
    assert ENTRY in real.read_text(encoding="utf-8")
