"""Files of a folder over HTTP: Precomputed volumes, meshes and skeletons, as Neuroglancer asks for them.

A file that is there under its name and `.gz` only is sent as it lies, with `Content-Encoding: gzip`; one that
is not there is 404, which Neuroglancer takes for an empty chunk. Every answer has an `ETag` (time of change
and size), and a reader that has this version already gets 304.

A path is taken apart into names of letters, digits and a few signs, none of which begins with a dot, and what
is found must lie in the folder after all links are followed: there is no way out of it.
Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from fastapi import Request
from fastapi.responses import FileResponse, Response

from proofreading.server.refusals import Refused

_NAME = re.compile(r"[A-Za-z0-9_@:-][A-Za-z0-9_.@:-]*")
_DEEPEST = 6
_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".wasm": "application/wasm",
    ".woff2": "font/woff2",
}


class FoundFile(NamedTuple):
    """A file to send.

    Attributes:
      path: where it lies.
      gzipped: whether it is to be unpacked by the reader.
      tag: names this version of it.
    """

    path: Path
    gzipped: bool
    tag: str


def find_file(folder: Path, name: str) -> FoundFile | None:
    """A file in a folder, or its gzipped form.

    Args:
      folder: nothing outside of it is found.
      name: path in it, with slashes.

    Returns:
      The file; None where there is none, or where the name is none that a file here can have.
    """
    parts = name.split("/")
    if len(parts) > _DEEPEST or not all(map(_NAME.fullmatch, parts)):
        return None
    top = os.path.realpath(folder)
    for path, gzipped in (
        (folder.joinpath(*parts), False),
        (folder.joinpath(*parts[:-1], f"{parts[-1]}.gz"), True),
    ):
        real = os.path.realpath(path)
        if os.path.commonpath([top, real]) == top and os.path.isfile(real):
            state = os.stat(real)
            return FoundFile(Path(real), gzipped, f'"{state.st_mtime_ns:x}-{state.st_size:x}"')
    return None


def send_file(request: Request, folder: Path, name: str, *, cache: str = "private, no-cache") -> Response:
    """The answer to a request for a file.

    Args:
      request: may name the version that is known already.
      folder: see `find_file`.
      name: see `find_file`.
      cache: what the browser may do with it; by default it keeps it, and asks whether it has changed.

    Raises:
      Refused: 404.
    """
    found = find_file(folder, name)
    if found is None:
        raise Refused(404, f"there is no file '{name[:100]}'")
    headers = {"ETag": found.tag, "Cache-Control": cache}
    if is_known(request, found.tag):
        return Response(status_code=304, headers=headers)
    if found.gzipped:
        headers["Content-Encoding"] = "gzip"
    suffix = Path(name).suffix
    media_type = _MEDIA_TYPES.get(suffix, "application/json" if Path(name).name == "info" else None)
    return FileResponse(found.path, headers=headers, media_type=media_type or "application/octet-stream")


def is_known(request: Request, tag: str) -> bool:
    """Whether a request says that it has this version.

    Args:
      request: with `If-None-Match` or without.
      tag: of the version.
    """
    known = request.headers.get("if-none-match", "")
    return any(each.strip().removeprefix("W/") in (tag, "*") for each in known.split(","))
