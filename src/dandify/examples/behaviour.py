"""Writes a trials table and a camera video, as a behaviour rig leaves them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dandify.examples.spikeglx import trial_intervals_s
from dandify.store.partial import partial_output

_STIMULI = ("left grating", "right grating")
_HEADER = ("start_time", "stop_time", "stimulus", "choice", "correct", "reaction_time")

# What browsers play in an MP4. PyAV's wheels of all platforms are built with x264; VP9 is there if one is not.
_CODECS = (("libx264", {"crf": "28", "preset": "veryfast"}), ("libvpx-vp9", {"crf": "40", "b:v": "0", "cpu-used": "8"}))


def write_trials(path: Path, *, seed: int, seconds: float) -> Path:
    """Write a table of trials with NWB's column names; times in seconds from the start of the recording.

    Parameters
    ----------
    path
        The CSV.
    seed
        Of the animal's behaviour.
    seconds
        Length of the recording. The trials are those that the trial line of the SpikeGLX example shows; in every fifth
        the animal makes no choice, and reaction_time is empty.

    Returns
    -------
    Path
        ``path``.
    """
    random = np.random.default_rng(seed)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADER)
    for number, (start, stop) in enumerate(trial_intervals_s(seconds), 1):
        stimulus, other = _STIMULI[:: random.choice((1, -1))]
        reaction = min(random.gamma(6.0, 0.05), stop - start)
        choice = "none" if number % 5 == 0 else (stimulus if random.random() < 0.8 else other).split()[0]
        correct = str(stimulus.startswith(choice)).lower()
        writer.writerow([
            f"{start:.4f}", f"{stop:.4f}", stimulus, choice, correct, "" if choice == "none" else f"{reaction:.4f}",
        ])  # fmt: skip
    with partial_output(path, overwrite=True) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8", newline="")
    return path


def write_video(
    path: Path, *, seed: int, seconds: float = 5, rate_hz: int = 30, size: tuple[int, int] = (320, 240)
) -> Path:
    """Write an MP4 that browsers play, of a bright blob on a dim floor.

    The same arguments give the same bytes, with the same version of PyAV.

    Parameters
    ----------
    path
        The MP4.
    seed
        Of the blob's way.
    seconds, rate_hz
        Length, and frames in a second.
    size
        (width, height) in pixels, both even.

    Returns
    -------
    Path
        ``path``.
    """
    import av

    codec, options = next((name, options) for name, options in _CODECS if name in av.codecs_available)
    with (
        partial_output(path, overwrite=True) as partial,
        av.open(str(partial), "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream(codec, rate=rate_hz, options={**options, "threads": "1"})
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        for picture in _pictures(seed, max(1, round(seconds * rate_hz)), rate_hz, size):
            frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _pictures(seed: int, frames: int, rate_hz: int, size: tuple[int, int]) -> Any:
    """Yield pictures (height, width) uint8."""
    random = np.random.default_rng(seed)
    width, height = size
    phases, turns = random.uniform(0, 2 * np.pi, 2), random.uniform(0.15, 0.4, 2)
    floor = 40 + 12 * np.sin(np.arange(width) / 9)[None] * np.cos(np.arange(height) / 7)[:, None]
    x, y = np.arange(width)[None], np.arange(height)[:, None]
    for i in range(frames):
        centre: NDArray[np.float64] = 0.5 + 0.35 * np.sin(phases + 2 * np.pi * turns * i / rate_hz)
        blob = np.exp(-((x - centre[0] * width) ** 2 + (y - centre[1] * height) ** 2) / (2 * (height / 12) ** 2))
        yield (floor + 180 * blob).astype(np.uint8)
