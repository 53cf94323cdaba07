"""Requests about the instance, users, dandisets, versions and assets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dandify.archive import assets, dandisets, documents, manifests
from dandify.archive.bucket import blob_key
from dandify.archive.rules import Refused, now
from dandify.archive.state import Archive
from dandify.archive.validation import publication
from dandify.archive.web import Json, archive_of, paginated, read_object, required_user, routes, user_of


async def get_info(request: Request) -> Response:
    """Say what instance this is."""
    return JSONResponse(documents.info(archive_of(request)))


async def get_token(request: Request) -> Response:
    """Return the token that the request came with: a 2xx says that it is right."""
    required_user(request)
    return JSONResponse(request.headers["authorization"].partition(" ")[2].strip())


async def get_me(request: Request) -> Response:
    """Say who the token is of."""
    user = required_user(request)
    return JSONResponse({"username": user, "name": user, "admin": False, "status": "APPROVED"})


async def list_dandisets(request: Request) -> Response:
    """List the dandisets."""
    query = request.query_params
    private = query.get("user") == "me" or query.get("embargoed", "false").lower() == "true"
    asking = required_user(request) if private else user_of(request)
    user = asking if query.get("user") == "me" else None

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive_of(request).db.reading() as c:
            count, rows = dandisets.listing(
                c,
                limit=limit,
                offset=offset,
                order=query.get("ordering", "id"),
                search=query.get("search", ""),
                empty=query.get("empty", "true").lower() != "false",
                user=user,
            )
            return count, [_dandiset(archive_of(request), c, row) for row in rows]

    return await run_in_threadpool(paginated, request, fetch)


async def create_dandiset(request: Request) -> Response:
    """Add a dandiset."""
    user = required_user(request)
    if request.query_params.get("embargo", "false").lower() == "true":
        raise Refused(400, "The embedded archive has no embargoed dandisets.")
    body = await read_object(request)
    sent = body.get("metadata")
    if isinstance(sent, dict) and "identifier" in sent:
        raise Refused(400, "The archive gives a new dandiset its identifier; send metadata without one.")

    def run() -> Json:
        archive = archive_of(request)
        with archive.db.writing() as c:
            return documents.dandiset(
                archive, dandisets.create(c, name=body.get("name"), metadata=body.get("metadata"), user=user)
            )

    return JSONResponse(await run_in_threadpool(run))


async def get_dandiset(request: Request) -> Response:
    """Return a dandiset."""
    return await _with_version(request, lambda c, row: _dandiset(archive_of(request), c, row), name=dandisets.DRAFT)


async def delete_dandiset(request: Request) -> Response:
    """Remove a dandiset with all that is in it."""
    user, archive = required_user(request), archive_of(request)

    def run() -> None:
        with archive.db.writing() as c:
            number = dandisets.owned(c, request.path_params["dandiset"], user)
            if len(dandisets.versions(c, request.path_params["dandiset"])) > 1:
                raise Refused(403, "Cannot delete dandisets with published versions.")
            zarrs = dandisets.remove(c, number)
        manifests.remove(archive, number)
        for zarr_id in zarrs:
            archive.bucket.remove_zarr(zarr_id)

    await run_in_threadpool(run)
    return Response(status_code=204)


async def list_owners(request: Request) -> Response:
    """Say who may change a dandiset."""
    return await _with_version(
        request, lambda _, row: [{"username": row["owner"], "name": row["owner"]}], name=dandisets.DRAFT
    )


async def list_versions(request: Request) -> Response:
    """List the versions of a dandiset: its draft, and those that were published."""
    user_of(request)
    archive, order = archive_of(request), request.query_params.get("order", "-created")

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive.db.reading() as c:
            rows = dandisets.versions(c, request.path_params["dandiset"])
        rows.sort(key=lambda row: str(row["created"]), reverse=order.startswith("-"))
        return len(rows), [documents.version(archive, row) for row in rows[offset : offset + limit]]

    return await run_in_threadpool(paginated, request, fetch)


async def get_version(request: Request) -> Response:
    """Return the metadata of a version."""
    archive = archive_of(request)
    return await _with_version(request, lambda _, row: documents.version_metadata(archive, row))


async def get_version_info(request: Request) -> Response:
    """Return the summary of a version."""
    archive = archive_of(request)
    return await _with_version(request, lambda c, row: documents.version_info(archive, c, row))


async def put_version(request: Request) -> Response:
    """Give the draft other metadata."""
    user = required_user(request)
    body = await read_object(request)

    def run() -> Json:
        with archive_of(request).db.writing() as c:
            row = _draft(c, request, user)
            dandisets.update(c, row, name=body.get("name"), metadata=body.get("metadata"))
            return documents.version_info(archive_of(request), c, _summary(c, request, dandisets.DRAFT))

    return JSONResponse(await run_in_threadpool(run))


async def publish(request: Request) -> Response:
    """Make a version of the draft that stays as it is; without a DOI, which only a registered archive can give."""
    user, archive = required_user(request), archive_of(request)

    def run() -> Json:
        with archive.db.writing() as c:
            _draft(c, request, user)
            draft = _summary(c, request, dandisets.DRAFT)
            if draft["zarrs"]:
                raise Refused(400, "Cannot publish dandisets which contain zarrs.")
            if (state := documents.status_of_all(archive, draft)) != "Valid":
                raise Refused(
                    409 if state == "Pending" else 400,
                    f"Dandiset cannot be published: its draft is {state}; see versions/draft/info/.",
                )
            moment = now()
            metadata = {**documents.published_metadata(archive, draft, "0.000101.0000"), **publication(moment)}
            name = dandisets.publish(c, draft, metadata)
            row = _summary(c, request, name)
            return documents.version(archive, row)

    return JSONResponse(await run_in_threadpool(run), status_code=202)


async def get_asset_validation(request: Request) -> Response:
    """Say what the schema says of an asset."""
    row = await run_in_threadpool(_asset, request)

    def run() -> Json:
        with archive_of(request).db.reading() as c:
            found = c.execute("SELECT errors FROM validations WHERE asset_id = ?", (row["asset_id"],)).fetchone()
        errors = [] if found is None else json.loads(found["errors"])
        return {"status": "Pending" if found is None else "Invalid" if errors else "Valid", "validation_errors": errors}

    return JSONResponse(await run_in_threadpool(run))


async def list_assets(request: Request) -> Response:
    """List the assets of a version, those below a path, or those that match a glob."""
    query, archive = request.query_params, archive_of(request)
    user_of(request)
    full = query.get("metadata", "false").lower() == "true"

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive.db.reading() as c:
            count, rows = assets.listing(
                c,
                dandisets.version(c, request.path_params["dandiset"], request.path_params["version"])["id"],
                limit=limit,
                offset=offset,
                prefix=query.get("path", ""),
                glob=query.get("glob", ""),
                zarrs_only=query.get("zarr", "false").lower() == "true",
                order=query.get("order", "path"),
            )
        if full:
            return count, [{**documents.asset(row), "metadata": documents.asset_metadata(archive, row)} for row in rows]
        return count, [documents.asset(row) for row in rows]

    return await run_in_threadpool(paginated, request, fetch)


async def list_at_path(request: Request) -> Response:
    """List what is at a path of a version, and with ``children`` what lies in it; as DANDI's WebDAV asks."""
    query, archive = request.query_params, archive_of(request)
    user_of(request)
    full, with_children = (query.get(name, "false").lower() == "true" for name in ("metadata", "children"))

    def shown(one: assets.Folder | sqlite3.Row) -> Json:
        if isinstance(one, assets.Folder):
            folder = {"path": one.path, "total_assets": one.files, "total_size": one.bytes}
            return {"type": "folder", "resource": folder}
        more = {"metadata": documents.asset_metadata(archive, one)} if full else {}
        return {"type": "asset", "resource": {**documents.asset(one), **more}}

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive.db.reading() as c:
            version = dandisets.version(c, query.get("dandiset_id"), query.get("version_id", dandisets.DRAFT))
            found = assets.at_path(c, version["id"], query.get("path", ""), with_children=with_children)
        return len(found), [shown(one) for one in found[offset : offset + limit]]

    return await run_in_threadpool(paginated, request, fetch)


