"""What all pages of the archive share: the frame, the style sheet, and the script of a filter."""

from __future__ import annotations

import zlib
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --accent: #1a6fb0; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 0 auto; padding: 0 1.2rem 4rem; }
header { border-bottom: 1px solid var(--line); margin-bottom: 1.5rem; padding: .8rem 0; font-weight: 600; }
header small { font-weight: 400; opacity: .7; margin-left: .8rem; }
a { color: var(--accent); text-decoration: none; } a:hover { text-decoration: underline; }
@media (prefers-color-scheme: dark) { :root { --accent: #7cc0f0; } }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .4rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.6rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; font-weight: 600; }
th, td { padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td { overflow-wrap: break-word; } .name { overflow-wrap: anywhere; } .n { text-align: right; white-space: nowrap; }
th:last-child, td:last-child { padding-right: 0; }
.badge { white-space: nowrap; border-radius: .3rem; padding: .05rem .5rem; font-size: .85rem; border: 1px solid; }
.valid, .published { color: #1c7c3c; } .invalid { color: #c0392b; } .pending { color: #a36b00; }
@media (prefers-color-scheme: dark) { .valid, .published { color: #6fd08c; } .invalid { color: #ff8a7a; }
  .pending { color: #f0c060; } }
.path, .versions { opacity: .9; } .versions .here { font-weight: 600; } .text { white-space: pre-line; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .2rem 1rem; margin: .4rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
dt { opacity: .7; } ul { margin: .3rem 0; padding-left: 1.2rem; } .errors { font-size: .92rem; }
pre { overflow-x: auto; border: 1px solid var(--line); border-radius: .4rem; padding: .8rem; font-size: .85rem; }
form { display: flex; gap: .5rem; margin: .8rem 0; }
input, button { font: inherit; padding: .3rem .6rem; box-sizing: border-box; } input { width: 20rem; max-width: 100%; }
input { min-width: 0; } code { overflow-wrap: anywhere; font-size: .9em; }
@media (max-width: 40rem) { .wide { display: none; } dl { grid-template-columns: minmax(0, 1fr); gap: 0; }
  dd { margin-bottom: .4rem; } }
"""

_STYLE_ADDRESS: Final = f"/style.css?{zlib.crc32(STYLE.encode()):08x}"  # browsers keep each one, not an older one

_SCRIPT: Final = """
const filter = document.getElementById("filter"), shown = document.getElementById("json");
if (filter) {
  const lines = shown.textContent.split("\\n");
  filter.addEventListener("input", () => {
    const word = filter.value.toLowerCase();
    shown.textContent = lines.filter(line => line.toLowerCase().includes(word)).join("\\n");
  });
}
"""


def page(title: str, body: str) -> str:
    """Return a page.

    Parameters
    ----------
    title
        Text.
    body
        HTML, whose texts are escaped.
    """
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{_STYLE_ADDRESS}"></head>'
        '<body><header><a href="/">Archive</a><small>served by dandify on this machine</small></header>'
        f"<main>{body}</main><script>{_SCRIPT}</script></body></html>"
    )
