"""Segment-a-picture over HTTP: the page, and what it asks for.

| address | does |
| --- | --- |
| `GET /pictures` | the page; `GET /pictures/files/…` its files |
| `GET /api/pictures` | what is offered and allowed, and my pictures |
| `POST /api/pictures` | takes a file as the body, `Content-Type: application/octet-stream` |
| `GET /api/pictures/{id}` | how far it is |
| `POST /api/pictures/{id}/cancel`, `DELETE /api/pictures/{id}` | ends it; removes it, too |
| `GET /api/pictures/{id}/section?z=&kind=raw|objects` | a section as PNG |
| `GET /api/pictures/{id}/result?format=&z=` | the result as a file |

Everybody sees their own pictures only. An upload goes to the disk as it arrives.
"""

# Annotations are evaluated where they stand, since those of the routes name the factory's arguments.
import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from functools import lru_cache
from importlib import import_module, resources
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool

from ffn.weights import BUILTIN, builtin_networks, load_network
from proofreading.pictures.jobs import Job, JobState, Wanted
from proofreading.pictures.queue import PictureQueue, TooManyError
from proofreading.pictures.reading import PictureError
from proofreading.pictures.saving import (
    FORMATS,
    WHOLE,
    file_name,
    raw_parts,
    read_section,
    save_tiff,
    saved_section,
    shown_objects,
    shown_raw,
)

_FILES = {
    "pictures.html": "text/html; charset=utf-8",
    "pictures.js": "text/javascript; charset=utf-8",
    "panes.js": "text/javascript; charset=utf-8",
    "pictures.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_STREAM = "application/octet-stream"
# An upload holds a place in the queue: one that is silent for so long, or slower than this after that, ends.
_SILENT_S = 20.0
_SLOWEST_BYTES_PER_S = 10_000
_TOO_SLOW = "the file comes too slowly; send it again over a faster connection"


class Person(Protocol):
    """Who asks."""

    @property
    def name(self) -> str:
        """Unique."""


def picture_routes(
    queue: Callable[..., Any], reader: Callable[..., Any], proofreader: Callable[..., Any]
) -> APIRouter:
    """The routes of segment-a-picture.

    Args:
      queue: dependency that gives the `PictureQueue`.
      reader: dependency that gives who asks (`Person`), or refuses.
      proofreader: the same of those who may have work done.
    """
    router = APIRouter(tags=["pictures"])

    @router.get("/pictures", include_in_schema=False)
    def page() -> Response:
        return _file("pictures.html")

    @router.get("/pictures/files/{name}", include_in_schema=False)
    def page_file(name: str) -> Response:
        return _file(name)

    @router.get("/api/pictures")
    def pictures(
        pictures: Annotated[PictureQueue, Depends(queue)], person: Annotated[Person, Depends(reader)]
    ) -> dict[str, Any]:
        """What is offered and allowed, and my pictures, the latest first."""
        limits = pictures.limits
        return {
            "networks": networks(),
            "formats": list(FORMATS),
            "limits": {
                "upload_bytes": limits.upload_bytes,
                "voxels": limits.voxels,
                "waiting": limits.waiting,
            },
            "pictures": [described(pictures, job) for job in pictures.jobs(person.name)],
        }

    @router.post("/api/pictures", status_code=201)
    async def upload(
        request: Request,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(proofreader)],
        wanted: Annotated[Wanted, Depends(_wanted)],
        name: Annotated[str, Query(min_length=1, max_length=500)],
    ) -> dict[str, Any]:
        """Takes a picture."""
        if request.headers.get("content-type", "").partition(";")[0].strip() != _STREAM:
            raise HTTPException(415, f"send the file itself, with Content-Type: {_STREAM}")
        job = await run_in_threadpool(_reserved, pictures, person.name, name, wanted)
        try:
            await _receive(request.stream(), pictures.upload_path(job), pictures.limits.upload_bytes)
            job = await run_in_threadpool(pictures.submit, job)
        except BaseException:
            await run_in_threadpool(pictures.remove, job.id)
            raise
        return described(pictures, job)

    @router.get("/api/pictures/{number}")
    def picture(
        number: str,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(reader)],
    ) -> dict[str, Any]:
        """How far a picture is."""
        return described(pictures, pictures.get(number, person.name))

    @router.post("/api/pictures/{number}/cancel")
    def cancel(
        number: str,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(proofreader)],
    ) -> dict[str, Any]:
        """Ends a picture that waits or is worked on."""
        return described(pictures, pictures.cancel(number, person.name))

    @router.delete("/api/pictures/{number}", status_code=204)
    def remove(
        number: str,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(proofreader)],
    ) -> None:
        """Removes a picture and its result."""
        pictures.remove(number, person.name)

    @router.get("/api/pictures/{number}/section")
    def section(
        number: str,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(reader)],
        kind: Literal["raw", "objects"],
        z: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """A section of a picture that is done, or its objects, as PNG."""
        found = read_section(pictures.result_path(pictures.get(number, person.name)), z)
        png = shown_raw(found) if kind == "raw" else shown_objects(found)
        return Response(png, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})

    @router.get("/api/pictures/{number}/result")
    def result(
        number: str,
        pictures: Annotated[PictureQueue, Depends(queue)],
        person: Annotated[Person, Depends(reader)],
        form: Annotated[str, Query(alias="format")],
        z: Annotated[int, Query(ge=0)] = 0,
    ) -> Response:
        """The result of a picture that is done, as a file."""
        job = pictures.get(number, person.name)
        if form not in FORMATS:
            raise PictureError(f"there is no format '{form[:20]}'; choose from {', '.join(FORMATS)}")
        return saved(job, pictures.result_path(job), form, z)

    return router


