"""Which sayings that two supervoxels are apart people overruled by a merge that they made later.

What a merge brought together follows from the agglomeration at its time, whose rows are gone. So a saying
is overruled where that merge can have brought its two supervoxels together: where it lies on a way between
them that comes nowhere twice. Such a way leads through the blocks (parts that no single supervoxel holds
together) between the two, and any merge in these lies on one. Source of the search for blocks: J. Hopcroft
and R. Tarjan 1973, "Algorithm 447: efficient algorithms for graph manipulation".

Pure and in memory; time is linear in merges, and in the blocks between the two of each saying.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def overruled(merges: Iterable[tuple[int, int, int]], sayings: Sequence[tuple[int, int, int]]) -> list[bool]:
    """Whether sayings are overruled.

    Args:
      merges: two nodes, and the number of the edit; 0 for one of an agglomeration.
      sayings: two nodes that are apart, and the number of the edit from which on merges are later, exclusive.

    Returns:
      For each saying whether a later merge lies on a way between its nodes.
    """
    latest: dict[tuple[int, int], int] = {}
    partners: dict[int, list[int]] = {}
    for a, b, number in merges:
        if a == b:
            continue
        pair = (min(a, b), max(a, b))
        if pair not in latest:
            partners.setdefault(a, []).append(b)
            partners.setdefault(b, []).append(a)
        latest[pair] = max(latest.get(pair, 0), number)
    order, block_of, top = _blocks(partners)
    last = [0] * len(top)
    for (a, b), number in latest.items():
        block = block_of[a if order[a] > order[b] else b]
        last[block] = max(last[block], number)
    found = []
    for a, b, since in sayings:
        first, second = _chain(a, block_of, top), _chain(b, block_of, top)
        is_one = _end(a, first, top) == _end(b, second, top)
        found.append(is_one and any(last[block] > since for block in _between(first, second)))
    return found


def _blocks(partners: Mapping[int, Sequence[int]]) -> tuple[dict[int, int], dict[int, int], list[int]]:
    """When each node was found first, its block towards the first one, and the first node of each block."""
    order, low = dict[int, int](), dict[int, int]()
    block_of, top, waiting = dict[int, int](), list[int](), list[int]()
    for root in partners:
        if root in order:
            continue
        order[root] = low[root] = len(order)
        path = [(root, iter(partners[root]))]
        while path:
            node, others = path[-1]
            new = None
            for other in others:
                if other not in order:
                    new = other
                    break
                low[node] = min(low[node], order[other])
            if new is not None:
                order[new] = low[new] = len(order)
                waiting.append(new)
                path.append((new, iter(partners[new])))
                continue
            path.pop()
            if not path:
                continue
            above = path[-1][0]
            low[above] = min(low[above], low[node])
            if low[node] >= order[above]:
                top.append(above)
                done = None
                while done != node:
                    done = waiting.pop()
                    block_of[done] = len(top) - 1
    return order, block_of, top


def _chain(node: int, block_of: Mapping[int, int], top: Sequence[int]) -> dict[int, int]:
    """The blocks from a node up to the first one, and the node by which each is entered."""
    found: dict[int, int] = {}
    while node in block_of:
        block = block_of[node]
        found[block] = node
        node = top[block]
    return found


def _end(node: int, chain: dict[int, int], top: Sequence[int]) -> int:
    """The first node of all that a node is connected with, by the node's chain."""
    return top[next(reversed(chain))] if chain else node


def _between(first: dict[int, int], second: dict[int, int]) -> list[int]:
    """The blocks between two nodes by their chains: where they meet, if not at one node of a block, too."""
    found = [block for block in first if block not in second] + [
        block for block in second if block not in first
    ]
    meeting = next((block for block in first if block in second), None)
    if meeting is not None and first[meeting] != second[meeting]:
        found.append(meeting)
    return found
