"""Which merges of an agglomeration stand against what people said (`proofreading.said_before`).

Merges are put in from the most certain one down, those that people confirmed first; one that would bring
together what people said is apart is left out. So the outcome follows from merges and sayings alone, not from
their order. What the merges of people, made before it was said, would still bring together is parted by the
cheapest cut of the agglomeration's merges. Later merges of people stand: they knew. What one of these can
have brought together is not parted (`proofreading.overruled`).

Only neurons that hold both supervoxels of a saying are looked at. Pure and in memory.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from proofreading.base_graph import FIRST_NEW_ID
from proofreading.edits import Pair
from proofreading.min_cut import minimum_cut, weight_of
from proofreading.overruled import overruled
from proofreading.said_before import Apart, SaidBefore, ordered

# What cutting a merge of people would cost: more than all of an agglomeration's.
_NEVER = 1e6


@dataclass(frozen=True)
class BaseChange:
    """A merge that people's answers leave out of an agglomeration, or put into it.

    Attributes:
      pair: its supervoxels, the smaller one first.
      joined: put in; else left out.
      because: `task …` or `edit …` that it follows from.
    """

    pair: Pair
    joined: bool
    because: str


def changes_by(
    said: SaidBefore,
    id_a: np.ndarray,
    id_b: np.ndarray,
    certainty: np.ndarray,
    supervoxels: Collection[int],
    somas: Mapping[int, Collection[int]],
) -> list[BaseChange]:
    """What the sayings of people change about an agglomeration.

    Args:
      said: by people.
      id_a, id_b: (m,) uint64, the accepted merges, the smaller ID first.
      certainty: (m,) float64.
      supervoxels: those of `said.one` that there are.
      somas: cell bodies by the supervoxel that holds them.

    Returns:
      Pairs ascending.
    """
    one = said.one or {}
    if not said.apart and not one:
        return []
    merges = _Merges.of(said, id_a, id_b, certainty)
    left_out: dict[int, str] = {}
    if said.apart:
        standing = replace(said, apart=_standing(merges, said))
        left_out = _against(merges, standing, one)
        left_out |= _against_with_people(merges, standing, left_out)
    changes = [BaseChange((int(id_a[row]), int(id_b[row])), False, why) for row, why in left_out.items()]
    known = {pair for pair in one if pair[0] in supervoxels and pair[1] in supervoxels}
    changes += _confirmed(merges, said, {pair: one[pair] for pair in known}, left_out, somas)
    return sorted(changes, key=lambda each: each.pair)


@dataclass(frozen=True, eq=False)
class _Merges:
    """Merges as edits leave them: those at a supervoxel that was split are at its parts.

    Attributes:
      nodes: (n,) int64, supervoxels in merges or sayings, ascending.
      ends: (k, 2) int64, indices into `nodes`.
      rows: (k,) int64, which of the agglomeration's merges each one is of.
      certainty: (k,) float64.
    """

    nodes: np.ndarray
    ends: np.ndarray
    rows: np.ndarray
    certainty: np.ndarray

    @classmethod
    def of(cls, said: SaidBefore, id_a: np.ndarray, id_b: np.ndarray, certainty: np.ndarray) -> _Merges:
        pairs = np.stack([id_a, id_b], axis=1).astype(np.int64).reshape(-1, 2)
        rows = np.arange(len(pairs))
        gone = np.array([split.supervoxel for split in said.splits], np.int64)
        moved = np.isin(pairs, gone).any(axis=1)
        routed = _routed(said, zip(rows[moved].tolist(), pairs[moved].tolist(), strict=True))
        pairs = np.concatenate([pairs[~moved], np.array([p for _, p in routed], np.int64).reshape(-1, 2)])
        rows = np.concatenate([rows[~moved], np.array([row for row, _ in routed], np.int64)])
        some = np.array(list(said.removed), np.int64).reshape(-1, 2)
        maybe = np.flatnonzero(np.isin(pairs, some).all(axis=1))
        removed = [i for i in maybe.tolist() if ordered(*pairs[i].tolist()) in said.removed]
        pairs, rows = np.delete(pairs, removed, axis=0), np.delete(rows, removed)
        named = [each.pair for each in said.apart] + [*(said.merges or {}).values(), *(said.one or {})]
        nodes = np.unique(np.concatenate([pairs.reshape(-1), np.array(named, np.int64).reshape(-1)]))
        ends = np.searchsorted(nodes, pairs)
        return cls(nodes, ends, rows, np.asarray(certainty)[rows])

    def places(self, pairs: Iterable[Pair]) -> np.ndarray:
        """(p, 2) int64: pairs of supervoxels as indices into `nodes`."""
        return np.searchsorted(self.nodes, np.array(list(pairs), np.int64).reshape(-1, 2))

    def joined(self, *ends: np.ndarray) -> np.ndarray:
        """(n,) int64: the component of each node by some merges, (.., 2) indices each."""
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        first, second = np.concatenate(ends).T.astype(np.int32)
        shape = (self.nodes.size, self.nodes.size)
        graph = coo_array((np.ones(first.size, np.int8), (first, second)), shape=shape)
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def left(self, left_out: Mapping[int, str]) -> np.ndarray:
        """(k,) bool: those that are not left out."""
        return ~np.isin(self.rows, np.fromiter(left_out, np.int64, len(left_out)))


def _routed(said: SaidBefore, merges: Iterable[tuple[int, Sequence[int]]]) -> list[tuple[int, Pair]]:
    """Merges at supervoxels that were split, at their parts."""
    found = [(row, (a, b)) for row, (a, b) in merges]
    at: dict[int, list[int]] = {}
    for i, (_, pair) in enumerate(found):
        for end in pair:
            at.setdefault(end, []).append(i)
    gone = set[int]()
    for split in said.splits:
        larger = int(split.parts[1].voxels > split.parts[0].voxels)
        for i in at.get(split.supervoxel, []):
            row, pair = found[i]
            if i in gone or split.supervoxel not in pair:
                continue
            gone.add(i)
            other = pair[0] if pair[1] == split.supervoxel else pair[1]
            for part in {route.part for route in split.routes if route.other == other} or {larger}:
                new = split.parts[part].id
                for end in (new, other):
                    at.setdefault(end, []).append(len(found))
                found.append((row, ordered(new, other)))
    return [each for i, each in enumerate(found) if i not in gone]


def _standing(merges: _Merges, said: SaidBefore) -> tuple[Apart, ...]:
    """What people said is apart and did not overrule by a later merge."""
    by_people = said.merges or {}
    if not said.apart or not by_people or max(by_people) <= min(each.edit for each in said.apart):
        return said.apart
    pairs, numbers = merges.places(by_people.values()), np.array(list(by_people))
    component = merges.joined(merges.ends, pairs)
    apart = merges.places(each.pair for each in said.apart)
    together = component[apart[:, 0]] == component[apart[:, 1]]
    concerned = np.unique(component[apart[together, 0]])
    ends = np.concatenate([merges.ends, pairs])
    rows = np.column_stack([ends, np.append(np.zeros(len(merges.ends), np.int64), numbers)])
    rows = rows[np.isin(component[ends[:, 0]], concerned)]
    sayings = [(a, b, each.edit) for (a, b), each in zip(apart.tolist(), said.apart, strict=True)]
    is_over = overruled(rows.tolist(), sayings)
    return tuple(each for each, over in zip(said.apart, is_over, strict=True) if not over)


def _against(merges: _Merges, said: SaidBefore, one: Mapping[Pair, str]) -> dict[int, str]:
    """Rows of merges that would bring together what is apart, and why."""
    component = merges.joined(merges.ends)
    apart = merges.places(each.pair for each in said.apart)
    together = component[apart[:, 0]] == component[apart[:, 1]]
    if not together.any():
        return {}
    concerned = np.flatnonzero(np.isin(component[merges.ends[:, 0]], component[apart[together, 0]]))
    confirmed = np.array([_ids(merges, i) in one for i in concerned.tolist()], bool)
    a, b = merges.nodes[merges.ends[concerned]].T
    order = np.lexsort((b, a, -merges.certainty[concerned], ~confirmed))
    groups = _Groups(apart[together], [said.apart[i] for i in np.flatnonzero(together).tolist()])
    left_out: dict[int, str] = {}
    for i in concerned[order].tolist():
        refused = groups.join(*merges.ends[i].tolist())
        if refused is not None:
            left_out[int(merges.rows[i])] = refused.because
    return left_out


class _Groups:
    """Nodes that are joined step by step, unless something keeps two groups apart."""

    def __init__(self, apart: np.ndarray, why: Sequence[Apart]) -> None:
        self._parent: dict[int, int] = {}
        self._apart: dict[int, dict[int, Apart]] = {}
        for (a, b), each in zip(apart.tolist(), why, strict=True):
            self._apart.setdefault(a, {})[b] = each
            self._apart.setdefault(b, {})[a] = each

    def find(self, node: int) -> int:
        """The group of a node."""
        way = [node]
        while (above := self._parent.get(way[-1])) is not None:
            way.append(above)
        for each in way[:-1]:
            self._parent[each] = way[-1]
        return way[-1]

    def join(self, a: int, b: int) -> Apart | None:
        """Joins the groups of two nodes; gives what keeps them apart, if something does."""
        first, second = self.find(a), self.find(b)
        if first == second:
            return None
        why = self._apart.get(first, {}).get(second)
        if why is not None:
            return why
        if len(self._apart.get(first, ())) < len(self._apart.get(second, ())):
            first, second = second, first
        self._parent[second] = first
        for other, each in self._apart.pop(second, {}).items():
            self._apart.setdefault(first, {})[other] = each
            del self._apart[other][second]
            self._apart[other][first] = each
        return None


def _against_with_people(merges: _Merges, said: SaidBefore, left_out: Mapping[int, str]) -> dict[int, str]:
    """Rows that, with older merges of people, bring together what people said is apart."""
    by_people, found = said.merges or {}, dict[int, str]()
    if not by_people:
        return found
    pairs, numbers = merges.places(by_people.values()), np.array(list(by_people))
    component = merges.joined(merges.ends[merges.left(left_out)], pairs)
    places = merges.places(each.pair for each in said.apart)
    together = np.flatnonzero(component[places[:, 0]] == component[places[:, 1]])
    for each in (said.apart[i] for i in together.tolist()):
        here = merges.left({**left_out, **found})
        older = pairs[numbers < each.edit + each.because.startswith("task")]
        component = merges.joined(merges.ends[here], older)
        a, b = merges.places([each.pair])[0].tolist()
        if component[a] != component[b]:
            continue
        inside = np.flatnonzero(here & (component[merges.ends[:, 0]] == component[a]))
        theirs = older[component[older[:, 0]] == component[a]]
        weights = np.append(weight_of(merges.certainty[inside]), np.full(len(theirs), _NEVER))
        nodes, ends = np.unique(np.concatenate([merges.ends[inside], theirs]), return_inverse=True)
        sides = (np.searchsorted(nodes, [a]), np.searchsorted(nodes, [b]))
        cut = minimum_cut(nodes.size, ends.reshape(-1, 2), weights, *sides)
        if not cut.edges[inside.size :].any():
            found |= dict.fromkeys(merges.rows[inside[cut.edges[: inside.size]]].tolist(), each.because)
    return found


def _confirmed(
    merges: _Merges,
    said: SaidBefore,
    one: Mapping[Pair, str],
    left_out: Mapping[int, str],
    somas: Mapping[int, Collection[int]],
) -> list[BaseChange]:
    """Merges that people confirmed and the agglomeration lacks, unless something speaks against them."""
    by_people = merges.places((said.merges or {}).values())
    component = merges.joined(merges.ends[merges.left(left_out)], by_people)
    apart = component[merges.places(each.pair for each in said.apart)]
    differ = apart[:, 0] != apart[:, 1]
    groups = _Groups(apart[differ], [said.apart[i] for i in np.flatnonzero(differ).tolist()])
    bodies: dict[int, set[int]] = {}
    for supervoxel, held in somas.items():
        at = int(np.searchsorted(merges.nodes, supervoxel))
        if at < merges.nodes.size and merges.nodes[at] == supervoxel:
            bodies.setdefault(int(component[at]), set()).update(held)
    found = []
    for pair in sorted(one):
        if pair in said.removed or pair[1] >= FIRST_NEW_ID:
            continue
        a, b = (groups.find(int(component[place])) for place in merges.places([pair])[0].tolist())
        several = bodies.get(a, set()) | bodies.get(b, set())
        if a == b or (bodies.get(a) and bodies.get(b)) or groups.join(a, b) is not None:
            continue
        bodies[groups.find(a)] = several
        found.append(BaseChange(pair, True, one[pair]))
    return found


def _ids(merges: _Merges, i: int) -> Pair:
    a, b = merges.nodes[merges.ends[i]].tolist()
    return ordered(a, b)