def described(pictures: PictureQueue, job: Job) -> dict[str, Any]:
    """A job as the page gets it.

    Args:
      pictures: the queue.
      job: in it.
    """
    found = job.to_dict()
    del found["person"]
    found["ahead"] = pictures.ahead_of(job) if job.state is JobState.WAITING else 0
    return found


def networks() -> list[dict[str, Any]]:
    """The networks that are installed, and what they are for."""
    return [_network(name) for name in builtin_networks()]


@lru_cache
def _network(name: str) -> dict[str, Any]:
    info = load_network(f"{BUILTIN}{name}").info
    return {
        "name": name,
        "finds": "neurons",
        "description": str(info.training.get("description", "")),
        "voxel_size_nm": info.voxel_size_nm,
        "fov_zyx": info.architecture.fov_zyx,
    }


def saved(job: Job, path: Path, form: str, z: int) -> Response:
    """The answer that holds a result as a file.

    Args:
      job: that is done.
      path: of its `result.h5`.
      form: of `FORMATS`.
      z: the section, for formats of one.

    Raises:
      PictureError: there is no such section.
    """
    name, media_type = file_name(job, form, z), FORMATS[form][1]
    headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
    if form == "hdf5":
        return FileResponse(path, media_type=media_type, headers=headers)
    if form == "raw":
        return StreamingResponse(raw_parts(path), media_type=media_type, headers=headers)
    if form not in WHOLE:
        return Response(saved_section(read_section(path, z), form), media_type=media_type, headers=headers)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tif", delete=False) as file:
        target = Path(file.name)
    try:
        save_tiff(path, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    gone = BackgroundTask(target.unlink, missing_ok=True)
    return FileResponse(target, media_type=media_type, headers=headers, background=gone)


def _wanted(
    network: Annotated[str, Query(max_length=100)],
    voxel_size_nm: Annotated[str, Query(max_length=100)] = "",
    invert: bool = False,
    match: bool = True,
    min_segment_size: Annotated[int, Query(ge=1, le=10**9)] = 300,
    dataset: Annotated[str, Query(max_length=500)] = "",
) -> Wanted:
    """What the query asks for."""
    size = None
    if voxel_size_nm:
        try:
            z, y, x = map(float, voxel_size_nm.split(","))
        except ValueError as error:
            raise PictureError(f"voxel_size_nm '{voxel_size_nm}' is not three numbers z,y,x") from error
        size = z, y, x
    return Wanted(network, size, invert, match, min_segment_size, dataset)


def _reserved(pictures: PictureQueue, person: str, name: str, wanted: Wanted) -> Job:
    try:
        return pictures.reserve(person, name, wanted)
    except TooManyError as error:
        raise HTTPException(429, str(error), {"Retry-After": "30"}) from error


async def _receive(parts: AsyncIterator[bytes], path: Path, most_bytes: int) -> None:
    """Writes a body as it arrives.

    Raises:
      HTTPException: 413, it is too large; 408, it comes too slowly.
      PictureError: it is empty.
    """
    size, begun = 0, time.monotonic()
    with path.open("wb") as file:
        while (part := await _next_of(parts)) is not None:
            size += len(part)
            if size < (time.monotonic() - begun - _SILENT_S) * _SLOWEST_BYTES_PER_S:
                raise HTTPException(408, _TOO_SLOW)
            if size > most_bytes:
                raise HTTPException(413, f"the file is larger than the {most_bytes} bytes that are allowed")
            await run_in_threadpool(file.write, part)
    if size == 0:
        raise PictureError("the file is empty; choose another one")


async def _next_of(parts: AsyncIterator[bytes]) -> bytes | None:
    """The next part of a body; None after the last."""
    try:
        return await asyncio.wait_for(anext(parts), _SILENT_S)
    except StopAsyncIteration:
        return None
    except asyncio.TimeoutError as error:
        raise HTTPException(408, _TOO_SLOW) from error


def _file(name: str) -> Response:
    if name not in _FILES:
        raise HTTPException(404, "there is no such file")
    folder = resources.files(import_module("proofreading.pictures")) / "static"
    text = (folder / name).read_text("utf-8")
    return Response(text, media_type=_FILES[name], headers={"Cache-Control": "no-cache"})
