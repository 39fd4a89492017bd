"""The error of everything that holds voxels or skeletons, and how a library's error becomes one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from configs.errors import ReconstructionError

# Colours, tensorstore's status codes, and what it adds in brackets for its own developers.
_NOISE = re.compile(r"\x1b\[[0-9;]*m|^[A-Z_]{5,}: | \[(?:tensorstore_spec|os_error_code|source locations)=.*")
_LONGEST = 400


class VolumeError(ReconstructionError):
    """A volume, a box or a skeleton that is missing, malformed, of the wrong kind or outside its bounds."""


class NoVoxelSizeError(VolumeError):
    """A volume that does not say its voxel size, opened without one."""


class NoChannelError(VolumeError):
    """A channel that a volume does not have."""


@contextmanager
def mended(problem: str, mend: str, *kinds: type[BaseException]) -> Iterator[None]:
    """Turn errors of the given kinds into a `VolumeError` of one line.

    Args:
        problem: what could not be done and where, e.g. "cannot read 'file.h5:raw'".
        mend: what the user can do about it.
        kinds: the exceptions to translate. An error of ours keeps its message, which has its own mend.

    Raises:
        VolumeError: "<problem>: <the library's message on one line>; <mend>".
    """
    try:
        yield
    except VolumeError:
        raise
    except ReconstructionError as error:
        raise VolumeError(str(error)) from error
    except kinds as error:
        raise VolumeError(f"{problem}: {one_line(error)}; {mend}") from error


def one_line(error: BaseException) -> str:
    """The message of a library's exception on one line, without decoration, never empty."""
    text = _NOISE.sub("", " ".join(str(error).split())).rstrip(". ")
    if isinstance(error, KeyError):
        text = f"{text} is missing"
    return (text if len(text) <= _LONGEST else text[:_LONGEST] + "…") or type(error).__name__
