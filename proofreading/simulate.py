"""What a queue is worth: an oracle works through it in several orders, and run lengths rise.

| order | the next task is the one with |
| --- | --- |
| `value` | the most expected gain of run length per second, improbable joins last: the order people work in |
| `score` | the highest probability |
| `size` | the longest neurons |
| `random` | the luckiest number, from a seed |
| `greedy` | the most true gain per second, as only an oracle knows it |

Nothing is written but the outcome: neurons are joined and cut in memory, and run lengths kept up to date edit
by edit (`proofreading.run_length_model`).

Outcome: for each order the normalised expected run length, strict, after each decision, and the hours spent.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from agglomeration.neurons import NeuronMap
from proofreading.agenda import Agenda, Entry, Rank, by_value
from proofreading.decided import Decisions
from proofreading.errors import ProofreadingError
from proofreading.lengths import Lengths
from proofreading.oracle import Oracle, Reply, Truth
from proofreading.simulated_neurons import SimulatedNeurons
from proofreading.tasks import Candidate, TaskKind, Verdict
from proofreading.timing import ExpectedSeconds
from proofreading.value import Beyond

ORDERS = ("value", "score", "size", "random", "greedy")


@dataclass(frozen=True, eq=False)
class Curve:
    """What became of the run length.

    Attributes:
      order: in which tasks were answered.
      nerl: (n + 1,) float64, before the first and after each decision.
      hours: (n + 1,) float64, spent until then.
      verdicts: (n,) what was answered.
      kinds: (n,) what was asked.
    """

    order: str
    nerl: np.ndarray
    hours: np.ndarray
    verdicts: tuple[str, ...]
    kinds: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Simulated:
    """What a simulation is about.

    Attributes:
      decisions: of the agglomeration.
      candidates: the tasks.
      lengths: of supervoxels.
      beyond: what lies beyond ends.
      truth: true skeletons.
      seconds: that answers take, by kind.
      min_probability: joins of less come last in the order `value`.
    """

    decisions: Decisions
    candidates: Sequence[Candidate]
    lengths: Lengths
    beyond: Beyond
    truth: Truth
    seconds: Mapping[TaskKind, float]
    min_probability: float = 0.0


def simulate(
    about: Simulated, order: str, *, wrong: float = 0.0, seed: int = 1, most: int | None = None
) -> Curve:
    """Works through a queue.

    Args:
      about: the queue and its truth.
      order: one of `ORDERS`.
      wrong: share of the answers that are wrong, 0 to 1.
      seed: of the wrong answers, and of the order `random`.
      most: decisions; None = until no task is left.

    Raises:
      ProofreadingError: an order that there is not, or a share out of range.
    """
    if not 0 <= wrong <= 1:
        raise ProofreadingError(f"a share of {wrong} of the answers cannot be wrong; give 0 to 1")
    run = _Run(about, order, wrong, seed)
    nerl, seconds = [run.nerl], [0.0]
    verdicts: list[str] = []
    kinds: list[str] = []
    for each, reply in itertools.islice(run.decisions(), most):
        nerl.append(run.nerl)
        seconds.append(seconds[-1] + about.seconds[each.kind])
        verdicts.append(reply.verdict.value)
        kinds.append(each.kind.value)
    return Curve(order, np.array(nerl), np.array(seconds) / 3600, tuple(verdicts), tuple(kinds))


def neurons_after(about: Simulated, shares: Sequence[float], order: str = "value") -> list[NeuronMap]:
    """The neurons after a part of the decisions that there are in an order, none of them wrong.

    A supervoxel that the oracle splits counts with its main part: as a whole it is still a merger.

    Args:
      about: the queue and its truth.
      shares: of the decisions, each 0 to 1.
      order: one of `ORDERS`.

    Raises:
      ProofreadingError: an order that there is not, or a share out of range.
    """
    if not all(0 <= share <= 1 for share in shares):
        raise ProofreadingError(f"the shares {list(shares)} of the decisions are not all 0 to 1; give such")
    total = simulate(about, order).nerl.size - 1
    found = []
    for share in shares:
        run = _Run(about, order, 0.0, 1)
        for _ in itertools.islice(run.decisions(), math.ceil(share * total)):
            pass
        found.append(run.neurons.neurons_of_whole(about.decisions.supervoxels.tolist()))
    return found


def figures(curves: Mapping[str, Curve]) -> dict[str, Any]:
    """What the curves come to.

    The area under a curve is the mean run length over so many decisions as the longest curve has, and over so
    many hours; a curve that ends earlier stays as it is. `gain` is the same above the start, by the largest
    gain of any order.

    Args:
      curves: by order.

    Returns:
      `start_nerl`, `reachable_nerl` (the highest of any order), and `orders`: for each `decisions`, `hours`,
      `final_nerl`, `area`, `area_hours`, `area_by_greedy` (where there is `greedy`), `gain_area` and
      `decisions_to_90` (to nine tenths of the reachable gain, as a share of the longest curve; None = never).
    """
    longest = max(curve.nerl.size for curve in curves.values())
    hours = max(float(curve.hours[-1]) for curve in curves.values())
    start = float(next(iter(curves.values())).nerl[0])
    reachable = max(float(curve.nerl.max()) for curve in curves.values())
    areas = {name: _mean_of(curve.nerl, longest) for name, curve in curves.items()}
    orders = {}
    for name, curve in curves.items():
        there = np.flatnonzero(curve.nerl >= start + 0.9 * (reachable - start))
        orders[name] = {
            "decisions": curve.nerl.size - 1,
            "hours": float(curve.hours[-1]),
            "final_nerl": float(curve.nerl[-1]),
            "area": areas[name],
            "area_hours": _mean_over_hours(curve, hours),
            "area_by_greedy": areas[name] / areas["greedy"] if areas.get("greedy") else None,
            "gain_area": (areas[name] - start) / (reachable - start) if reachable > start else None,
            "decisions_to_90": int(there[0]) / max(longest - 1, 1) if there.size else None,
            "accepted": curve.verdicts.count(Verdict.ACCEPT.value),
            "unknown": curve.verdicts.count(Verdict.UNKNOWN.value),
        }
    return {"start_nerl": start, "reachable_nerl": reachable, "orders": orders}


class _Run:
    """The state of one simulation."""

    def __init__(self, about: Simulated, order: str, wrong: float, seed: int) -> None:
        self.neurons, self.model = initial_neurons(about.decisions), about.truth.model()
        self.oracle = Oracle(about.truth, self.model, wrong, seed)
        self._squares = {name: self.model.squares(each) for name, each in self.neurons.members.items()}
        self.agenda = Agenda(
            self.neurons,
            about.lengths,
            ExpectedSeconds(about.seconds),
            about.beyond,
            self._rank(order, seed),
            about.min_probability,
        )
        self.agenda.fill(about.candidates)

    @property
    def nerl(self) -> float:
        """As the neurons are now."""
        return sum(self._squares.values()) / self.model.total_squares

    def decisions(self) -> Iterator[tuple[Candidate, Reply]]:
        """Asks and answers one task after the other until none is left; each is applied when it is given."""
        while (entry := self.agenda.take()) is not None:
            reply = self.oracle.answer(entry.candidate, self.neurons)
            self.apply(entry.candidate, reply)
            self.agenda.remove(entry.candidate.id)
            yield entry.candidate, reply

    def apply(self, each: Candidate, reply: Reply) -> None:
        """Does what an answer says."""
        if reply.verdict is not Verdict.ACCEPT:
            return
        changed = set[int]()
        if each.kind is TaskKind.MERGER:
            changed.update(self._cut(each))
        elif each.kind is TaskKind.END:
            changed.update(self.neurons.merge(each.supervoxels[0], reply.partner))
        else:
            if "loses" in each.evidence and each.evidence.get("side_b"):
                changed.update(self.neurons.cut(*self._sides(each)))
            changed.update(self.neurons.merge(*each.supervoxels))
        for neuron in changed:
            members = self.neurons.members.get(neuron)
            self._squares[neuron] = 0.0 if members is None else self.model.squares(members)
        self.agenda.refresh(changed)

    def true_gain(self, each: Candidate) -> float:
        """What the oracle's answer to a task changes, nm^2."""
        reply = self.oracle.answer(each, self.neurons)
        if reply.verdict is not Verdict.ACCEPT:
            return 0.0
        if each.kind is TaskKind.MERGER and each.supervoxels[1] == 0:
            return self._gain_of_parts(each.supervoxels[0])
        first, second = each.supervoxels[0], reply.partner or each.supervoxels[1]
        own = self.neurons.members[self.neurons.neuron_of(first)]
        if each.kind is TaskKind.MERGER:
            return self._gain([own], self._sides(each))
        other = self.neurons.members[self.neurons.neuron_of(second)]
        if "loses" not in each.evidence or not each.evidence.get("side_b"):
            return self._gain([own, other], [own | other])
        moved, left = self._sides(each)
        gaining = other if str(first) == each.evidence["loses"] else own
        return self._gain([own, other], [left, moved | gaining])

    def _gain(self, before: Sequence[set[int]], after: Sequence[set[int]]) -> float:
        return sum(map(self.model.squares, after)) - sum(map(self.model.squares, before))

    def _gain_of_parts(self, supervoxel: int) -> float:
        """An estimate for a supervoxel that is split: the square of the path that its largest part is on."""
        nodes = self.model.nodes_of.get(supervoxel, {})
        members = self.neurons.members[self.neurons.neuron_of(supervoxel)]
        return max((self.model.path(members, skeleton) ** 2 for skeleton in nodes), default=0.0)

    def _sides(self, each: Candidate) -> tuple[set[int], set[int]]:
        sides = [[int(supervoxel) for supervoxel, _ in each.evidence[side]] for side in ("side_a", "side_b")]
        return self.neurons.sides(*sides)

    def _cut(self, each: Candidate) -> Sequence[int]:
        """Cuts between the sides of the evidence; a supervoxel that is a merger itself, by its cells."""
        if each.supervoxels[1] != 0:
            return self.neurons.cut(*self._sides(each))
        (supervoxel, _), nodes = each.supervoxels, self.model.nodes_of.get(each.supervoxels[0], {})
        if len(nodes) < 2:
            return ()
        ranked = sorted(nodes, key=lambda skeleton: (-nodes[skeleton], skeleton))
        names, main = {skeleton: self.neurons.new_id() for skeleton in ranked}, ranked[0]
        partners: dict[int, list[int]] = {name: [] for name in names.values()}
        for other in self.neurons.partners(supervoxel):
            partners[names.get(self.oracle.cell(other), names[main])].append(other)
        self.model.part(supervoxel, {name: [skeleton] for skeleton, name in names.items()})
        return self.neurons.part(supervoxel, dict(partners))

    def _rank(self, order: str, seed: int) -> Rank:
        """The rank of tasks in an order."""
        ranks: dict[str, Rank] = {
            "value": by_value,
            "score": lambda entry, _: entry.candidate.probability,
            "size": lambda entry, _: sum(entry.lengths_nm),
            "random": lambda entry, _: _lot(entry, seed),
            "greedy": lambda entry, seconds: self.true_gain(entry.candidate) / seconds,
        }
        if order not in ranks:
            raise ProofreadingError(f"there is no order '{order}'; choose one of {', '.join(ORDERS)}")
        return ranks[order]


def initial_neurons(decisions: Decisions) -> SimulatedNeurons:
    """The neurons of an agglomeration.

    Args:
      decisions: what it decided.
    """
    edges = decisions.edges
    first, second = decisions.neuron_of(edges.id_a), decisions.neuron_of(edges.id_b)
    held = (edges.accepted_by > 0) & (first == second)
    return SimulatedNeurons(
        decisions.supervoxels,
        decisions.neurons,
        edges.id_a[held],
        edges.id_b[held],
        edges.certainty[held],
    )


def _lot(entry: Entry, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed} {entry.candidate.id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _mean_of(nerl: np.ndarray, longest: int) -> float:
    return float((nerl.sum() + nerl[-1] * (longest - nerl.size)) / longest)


def _mean_over_hours(curve: Curve, hours: float) -> float:
    """The mean over time; between two decisions it is that of the earlier one."""
    if hours == 0:
        return float(curve.nerl[-1])
    widths = np.diff(np.append(curve.hours, hours))
    return float((widths * curve.nerl).sum() / hours)
