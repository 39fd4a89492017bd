"""Sets of skeletons by the ID of the neuron: folders of SWC files, and Precomputed skeletons.

| SPEC | what |
| --- | --- |
| `dir/*.swc` | one SWC file a skeleton; `*` stands for its ID |
| `file.swc` | one skeleton (to read only) |
| `precomputed://file:///dir` | a folder of skeletons, or a segmentation that names one; `gs://…` to read |

A set appears on the disk whole or not at all, and takes the place of an older one of the same kind.
Nodes are zyx nanometres; the formats' modules turn them (`swc`, `_precomputed_skeletons`).
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from volumes.errors import VolumeError, mended
from volumes.skeletons import Skeleton
from volumes.swc import OnWarning, parse_swc, says_unit, swc_text

_PRECOMPUTED = "precomputed://"
_FORMS = "dir/*.swc, file.swc, precomputed://file:///dir"
_LARGEST_ID = 2**64 - 1


def read_skeletons(
    spec: str, *, unit_nm: float | None = None, on_warning: OnWarning = warnings.warn
) -> dict[int, Skeleton]:
    """Read a set of skeletons.

    The ID of an SWC file is the number in that part of its name which `*` stands for (of a single file, in
    its whole name). Where that is not one number above 0 for each file, all files count as 1, 2, … in the
    order of their names, numbers in these as numbers, and a warning says so.

    Args:
        spec: see the module.
        unit_nm: nanometres per unit of SWC files that do not say their unit rightly; Precomputed always
            comes in nanometres.
        on_warning: takes a line about each kind of thing that was read otherwise than it stands there, with
            counts; skeletons without nodes, which are left out, among them.

    Returns:
        Skeletons (zyx nm) by ID, ascending; at least one.

    Raises:
        VolumeError: an unknown SPEC, nothing there, no skeleton with nodes, or a skeleton that is none (see
            `read_swc`; a cycle in Precomputed).
    """
    if spec.startswith(_PRECOMPUTED):
        if unit_nm is not None:
            raise VolumeError(f"'{spec}' is in nanometres by its format; leave unit_nm out")
        found = _read_precomputed(spec)
    elif spec.lower().endswith(".swc"):
        found = _read_swc_files(spec, unit_nm, on_warning)
    else:
        raise VolumeError(f"'{spec}' names no skeletons; write one of: {_FORMS}")
    skeletons = {number: skeleton for number, skeleton in sorted(found.items()) if skeleton is not None}
    if not skeletons:
        raise VolumeError(f"'{spec}' holds no skeleton with nodes; check the path, or make skeletons first")
    if len(skeletons) < len(found):
        on_warning(f"'{spec}' has {len(found) - len(skeletons)} skeletons without nodes, which are left out")
    return skeletons


def unit_is_known(spec: str) -> bool:
    """Whether all skeletons of a set say their unit: Precomputed by its format, SWC files in their headers.

    Args:
        spec: of skeletons that can be read.

    Raises:
        VolumeError: nothing there.
    """
    return spec.startswith(_PRECOMPUTED) or all(map(says_unit, _swc_files(spec)[0]))


def write_skeletons(spec: str, skeletons: Mapping[int, Skeleton]) -> None:
    """Write a set of skeletons, which appears whole or not at all.

    Args:
        spec: `dir/*.swc`, where `*` becomes the ID, or `precomputed://file:///dir`. A folder that is there is
            replaced if it holds skeletons of that kind and nothing else.
        skeletons: zyx nm, by IDs from 1 to 2^64 - 1. Precomputed keeps positions as float32.

    Raises:
        VolumeError: no skeletons, another SPEC, an ID out of range, a folder that holds something else, or a
            place that cannot be written to.
    """
    if not skeletons:
        raise VolumeError(
            f"there are no skeletons to write to '{spec}'; lower min_voxels or check the labels"
        )
    wrong = [number for number in skeletons if not 0 < number <= _LARGEST_ID]
    if wrong:
        raise VolumeError(f"{wrong[0]} is no ID of a skeleton; number them from 1 to 2^64 - 1")
    if spec.startswith(_PRECOMPUTED):
        _write_precomputed(spec, skeletons)
        return
    folder, pattern = os.path.split(spec)
    if not pattern.lower().endswith(".swc") or pattern.count("*") != 1 or "*" in folder:
        raise VolumeError(f"'{spec}' is no place for skeletons; write dir/*.swc or precomputed://file:///dir")

    def fill(unfinished: Path) -> None:
        for number, skeleton in skeletons.items():
            text = swc_text(skeleton)
            (unfinished / pattern.replace("*", str(number))).write_text(text, encoding="utf-8")

    def ours(there: Path) -> bool:
        return all(re.fullmatch(r"\d+", _starred(path.name, pattern)) for path in there.iterdir())

    _put_whole(Path(folder), spec, fill, ours)


def _read_precomputed(spec: str) -> dict[int, Skeleton | None]:
    from volumes._precomputed_skeletons import read_precomputed_skeletons

    return dict(read_precomputed_skeletons(spec.removeprefix(_PRECOMPUTED), spec))


def _write_precomputed(spec: str, skeletons: Mapping[int, Skeleton]) -> None:
    from volumes._precomputed_skeletons import holds_only_skeletons, write_precomputed_skeletons
    from volumes.tensorstores import folder_of, url_of

    url = url_of(spec.removeprefix(_PRECOMPUTED))
    if not url.startswith("file://"):
        raise VolumeError(f"'{spec}' is not on this machine's disks; write to a folder and copy it there")
    _put_whole(
        folder_of(url),
        spec,
        lambda folder: write_precomputed_skeletons(folder, skeletons),
        holds_only_skeletons,
    )


def _read_swc_files(spec: str, unit_nm: float | None, on_warning: OnWarning) -> dict[int, Skeleton | None]:
    paths, pattern = _swc_files(spec)
    numbers = _numbers_of([_starred(path.name, pattern) for path in paths])
    if numbers is None:
        numbers = list(range(1, len(paths) + 1))
        if len(numbers) > 1:
            on_warning(
                f"the names of '{spec}' are not one number each; its {len(numbers)} files count from 1"
            )
    found, oddities, files = {}, Counter[str](), Counter[str]()
    for number, path in zip(numbers, paths, strict=True):
        found[number], odd = parse_swc(path, unit_nm)
        oddities += odd
        files.update(odd.keys())
    for what, count in oddities.items():
        on_warning(f"'{spec}' has {count} {what} (in {files[what]} files)")
    return found


def _swc_files(spec: str) -> tuple[list[Path], str]:
    """The files of a SPEC in the order of their names, and the pattern of those."""
    folder, pattern = Path(spec).parent, Path(spec).name
    if "*" not in pattern:
        return [Path(spec)], "*.swc"
    with mended(f"cannot read skeletons '{spec}'", "check the path", OSError):
        names = [path.name for path in folder.iterdir()]
    wanted = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.IGNORECASE)
    # Files that begin with a dot are what other programs keep beside them.
    found = [folder / name for name in names if wanted.fullmatch(name) and not name.startswith(".")]
    if not found:
        raise VolumeError(f"there are no skeletons '{spec}'; check the path and the names of its files")
    return sorted(found, key=_natural), pattern


def _starred(name: str, pattern: str) -> str:
    """The part of a file's name that the one `*` of a pattern stands for; the stem if there are several."""
    before, star, after = pattern.partition("*")
    if "*" in after or not (name.startswith(before) and name.lower().endswith(after.lower())):
        return Path(name).stem
    return name[len(before) : len(name) - len(after)]


