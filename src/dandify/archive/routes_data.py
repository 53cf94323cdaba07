"""Requests about bytes: uploads, blobs, Zarrs, and the bucket they lie in."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dandify.archive import documents, manifests, uploads, zarrs
from dandify.archive.bucket import blob_of_key, zarr_file_of_key, zarr_key
from dandify.archive.rules import MAX_ZARR_FILE_BYTES, Refused, zarr_file_path
from dandify.archive.web import Json, archive_of, paginated, read_json, read_object, required_user, routes, user_of

_ZARR_FILES_PAGE = 1000
_JSON_NAMES = (".zarray", ".zattrs", ".zgroup", ".zmetadata", "zarr.json")


async def find_blob(request: Request) -> Response:
    """Return the blob with a digest."""
    user_of(request)
    body = await read_object(request)

    def run() -> Json | None:
        with archive_of(request).db.reading() as c:
            row = uploads.find_blob(c, body)
            return None if row is None else documents.blob(row)

    found = await run_in_threadpool(run)
    if found is None:
        raise Refused(404, "No blob has this digest.")
    return JSONResponse(found)


async def begin_upload(request: Request) -> Response:
    """Begin the upload of a blob."""
    user = required_user(request)
    body = await read_object(request)
    upload_id, parts = await run_in_threadpool(uploads.begin, archive_of(request), body, user)
    listed = [{"part_number": part.number, "size": part.size, "upload_url": part.url} for part in parts]
    return JSONResponse({"upload_id": upload_id, "parts": listed})


async def complete_upload(request: Request) -> Response:
    """Say how the parts of an upload are joined."""
    user = required_user(request)
    body = await read_object(request)
    url, text = await run_in_threadpool(
        uploads.completion, archive_of(request), request.path_params["upload"], body.get("parts"), user
    )
    return JSONResponse({"complete_url": url, "body": text})


async def validate_upload(request: Request) -> Response:
    """Make an upload a blob."""
    user = required_user(request)
    row = await run_in_threadpool(uploads.validate, archive_of(request), request.path_params["upload"], user)
    return JSONResponse(documents.blob(row))


async def list_uploads(request: Request) -> Response:
    """List the uploads of a dandiset that are not finished."""
    user, archive = required_user(request), archive_of(request)

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive.db.reading() as c:
            count, rows = uploads.listing(c, request.path_params["dandiset"], user, limit=limit, offset=offset)
            return count, [documents.upload(row) for row in rows]

    return await run_in_threadpool(paginated, request, fetch)


async def delete_uploads(request: Request) -> Response:
    """Remove all uploads of a dandiset that are not finished."""
    user = required_user(request)
    await run_in_threadpool(uploads.remove_all, archive_of(request), request.path_params["dandiset"], user)
    return Response(status_code=204)


async def put_part(request: Request) -> Response:
    """Receive a part of an upload."""
    archive = archive_of(request)
    upload_id, number = request.path_params["upload"], request.path_params["number"]
    size = int(_claims(request)["part-size"])
    _check_length(request, size)
    received = await archive.bucket.receive(request.stream(), limit=size)
    await run_in_threadpool(uploads.keep_part, archive, upload_id, number, size, received)
    return Response(headers={"ETag": f'"{received.md5}"'})


async def join_parts(request: Request) -> Response:
    """Join the parts of an upload into its blob."""
    _claims(request)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > 2 * 2**20:
            raise Refused(413, "The list of 10,000 parts is shorter than this.")
    answer = await run_in_threadpool(
        uploads.assemble, archive_of(request), request.path_params["upload"], body.decode("utf-8", "replace")
    )
    return Response(answer, media_type="application/xml")


async def create_zarr(request: Request) -> Response:
    """Add an empty Zarr."""
    user = required_user(request)
    body = await read_object(request)

    def run() -> Json:
        with archive_of(request).db.writing() as c:
            return documents.zarr(zarrs.create(c, name=body.get("name"), dandiset=body.get("dandiset"), user=user))

    return JSONResponse(await run_in_threadpool(run))


async def list_zarrs(request: Request) -> Response:
    """List the Zarrs, of a dandiset, or with a name."""
    user_of(request)
    query = request.query_params

    def fetch(limit: int, offset: int) -> tuple[int, list[Json]]:
        with archive_of(request).db.reading() as c:
            count, rows = zarrs.listing(
                c, dandiset=query.get("dandiset"), name=query.get("name"), limit=limit, offset=offset
            )
            return count, [documents.zarr(row) for row in rows]

    return await run_in_threadpool(paginated, request, fetch)


async def get_zarr(request: Request) -> Response:
    """Return the state of a Zarr."""
    user_of(request)

    def run() -> Json:
        with archive_of(request).db.reading() as c:
            return documents.zarr(zarrs.find(c, request.path_params["zarr"]))

    return JSONResponse(await run_in_threadpool(run))


async def list_zarr_files(request: Request) -> Response:
    """List the files of a Zarr below a prefix, or send the client to the one file that ``prefix`` names."""
    user_of(request)
    archive, query, zarr_id = archive_of(request), request.query_params, request.path_params["zarr"]
    prefix = query.get("prefix", "")

    def check() -> None:
        with archive.db.reading() as c:
            zarrs.file(c, zarr_id, prefix)

    if query.get("download", "false").lower() == "true":
        await run_in_threadpool(check)
        return RedirectResponse(archive.bucket_url(zarr_key(zarr_id, prefix)), status_code=302)

    def run() -> Json:
        with archive.db.reading() as c:
            rows = zarrs.files(c, zarr_id, prefix=prefix, after=query.get("after", ""), limit=_ZARR_FILES_PAGE + 1)
        page = rows[:_ZARR_FILES_PAGE]
        further = urlencode({"prefix": prefix, "after": page[-1]["path"]}) if len(rows) > len(page) else None
        return {
            "next": further and f"{archive.api_url}/zarr/{zarr_id}/files?{further}",
            "results": [documents.zarr_file(row) for row in page],
        }

    return JSONResponse(await run_in_threadpool(run))


async def request_zarr_files(request: Request) -> Response:
    """Return where the files of a Zarr go."""
    user = required_user(request)
    body = await read_json(request)
    return JSONResponse(
        await run_in_threadpool(zarrs.upload_urls, archive_of(request), request.path_params["zarr"], body, user)
    )


async def delete_zarr_files(request: Request) -> Response:
    """Remove files of a Zarr."""
    user = required_user(request)
    body = await read_json(request)
    await run_in_threadpool(zarrs.remove_files, archive_of(request), request.path_params["zarr"], body, user)
    return Response(status_code=204)


async def finalize_zarr(request: Request) -> Response:
    """Compute the checksum of a Zarr."""
    user = required_user(request)
    await run_in_threadpool(zarrs.finalize, archive_of(request), request.path_params["zarr"], user)
    return Response(status_code=204)


async def put_zarr_file(request: Request) -> Response:
    """Receive a file of a Zarr, with the MD5 that its URL was signed for."""
    archive = archive_of(request)
    zarr_id, path = request.path_params["zarr"], zarr_file_path(request.path_params["path"])
    md5 = _claims(request)["md5"]
    if request.headers.get("content-md5") != md5:
        raise Refused(403, "SignatureDoesNotMatch: the Content-MD5 is not the one this URL was signed for.")
    _check_length(request, MAX_ZARR_FILE_BYTES)
    received = await archive.bucket.receive(request.stream(), limit=MAX_ZARR_FILE_BYTES)
    await run_in_threadpool(zarrs.keep_file, archive, zarr_id, path, md5, received)
    return Response(headers={"ETag": f'"{received.md5}"'})


async def get_file(request: Request) -> Response:
    """Send a file of the bucket, or a range of it."""
    file, etag, media_type, stat = await run_in_threadpool(_lookup, request, request.path_params["key"])
    return FileResponse(file, headers={"ETag": f'"{etag}"'}, media_type=media_type, stat_result=stat)


def _lookup(request: Request, key: str) -> tuple[Path, str, str, os.stat_result]:
    """Return file, ETag, media type and size of what the records know; nothing else on the disk can be asked for."""
    archive = archive_of(request)
    blob_id, zarr_file = blob_of_key(key), zarr_file_of_key(key)
    etag, media_type = None, "application/octet-stream"
    with archive.db.reading() as c:
        if blob_id is not None:
            row = c.execute("SELECT etag FROM blobs WHERE blob_id = ?", (blob_id,)).fetchone()
            etag = None if row is None else row["etag"]
        elif zarr_file is not None:
            etag = zarrs.file(c, *zarr_file)["md5"]
            if zarr_file[1].rpartition("/")[2] in _JSON_NAMES:
                media_type = "application/json"
    manifest = manifests.file_of_key(archive, key)
    if manifest is not None:
        content = manifest.read_bytes()
        etag, media_type = hashlib.md5(content, usedforsecurity=False).hexdigest(), "application/json"
        if manifest.suffix == ".yaml":
            media_type = "application/yaml"
    if etag is None:
        raise Refused(404, "NoSuchKey")
    file = archive.bucket.file(key)
    return file, etag, media_type, file.stat()


def _claims(request: Request) -> dict[str, str]:
    """Return what the URL of this request was signed for; refuse with 403."""
    # Not request.url.path: that ends at a ? or # which belongs to the name of a file.
    return archive_of(request).signer.check(request.method, request.scope["path"], request.query_params)


def _check_length(request: Request, limit: int) -> None:
    """Refuse an oversized body before its first byte is read."""
    length = request.headers.get("content-length")
    if length is None or not length.isdecimal():
        raise Refused(411, "MissingContentLength")
    if int(length) > limit:
        raise Refused(413, f"EntityTooLarge: {length} bytes; {limit} were agreed on.")


ROUTES: list[Route] = [
    *routes("/api/blobs/digest", find_blob, "POST"),
    *routes("/api/uploads/initialize", begin_upload, "POST"),
    *routes("/api/uploads/{upload}/complete", complete_upload, "POST"),
    *routes("/api/uploads/{upload}/validate", validate_upload, "POST"),
    *routes("/api/dandisets/{dandiset}/uploads", list_uploads, "GET"),
    *routes("/api/dandisets/{dandiset}/uploads", delete_uploads, "DELETE"),
    *routes("/api/zarr", list_zarrs, "GET"),
    *routes("/api/zarr", create_zarr, "POST"),
    *routes("/api/zarr/{zarr}", get_zarr, "GET"),
    *routes("/api/zarr/{zarr}/files", list_zarr_files, "GET"),
    *routes("/api/zarr/{zarr}/files", request_zarr_files, "POST"),
    *routes("/api/zarr/{zarr}/files", delete_zarr_files, "DELETE"),
    *routes("/api/zarr/{zarr}/finalize", finalize_zarr, "POST"),
    Route("/bucket/uploads/{upload}/{number:int}", put_part, methods=["PUT"]),
    Route("/bucket/uploads/{upload}", join_parts, methods=["POST"]),
    Route("/bucket/zarr/{zarr}/{path:path}", put_zarr_file, methods=["PUT"]),
    Route("/bucket/{key:path}", get_file, methods=["GET"]),
]
