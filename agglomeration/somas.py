"""Which supervoxels hold which cell bodies.

Centres and radii in a table are rough, so that a cell body is not where its centre happens to lie. It is in
the supervoxel that fills most of the ball around the centre, voxels near the middle counting more. Others
belong to it, too, if they fill a tenth of the ball (nucleus and cytoplasm are often two, and a half that
begins half a radius away from a centre that is off fills no more), or lie almost wholly inside and are no
mere crumbs. What is the main supervoxel of one cell body is never a part of another.
Of cell bodies given as labels these take the place of the ball.

A cell body that was missed shows by its thickness: a supervoxel that holds none, and is deeper than a share
of the median radius, counts as one more. To take a part of one for a cell body of its own costs a glance at a
refused merge; the other way about two neurons become one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.cell_bodies import CellBodies, read_cell_bodies
from agglomeration.database import Database
from agglomeration.errors import AgglomerationError
from agglomeration.rows import replace_rows
from agglomeration.soma_fillings import Fillings, fill_balls, fill_labels
from agglomeration.thickness import thick_objects
from configs import ConfigView
from inference.supervoxel_table import SupervoxelTable
from volumes import Volume, open_volume

# Shares of a cell body: the least that makes a supervoxel the main one, or a part; the least of a part that
# lies inside, and how much of it has to.
_MAIN_SHARE, _PART_SHARE, _CRUMB_SHARE, _INSIDE_SHARE = 0.1, 0.1, 0.02, 0.8
# Depths are told apart up to this many median radii.
_DEPTH_LIMIT = 1.5


@dataclass(frozen=True)
class SomaPlaces:
    """Cell bodies and the supervoxels that hold them; one row each, ascending by (body, supervoxel).

    Attributes:
      bodies: all cell bodies, one table for each source.
      body: (k,) int64, IDs.
      supervoxel: (k,) uint64; 0 = no supervoxel fills enough of it.
      main: (k,) bool, whether it is the one that fills most of the cell body.
      inside: (k,) float64, the share of the supervoxel that lies in the cell body.
    """

    bodies: tuple[CellBodies, ...]
    body: np.ndarray
    supervoxel: np.ndarray
    main: np.ndarray
    inside: np.ndarray


def find_somas(section: ConfigView, supervoxels: Volume, table: SupervoxelTable) -> SomaPlaces:
    """The cell bodies of a project, those that were missed included.

    Args:
      section: a view of the message `Somas`.
      supervoxels: labels.
      table: of all supervoxels.

    Raises:
      AgglomerationError: a table that cannot be used, both a table and a volume, or none of them.
      VolumeError: a volume that cannot be read, or whose voxels are not whole multiples of the supervoxels'.
    """
    if (section.table is None) == (section.volume is None):
        raise AgglomerationError("cell bodies come from somas.table or from somas.volume; give one of them")
    if section.table is not None:
        bodies = read_cell_bodies(section.table, supervoxels)
        fillings = fill_balls(bodies, supervoxels, table)
    else:
        with open_volume(section.volume.spec, voxel_size_nm=section.volume.voxel_size_nm) as labels:
            bodies, fillings = fill_labels(labels, supervoxels, table)
    places = place(bodies, fillings)
    return with_missed(places, supervoxels, section.missed_radius_share)


def place(bodies: CellBodies, fillings: Fillings) -> SomaPlaces:
    """Assigns supervoxels to cell bodies; the order of the rows does not matter.

    Args:
      bodies: the cell bodies.
      fillings: how much of them supervoxels fill.
    """
    order = np.lexsort((fillings.supervoxel, -fillings.share, fillings.body))
    body, supervoxel = fillings.body[order], fillings.supervoxel[order]
    share, inside = fillings.share[order], fillings.inside[order]
    main = np.append(True, body[1:] != body[:-1])[: body.size] & (share >= _MAIN_SHARE)
    part = (share >= _PART_SHARE) | ((share >= _CRUMB_SHARE) & (inside >= _INSIDE_SHARE))
    part &= ~main & ~np.isin(supervoxel, supervoxel[main])
    # A part goes to the one that it fills most.
    best = np.full(body.size, False)
    by_part = np.lexsort((body, -share, supervoxel, ~part))[: np.count_nonzero(part)]
    best[by_part] = np.append(True, supervoxel[by_part][1:] != supervoxel[by_part][:-1])[: by_part.size]
    kept = main | best
    nowhere = np.setdiff1d(np.arange(len(bodies)), body[main])
    ids = np.concatenate([bodies.ids[body[kept]], bodies.ids[nowhere]])
    holders = np.concatenate([supervoxel[kept], np.zeros(nowhere.size, np.uint64)])
    mains = np.concatenate([main[kept], np.full(nowhere.size, False)])
    shares = np.concatenate([inside[kept], np.zeros(nowhere.size)])
    sorted_rows = np.lexsort((holders, ids))
    columns = (column[sorted_rows] for column in (ids, holders, mains, shares))
    return SomaPlaces((bodies,), *columns)


def with_missed(places: SomaPlaces, supervoxels: Volume, missed_radius_share: float) -> SomaPlaces:
    """Adds supervoxels that are as thick as a cell body and hold none.

    One that is a part of a cell body but lies beyond it for the most part is a neighbour that was missed.

    Args:
      places: of the cell bodies that are known.
      supervoxels: labels.
      missed_radius_share: of the median radius: how deep such a supervoxel is at least; 0 = add none.

    Raises:
      VolumeError: the volume cannot be read.
    """
    (known,) = places.bodies
    if missed_radius_share == 0 or len(known) == 0:
        return places
    median_nm = float(np.median(known.radius_nm))
    least_nm = missed_radius_share * median_nm
    limit_nm = max(_DEPTH_LIMIT * median_nm, least_nm)
    thick = thick_objects(supervoxels, at_least_nm=least_nm, up_to_nm=limit_nm)
    held = places.main | (places.inside >= _INSIDE_SHARE)
    new = ~np.isin(thick.ids, places.supervoxel[held])
    kept = held | ~np.isin(places.supervoxel, thick.ids)
    ids = int(known.ids.max()) + 1 + np.arange(np.count_nonzero(new))
    missed = CellBodies(ids, thick.points_nm[new], thick.depth_nm[new], "depth")
    return SomaPlaces(
        (known, missed),
        np.concatenate([places.body[kept], ids]),
        np.concatenate([places.supervoxel[kept], thick.ids[new]]),
        np.concatenate([places.main[kept], np.full(ids.size, True)]),
        np.concatenate([places.inside[kept], np.ones(ids.size)]),
    )


def write_somas(database: Database, run: int, places: SomaPlaces) -> None:
    """Writes the cell bodies of a run in place of those that are there.

    Args:
      database: the decisions.
      run: its number.
      places: the cell bodies and their supervoxels.

    Raises:
      DatabaseError: the database cannot be written.
    """
    ids = np.concatenate([bodies.ids for bodies in places.bodies])
    order = np.argsort(ids)
    rows = order[np.searchsorted(ids, places.body, sorter=order)]
    centres = np.concatenate([bodies.centres_nm for bodies in places.bodies])[rows]
    sources = [bodies.source for bodies in places.bodies for _ in range(len(bodies))]
    with database.writing() as connection:
        connection.execute(sql.delete(tables.somas).where(tables.somas.c.run == run))
        replace_rows(
            connection,
            tables.somas,
            {
                "run": [run] * len(rows),
                "id": places.body,
                "supervoxel": places.supervoxel,
                **{f"centre_{axis}_nm": centres[:, i] for i, axis in enumerate("zyx")},
                "radius_nm": np.concatenate([bodies.radius_nm for bodies in places.bodies])[rows],
                "source": [sources[row] for row in rows.tolist()],
            },
        )
