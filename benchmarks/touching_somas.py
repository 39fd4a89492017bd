"""The soma constraint where cell bodies touch, with an imperfect table and a network that says yes to all.

    python -m benchmarks.touching_somas --json out/touching_somas.json

Phantoms and supervoxels are those of `benchmarks.crowded_somas`, with cell bodies in one piece ("whole") or
three tenths of them in two ("halved"). Every pair of the decision points is accepted at a random certainty
("all"), or all true ones and some wrong ones ("few wrong").

The table of cell bodies is as imperfect as the detector of Januszewski et al. (2018), Nature Methods 15:605:
3 % are missing, and centres are off by 1 um. It is drawn several times for each phantom. Counted is, with the
search for missed cell bodies by their thickness and without, what became of the merges; two cell bodies are
joined where the largest pieces of both are in one neuron.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from agglomeration import SomaPlaces, constrained_merges, find_decision_points, find_somas
from agglomeration.cell_bodies import COLUMNS
from benchmarks.crowded_somas import Pieces, crowded_phantom, cut, directions
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from configs.views import ConfigView
from volumes.phantom import Phantom

JITTER_NM = 1000.0
MISSING = 0.03
COUNTS = (
    *("bodies", "touching", "missing", "found", "false", "tried", "refused", "joined", "astray"),
    *("true_pairs", "true_lost", "joined_unconstrained"),
)
Row: TypeAlias = dict[str, Any]
_HALVED = 0.3
# A piece of a cell body of at least this share that is in another's neuron has gone astray.
_ASTRAY_SHARE = 0.1
_MAX_DISTANCE_NM = 100.0
_LOWEST_CERTAINTY = 0.98
_THICKNESS = 0.6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--seeds", default=",".join(map(str, range(11, 21))), help="of phantoms, comma-separated"
    )
    parser.add_argument("--draws", type=int, default=10, help="tables of cell bodies for each phantom")
    parser.add_argument("--wrong", type=float, default=0.05, help="share of wrong merges in the milder case")
    parser.add_argument("--json", type=Path, default=Path("out/touching_somas.json"))
    options = parser.parse_args()
    rows = []
    for seed in map(int, options.seeds.split(",")):
        rows += phantom_rows(crowded_phantom(seed), draws=options.draws, wrong_share=options.wrong)
        print(f"seed {seed} done", file=sys.stderr)
    found = {"seeds": rows, "pooled": pooled(rows)}
    print_rows([*rows, *found["pooled"]])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def phantom_rows(
    phantom: Phantom,
    *,
    draws: int,
    wrong_share: float,
    jitter_nm: float = JITTER_NM,
    missing: float = MISSING,
) -> list[Row]:
    """What became of the merges, summed over several draws of the table and of the certainties.

    Args:
        phantom: full of cell bodies.
        draws: how many.
        wrong_share: of the merges that are tried in the milder case.
        jitter_nm: how far centres are off.
        missing: share of the cell bodies that is not in the table.

    Returns:
        A row for each kind of pieces, of merges, and with the thickness rule and without: `seed`, `pieces`,
        `merges`, `thickness`, and `COUNTS`.
    """
    rows = []
    seed = phantom.spec.seed
    for kind, halved in (("whole", 0.0), ("halved", _HALVED)):
        pieces = cut(phantom, halved, seed)
        pairs = find_decision_points(
            pieces.volume.read(), pieces.volume.voxel_size_nm, max_distance_nm=_MAX_DISTANCE_NM
        )
        sides = np.stack([pairs.id_a, pairs.id_b], axis=1)
        for thickness, draw in product((_THICKNESS, 0.0), range(draws)):
            random = np.random.default_rng([seed, draw])
            seen = random.random(len(pieces.radius_nm)) >= missing
            centres_nm = _moved(pieces, jitter_nm, random)
            places = _places(pieces, centres_nm, seen, thickness)
            for merges, chosen in _accepted(pieces, sides, wrong_share, random).items():
                certainty = random.uniform(_LOWEST_CERTAINTY, 1.0, len(sides))
                row = {"seed": seed, "pieces": kind, "merges": merges, "thickness": thickness}
                row |= {"bodies": len(pieces.main), "touching": _touching(pieces, sides)}
                row |= _outcome(pieces, sides[chosen], certainty[chosen], places)
                rows.append(row | _seen(pieces, places, seen))
    return _summed(rows, ("seed", "pieces", "merges", "thickness"))


def pooled(rows: Iterable[Row]) -> list[Row]:
    """Rows of several phantoms added up, with `refused_share` and `true_lost_share`.

    Args:
        rows: of `phantom_rows`.
    """
    return _summed(rows, ("pieces", "merges", "thickness"))


def _moved(pieces: Pieces, jitter_nm: float, random: np.random.Generator) -> np.ndarray:
    """Centres that are off by so much in any direction, but not outside the volume."""
    moved = pieces.centres_nm + jitter_nm * directions(len(pieces.centres_nm), random)
    extent_nm = np.multiply(pieces.volume.shape, pieces.volume.voxel_size_nm)
    return np.clip(moved, 1.0, extent_nm - 1.0)


def _places(pieces: Pieces, centres_nm: np.ndarray, seen: np.ndarray, thickness: float) -> SomaPlaces:
    """What `find_somas` makes of a table of the cell bodies that were seen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "somas.csv"
        with path.open("w", newline="") as stream:
            rows = np.column_stack([centres_nm, pieces.radius_nm])[seen]
            csv.writer(stream).writerows([COLUMNS, *rows.tolist()])
        text = f'table: "{path}" missed_radius_share: {thickness}'
        section = ConfigView(parse_text(text, reconstruction_pb2.Somas, "benchmark"))
        return find_somas(section, pieces.volume, pieces.table)


