"""A project in miniature for exports: six supervoxels, decisions about them, and a state to edit.

Supervoxels 1, 2 and 3 lie in a row and touch; 4 and 5 lie in another row with a gap between them; 6 lies
alone and reaches through most of the volume. 1 and 2 are merged, and so are 4 and 5.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from proofreading_cases import scored_edges

from agglomeration.database import open_database
from agglomeration.decisions import write_scored_edges
from agglomeration.merging import apply_constraint
from agglomeration.runs import finish_run, start_run, write_supervoxels
from configs import ConfigView, load_config
from inference.supervoxel_table import block_statistics

SHAPE, SIZE_NM = (24, 24, 60), (10.0, 10.0, 10.0)
EDGES = [(1, 2, 0.9), (2, 3, 0.3), (4, 5, 0.8), (3, 5, 0.2)]
SETTINGS = "neurons { skeletonisation { min_voxels: 100 const_nm: 60 scale: 1 } }"


def pieces() -> np.ndarray:
    """The supervoxels (z, y, x), uint64."""
    found = np.zeros(SHAPE, np.uint64)
    found[4:10, 4:10, :20] = 1
    found[4:10, 4:10, 20:40] = 2
    found[4:10, 4:10, 40:] = 3
    found[4:10, 14:20, :30] = 4
    found[4:10, 14:20, 34:] = 5
    found[14:20, 4:20, 10:50] = 6
    return found


def make_project(folder: Path) -> ConfigView:
    """Writes the project with a finished run of its agglomeration."""
    with h5py.File(folder / "data.h5", "w") as file:
        for name, array in {"raw": (pieces() > 0).astype(np.uint8) * 200, "pieces": pieces()}.items():
            file.create_dataset(name, data=array).attrs["resolution"] = SIZE_NM
    (folder / "c.textproto").write_text(
        f'name: "tiny" output_dir: "{folder}/out" raw {{ spec: "{folder}/data.h5:raw" }}\n'
        'network { weights: "builtin:phantom" } inference { }\n'
        f'agglomeration {{ supervoxels {{ spec: "{folder}/data.h5:pieces" }} {SETTINGS} }}\n'
    )
    with open_database(folder / "out" / "decisions.sqlite") as database:
        write_supervoxels(database, block_statistics(pieces(), (0, 0, 0)), SIZE_NM, "segmentation")
        run = start_run(database, "digest", "", {})
        write_scored_edges(database, run, scored_edges(EDGES))
        apply_constraint(database, run)
        finish_run(database, run)
    return load_config(str(folder / "c.textproto"))