async def create_asset(request: Request) -> Response:
    """Add an asset to the draft."""
    return await _put_asset(request, None)


async def put_asset(request: Request) -> Response:
    """Replace an asset of the draft: its data, its metadata, or its path."""
    return await _put_asset(request, request.path_params["asset"])


async def delete_asset(request: Request) -> Response:
    """Take an asset out of the draft."""
    user = required_user(request)

    def run() -> None:
        with archive_of(request).db.writing() as c:
            assets.remove(c, _draft(c, request, user), request.path_params["asset"])

    await run_in_threadpool(run)
    return Response(status_code=204)


async def get_asset(request: Request) -> Response:
    """Return the metadata of an asset."""
    archive = archive_of(request)
    return JSONResponse(documents.asset_metadata(archive, await run_in_threadpool(_asset, request)))


async def get_asset_info(request: Request) -> Response:
    """Return the summary and the metadata of an asset."""
    archive = archive_of(request)
    row = await run_in_threadpool(_asset, request)
    return JSONResponse({**documents.asset(row), "metadata": documents.asset_metadata(archive, row)})


async def download_asset(request: Request) -> Response:
    """Send the client to the file of an asset."""
    row = await run_in_threadpool(_asset, request)
    if row["blob_id"] is None:
        raise Refused(400, "A Zarr is many files; download it with a client, or each by its path.")
    return RedirectResponse(archive_of(request).bucket_url(blob_key(row["blob_id"])), status_code=302)


