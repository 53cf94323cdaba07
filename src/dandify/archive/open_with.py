"""Links that open an asset in a viewer, as the DANDI archive's pages form them."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from urllib.parse import quote

NWB_EXPLORER_BYTES = 10**9


@dataclass(frozen=True)
class Asked:
    """An asset that is to be opened.

    Attributes
    ----------
    path, size
        Of the asset; bytes.
    download_url
        At the API.
    file_url
        In the bucket; of a Zarr, its folder.
    dandiset, version
        Which it is of.
    """

    path: str
    size: int
    download_url: str
    file_url: str
    dandiset: str
    version: str


def services_for(asset: Asked) -> dict[str, str]:
    """Return names and addresses of the viewers that open an asset.

    The pages are of other servers, and read the file from this one: a browser on this machine can, others cannot.
    """
    found: dict[str, str] = {}
    if re.search(r"\.nwb$", asset.path):
        found["Neurosift"] = (
            f"https://neurosift.app/nwb?url={asset.download_url}&dandisetId={asset.dandiset}"
            f"&dandisetVersion={asset.version}"
        )
        if asset.size <= NWB_EXPLORER_BYTES:
            found["NWB Explorer"] = f"http://nwbexplorer.opensourcebrain.org/nwbfile={asset.download_url}"
    if re.search(r"\.ome\.zarr$", asset.path):
        image = asset.file_url.rstrip("/")
        found["VTK/ITK Viewer"] = f"https://kitware.github.io/itk-vtk-viewer/app/?gradientOpacity=0.3&image={image}"
        found["OME-Zarr validator"] = f"https://ome.github.io/ome-ngff-validator/?source={image}"
    if re.search(r"\.nii(\.gz)?$|\.zarr$", asset.path):
        layer = {"type": "image", "source": asset.file_url, "tab": "rendering", "name": asset.path.rpartition("/")[2]}
        state = {"layers": [layer], "selectedLayer": {"visible": True, "layer": layer["name"]}, "layout": "4panel"}
        found["Neuroglancer"] = f"https://neuroglancer-demo.appspot.com/#!{quote(json.dumps(state))}"
    return found
