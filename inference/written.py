"""Which finished files still are what a run wrote, so that a rerun leaves them alone.

Files and folders that one process writes at the end of a run are noted in `.written.json` beside them: what
they follow from, and their size and time of change. One that was cut short, changed or removed differs from
its note, and is written again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from inference.identity import settings_digest
from jobs.pieces import atomic_path

_NOTE = ".written.json"


def write_unless_there(
    directory: Path, names: Sequence[str], made_from: Mapping[str, object], write: Callable[[], None]
) -> bool:
    """Writes files, unless they are there as they were written before from the same.

    Args:
      directory: where they lie, and the note.
      names: of files or folders in it.
      made_from: plain values that they follow from.
      write: writes all of them.

    Returns:
      Whether it wrote them.
    """
    key, wanted = " ".join(names), settings_digest(made_from)
    if _noted(directory).get(key) == [wanted, _state(directory, names)]:
        return False
    write()
    note = {**_noted(directory), key: [wanted, _state(directory, names)]}
    with atomic_path(directory / _NOTE) as temporary:
        temporary.write_text(json.dumps(note, indent=2, sort_keys=True) + "\n")
    return True


def _noted(directory: Path) -> dict[str, object]:
    """The notes; none where they cannot be read, since then all is written again."""
    try:
        return dict(json.loads((directory / _NOTE).read_text()))
    except (OSError, ValueError, TypeError):
        return {}


def _state(directory: Path, names: Sequence[str]) -> str:
    """Names the sizes (bytes) and times of change (ns) of files, and of all files in folders."""
    states: dict[str, object] = {}
    for name in names:
        for path in _files(directory / name):
            state = os.stat(path)
            states[str(path.relative_to(directory))] = [state.st_size, state.st_mtime_ns]
    return settings_digest(states)


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (each for each in path.rglob("*") if each.is_file())
