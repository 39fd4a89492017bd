"""A project with plenty of decisions for the tests of the page, and a server of it in a process of its own.

Supervoxels are blocks in rows. In each row the first two are one neuron, and all other neighbours are open.
Two long blocks before the first row have cell bodies; they are worth most, and therefore the first decision.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from proofreading_cases import VOXEL_NM, agglomerated

from agglomeration.database import open_database
from inference.supervoxel_table import block_statistics
from proofreading.migrations import bring_up_to_date
from proofreading.server import accounts
from volumes import Box
from volumes.pyramid import create_pyramid, fill_scale, next_factors

ROWS, COLUMNS, STEP, HEIGHT, DEPTH = 8, 12, 16, 16, 16
LONG = 96
# The supervoxels with cell bodies.
BODIES = (1001, 1002)
PASSWORD = "correct horse"
PEOPLE = {"anna": "proofread", "ben": "proofread", "rita": "read"}
_STARTS_WITHIN_S = 120


def block(row: int, column: int) -> int:
    """The supervoxel of a place."""
    return 1 + row * COLUMNS + column


def labels() -> np.ndarray:
    """Supervoxels (z, y, x)."""
    found = np.zeros((DEPTH + 8, HEIGHT * (ROWS + 1) + 8, STEP * COLUMNS + 8), np.uint64)
    inside = slice(4, 4 + DEPTH)
    for index, body in enumerate(BODIES):
        found[inside, 4 : 2 + HEIGHT, 4 + LONG * index : 4 + LONG * (index + 1)] = body
    for row in range(ROWS):
        rows = slice(4 + HEIGHT * (row + 1), 2 + HEIGHT * (row + 2))
        for column in range(COLUMNS):
            found[inside, rows, 4 + STEP * column : 4 + STEP * (column + 1)] = block(row, column)
    return found


def write_project(
    folder: Path,
    port: int,
    *,
    settings: str = "min_length_nm: 100000",
    agglomeration: str = "",
    bodies_certainty: float = 0.45,
    suspected: int | None = None,
) -> Path:
    """Writes it, with the people; gives the path of its config.

    Args:
      folder: to write it to.
      port: of the server.
      settings: of `proofreading`; by default only open pairs become tasks.
      agglomeration: settings of that.
      bodies_certainty: of the merge of the two cell bodies, which is refused from one half on.
      suspected: a neuron that a flag takes for two.
    """
    voxels = labels()
    grey = np.where(voxels > 0, 150 + voxels % 7 * 8, 50).astype(np.uint8)
    for name, array in {"supervoxels": voxels, "image": grey}.items():
        spec, bounds = f"precomputed://file://{folder / 'out' / name}", Box.from_shape(voxels.shape)
        fine, coarse = create_pyramid(
            spec, bounds=bounds, dtype=array.dtype, voxel_size_nm=VOXEL_NM, scales=2
        )
        fine.write(bounds, array)
        fill_scale(fine, coarse, next_factors(VOXEL_NM), coarse.bounds)
    edges, points = [(*BODIES, bodies_certainty)], [(12.0, 12.0, 4.0 + LONG)]
    for row in range(ROWS):
        for column in range(COLUMNS - 1):
            certainty = 0.9 if column == 0 else 0.3
            edges.append((block(row, column), block(row, column + 1), certainty))
            points.append((12.0, 11.0 + HEIGHT * (row + 1), 4.0 + STEP * (column + 1)))
    database_path = folder / "out/decisions.sqlite"
    agglomerated(
        database_path,
        edges,
        {},
        dict(zip(BODIES, (1, 2), strict=True)),
        block_statistics(voxels, (0, 0, 0)),
        points_nm=np.array(points) * VOXEL_NM,
    ).close()
    if suspected is not None:
        with sqlite3.connect(database_path) as database:
            at = (12 * VOXEL_NM[0], 12 * VOXEL_NM[1], 12 * VOXEL_NM[2])
            flag = (1, "shape_outlier", suspected, *at, "odd")
            database.execute("INSERT INTO flags VALUES (?, ?, ?, ?, ?, ?, ?)", flag)
    _add_people(database_path)
    path = folder / "c.textproto"
    path.write_text(
        f'name: "rows" output_dir: "{folder}/out" raw {{ spec: "{folder}/out/image" }}\n'
        'network { weights: "builtin:phantom" } inference { }\n'
        f"agglomeration {{ {agglomeration} }} proofreading {{ port: {port} {settings} }}\n"
    )
    return path


def _add_people(path: Path) -> None:
    database = open_database(path)
    bring_up_to_date(database)
    for name, role in PEOPLE.items():
        accounts.add_person(database, name, role, PASSWORD)
    database.close()


def free_port() -> int:
    """A port at which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@dataclass
class Site:
    """A server that runs by itself.

    Attributes:
      folder: of the project.
      port: where it listens, also after a restart.
      process: that it is.
      link: that logs in whoever started it.
    """

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None
    link: str = ""

    @property
    def address(self) -> str:
        """Of the page."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Starts it; returns when it answers."""
        code = "import sys; from commands.proofread import run; sys.exit(run(sys.argv[1:]))"
        words = [sys.executable, "-c", code, "serve", "--config", str(self.folder / "c.textproto")]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        output = self.folder / f"serve-{time.time_ns()}.log"
        with output.open("w") as file:
            started = subprocess.Popen(
                words, stdout=file, stderr=subprocess.STDOUT, env=environment, text=True
            )
        self.process, end = started, time.monotonic() + _STARTS_WITHIN_S
        while time.monotonic() < end and started.poll() is None:
            found = re.search(r"open (http\S+)", output.read_text())
            if found:
                self.link = found[1]
                return
            time.sleep(0.1)
        raise AssertionError(f"the server did not start: {output.read_text()[-2000:]}")

    def end(self, number: int = signal.SIGTERM) -> None:
        """Ends it by a signal, and waits."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(60)
            self.process = None
