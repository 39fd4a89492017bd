"""Sizes do not depend on how a volume is cut: the end of a large object is kept, what is small is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_project import CUT, bars, make_bars, run, stored, supervoxels, write_config

from configs import load_config
from inference.context import grown
from inference.flooding import workspace_of
from inference.subject import Subject
from inference.surroundings import surroundings_of

# Whole projects are run.
pytestmark = pytest.mark.slow

TWO = 'passes { name: "forward" } passes { name: "reversed" seed_order: REVERSED } edge_context: MIRROR '
FILLING = 'passes { name: "first" } passes { name: "second" fill_from: "first" fill_min_size: SIZE }'
# Voxels of a whole bar along x, y and z; none has more than 28 of its sections in one subvolume of `CUT`.
ALONG_X, ALONG_Y, ALONG_Z = 49 * 37, 49 * 44, 49 * 40


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_bars()
    return tmp_path


def bars_found(min_size: int, cut: str, reconciliation: str = "{}") -> np.ndarray:
    """The bars of which at least half is found, after a consensus of this minimum size."""
    output = f"out{min_size}{bool(cut)}{len(reconciliation)}"
    write_config(
        inference=TWO + cut,
        consensus=f"{{ min_size: {min_size} }}",
        reconciliation=reconciliation,
        output_dir=f'"{output}"',
        outputs="{ png: false }",
    )
    assert run("--config", "c.textproto") == 0
    found, labels = supervoxels(output), bars()
    return np.array([i for i in range(1, 16) if (found[labels == i] > 0).mean() > 0.5])


@pytest.mark.parametrize(
    ("min_size", "directions"),
    [(28 * 49 + 1, "xyz"), (ALONG_X + 1, "yz"), (ALONG_Z + 1, "y"), (ALONG_Y + 1, "")],
)
def test_a_minimum_size_is_one_of_the_volume_and_not_of_subvolumes(place, min_size, directions):
    of = {"x": range(1, 9), "y": range(9, 12), "z": range(12, 16)}
    expected = [number for direction in directions for number in of[direction]]
    for cut in ("", CUT):
        assert bars_found(min_size, cut).tolist() == expected, cut


def test_the_larger_of_both_minimum_sizes_counts(place):
    assert bars_found(50, CUT, f"{{ min_size: {ALONG_Z + 1} }}").tolist() == [9, 10, 11]


def test_objects_that_reach_a_cut_are_filled_around_whatever_their_size(place):
    write_config(inference=FILLING.replace("SIZE", "100000") + CUT)
    assert run("--config", "c.textproto") == 0
    first, second = stored("first"), stored("second")
    assert len(first["object_ids"]) > 4
    labels = first["segmentation"]
    reaching = np.unique(
        np.concatenate([labels[-1].ravel(), labels[:, -1].ravel(), labels[:, :, -1].ravel()])
    )
    before = second["object_ids"][second["fovs"] == 0]
    assert before.tolist() == reaching[reaching > 0].tolist()
    write_config(inference=FILLING.replace("SIZE", "100000"), output_dir='"whole"')
    assert run("--config", "c.textproto") == 0
    assert (stored("second", output="whole")["fovs"] > 0).all(), "nothing is large enough in the whole"


def test_the_margin_holds_the_objects_that_the_subvolumes_around_found(place):
    write_config(inference=FILLING.replace("SIZE", "1") + TWO.split("}")[-1] + CUT)
    assert run("--config", "c.textproto") == 0
    workspace = workspace_of(load_config("c.textproto"))
    everything = np.zeros(bars().shape, bool)
    for each in workspace.plan:
        labels = stored("first", each.name)["segmentation"]
        everything[each.core.slices()] = labels[each.core.slices(each.box.start)] > 0
    second, bounds = workspace.passes["second"], workspace.inputs.image.bounds
    for subvolume in workspace.plan:
        subject = Subject(second.image, subvolume.box, workspace.inputs.box, second.network, second.settings)
        box = grown(subvolume.box, subject.margin)
        around = surroundings_of(workspace, second, subvolume).obstacles(box)
        assert around.segmentation is not None
        own = stored("first", subvolume.name)["segmentation"]
        np.testing.assert_array_equal(around.segmentation[subject.inner], own)
        expected = everything.copy()
        expected[subvolume.box.slices()] = own > 0
        padded = np.pad(expected, 3, mode="reflect")[box.slices((-3, -3, -3))]
        np.testing.assert_array_equal(around.segmentation > 0, padded)
        theirs = around.segmentation[bounds.intersect(box).slices(box.start)]
        inside = subvolume.box.slices(bounds.intersect(box).start)
        theirs[inside] = 0
        assert theirs[theirs > 0].min() > own.max(), "under IDs of their own"
