"""A job: one picture to segment, what is wanted, and how far it is; kept as `job.json` in its folder.

| file | holds |
| --- | --- |
| `job.json` | all of this |
| `upload` | the file as it came |
| `result.h5` | `raw` (uint8) and `segmentation` (uint32), z, y, x |
| `worker.log` | what the process that worked on it printed |
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Any

from jobs.pieces import atomic_path
from proofreading.errors import ProofreadingError
from proofreading.pictures.reading import PictureError

JOB, UPLOAD, RESULT, LOG = "job.json", "upload", "result.h5", "worker.log"
_LARGEST_NM = 100_000.0
_LARGEST_SEGMENT = 10**9


class JobState(str, Enum):
    """What has become of a job."""

    UPLOADING = "uploading"
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True)
class Wanted:
    """What a person wants of a picture.

    Attributes:
      network: name of a shipped one.
      voxel_size_nm: zyx, of the picture; None = as the network was trained.
      invert: white is to become black.
      match: every section gets the mean and spread of grey values that the network was trained on.
      min_segment_size: smaller objects are dropped, voxels.
      dataset: of an HDF5 file that has several.

    Raises:
      PictureError: a value out of range.
    """

    network: str
    voxel_size_nm: tuple[float, float, float] | None = None
    invert: bool = False
    match: bool = True
    min_segment_size: int = 300
    dataset: str = ""

    def __post_init__(self) -> None:
        size = self.voxel_size_nm
        if size is not None and not (len(size) == 3 and all(0 < edge <= _LARGEST_NM for edge in size)):
            raise PictureError(
                f"a voxel of {size} nm is none; give z,y,x, each above 0 and up to {_LARGEST_NM:g}"
            )
        if not 1 <= self.min_segment_size <= _LARGEST_SEGMENT:
            raise PictureError(f"min_segment_size {self.min_segment_size} is out of range; give 1 or more")


@dataclass(frozen=True)
class Job:
    """One picture.

    Attributes:
      id: 16 hexadecimal digits; names its folder.
      person: whose it is.
      name: of the file, as the person called it; for people only.
      wanted: of it.
      state: what has become of it.
      created: seconds since the epoch.
      finished: the same; None as long as it is not over.
      progress: share of the voxels that are filled, 0 to 1.
      stage: what is being done, in words.
      error: why it failed, one line.
      notes: lines worth knowing.
      shape: (z, y, x) of the picture, once it was read.
      objects: found in it.
      voxel_size_nm: zyx, once it was read.
    """

    id: str
    person: str
    name: str
    wanted: Wanted
    state: JobState
    created: float
    finished: float | None = None
    progress: float = 0.0
    stage: str = ""
    error: str = ""
    notes: tuple[str, ...] = ()
    shape: tuple[int, int, int] | None = None
    objects: int | None = None
    voxel_size_nm: tuple[float, float, float] | None = None

    def told(self, said: dict[str, Any]) -> Job:
        """The job after its worker said something.

        Args:
          said: new values by name; only those that a worker may change count.
        """
        known = {"progress", "stage", "notes", "shape", "objects", "voxel_size_nm"}
        return replace(self, **{name: _tupled(value) for name, value in said.items() if name in known})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "state": self.state.value}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Job:
        """What `to_dict` made.

        Raises:
          ProofreadingError: anything else.
        """
        try:
            wanted = Wanted(**{name: _tupled(value) for name, value in values["wanted"].items()})
            rest = {name: _tupled(value) for name, value in values.items() if name != "wanted"}
            return cls(**{**rest, "wanted": wanted, "state": JobState(values["state"])})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ProofreadingError(
                f"'{JOB}' of a picture cannot be read ({error}); delete its folder"
            ) from error

    def save(self, folder: Path) -> None:
        """Writes `job.json`.

        Args:
          folder: of the job.

        Raises:
          PieceError: it cannot be written.
        """
        with atomic_path(folder / JOB) as temporary:
            temporary.write_text(json.dumps(self.to_dict(), indent=2) + "\n", "utf-8")


def load_job(folder: Path) -> Job:
    """Reads what `Job.save` wrote.

    Args:
      folder: of the job.

    Raises:
      ProofreadingError: there is none, or it is damaged.
    """
    try:
        values = json.loads((folder / JOB).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ProofreadingError(f"'{folder / JOB}' cannot be read ({error}); delete the folder") from error
    return Job.from_dict(values)


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
