"""Skeletons of neurons, beside their voxels where viewers look for them.

They are traced from the volume of neurons (`evaluation.teasar`, which needs the extra `skeletons`),
written as Precomputed skeletons in its folder `skeletons`, and named in its `info`.
"""

from __future__ import annotations

import shutil

from agglomeration.neuron_volume import NeuronVolume, name_in_info
from configs import ConfigView
from evaluation.teasar import skeletonise_volume
from inference.written import write_unless_there
from jobs.progress import Progress
from volumes import open_volume, write_skeletons

FOLDER = "skeletons"


def write_neuron_skeletons(
    volume: NeuronVolume, section: ConfigView, *, progress: Progress | None = None
) -> bool:
    """Traces and writes the skeletons of all neurons, unless they are there.

    Args:
      volume: the neurons.
      section: the config's `neurons.skeletonisation`: scale, const_nm, min_voxels.
      progress: counts neurons.

    Returns:
      Whether there are any; none is written where every neuron is smaller than `min_voxels`.

    Raises:
      EvaluationError: kimimaro is not installed, or settings out of range.
      VolumeError: the neurons cannot be read, or the folder not be written.
    """

    def write() -> None:
        with open_volume(volume.spec) as neurons:
            found = skeletonise_volume(
                neurons,
                scale=section.scale,
                const_nm=section.const_nm,
                min_voxels=section.min_voxels,
                progress=progress,
            )
        if found:
            write_skeletons(f"precomputed://file://{volume.folder / FOLDER}", found)
        else:
            shutil.rmtree(volume.folder / FOLDER, ignore_errors=True)
        name_in_info(volume.folder, "skeletons", FOLDER if found else None)

    made_from = {"neurons": volume.made_from, "section": section.to_text()}
    write_unless_there(volume.folder.parent, [f"{volume.folder.name}/{FOLDER}"], made_from, write)
    return (volume.folder / FOLDER / "info").exists()
