"""What preprocessing has to know of whole sections or volumes: read once for a project, and kept with it.

The client makes it before the workers start, section by section and block by block; they only load it. What a
process does not find it makes for itself: without a shared disk, or in another tool that opens the project.

In:  the images of a project's passes and its `preprocessing` section.
Out: `preprocessing/<digest>/<name>.npz` in the output directory; the digest names all that it follows from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs import ConfigView
from inference.freshness import stamps_of_volume
from inference.identity import settings_digest
from jobs.pieces import CorruptPieceError, PieceError, load_npz, save_npz
from jobs.progress import Progress
from volumes import Box, Volume
from volumes.derived import missing_statistics, preprocessed

_FOLDER = "preprocessing"


@dataclass(frozen=True)
class KeptStatistics:
    """A `volumes.derived.StatisticsStore`: pieces in a folder.

    Attributes:
      folder: of one image, changed in one way.
    """

    folder: Path

    def load(self, name: str) -> Mapping[str, np.ndarray] | None:
        """The arrays of a piece; None where it is missing or damaged."""
        try:
            return load_npz(self._path(name))
        except PieceError:
            return None

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes a piece.

        Raises:
          PieceError: it cannot be written.
        """
        save_npz(self._path(name), arrays)

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


def changed_image(image: Volume, config: ConfigView) -> Volume:
    """An image with the project's preprocessing, its statistics kept in the output directory.

    Args:
      image: as it is stored.
      config: of the project.

    Raises:
      VolumeError: see `volumes.preprocessed`.
    """
    section = config.preprocessing
    if section.sections is None and section.histogram is None:
        return preprocessed(image, section)
    follows_from = {
        "image": image.spec,
        "files": stamps_of_volume(image.spec),
        "preprocessing": section.to_text(),
        "reference_files": stamps_of_volume(section.histogram.reference.spec) if section.histogram else (),
    }
    store = KeptStatistics(Path(config.output_dir) / _FOLDER / settings_digest(follows_from))
    return preprocessed(image, section, store=store)


def make_statistics(config: ConfigView, images: Iterable[tuple[Volume, Box]]) -> list[str]:
    """Makes the statistics that a run needs and that are not kept yet.

    Args:
      config: of the project.
      images: those of the passes, and the box that is read of each.

    Returns:
      A line about each damaged file that was made anew.

    Raises:
      VolumeError: an image or reference that cannot be read, or has voxels that are NaN or infinite.
      PieceError: the output directory cannot be written to.
    """
    notes = _remove_damaged(Path(config.output_dir) / _FOLDER)
    for image, box in images:
        # What one image needs may serve the next.
        parts = list(missing_statistics(image, box.intersect(image.bounds)))
        if not parts:
            continue
        voxels, shown = sum(part.voxels for part in parts), None if config.run.progress else False
        with Progress(voxels, "voxel", description="preprocessing", enabled=shown) as progress:
            for part in parts:
                part.make()
                progress.advance(part.voxels)
    return notes


def _remove_damaged(folder: Path) -> list[str]:
    notes = []
    for path in sorted(folder.glob("*/*.npz")):
        try:
            load_npz(path)
        except CorruptPieceError as error:
            notes.append(f"{str(error).split(';')[0]}; it is made anew")
            path.unlink()
    return notes
