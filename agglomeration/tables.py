"""The tables of the decisions database, and how an older one is brought up to date.

Whatever a run of the agglomeration decides is written under the run's number, so that two runs lie side by
side and the earlier one stays readable until the later one is whole. Supervoxels belong to no run: a database
is about one segmentation.

| table | a row is |
| --- | --- |
| `schema_version` | the version of these tables |
| `project` | a property of the whole database, by name: which supervoxels it is about |
| `runs` | a run: its settings as text and their digest, versions of the software, when |
| `supervoxels` | an object of the segmentation: voxels, bounding box, centroid, a point inside |
| `edges` | a pair that was looked at: where, all scores, certainty, and what was decided |
| `somas` | a cell body, and the supervoxel it lies in |
| `refusals` | a merge that would have joined two cell bodies, and the cheapest cut's most certain merge |
| `flags` | something a person should look at |
| `neurons` | a supervoxel and its neuron |
| `undone` | a merge that a person took back; it holds for every run |

Scores have a column each instead of one JSON text: they are typed, can be asked for ("iou > 0.8"), take a
third of the space, and are read into arrays without being parsed. A score more is a column more, hence a new
version.

IDs are unsigned 64-bit numbers in memory, signed ones in every database; those from 2^63 on are refused.
Columns of lengths are nm, points z, y, x. NULL in a score is NaN in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

SCHEMA_VERSION = 1

# Scores of a pair that have a column in `edges`, in order; see `agglomeration.scoring.PairScores`.
EVIDENCE = (
    *("iou", "a_from_a", "a_from_b", "b_from_a", "b_from_b", "deleted_from_a", "deleted_from_b"),
    *("max_depth_a_nm", "max_depth_b_nm", "flood_depth_a_nm", "flood_depth_b_nm", "voxels_a", "voxels_b"),
    *("contact_faces", "distance_nm", "size_a", "size_b", "direction_agreement"),
    *("joined_in_passes", "parted_in_passes", "fovs"),
)
POINT_NM = ("point_z_nm", "point_y_nm", "point_x_nm")


class State(IntEnum):
    """What became of a pair; the database holds the name in lower case."""

    REJECTED = 0
    OPEN = 1
    ACCEPTED = 2
    REFUSED = 3


class AcceptedBy(IntEnum):
    """What spoke for a merge; the database holds the name in lower case, NULL for NOTHING."""

    NOTHING = 0
    RULE = 1
    PROBABILITY = 2


METADATA = MetaData()

schema_version = Table(
    "schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("applied", String(32), nullable=False),
)

project = Table(
    "project",
    METADATA,
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

runs = Table(
    "runs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("config", Text, nullable=False),
    Column("versions", Text, nullable=False),
    Column("started", String(32), nullable=False),
    Column("finished", String(32)),
)

supervoxels = Table(
    "supervoxels",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("voxels", BigInteger, nullable=False),
    *(Column(f"{end}_{axis}", BigInteger, nullable=False) for end in ("start", "stop") for axis in "zyx"),
    *(Column(f"centroid_{axis}_nm", Double, nullable=False) for axis in "zyx"),
    *(Column(name, Double, nullable=False) for name in POINT_NM),
)


def _run() -> Column[int]:
    return Column("run", Integer, ForeignKey("runs.id", ondelete="CASCADE"), primary_key=True)


def _id(name: str, *, key: bool = False) -> Column[int]:
    """A supervoxel that is in the table."""
    return Column(name, BigInteger, ForeignKey("supervoxels.id"), primary_key=key, autoincrement=False)


# Without row numbers a table of SQLite is kept in the order of its key, in which it is written and read.
edges = Table(
    "edges",
    METADATA,
    _run(),
    _id("id_a", key=True),
    _id("id_b", key=True),
    *(Column(name, Double, nullable=False) for name in POINT_NM),
    Column("probability", Double),
    Column("certainty", Double, nullable=False),
    Column("accepted_by", String(16)),
    Column("state", String(16), nullable=False),
    *(Column(name, Double) for name in EVIDENCE),
    CheckConstraint("id_a < id_b", name="edges_smaller_id_first"),
    CheckConstraint("state IN ('rejected', 'open', 'accepted', 'refused')", name="edges_known_state"),
    CheckConstraint("accepted_by IN ('rule', 'probability')", name="edges_known_reason"),
    Index("edges_by_second", "run", "id_b"),
    sqlite_with_rowid=False,
)

somas = Table(
    "somas",
    METADATA,
    _run(),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    # 0 where it lies in none, which is why this refers to no table.
    Column("supervoxel", BigInteger, primary_key=True, autoincrement=False),
    *(Column(f"centre_{axis}_nm", Double, nullable=False) for axis in "zyx"),
    Column("radius_nm", Double, nullable=False),
    Column("source", String(16), nullable=False),
    sqlite_with_rowid=False,
)

refusals = Table(
    "refusals",
    METADATA,
    _run(),
    Column("id_a", BigInteger, primary_key=True, autoincrement=False),
    Column("id_b", BigInteger, primary_key=True, autoincrement=False),
    Column("soma_a", BigInteger, nullable=False),
    Column("soma_b", BigInteger, nullable=False),
    Column("cut_id_a", BigInteger),
    Column("cut_id_b", BigInteger),
    ForeignKeyConstraint(
        ["run", "id_a", "id_b"], ["edges.run", "edges.id_a", "edges.id_b"], ondelete="CASCADE"
    ),
    sqlite_with_rowid=False,
)

flags = Table(
    "flags",
    METADATA,
    _run(),
    Column("kind", String(32), primary_key=True),
    Column("object", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Double, nullable=False) for name in POINT_NM),
    Column("detail", Text, nullable=False),
    sqlite_with_rowid=False,
)

neurons = Table(
    "neurons",
    METADATA,
    _run(),
    _id("supervoxel", key=True),
    Column("neuron", BigInteger, nullable=False),
    Index("neurons_by_neuron", "run", "neuron"),
    sqlite_with_rowid=False,
)

undone = Table(
    "undone",
    METADATA,
    _id("id_a", key=True),
    _id("id_b", key=True),
    Column("reason", Text, nullable=False),
    Column("at", String(32), nullable=False),
    sqlite_with_rowid=False,
)

# Tables of a run that hold its results, those that others refer to last.
OF_A_RUN = (neurons, flags, refusals, somas, edges)

# What brings a database of a version to the next one, by the version it starts from. Only forwards.
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {}
