"""The way of files through organize, validate, upload and download, each looked at by somebody else's program."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from archive_api import Api, dandi_cli, with_programs
from dandify.archive.download import compare_trees
from dandify.archive.serve import running_archive
from dandify.archive.upload import upload
from dandify.dandiset.organize import OrganizeReport, organize
from dandify.dandiset.validate import validate

Layout = Literal["dandi", "bids"]

DESCRIBED = {
    "name": "A mixed set",
    "description": "One of each kind.",
    "license": "CC-BY-4.0",
    "contributors": [{"name": "Doe, Jane", "roles": ["ContactPerson", "Author"], "email": "jane@uni.example.org"}],
}


@dataclass(frozen=True)
class Went:
    """What was organized, and how many assets of how many bytes were sent."""

    organized: OrganizeReport
    assets: int
    bytes_sent: int


def goes_all_the_way(
    inputs: Sequence[Path], table: Path, layout: Layout, folder: Path, ignore: Sequence[str] = ()
) -> Went:
    """Organize, validate, upload, download with the dandi client, and upload again with it: nothing is wrong anywhere.

    Parameters
    ----------
    inputs, table, layout, ignore
        As of `organize`.
    folder
        For the dandiset, the archive and the download.
    """
    dandiset = folder / "dandiset"
    organized = organize(inputs, dandiset, layout=layout, table=table, ignore=ignore, metadata=DESCRIBED)
    again = organize(inputs, dandiset, layout=layout, table=table, ignore=ignore)
    assert {f.status for f in again.files} == {"unchanged"}
    checked = validate(dandiset)
    assert not checked.errors, [str(f) for f in checked.errors]
    said = errors_of_dandi(dandiset)
    assert not said, said
    if layout == "bids":
        assert not errors_of_bids(dandiset)

    with running_archive(folder / "archive") as archive:
        sent = upload(dandiset, to=archive.url, token=archive.token, create=True, validate=False)
        assert not sent.failed, sent.failed
        assert str(sent.verdict and sent.verdict.status).lower() == "valid", sent.verdict
        api = Api(archive.url, archive.token)
        records = assets_of(api, sent.dandiset_id)
        assert set(records) == {a.path for a in sent.assets if a.status == "uploaded"}
        conform_to_the_schema(api, sent.dandiset_id, records)

        out = folder / "downloaded"
        out.mkdir()
        address = f"{archive.url}/api/dandisets/{sent.dandiset_id}/versions/draft"
        dandi_cli(archive, "download", "-o", str(out), address, cwd=folder, timeout=900)
        compared = compare_trees(dandiset, out / sent.dandiset_id)
        assert compared.equal, (compared.different, compared.missing, compared.extra)

        said = dandi_cli(archive, "upload", "-i", archive.url, cwd=dandiset, timeout=900)
        assert re.search(rf"Summary:.* {len(records) + 1} skipped", said), said  # with dandiset.yaml
        there = assets_of(api, sent.dandiset_id)
        assert contents(there) == contents(records)

        # The client has put its own record of each Zarr in place of ours, which does not say whose it is.
        completed = upload(dandiset, to=archive.url, token=archive.token, validate=False)
        assert (completed.failed, completed.bytes_sent) == ((), 0)
        conform_to_the_schema(api, sent.dandiset_id, assets_of(api, sent.dandiset_id))
    return Went(organized, len(records), sent.bytes_sent)


def errors_of_dandi(dandiset: Path) -> str:
    """Return what `dandi validate` of the unmodified client says, if it finds an error."""
    program = Path(sys.executable).with_name("dandi")
    done = subprocess.run(
        [program, "validate", dandiset], capture_output=True, text=True, check=False, timeout=900,
        env={**os.environ, "PATH": with_programs(), "DANDI_NO_ET": "1"},
    )  # fmt: skip
    return "" if done.returncode == 0 and "No errors found" in done.stdout else done.stdout + done.stderr


def errors_of_bids(dandiset: Path) -> list[str]:
    """Return what bids-validator-deno itself finds wrong, not by way of dandi."""
    program = Path(sys.executable).with_name("bids-validator-deno")
    done = subprocess.run([program, "--json", dandiset], capture_output=True, text=True, check=False, timeout=900)
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [f"{i['code']} {i.get('location')}" for i in issues if i["severity"] == "error"]


def assets_of(api: Api, dandiset_id: str) -> dict[str, dict[str, Any]]:
    """Return what the archive has: ids and times of assets by their paths."""
    answer = api.ok("GET", f"/dandisets/{dandiset_id}/versions/draft/assets/?page_size=1000")
    assert not answer["next"]
    return {item["path"]: item for item in answer["results"]}


def contents(records: dict[str, dict[str, Any]]) -> dict[str, tuple[Any, ...]]:
    """Return which blob or Zarr of what size each asset is."""
    return {path: (item["blob"], item["zarr"], item["size"]) for path, item in records.items()}


def conform_to_the_schema(api: Api, dandiset_id: str, records: dict[str, dict[str, Any]]) -> None:
    """dandischema takes every record, and each says of whom the asset is."""
    from dandischema.models import Asset, Dandiset

    for path, item in records.items():
        record = api.ok("GET", f"/assets/{item['asset_id']}/")
        Asset.model_validate(record)
        if path.startswith("sub-"):
            assert record.get("wasAttributedTo"), path
            assert all(who["identifier"] for who in record["wasAttributedTo"]), path
    Dandiset.model_validate(api.ok("GET", f"/dandisets/{dandiset_id}/versions/draft/"))
