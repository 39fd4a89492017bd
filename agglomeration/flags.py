"""What a person should look at: objects that no neuron looks like.

| kind | object | when |
| --- | --- | --- |
| `two_cell_bodies` | supervoxel | it is the main one of several cell bodies, so that no cut parts them |
| `no_supervoxel` | cell body | no supervoxel fills enough of it |
| `enters_vessel` | neuron | it shares more than a crumb with the labels of vessels |
| `leaves_tissue` | neuron | the same with the labels of what lies outside |
| `size_outlier` | neuron | its volume is far above that of the others |
| `shape_outlier` | neuron | its mean cross-section is far from theirs: a lump, or a sheet |

"Far" is measured in robust standard deviations (1.4826 times the median distance from the median) of the
logarithm. Fragments, which most objects are, are left out of the figures and not looked at. A large neuron
without a cell body is nothing unusual: its cell body lies outside the volume.

A neuron that runs along a vessel touches it all the way, which is no error; its contact is told, but only
shared voxels make a flag.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import sqlalchemy as sql

from agglomeration import tables
from agglomeration.database import Database
from agglomeration.rows import replace_rows
from agglomeration.somas import SomaPlaces
from agglomeration.tissue_contacts import Contacts, contacts
from configs import ConfigView
from inference.supervoxel_table import SupervoxelTable, merge_tables
from volumes import Volume, open_volume

# A cube of 215 nm: less than that is the roughness of two label volumes against each other.
_CRUMB_NM3 = 1e7
# A process 100 nm thick and 5 um long; smaller objects are fragments.
_FRAGMENT_NM3 = 4e7
_FAR = 5.0
_FEWEST = 20


class Flag(NamedTuple):
    """Something to look at.

    Attributes:
      kind: see the table above.
      object: a supervoxel, neuron or cell body, as the kind says.
      point_nm: where, z, y, x.
      detail: the figures, in words.
    """

    kind: str
    object: int
    point_nm: tuple[float, float, float]
    detail: str


def find_flags(
    section: ConfigView | None,
    supervoxels: Volume,
    table: SupervoxelTable,
    neurons: np.ndarray,
    places: SomaPlaces | None,
) -> list[Flag]:
    """All flags of a run, ascending by kind and object.

    Args:
      section: a view of the message `Somas`; None names no vessels.
      supervoxels: labels.
      table: of all supervoxels.
      neurons: (n,) uint64, the neuron of each row of the table.
      places: the cell bodies; None = they are not known.

    Raises:
      VolumeError: a volume that cannot be read, or voxels that are no whole multiples of the supervoxels'.
    """
    whole = neuron_table(table, neurons)
    flags = outliers(whole, supervoxels.voxel_size_nm)
    if places is not None:
        flags += cell_body_flags(places)
    for kind, source in (("enters_vessel", "vessels"), ("leaves_tissue", "outside")):
        volume = None if section is None else getattr(section, source)
        if volume is not None:
            with open_volume(volume.spec, voxel_size_nm=volume.voxel_size_nm) as labels:
                found = contacts(supervoxels, labels)
            flags += entering(kind, found, table.ids, neurons, supervoxels.voxel_size_nm)
    return sorted(flags)


def neuron_table(table: SupervoxelTable, neurons: np.ndarray) -> SupervoxelTable:
    """Voxels, bounding box and a point of each neuron.

    Args:
      table: of supervoxels.
      neurons: (n,) uint64, the neuron of each row.
    """
    return merge_tables([replace(table, ids=neurons)])


def cell_body_flags(places: SomaPlaces) -> list[Flag]:
    """Supervoxels with several cell bodies, and cell bodies in no supervoxel.

    Args:
      places: the cell bodies.
    """
    centres = {
        int(body): tuple(centre.tolist())
        for bodies in places.bodies
        for body, centre in zip(bodies.ids, bodies.centres_nm, strict=True)
    }
    holders, counts = np.unique(places.supervoxel[places.main], return_counts=True)
    flags = []
    for holder in holders[counts > 1]:
        held = places.body[places.main & (places.supervoxel == holder)].tolist()
        words = f"cell bodies {', '.join(map(str, held))}"
        flags.append(Flag("two_cell_bodies", int(holder), centres[held[0]], words))
    for body in places.body[places.supervoxel == 0].tolist():
        flags.append(
            Flag("no_supervoxel", body, centres[body], "no supervoxel fills a tenth of the cell body")
        )
    return flags


def entering(
    kind: str,
    found: Contacts,
    ids: np.ndarray,
    neurons: np.ndarray,
    voxel_size_nm: Sequence[float],
    *,
    least_nm3: float = _CRUMB_NM3,
) -> list[Flag]:
    """Neurons that share more than a crumb with labels.

    Args:
      kind: of the flags.
      found: what supervoxels share with the labels.
      ids: (n,) uint64, all supervoxels, ascending.
      neurons: (n,) uint64, their neurons.
      voxel_size_nm: zyx, of the supervoxels.
      least_nm3: volume from which it is no crumb.
    """
    rows = np.searchsorted(ids, found.ids)
    owners, which = np.unique(neurons[rows], return_inverse=True)
    overlap = np.bincount(which, found.overlap_voxels, owners.size) * float(np.prod(voxel_size_nm))
    faces = np.bincount(which, found.contact_faces, owners.size)
    flags = []
    for i in np.flatnonzero(overlap >= least_nm3).tolist():
        parts = np.flatnonzero(which == i)
        largest = parts[np.argmax(found.overlap_voxels[parts])]
        point = (found.point_zyx[largest] + 0.5) * voxel_size_nm
        words = f"{overlap[i] / 1e9:.3g} um3 inside, {int(faces[i])} faces in contact"
        flags.append(Flag(kind, int(owners[i]), tuple(point.tolist()), words))
    return flags


def outliers(
    neurons: SupervoxelTable,
    voxel_size_nm: Sequence[float],
    *,
    far: float = _FAR,
    least_nm3: float = _FRAGMENT_NM3,
) -> list[Flag]:
    """Neurons of unusual size, and of unusual shape.

    The shape is the mean cross-section: volume by the diagonal of the bounding box.

    Args:
      neurons: one row each.
      voxel_size_nm: zyx.
      far: robust standard deviations from the median.
      least_nm3: volume below which an object is a fragment, and passed over.

    Returns:
      Flags; none where there are fewer than 20 objects to compare.
    """
    volume = neurons.voxels * float(np.prod(voxel_size_nm))
    diagonal = np.linalg.norm((neurons.stop_zyx - neurons.start_zyx) * voxel_size_nm, axis=1)
    looked_at = np.flatnonzero(volume >= least_nm3)
    if looked_at.size < _FEWEST:
        return []
    volume, section = volume[looked_at], volume[looked_at] / diagonal[looked_at]
    size, shape = _robust_deviation(np.log(volume)), _robust_deviation(np.log(section))
    points = (neurons.point_zyx[looked_at] + 0.5) * voxel_size_nm
    flags = []
    for i, row in enumerate(looked_at.tolist()):
        at, neuron = tuple(points[i].tolist()), int(neurons.ids[row])
        if size[i] > far:
            words = f"{volume[i] / 1e9:.3g} um3, {size[i]:+.1f} deviations"
            flags.append(Flag("size_outlier", neuron, at, words))
        if abs(shape[i]) > far:
            words = f"mean cross-section {section[i] / 1e6:.3g} um2, {shape[i]:+.1f} deviations"
            flags.append(Flag("shape_outlier", neuron, at, words))
    return flags


def write_flags(database: Database, run: int, flags: Iterable[Flag]) -> None:
    """Writes the flags of a run in place of those that are there.

    Args:
      database: the decisions.
      run: its number.
      flags: no kind and object twice.

    Raises:
      DatabaseError: the database cannot be written.
    """
    rows = list(flags)
    names = ("point_z_nm", "point_y_nm", "point_x_nm")
    columns: dict[str, list[object]] = {
        name: [row.point_nm[i] for row in rows] for i, name in enumerate(names)
    }
    columns |= {"run": [run] * len(rows), "kind": [row.kind for row in rows]}
    columns |= {"object": [row.object for row in rows], "detail": [row.detail for row in rows]}
    with database.writing() as connection:
        connection.execute(sql.delete(tables.flags).where(tables.flags.c.run == run))
        replace_rows(connection, tables.flags, columns)


def _robust_deviation(values: np.ndarray) -> np.ndarray:
    """Distance from the median in robust standard deviations; 0 where most values are equal."""
    distance = values - np.median(values)
    deviation = 1.4826 * np.median(np.abs(distance))
    return distance / deviation if deviation > 0 else np.zeros_like(distance)