def _accepted(
    pieces: Pieces, sides: np.ndarray, wrong_share: float, random: np.random.Generator
) -> dict[str, np.ndarray]:
    """Positions of the pairs that are accepted, in both cases."""
    same = _same(pieces, sides)
    wrong = np.flatnonzero(~same)
    few = round(wrong_share / (1 - wrong_share) * np.count_nonzero(same))
    chosen = random.permutation(wrong)[:few]
    return {"all": np.arange(len(sides)), "few wrong": np.sort(np.append(np.flatnonzero(same), chosen))}


def _same(pieces: Pieces, sides: np.ndarray) -> np.ndarray:
    neurons = pieces.neurons[np.searchsorted(pieces.table.ids, sides)]
    return neurons[:, 0] == neurons[:, 1]


def _touching(pieces: Pieces, sides: np.ndarray) -> int:
    """Pairs of cell bodies of which some pieces are a pair."""
    bodies = np.sort(pieces.bodies[np.searchsorted(pieces.table.ids, sides)], axis=1)
    return len(np.unique(bodies[(bodies[:, 0] > 0) & (bodies[:, 0] < bodies[:, 1])], axis=0))


def _outcome(pieces: Pieces, sides: np.ndarray, certainty: np.ndarray, places: SomaPlaces) -> Row:
    """What became of merges: counts."""
    ids, nobody = pieces.table.ids, np.zeros(len(pieces.table.ids), np.int64)
    soma_of = nobody.copy()
    # Of several in one supervoxel the smallest stays, as in a project.
    known = np.flatnonzero(places.supervoxel)[::-1]
    soma_of[np.searchsorted(ids, places.supervoxel[known])] = places.body[known]
    done = constrained_merges(ids, sides[:, 0], sides[:, 1], certainty, soma_of)
    free = constrained_merges(ids, sides[:, 0], sides[:, 1], certainty, nobody)
    same = _same(pieces, sides)
    return {
        "tried": len(sides),
        "refused": int(np.count_nonzero(~done.accepted)),
        "joined": _joined(pieces, done.neurons),
        "astray": _astray(pieces, done.neurons),
        "true_pairs": int(np.count_nonzero(same)),
        "true_lost": int(np.count_nonzero(same & ~done.accepted)),
        "joined_unconstrained": _joined(pieces, free.neurons),
    }


def _joined(pieces: Pieces, neurons: np.ndarray) -> int:
    """How many cell bodies there are more than neurons with one."""
    return int(pieces.main.size - np.unique(neurons[pieces.main]).size)


def _astray(pieces: Pieces, neurons: np.ndarray) -> int:
    """Lesser pieces of cell bodies that are with another cell body, not with their own."""
    holders = neurons[pieces.main]
    large = pieces.table.voxels >= _ASTRAY_SHARE * _body_voxels(pieces)
    lesser = np.setdiff1d(np.flatnonzero((pieces.bodies > 0) & large), pieces.main)
    elsewhere = neurons[lesser] != holders[pieces.bodies[lesser] - 1]
    return int(np.count_nonzero(elsewhere & np.isin(neurons[lesser], holders)))


def _body_voxels(pieces: Pieces) -> np.ndarray:
    """(n,) for each supervoxel the voxels of its cell body; 0 = it is a piece of none."""
    voxels = np.bincount(pieces.bodies, pieces.table.voxels)
    voxels[0] = 0
    return voxels[pieces.bodies]


def _seen(pieces: Pieces, places: SomaPlaces, seen: np.ndarray) -> Row:
    """Cell bodies that are not in the table, of these those found by their thickness, and others so found."""
    by_depth = [body for bodies in places.bodies if bodies.source == "depth" for body in bodies.ids.tolist()]
    holders = np.searchsorted(pieces.table.ids, places.supervoxel[np.isin(places.body, by_depth)])
    bodies = pieces.bodies[holders]
    missed = np.isin(bodies, np.flatnonzero(~seen) + 1)
    return {
        "missing": int(np.count_nonzero(~seen)),
        "found": int(np.unique(bodies[missed]).size),
        "false": int(np.count_nonzero(~missed)),
    }


def _summed(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Counts added up over rows with the same keys, in the order in which these first come."""
    sums: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = tuple(row[name] for name in keys)
        into = sums.setdefault(key, {**dict(zip(keys, key, strict=True)), **dict.fromkeys(COUNTS, 0)})
        for name in COUNTS:
            into[name] += row[name]
    for row in sums.values():
        row["refused_share"] = row["refused"] / max(1, row["tried"])
        row["true_lost_share"] = row["true_lost"] / max(1, row["true_pairs"])
    return list(sums.values())


def print_rows(rows: Iterable[Row]) -> None:
    """A line for each row."""
    print(
        "seed pieces merges    rule bodies touching (missing, found, false)     tried refused joined (free) "
        "astray  true lost"
    )
    for row in rows:
        missing = f"({row['missing']}, {row['found']}, {row['false']})"
        free = f"({row['joined_unconstrained']})"
        print(
            f"{row.get('seed', 'all'):>4} {row['pieces']:6s} {row['merges']:9s} {row['thickness']:4.1f} "
            f"{row['bodies']:6d} {row['touching']:8d} {missing:>23s} {row['tried']:9d} "
            f"{row['refused_share']:7.2%} {row['joined']:6d} {free:>6s} {row['astray']:6d} "
            f"{row['true_lost_share']:10.2%}"
        )


if __name__ == "__main__":
    sys.exit(main())
