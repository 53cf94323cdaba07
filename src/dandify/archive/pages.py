"""Pages for people: the dandisets, a dandiset with its files, an asset. Plain HTML that needs no network."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final
from urllib.parse import quote, urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from dandify.archive import assets, dandisets, documents
from dandify.archive.bucket import blob_key, zarr_key
from dandify.archive.open_with import Asked, services_for
from dandify.archive.page_style import STYLE, page
from dandify.archive.state import Archive
from dandify.archive.validation import UNCHECKED, asset_errors
from dandify.archive.web import archive_of

Json = Mapping[str, Any]

_LISTED: Final = 200  # rows of a table; what is left out is said
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
_FIELDS: Final = (
    ("keywords", "Keywords"), ("license", "License"), ("protocol", "Protocols"), ("studyTarget", "Study targets"),
    ("ethicsApproval", "Ethics"), ("relatedResource", "Related"), ("acknowledgement", "Acknowledgement"),
    ("citation", "Cite as"),
)  # fmt: skip
_SUMMED: Final = (
    ("species", "Species"), ("approach", "Approaches"), ("measurementTechnique", "Techniques"),
    ("variableMeasured", "Variables"), ("dataStandard", "Standards"),
)  # fmt: skip

_OF_A_SUBJECT: Final = ("identifier", "species", "sex", "age", "strain", "genotype")


def size_text(count: float) -> str:
    """Say a number of bytes as a person would."""
    for unit in _UNITS[:-1]:
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_UNITS[-1]}"


async def get_home(request: Request) -> Response:
    """Show the dandisets."""
    return await _shown(request, _home)


async def get_dandiset(request: Request) -> Response:
    """Show a version of a dandiset: what it is, who made it, what the schema says of it, and its files."""
    return await _shown(request, _dandiset)


async def get_asset(request: Request) -> Response:
    """Show an asset: its metadata, what opens it, and what the schema says of it."""
    return await _shown(request, _asset)


async def _shown(request: Request, make: Any) -> Response:
    def run() -> str:
        archive = archive_of(request)
        with archive.db.reading() as c:
            return str(make(archive, c, request))

    return HTMLResponse(
        await run_in_threadpool(run), headers={"Content-Security-Policy": "default-src 'self' 'unsafe-inline'"}
    )


def _home(archive: Archive, c: sqlite3.Connection, request: Request) -> str:
    search = request.query_params.get("search", "")
    count, rows = dandisets.listing(c, limit=_LISTED, offset=0, order="-modified", search=search, empty=True, user=None)
    lines = []
    for row in rows:
        number, state = dandisets.identifier(row["number"]), documents.status_of_all(archive, row)
        lines.append(
            f'<tr><td><a href="/dandiset/{number}/draft">{number}</a></td>'
            f'<td><a href="/dandiset/{number}/draft">{escape(row["name"])}</a></td>'
            f'<td class="n wide">{row["files"]:,}</td><td class="n">{size_text(row["bytes"])}</td>'
            f"<td>{_badge(state)}</td><td class=wide>{_day(row['modified'])}</td></tr>"
        )
    table = (
        "<table><thead><tr><th>Dandiset</th><th>Name</th><th class='n wide'>Files</th><th class=n>Size</th>"
        f"<th>Draft</th><th class=wide>Modified</th></tr></thead><tbody>{''.join(lines)}</tbody></table>"
        if lines
        else "<p>No dandiset" + (" has these words in its metadata." if search else " yet.") + "</p>"
    )
    more = f"<p>The {_LISTED} modified last of {count:,}; search for others.</p>" if count > len(rows) else ""
    form = (
        f'<form><input name="search" value="{escape(search)}" placeholder="Search names and metadata" '
        'aria-label="Search"><button>Search</button></form>'
    )
    return page("Dandisets", f"<h1>Dandisets</h1>{form}{table}{more}")


def _dandiset(archive: Archive, c: sqlite3.Connection, request: Request) -> str:
    params = request.path_params
    row = dandisets.version(c, params["dandiset"], params.get("version", dandisets.DRAFT), sums=True)
    number, name = dandisets.identifier(row["number"]), row["version"]
    metadata = documents.version_metadata(archive, row)
    state = documents.status_of_all(archive, row)
    versions = " ".join(
        f'<a class="{"here" if v["version"] == name else ""}" href="/dandiset/{number}/{v["version"]}">'
        f"{escape(v['version'])}</a>"
        for v in dandisets.versions(c, number)
    )
    status_line = (
        f'<p class="versions">{versions} {_badge(state)} {_count(row["files"], "file")}, {size_text(row["bytes"])}, '
        f"modified {_day(row['modified'])}</p>"
    )
    elsewhere = (
        f'<p><a href="/api/dandisets/{number}/versions/{name}/">metadata as JSON</a> &middot; '
        f"<code>dandi download {escape(archive.api_url)}/dandisets/{number}/versions/{name}</code></p>"
    )
    parts = [
        f'<p class="path"><a href="/">Dandisets</a> / {number}</p><h1>{escape(row["name"])}</h1>', status_line,
        f"<p class=text>{escape(str(metadata.get('description') or 'No description.'))}</p>",
        _people(metadata), _definitions(metadata), _summary(c, row, metadata), _trouble(archive, c, row),
        f"<h2 id=files>Files</h2>{_files(c, row, number, request.query_params.get('location', ''))}", elsewhere,
    ]  # fmt: skip
    return page(f"{number} {row['name']}", "".join(parts))


def _people(metadata: Json) -> str:
    found = metadata.get("contributor")
    people = [p for p in found if isinstance(p, dict)] if isinstance(found, list) else []
    if not people:
        return ""
    lines = []
    for one in people:
        roles = ", ".join(_words(str(r).removeprefix("dcite:")) for r in one.get("roleName") or ())
        orcid = str(one.get("identifier") or "")
        more = f" <small>{escape(orcid)}</small>" if orcid else ""
        award = f", award {escape(str(one['awardNumber']))}" if one.get("awardNumber") else ""
        lines.append(f"<li>{escape(str(one.get('name', '')))}{more} <small>{escape(roles)}{award}</small></li>")
    return f"<h2>Contributors</h2><ul>{''.join(lines)}</ul>"


def _definitions(metadata: Json) -> str:
    return _listed((title, map(_item, _many(metadata.get(key)))) for key, title in _FIELDS)


def _item(value: object) -> str:
    """Say one value of a field: a text, or what is known by a name, an address or a number."""
    if isinstance(value, dict):
        relation = _words(str(value["relation"]).removeprefix("dcite:")) + " " if value.get("relation") else ""
        known = next((value[key] for key in ("url", "name", "identifier") if value.get(key)), "")
        return escape(relation) + _item(known)
    text = str(value).removeprefix("spdx:")
    is_address = text.startswith(("https://", "http://"))
    return f'<a href="{escape(text)}" rel="noreferrer">{escape(text)}</a>' if is_address else escape(text)


def _summary(c: sqlite3.Connection, row: sqlite3.Row, metadata: Json) -> str:
    """Say what the assets are of and about, from their own metadata."""
    subjects: set[str] = set()
    query = "SELECT s.metadata FROM version_assets va JOIN assets s ON s.asset_id = va.asset_id WHERE va.version_id = ?"
    for (text,) in c.execute(query, (row["id"],)):
        subjects |= {str(one.get("identifier", "")) for one in _objects(json.loads(text).get("wasAttributedTo"))}
    subjects -= {""}
    found = metadata["assetsSummary"]
    told = [(_count(len(subjects), "subject"), [escape(_some(subjects))])] if subjects else []
    told += [
        (title, [escape(_some(map(_said, found[key])))])
        for key, title in _SUMMED if found.get(key)
    ]  # fmt: skip
    return f"<h2>Summary</h2>{_listed(told)}" if told else ""


def _listed(rows: Iterable[tuple[str, Iterable[str]]]) -> str:
    """Return a list of what is told under each title, HTML; empty where nothing is."""
    lines = [f"<dt>{title}</dt><dd>{text}</dd>" for title, values in rows if (text := ", ".join(values))]
    return f"<dl>{''.join(lines)}</dl>" if lines else ""


def _many(value: object) -> list[Any]:
    return value if isinstance(value, list) else [] if value in (None, "") else [value]


def _some(values: Iterable[str], most: int = 12) -> str:
    values = sorted(values)
    return ", ".join(values[:most]) + (f" and {len(values) - most} more" if len(values) > most else "")


def _objects(value: object) -> Iterator[Json]:
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict):
            yield one


def _trouble(archive: Archive, c: sqlite3.Connection, row: sqlite3.Row) -> str:
    """List what keeps the version from being published."""
    if row["published"]:
        return ""
    own = documents.version_errors(archive, row)
    of_assets = [e for e in asset_errors(c, row["id"]) if e["message"] != UNCHECKED]
    items = [f"<li>dandiset: {_error(e)}</li>" for e in own]
    items += [f"<li>{escape(e['path'])}: {_error(e)}</li>" for e in of_assets[:_LISTED]]
    if left := of_assets[_LISTED:]:
        items.append(f"<li>and {_count(len(left), 'error')} more</li>")
    if row["zarrs"]:
        items.append(f"<li>{row['zarrs']:,} Zarr: the archive publishes no dandiset that holds Zarr</li>")
    if row["unchecked"]:
        items.append(f"<li>{_count(row['unchecked'], 'file')} not checked yet</li>")
    if not items:
        return ""
    return (
        f"<details{' open' if len(items) < 10 else ''}><summary>What keeps it from being published</summary>"
        f"<ul class=errors>{''.join(items)}</ul></details>"
    )


def _error(error: Json) -> str:
    field = f"<code>{escape(error['field'])}</code> " if error.get("field") else ""
    return field + escape(str(error["message"]))


def _files(c: sqlite3.Connection, row: sqlite3.Row, number: str, location: str) -> str:
    """List the folders and files at a place, as a person walks through them."""
    here = location.strip("/")
    folders, files = assets.children(c, row["id"], here)
    base = f"/dandiset/{number}/{row['version']}"
    crumbs, path = [f'<a href="{base}#files">all</a>'], ""
    for part in here.split("/") if here else ():
        path = f"{path}/{part}" if path else part
        crumbs.append(_folder(base, path, part))
    lines = [
        f"<tr><td class=name>{_folder(base, one.path, _name(one.path) + '/')}</td>"
        f'<td class="n">{size_text(one.bytes)}</td><td class=n>{_count(one.files, "file")}</td></tr>'
        for one in folders[:_LISTED]
    ]
    lines += [
        f'<tr><td class=name><a href="{base}/asset/{one["asset_id"]}">{escape(_name(one["path"]))}</a></td>'
        f'<td class="n">{size_text(one["size"] or 0)}</td><td class=n>{_download(one)}</td></tr>'
        for one in files[:_LISTED]
    ]
    left = len(folders) + len(files) - len(lines)
    more = f"<p>{left:,} more are not shown.</p>" if left > 0 else ""
    if not lines:
        return "<p>No file here.</p>" if here else "<p>No file yet.</p>"
    return (
        f'<p class="path">{" / ".join(crumbs)}</p><table><thead><tr><th>Name</th><th class=n>Size</th><th></th></tr>'
        f"</thead><tbody>{''.join(lines)}</tbody></table>{more}"
    )


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _folder(base: str, location: str, shown: str) -> str:
    return f'<a href="{base}?{urlencode({"location": location})}#files">{escape(shown)}</a>'


def _download(asset: sqlite3.Row) -> str:
    if asset["blob_id"] is None:
        return ""
    return _links({"download": f"/api/assets/{asset['asset_id']}/download/"})


def _services(version: sqlite3.Row, asset: sqlite3.Row, metadata: Json) -> dict[str, str]:
    download, file = metadata["contentUrl"]
    number = dandisets.identifier(version["number"])
    return services_for(Asked(asset["path"], asset["size"] or 0, download, file, number, version["version"]))


def _asset(archive: Archive, c: sqlite3.Connection, request: Request) -> str:
    params = request.path_params
    version = dandisets.version(c, params["dandiset"], params["version"])
    row = assets.find(c, params["asset"], version_id=version["id"])
    number = dandisets.identifier(version["number"])
    metadata = documents.asset_metadata(archive, row)
    found = c.execute("SELECT errors FROM validations WHERE asset_id = ?", (row["asset_id"],)).fetchone()
    errors = [] if found is None else json.loads(found["errors"])
    state = "Pending" if found is None else "Invalid" if errors else "Valid"
    folder = row["path"].rpartition("/")[0]
    base = f"/dandiset/{number}/{version['version']}"
    key = blob_key(row["blob_id"]) if row["blob_id"] else zarr_key(row["zarr_id"], "")
    place = f"/api/assets/{row['asset_id']}/download/" if row["blob_id"] else f"/bucket/{quote(key)}"
    get = f'<a href="{place}">download</a>' if row["blob_id"] else f"<code>{escape(archive.bucket_url(key))}</code>"
    links = _links(_services(version, row, metadata))
    items = "".join(f"<li>{_error(e)}</li>" for e in errors)
    return page(
        row["path"],
        f'<p class="path"><a href="/">Dandisets</a> / <a href="{base}">{number}</a> / '
        f"{_folder(base, folder, folder or 'all')}</p>"
        f"<h1>{escape(row['path'].rpartition('/')[2])}</h1>"
        f"<p>{_badge(state)} {size_text(row['size'] or 0)}, modified {_day(row['modified'])}, {get}</p>"
        + (f"<ul class=errors>{items}</ul>" if items else "")
        + (f"<h2>Open with</h2><p>{links}</p>" if links else "")
        + (f"<h2>About</h2>{about}" if (about := _about(metadata)) else "")
        + "<h2>Metadata</h2><input id=filter placeholder='Show lines that contain ...' aria-label='Filter'>"
        + f"<pre id=json>{escape(json.dumps(metadata, ensure_ascii=False, indent=2))}</pre>",
    )


def _about(metadata: Json) -> str:
    """Say who was recorded, when and how."""
    people = [
        ", ".join(escape(_said(one[key])) for key in _OF_A_SUBJECT if one.get(key))
        for one in _objects(metadata.get("wasAttributedTo")) if one.get("schemaKey") == "Participant"
    ]  # fmt: skip
    sessions = [
        escape(" ".join(str(one[key]) for key in ("name", "startDate") if one.get(key)))
        for one in _objects(metadata.get("wasGeneratedBy")) if one.get("schemaKey") == "Session"
    ]  # fmt: skip
    samples = (_item(one) for one in _objects(metadata.get("wasDerivedFrom")))
    said = ((title, (escape(_said(v)) for v in _many(metadata.get(key)))) for key, title in _SUMMED)
    return _listed([("Subject", people), ("Session", sessions), ("Sample", samples), *said])


def _said(value: object) -> str:
    return str(value.get("name") or value.get("value") or "") if isinstance(value, dict) else str(value)


def _links(services: Mapping[str, str]) -> str:
    return " &middot; ".join(
        f'<a href="{escape(url)}" rel="noreferrer">{escape(name)}</a>' for name, url in services.items()
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _badge(state: str) -> str:
    return f'<span class="badge {state.lower()}">{state}</span>'


def _day(moment: str) -> str:
    return f"{moment[:10]} {moment[11:16]} UTC"


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()


async def get_style(_request: Request) -> Response:
    """Send the style sheet of the pages."""
    return Response(STYLE, media_type="text/css", headers={"Cache-Control": "max-age=3600"})


ROUTES: list[Route] = [
    Route("/", get_home, methods=["GET"]),
    Route("/style.css", get_style, methods=["GET"]),
    Route("/dandiset/{dandiset}", get_dandiset, methods=["GET"]),
    Route("/dandiset/{dandiset}/{version}", get_dandiset, methods=["GET"]),
    Route("/dandiset/{dandiset}/{version}/asset/{asset}", get_asset, methods=["GET"]),
]
