"""Files: the page, the viewer's client, and the volumes that it shows."""

from __future__ import annotations

import gzip
import hashlib
from importlib import import_module, resources
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from proofreading.server import viewer_files
from proofreading.server.auth import Reader
from proofreading.server.data_files import is_known, send_file
from proofreading.server.edited_chunks import edited_chunk
from proofreading.server.guards import WORKER_POLICY
from proofreading.server.layers import MESHES, SEGMENTATION, Layer
from proofreading.server.part_meshes import part_mesh
from proofreading.server.refusals import Refused
from proofreading.server.served import Project

router = APIRouter(include_in_schema=False)
# A file of the client has a digest in its name.
_FOR_EVER = "public, max-age=31536000, immutable"
_PAGE = "index.html"


def static_folder() -> Path:
    """Where the page lies."""
    return Path(str(resources.files(import_module("proofreading.server")))) / "static"


@router.get("/")
def _page(request: Request) -> Response:
    """The page."""
    return send_file(request, static_folder(), _PAGE)


@router.get("/static/{name:path}")
def _page_file(name: str, request: Request) -> Response:
    """A file of the page."""
    return send_file(request, static_folder(), name)


@router.get("/ng/v/stub")
async def _viewer_without_slash() -> Response:
    """The client loads its files relative to its page."""
    return RedirectResponse("/ng/v/stub/", 308)


@router.get("/ng/v/stub/")
def _viewer() -> Response:
    """The viewer's index page."""
    return HTMLResponse(viewer_files.index_page(), headers={"Cache-Control": "no-cache"})


@router.get("/ng/v/stub/{name:path}")
def _viewer_file(name: str, request: Request) -> Response:
    """A file of the viewer's client."""
    if name == viewer_files.STUB:
        return send_file(request, viewer_files.stub_folder(), name)
    if not viewer_files.is_client_file(name):
        raise Refused(404, f"there is no file '{name[:100]}'")
    response = send_file(request, viewer_files.client_folder(), name, cache=_FOR_EVER)
    response.headers["Content-Security-Policy"] = WORKER_POLICY
    return response


@router.get("/data/{layer}/info")
def _layer_info(layer: str, request: Request, project: Project, person: Reader) -> Response:
    """What a layer is."""
    info = _layer(project, layer).info()
    return JSONResponse(info, headers={"Cache-Control": "private, no-cache"})


@router.get("/data/{layer}/{name:path}")
def _layer_file(layer: str, name: str, request: Request, project: Project, person: Reader) -> Response:
    """A chunk of a layer, or a file of its meshes."""
    found = _layer(project, layer)
    if name.startswith(f"{MESHES}/") and found.meshes is not None:
        name = name.removeprefix(f"{MESHES}/")
        part = part_mesh(project.state, found, name)
        return send_file(request, found.meshes, name) if part is None else _chunk(request, part)
    is_edited = found is project.layers[SEGMENTATION]
    read = project.state.read_labels if is_edited else found.volume.read
    if found.folder is not None:
        splits = project.state.supervoxel_splits() if is_edited else ()
        edited = edited_chunk(found, name, splits, read)
        return send_file(request, found.folder, name) if edited is None else _chunk(request, edited)
    voxels = found.chunk(name, read)
    if voxels is None:
        raise Refused(404, f"layer '{layer}' has no chunk '{name[:100]}'")
    return _chunk(request, voxels)


def _layer(project: Project, name: str) -> Layer:
    """A layer by its name. A "~" and what follows do not count: by them the page has chunks read anew."""
    name = name.partition("~")[0]
    preview = project.previews.layer(name)
    if preview is not None:
        return preview
    if name not in project.layers:
        raise Refused(404, f"there is no layer '{name[:40]}'; there are {', '.join(sorted(project.layers))}")
    return project.layers[name]


def _chunk(request: Request, voxels: bytes) -> Response:
    tag = f'"{hashlib.blake2b(voxels, digest_size=12).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    headers["Content-Encoding"] = "gzip"
    return Response(gzip.compress(voxels, 1), headers=headers, media_type="application/octet-stream")
