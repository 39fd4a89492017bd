"""Edits replayed: against a reference that starts anew each time, names by hand, and what is refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofreading.base_graph import FIRST_NEW_ID, BaseGraph, base_graph
from proofreading.edits import Change, Merge, Pair, Part, Primary, Route, Split, SupervoxelSplit, Toggle
from proofreading.errors import ConflictError, ProofreadingError, SomaError, UnknownError
from proofreading.graph import MergeGraph, new_supervoxel
from proofreading.lineage import Lineage
from proofreading.replay import Effect, Replay
from proofreading.soma_check import require_one_cell_body
from proofreading.split_plan import plan_cut
from volumes import Box

ORIGIN = (0.0, 0.0, 0.0)
BOX = Box((0, 0, 0), (1, 1, 1))
# Voxels and edges of the small agglomeration that random edits start from: neurons 1-2-3-4, 5-6, 7, 8.
VOXELS = {1: 5, 2: 30, 3: 20, 4: 25, 5: 8, 6: 8, 7: 100, 8: 3}
EDGES = ((1, 2, 0.9), (2, 3, 0.8), (3, 4, 0.7), (2, 4, 0.6), (5, 6, 0.95))
Neurons = dict[int, int]


def graph_of(
    voxels: Mapping[int, int], edges: Iterable[tuple[int, int, float]], somas: Mapping[int, int] | None = None
) -> BaseGraph:
    rows = np.array(list(edges), np.float64).reshape(-1, 3)
    return base_graph(
        np.array(sorted(voxels), np.uint64),
        np.array([voxels[each] for each in sorted(voxels)]),
        rows[:, 0].astype(np.uint64),
        rows[:, 1].astype(np.uint64),
        rows[:, 2],
        {holder: (body,) for holder, body in (somas or {}).items()},
    )


def replay_of(edges: Iterable[tuple[int, int, float]] = EDGES, **of: Mapping[int, int]) -> Replay:
    return Replay(MergeGraph(graph_of(of.get("voxels", VOXELS), edges, of.get("somas"))))


def neurons_of(replay: Replay) -> Neurons:
    """The neuron of every supervoxel that is there."""
    labels = replay.graph.labels()
    there = np.flatnonzero(labels)
    return dict(zip(replay.graph.ids_of(there).tolist(), labels[there].tolist(), strict=True))


def partition(neurons: Neurons) -> set[frozenset[int]]:
    groups: dict[int, set[int]] = {}
    for supervoxel, neuron in neurons.items():
        groups.setdefault(neuron, set()).add(supervoxel)
    return set(map(frozenset, groups.values()))


def cut_between(replay: Replay, a: int, b: int) -> Split:
    change = plan_cut(replay.graph, replay.graph.neuron_of(a), [(a, ORIGIN)], [(b, ORIGIN)]).change
    assert isinstance(change, Split)
    return change


def halved(number: int, supervoxel: int, voxels: int, to_second: Iterable[int]) -> SupervoxelSplit:
    """A split of a supervoxel; edges to these others go to the second part, one to 4 to both."""
    parts = tuple(Part(new_supervoxel(number, i), share, BOX, ()) for i, share in enumerate((voxels - 1, 1)))
    routes = [Route(other, 1, 0.5) for other in to_second]
    routes.append(Route(4, 0, 0.5))
    points = ((supervoxel, ORIGIN),)
    return SupervoxelSplit(supervoxel, (parts[0], parts[1]), tuple(routes), (), points, points)


@dataclass
class Reference:
    """Edits done one after the other from the start, with sets of pairs and no memory of what was undone."""

    edits: dict[int, Primary] = field(default_factory=dict)
    undone: set[int] = field(default_factory=set)

    def partition(self) -> set[frozenset[int]] | None:
        """The neurons; None where an edit names a supervoxel that is not there."""
        nodes = set(VOXELS)
        edges = {frozenset(edge[:2]) for edge in EDGES}
        for number in sorted(set(self.edits) - self.undone):
            if not self.do(self.edits[number], nodes, edges):
                return None
        groups = {node: {node} for node in nodes}
        for a, b in map(tuple, edges):
            if groups[a] is not groups[b]:
                groups[a] |= groups[b]
                for node in groups[b]:
                    groups[node] = groups[a]
        return {frozenset(group) for group in groups.values()}

    @staticmethod
    def do(change: Primary, nodes: set[int], edges: set[frozenset[int]]) -> bool:
        if isinstance(change, Merge):
            edges.add(frozenset((change.a, change.b)))
            return {change.a, change.b} <= nodes
        if isinstance(change, SupervoxelSplit):
            gone = change.supervoxel
            if gone not in nodes:
                return False
            ids = [part.id for part in change.parts]
            for edge in [edge for edge in edges if gone in edge]:
                (other,) = edge - {gone}
                routes = [route.part for route in change.routes if route.other == other] or [0]
                edges |= {frozenset((ids[part], other)) for part in routes}
                edges.remove(edge)
            nodes.remove(gone)
            nodes.update(ids)
        edges -= set(map(frozenset, change.removed))
        return {end for pair in change.removed for end in pair} <= nodes


@st.composite
def plans(draw: st.DrawFn) -> list[tuple[str, int, int]]:
    kinds = st.sampled_from(["merge", "merge", "split", "split", "halve", "undo", "undo", "redo"])
    numbers = st.integers(0, 20)
    return draw(st.lists(st.tuples(kinds, numbers, numbers), max_size=14))


def change_of(replay: Replay, number: int, kind: str, i: int, j: int) -> Change | None:
    """What a plan comes to in this state; None = nothing that makes sense."""
    there = sorted(neurons_of(replay))
    a, b = there[i % len(there)], there[j % len(there)]
    if kind in ("undo", "redo"):
        target = 1 + i % max(number - 1, 1)
        return Toggle(target, kind == "redo")
    if kind == "halve":
        position = replay.graph.position(a)
        voxels = int(replay.graph.voxels_of(np.array([position]))[0])
        return halved(number, a, voxels, [b]) if voxels > 1 else None
    if a == b or (replay.graph.neuron_of(a) == replay.graph.neuron_of(b)) != (kind == "split"):
        return None
    return cut_between(replay, a, b) if kind == "split" else Merge(a, b)


class Trial:
    """A replay, the reference beside it, and what the neurons were after every row."""

    def __init__(self) -> None:
        self.replay, self.reference = replay_of(), Reference()
        self.lineage = Lineage(self.replay.graph)
        self.effects: list[Effect] = []
        self.states = [neurons_of(self.replay)]

    def run(self, plan: Iterable[tuple[str, int, int]]) -> None:
        for kind, i, j in plan:
            number = len(self.effects) + 1
            change = change_of(self.replay, number, kind, i, j)
            if change is not None:
                self.do(change)

    def do(self, change: Change) -> bool:
        number = len(self.effects) + 1
        wanted = self._imagined(number, change)
        expected = wanted.partition()
        try:
            effect = self.replay.do(number, change)
        except (ConflictError, UnknownError):
            assert isinstance(change, Toggle)
            assert change.target not in self.reference.edits or (
                (change.target in self.reference.undone) != change.active
            )
            return False
        except ProofreadingError:
            assert expected is None
            assert neurons_of(self.replay) == self.states[-1]
            return False
        assert expected is not None
        assert partition(neurons_of(self.replay)) == expected
        self.reference = wanted
        self.effects.append(effect)
        self.states.append(neurons_of(self.replay))
        self.lineage.note(effect.positions, effect.before)
        return True

    def _imagined(self, number: int, change: Change) -> Reference:
        edits, undone = dict(self.reference.edits), set(self.reference.undone)
        if not isinstance(change, Toggle):
            edits[number] = change
        elif change.active:
            undone.discard(change.target)
        elif change.target in edits:
            undone.add(change.target)
        return Reference(edits, undone)


@given(plans())
def test_neurons_are_those_of_a_reference_that_starts_anew(plan: list[tuple[str, int, int]]) -> None:
    Trial().run(plan)


@given(plans())
def test_neurons_and_their_names_are_those_of_the_edits_that_are_not_undone(
    plan: list[tuple[str, int, int]],
) -> None:
    trial = Trial()
    trial.run(plan)
    anew = replay_of()
    for number, change in sorted(trial.reference.edits.items()):
        if number not in trial.reference.undone:
            anew.do(number, change)
    assert neurons_of(anew) == neurons_of(trial.replay)


@given(plans(), st.randoms(use_true_random=False))
def test_undoing_everything_in_any_possible_order_gives_the_initial_neurons(
    plan: list[tuple[str, int, int]], random: st.DataObject
) -> None:
    trial = Trial()
    trial.run(plan)
    while left := sorted(set(trial.reference.edits) - trial.reference.undone):
        random.shuffle(left)  # type: ignore[attr-defined]
        assert any(trial.do(Toggle(number, False)) for number in left)
    assert trial.states[-1] == trial.states[0]


@given(plans())
def test_undo_then_redo_changes_nothing(plan: list[tuple[str, int, int]]) -> None:
    trial = Trial()
    trial.run(plan)
    before = trial.states[-1]
    for number in sorted(set(trial.reference.edits) - trial.reference.undone):
        if trial.do(Toggle(number, False)):
            assert trial.do(Toggle(number, True))
            assert trial.states[-1] == before


@given(plans())
def test_what_a_row_changed_leads_back_to_the_state_before_it(plan: list[tuple[str, int, int]]) -> None:
    trial = Trial()
    trial.run(plan)
    graph = trial.replay.graph
    labels = graph.labels().copy()
    for effect, earlier in zip(reversed(trial.effects), reversed(trial.states[:-1]), strict=True):
        assert np.array_equal(labels[effect.positions], effect.after)
        labels[effect.positions] = effect.before
        there = np.flatnonzero(labels)
        assert dict(zip(graph.ids_of(there).tolist(), labels[there].tolist(), strict=True)) == earlier


@given(plans())
def test_a_row_names_every_neuron_whose_supervoxels_changed(plan: list[tuple[str, int, int]]) -> None:
    trial = Trial()
    trial.run(plan)
    for effect, before, after in zip(trial.effects, trial.states, trial.states[1:], strict=False):
        old, new = (
            {(name, frozenset(s for s in state if state[s] == name)) for name in set(state.values())}
            for state in (before, after)
        )
        assert {name for name, _ in old - new} <= set(effect.neurons_before) <= set(before.values())
        assert {name for name, _ in new - old} <= set(effect.neurons_after) <= set(after.values())


@given(plans())
def test_every_neuron_that_ever_was_leads_to_neurons_of_now(plan: list[tuple[str, int, int]]) -> None:
    trial = Trial()
    trial.run(plan)
    now = neurons_of(trial.replay)
    for state in trial.states:
        for neuron in set(state.values()):
            found = trial.lineage.resolve(neuron, trial.replay.splits)
            assert found and set(found) <= set(now.values())
            if neuron in now.values():
                assert found == (neuron,)


@given(plans(), st.integers(0, 8), st.integers(0, 8))
def test_a_split_undoes_a_merge(plan: list[tuple[str, int, int]], i: int, j: int) -> None:
    trial = Trial()
    trial.run(plan)
    there = sorted(trial.states[-1])
    a, b = there[i % len(there)], there[j % len(there)]
    if trial.states[-1][a] == trial.states[-1][b]:
        return
    assert trial.do(Merge(a, b))
    pair: Pair = (min(a, b), max(a, b))
    assert trial.do(Split((pair,), ((a, ORIGIN),), ((b, ORIGIN),)))
    assert partition(trial.states[-1]) == partition(trial.states[-3])


@given(st.permutations(range(5)))
def test_the_order_of_edits_of_different_neurons_does_not_matter(order: list[int]) -> None:
    edits: list[Primary] = [
        Merge(7, 8),
        Split(((5, 6),), ((5, ORIGIN),), ((6, ORIGIN),)),
        Split(((1, 2),), ((1, ORIGIN),), ((2, ORIGIN),)),
        Split(((2, 4), (3, 4)), ((3, ORIGIN),), ((4, ORIGIN),)),
    ]
    replay = replay_of()
    changes = [edits[each] for each in order if each < 4]
    for number, change in enumerate(changes, start=1):
        replay.do(number, change)
    found = partition(neurons_of(replay))
    assert found == {frozenset(each) for each in ({1}, {2, 3}, {4}, {5}, {6}, {7, 8})}


def test_of_two_neurons_the_one_with_more_voxels_keeps_its_id() -> None:
    replay = replay_of()
    effect = replay.do(1, Merge(4, 7))
    assert neurons_of(replay) == {1: 7, 2: 7, 3: 7, 4: 7, 5: 5, 6: 5, 7: 7, 8: 8}
    assert (effect.neurons_before, effect.neurons_after) == ((1, 7), (7,))


def test_of_two_equal_neurons_the_smaller_id_stays() -> None:
    replay = replay_of([], voxels={3: 4, 9: 4})
    replay.do(1, Merge(9, 3))
    assert neurons_of(replay) == {3: 3, 9: 3}


def test_the_part_with_more_voxels_keeps_the_id_and_the_other_has_that_of_its_smallest_free_supervoxel() -> (
    None
):
    replay = replay_of()
    effect = replay.do(1, Split(((1, 2), (2, 3), (2, 4)), ((2, ORIGIN),), ((3, ORIGIN),)))
    # 3-4 has 45 voxels of the 80 and keeps 1, so that supervoxel 1 has no free ID.
    assert neurons_of(replay) == {1: FIRST_NEW_ID + 3 * 2**19, 2: 2, 3: 1, 4: 1, 5: 5, 6: 5, 7: 7, 8: 8}
    assert effect.neurons_before == (1,)
    assert effect.neurons_after == (1, 2, FIRST_NEW_ID + 3 * 2**19)


def test_a_neuron_that_is_parted_from_another_again_has_its_old_id() -> None:
    replay = replay_of()
    replay.do(1, Merge(6, 7))
    replay.do(2, Split(((6, 7),), ((6, ORIGIN),), ((7, ORIGIN),)))
    assert neurons_of(replay)[5] == 5


def test_an_undone_edit_in_the_middle_leaves_what_the_others_make() -> None:
    replay = replay_of()
    replay.do(1, Merge(4, 5))
    replay.do(2, Merge(6, 8))
    replay.do(3, cut_between(replay, 1, 2))
    effect = replay.do(4, Toggle(1, False))
    assert partition(neurons_of(replay)) == {frozenset(each) for each in ({1}, {2, 3, 4}, {5, 6, 8}, {7})}
    assert effect.neurons_before == (1,)
    assert effect.neurons_after == (1, 5)


def test_an_edit_that_later_ones_need_is_not_undone_and_says_which_comes_first() -> None:
    replay = replay_of()
    replay.do(1, halved(1, 3, 20, [2]))
    replay.do(2, Merge(new_supervoxel(1, 0), 8))
    before = neurons_of(replay)
    with pytest.raises(ProofreadingError) as error:
        replay.do(3, Toggle(1, False))
    assert str(error.value) == (
        f"edit 1 cannot be undone: edit 2 came after it and needs what it changes (supervoxel "
        f"{new_supervoxel(1, 0)} is not there); undo edit 2 first"
    )
    assert neurons_of(replay) == before
    replay.do(3, Toggle(2, False))
    replay.do(4, Toggle(1, False))
    assert neurons_of(replay) == neurons_of(replay_of())


def test_a_split_supervoxel_is_split_a_second_time_and_both_are_undone() -> None:
    replay = replay_of()
    replay.do(1, halved(1, 3, 20, [2]))
    large = new_supervoxel(1, 0)
    replay.do(2, halved(2, large, 19, []))
    assert set(neurons_of(replay)) == {1, 2, 4, 5, 6, 7, 8} | {
        new_supervoxel(1, 1),
        new_supervoxel(2, 0),
        new_supervoxel(2, 1),
    }
    with pytest.raises(ProofreadingError, match="undo edit 2 first"):
        replay.do(3, Toggle(1, False))
    replay.do(3, Toggle(2, False))
    replay.do(4, Toggle(1, False))
    with pytest.raises(ProofreadingError, match="redo the one that made it"):
        replay.do(5, Toggle(2, True))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (Toggle(1, True), ConflictError, "edit 1 is not undone"),
        (Toggle(2, False), UnknownError, "there is no edit 2"),
        (Merge(4, 99), ProofreadingError, "edit 2 cannot be done: supervoxel 99 is not there"),
        (Merge(4, FIRST_NEW_ID), ProofreadingError, f"supervoxel {FIRST_NEW_ID} is not there"),
    ],
)
def test_what_makes_no_sense_is_refused(change: Change, kind: type[ProofreadingError], message: str) -> None:
    replay = replay_of()
    replay.do(1, Merge(4, 5))
    with pytest.raises(kind, match=message):
        replay.do(2, change)


@pytest.mark.parametrize(
    ("somas", "is_refused"),
    [({1: 1, 6: 2}, True), ({1: 1, 6: 1}, False), ({1: 1}, False), ({}, False)],
    ids=["two bodies", "two parts of one body", "one body", "none"],
)
def test_two_cell_bodies_do_not_come_together(somas: dict[int, int], is_refused: bool) -> None:
    replay = replay_of(somas=somas)
    effect = replay.do(1, Merge(4, 5))
    if is_refused:
        with pytest.raises(SomaError, match="neuron 1 would have cell bodies 1 and 2"):
            require_one_cell_body(replay.graph, effect)
    else:
        require_one_cell_body(replay.graph, effect)


def test_a_neuron_that_has_two_cell_bodies_may_be_edited() -> None:
    replay = replay_of(somas={1: 1, 4: 2})
    require_one_cell_body(replay.graph, replay.do(1, Merge(4, 7)))
    effect = replay.do(2, cut_between(replay, 1, 4))
    require_one_cell_body(replay.graph, effect)
    with pytest.raises(SomaError):
        require_one_cell_body(replay.graph, replay.do(3, Toggle(2, False)))


def test_ids_from_2_to_the_62_on_are_refused() -> None:
    with pytest.raises(Exception, match="number the supervoxels below it"):
        graph_of({2**62: 3}, [])
