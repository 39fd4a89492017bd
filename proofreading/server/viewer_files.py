"""Neuroglancer's client, from the wheel `neuroglancer`, behind an index page of our own.

The client in the wheel is built for a Python server, which it finds by its own address, `…/v/<token>`. Here
the token is always `stub`, and the page loads `stub.js` before the client: it stands in for that server, so
that no connection is kept open for each tab (a browser opens six in all), and hands what the client would
send to the page around it. Only files that the client is made of are sent; maps of its source are left out.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import import_module, resources
from pathlib import Path

from proofreading.errors import ProofreadingError

STUB = "stub.js"
_SCRIPT = re.compile(r"<script\b")


@lru_cache(maxsize=1)
def client_folder() -> Path:
    """Where the wheel keeps the client.

    Raises:
      ProofreadingError: it has none.
    """
    import neuroglancer.static

    folder = Path(str(resources.files(neuroglancer.static))) / "client"
    if not (folder / "index.html").is_file():
        raise ProofreadingError(
            f"the package neuroglancer brings no client ({folder}); install its wheel from PyPI"
        )
    return folder


@lru_cache(maxsize=1)
def index_page() -> str:
    """The client's index page, with the stub before all of its scripts.

    Raises:
      ProofreadingError: there is no such page, or one without scripts.
    """
    text = (client_folder() / "index.html").read_text("utf-8")
    page, count = _SCRIPT.subn(f'<script src="{STUB}"></script><script', text, count=1)
    if not count:
        raise ProofreadingError(
            "the client of the package neuroglancer has no scripts; install 2.41 or later"
        )
    return page


def is_client_file(name: str) -> bool:
    """Whether a file of the client is sent."""
    return Path(name).suffix in (".js", ".css", ".wasm") and "/" not in name


def stub_folder() -> Path:
    """Where `stub.js` lies."""
    return Path(str(resources.files(import_module("proofreading.server")))) / "viewer"
