"""Segments one picture with a shipped network; runs in a worker, which loads the network's library.

The network sees volumes. A picture of fewer sections than its field of view is deep is continued by its first
and last section on either side, so that a single section becomes a block of equal ones; what it finds beyond
the picture is cut off again.

Inputs: grey values uint8 (z, y, x). Outputs: objects uint32 (z, y, x), numbered from 1, 0 = none.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from configs import ConfigView, load_config
from ffn.weights import BUILTIN, NetworkInfo, load_network
from proofreading.pictures.jobs import Wanted
from proofreading.pictures.reading import PictureError

# Called with the share of the voxels that are filled, and the fields of view seen.
Report = Callable[[float, int], None]


def network_info(name: str) -> NetworkInfo:
    """What a shipped network is.

    Args:
      name: of it.

    Raises:
      WeightsError: there is none of this name.
    """
    return load_network(f"{BUILTIN}{name}").info


def picture_config(folder: Path, wanted: Wanted, info: NetworkInfo) -> ConfigView:
    """The settings of a run, which are kept in the job's folder.

    Args:
      folder: of the job.
      wanted: of the picture.
      info: of the network.

    Raises:
      ConfigError: settings that do not fit the schema.
    """
    changes = ["invert: true"] if wanted.invert else []
    if wanted.match:
        changes.append(f"sections {{ mean: {info.image_mean} stddev: {info.image_stddev} }}")
    path = folder / "config.textproto"
    path.write_text(
        f'name: "picture"\noutput_dir: "."\nnetwork {{ weights: "{BUILTIN}{wanted.network}" }}\n'
        f"inference {{\n  options {{ min_segment_size: {wanted.min_segment_size} }}\n"
        '  edge_context: MIRROR\n  passes { name: "forward" seed_order: FORWARD }\n}\n'
        f"preprocessing {{ {' '.join(changes)} }}\n",
        encoding="utf-8",
    )
    return load_config(str(path), require=("network", "inference"))


def segment_picture(
    voxels: np.ndarray, config: ConfigView, voxel_size_nm: tuple[float, float, float], report: Report
) -> np.ndarray:
    """The objects in a picture.

    Args:
      voxels: (z, y, x) uint8.
      config: of `picture_config`.
      voxel_size_nm: zyx.
      report: called now and then.

    Returns:
      (z, y, x) uint32.

    Raises:
      ReconstructionError: a network that cannot be used, or a picture that `require_room` refuses.
    """
    import fastremap

    from inference.passes import resolve_passes
    from inference.subvolume import segment_subvolume
    from volumes.arrays import ArrayVolume
    from volumes.derived import preprocess_array

    changed = preprocess_array(voxels, voxel_size_nm, config.preprocessing)
    depth = load_network(config.network.weights).info.architecture.fov_zyx[0]
    before, after = padding_of(voxels.shape[0], depth)
    padded = np.pad(changed, ((before, after), (0, 0), (0, 0)), mode="edge")
    image = ArrayVolume(padded, voxel_size_nm=voxel_size_nm)
    (each,) = resolve_passes(config.replace(preprocessing={}), image)
    result = segment_subvolume(
        each.image,
        each.image.bounds,
        each.network,
        each.settings,
        report=lambda filled, _, fovs: report(filled / padded.size, fovs),
    )
    inner = result.segmentation[before : before + voxels.shape[0]]
    found, _ = fastremap.renumber(np.ascontiguousarray(np.maximum(inner, 0)), in_place=False)
    return np.asarray(found, np.uint32)


def padding_of(sections: int, depth: int) -> tuple[int, int]:
    """How many sections are added before and after a picture.

    Args:
      sections: of the picture.
      depth: that there have to be at least.
    """
    missing = max(0, depth - sections)
    return missing // 2, missing - missing // 2


def require_room(shape: tuple[int, ...], fov_zyx: tuple[int, int, int]) -> None:
    """Refuses a picture whose sections are smaller than the field of view.

    Args:
      shape: (z, y, x) of the picture.
      fov_zyx: of the network, voxels.

    Raises:
      PictureError: it is.
    """
    if shape[1] < fov_zyx[1] or shape[2] < fov_zyx[2]:
        raise PictureError(
            f"sections of {shape[1]} x {shape[2]} voxels (y, x) are smaller than the field of view of "
            f"{fov_zyx[1]} x {fov_zyx[2]}; give a larger picture"
        )