async def _put_asset(request: Request, replacing: str | None) -> Response:
    user, archive = required_user(request), archive_of(request)
    body = await read_object(request)

    def run() -> Json:
        with archive.db.writing() as c:
            row = assets.put(c, _draft(c, request, user), body, replacing=replacing)
        return {**documents.asset(row), "metadata": documents.asset_metadata(archive, row)}

    return JSONResponse(await run_in_threadpool(run))


async def _with_version(
    request: Request, show: Callable[[sqlite3.Connection, sqlite3.Row], Json | list[Json]], *, name: str | None = None
) -> Response:
    user_of(request)

    def run() -> Json | list[Json]:
        with archive_of(request).db.reading() as c:
            return show(c, _summary(c, request, name or request.path_params["version"]))

    return JSONResponse(await run_in_threadpool(run))


def _dandiset(archive: Archive, c: sqlite3.Connection, row: sqlite3.Row) -> Json:
    newest = row["newest"] and dandisets.version(c, dandisets.identifier(row["number"]), row["newest"], sums=True)
    return documents.dandiset(archive, row, newest or None)


def _summary(c: sqlite3.Connection, request: Request, name: str) -> sqlite3.Row:
    return dandisets.version(c, request.path_params["dandiset"], name, sums=True)


def _draft(c: sqlite3.Connection, request: Request, user: str) -> sqlite3.Row:
    """Return the draft that ``user`` may change; refuse with 403, 404, or 405 for a published version."""
    dandisets.owned(c, request.path_params["dandiset"], user)
    if request.path_params.get("version", dandisets.DRAFT) != dandisets.DRAFT:
        raise Refused(405, "Only draft versions can be modified.")
    return dandisets.version(c, request.path_params["dandiset"], dandisets.DRAFT)


def _asset(request: Request) -> sqlite3.Row:
    user_of(request)
    params = request.path_params
    with archive_of(request).db.reading() as c:
        version = dandisets.version(c, params["dandiset"], params["version"])["id"] if "version" in params else None
        return assets.find(c, params["asset"], version_id=version)


_VERSION = "/api/dandisets/{dandiset}/versions/{version}"
_ASSET = _VERSION + "/assets/{asset}"

ROUTES: list[Route] = [
    *routes("/server-info", get_info, "GET"),
    *routes("/api/info", get_info, "GET"),
    *routes("/api/auth/token", get_token, "GET"),
    *routes("/api/users/me", get_me, "GET"),
    *routes("/api/dandisets", list_dandisets, "GET"),
    *routes("/api/dandisets", create_dandiset, "POST"),
    *routes("/api/dandisets/{dandiset}", get_dandiset, "GET"),
    *routes("/api/dandisets/{dandiset}", delete_dandiset, "DELETE"),
    *routes("/api/dandisets/{dandiset}/users", list_owners, "GET"),
    *routes("/api/dandisets/{dandiset}/versions", list_versions, "GET"),
    *routes(_VERSION, get_version, "GET"),
    *routes(_VERSION, put_version, "PUT"),
    *routes(_VERSION + "/info", get_version_info, "GET"),
    *routes(_VERSION + "/publish", publish, "POST"),
    *routes(_VERSION + "/assets", list_assets, "GET"),
    *routes(_VERSION + "/assets", create_asset, "POST"),
    *routes(_ASSET, get_asset, "GET"),
    *routes(_ASSET, put_asset, "PUT"),
    *routes(_ASSET, delete_asset, "DELETE"),
    *routes(_ASSET + "/info", get_asset_info, "GET"),
    *routes(_ASSET + "/validation", get_asset_validation, "GET"),
    *routes(_ASSET + "/download", download_asset, "GET"),
    *routes("/api/assets/{asset}", get_asset, "GET"),
    *routes("/api/webdav/assets/atpath", list_at_path, "GET"),
    *routes("/api/assets/{asset}/info", get_asset_info, "GET"),
    *routes("/api/assets/{asset}/download", download_asset, "GET"),
]
