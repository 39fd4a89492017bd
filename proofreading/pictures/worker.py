"""The process that works on one job: `python -m proofreading.pictures.worker FOLDER MOST_VOXELS`.

It alone reads what was uploaded and loads the network's library. Whatever it has to say it prints, a line of
JSON each: new values of the job (`Job.told`), at last `{"done": true}` or `{"error": …}`. It ends when its
standard input does, that is, with the server that started it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from configs.errors import ReconstructionError
from jobs.pieces import atomic_path
from proofreading.pictures.jobs import RESULT, UPLOAD, load_job
from proofreading.pictures.reading import read_picture

# Beyond the picture itself, while it is unpacked: libraries, and what they need to unpack.
_ROOM_BYTES = 1 << 30
_BYTES_PER_VOXEL = 64


def main(folder: Path, most_voxels: int, out: TextIO) -> int:
    """Works on a job.

    Args:
      folder: of the job.
      most_voxels: larger pictures are refused.
      out: takes lines of JSON.

    Returns:
      The exit code: 0 done, 1 failed.
    """

    def say(**values: Any) -> None:
        print(json.dumps(values), file=out, flush=True)

    try:
        _work(folder, most_voxels, say)
    except ReconstructionError as error:
        say(error=" ".join(str(error).split()))
        return 1
    except MemoryError:
        say(error="the picture does not fit into memory; give a smaller one")
        return 1
    say(done=True)
    return 0


def _work(folder: Path, most_voxels: int, say: Any) -> None:
    job = load_job(folder)
    say(stage="reading the picture", progress=0.0)
    with _bounded_memory(_ROOM_BYTES + _BYTES_PER_VOXEL * most_voxels):
        picture = read_picture(folder / UPLOAD, most_voxels, job.wanted.dataset)
    from proofreading.pictures.segmenting import (
        network_info,
        picture_config,
        require_room,
        segment_picture,
    )

    info = network_info(job.wanted.network)
    require_room(picture.voxels.shape, info.architecture.fov_zyx)
    size_nm = job.wanted.voxel_size_nm or info.voxel_size_nm or (1.0, 1.0, 1.0)
    notes = [*picture.notes, *_cautions(picture.voxels, info.voxel_size_nm, size_nm)]
    say(stage="loading the network", notes=notes, shape=picture.voxels.shape, voxel_size_nm=size_nm)
    config = picture_config(folder, job.wanted, info)
    from ffn.backend import load_quietly

    load_quietly()
    say(stage="segmenting")
    found = segment_picture(
        picture.voxels, config, size_nm, lambda share, fovs: say(progress=min(share, 1.0))
    )
    say(stage="saving", progress=1.0)
    write_result(folder / RESULT, picture.voxels, found, size_nm)
    say(objects=int(found.max(initial=0)))


def write_result(
    path: Path, raw: np.ndarray, segmentation: np.ndarray, voxel_size_nm: tuple[float, float, float]
) -> None:
    """Writes picture and objects as one HDF5 file in the CREMI layout, a section a chunk.

    Args:
      path: the file to make or to replace.
      raw: (z, y, x) uint8.
      segmentation: (z, y, x) uint32.
      voxel_size_nm: zyx.

    Raises:
      PieceError: it cannot be written.
    """
    import h5py

    with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
        for name, array in {"raw": raw, "segmentation": segmentation}.items():
            dataset = file.create_dataset(
                name, data=array, chunks=(1, *array.shape[1:]), compression="gzip", compression_opts=1
            )
            dataset.attrs["resolution"] = voxel_size_nm


def _cautions(
    voxels: np.ndarray,
    trained_nm: tuple[float, float, float] | None,
    size_nm: tuple[float, float, float],
) -> Iterator[str]:
    if trained_nm is not None and not np.allclose(trained_nm, size_nm, rtol=0.25):
        trained, given = ("x".join(f"{edge:g}" for edge in edges) for edges in (trained_nm, size_nm))
        yield f"the network was trained at voxels of {trained} nm, the picture has {given} nm (z, y, x)"
    if voxels.shape[0] == 1:
        yield "a single section is taken to go on unchanged above and below"


@contextmanager
def _bounded_memory(more_bytes: int) -> Iterator[None]:
    """Lets the process take so much more memory, and no more, as long as the block lasts."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + more_bytes
    limits = [limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end_with_parent() -> None:
    """Ends the process as soon as nobody holds the other end of its standard input."""
    sys.stdin.buffer.read()
    os._exit(3)


if __name__ == "__main__":
    # Whatever libraries print must not come between the lines.
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Threads of libraries may still run; all that matters is on the disk.
    code = main(Path(sys.argv[1]), int(sys.argv[2]), lines)
    lines.flush()
    os._exit(code)