def _numbers_of(texts: list[str]) -> list[int] | None:
    """The one number in each text; None unless each has exactly one, all are different and in range."""
    runs = [re.findall(r"\d+", text) for text in texts]
    if any(len(run) != 1 for run in runs):
        return None
    numbers = [int(run[0]) for run in runs]
    in_range = all(0 < number <= _LARGEST_ID for number in numbers)
    return numbers if in_range and len(set(numbers)) == len(numbers) else None


def _natural(path: Path) -> list[tuple[int, str]]:
    """A sort key under which numbers in a name count as numbers."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]


def _put_whole(folder: Path, spec: str, fill: Callable[[Path], None], ours: Callable[[Path], bool]) -> None:
    """Fill a folder under another name, and put it in the place of what was there."""
    folder = folder.expanduser().resolve()
    with mended(f"cannot write '{spec}'", "choose another place", OSError):
        if folder.exists() and not (folder.is_dir() and ours(folder)):
            raise VolumeError(f"'{folder}' holds other things than these skeletons; name a new folder")
        with _unfinished(folder) as unfinished:
            fill(unfinished)
            if folder.exists():
                retired = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
                os.replace(folder, retired)
                os.replace(unfinished, folder)
                shutil.rmtree(retired)
            else:
                os.replace(unfinished, folder)


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """An empty folder beside another, which is removed if it is still there in the end."""
    unfinished = folder.with_name(f".{folder.name}.unfinished-{secrets.token_hex(4)}")
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
