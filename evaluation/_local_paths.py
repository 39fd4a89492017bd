"""Texts without the folders of the machine they were written on, for pages that are passed on.

Of an absolute path inside the folder of the page that part is kept which leads there from the page, of any
other its last name. Schemes before it and what follows a colon, such as the array in an HDF5 file, stay.
"""

from __future__ import annotations

import os
import posixpath
import re

# A slash with a name after it, after `file://` or where no word, path or other scheme goes on.
_ABSOLUTE = re.compile(r"(?:(?<=\bfile://)|(?<![\w.:/*~-]))/[^\s\"'`,;:|<>()\[\]{}]+")


def without_folders(text: str, folder: str | os.PathLike[str] | None = None) -> str:
    """A text with its absolute paths shortened.

    Args:
        text: any, such as a SPEC, a sentence or a config.
        folder: where the page lies; None: of every path the last name is kept.
    """
    home = None if folder is None else os.path.abspath(folder).rstrip("/") + "/"

    def shortened(found: re.Match[str]) -> str:
        path = found.group()
        if home is not None and path.startswith(home) and path != home:
            return path.removeprefix(home)
        return posixpath.basename(path.rstrip("/"))

    return _ABSOLUTE.sub(shortened, text)
