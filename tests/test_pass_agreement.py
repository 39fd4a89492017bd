"""What passes say about a pair, on labels made by hand and in a tiny project."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tiny_project import CUT, bars, grey_of, save_threshold_network, write_config, write_volumes

from agglomeration.pass_agreement import NO_PASSES, agreement, passes_around
from configs import load_config
from inference.results import SubvolumeResult, save_result
from inference.workspace import open_workspace
from volumes import Box

OWN = np.array([[[1, 1, 1, 1, 0, 0, 0, 0]]], bool)
OTHER = np.array([[[0, 0, 0, 0, 1, 1, 1, 1]]], bool)


def of(*passes):
    return agreement(OWN, OTHER, [np.array([[each]], np.int32) for each in passes])


def test_a_pass_joins_what_it_has_in_one_object():
    assert of([7] * 8) == (1, 0)
    assert of([7] * 4 + [8] * 4) == (0, 1)


def test_what_a_pass_left_empty_speaks_for_nothing():
    assert of([7] * 4 + [0] * 4) == (0, 0)
    assert of([0] * 8) == (0, 0)


def test_the_share_is_that_of_the_supervoxel_the_object_has_less_of():
    assert of([7, 7, 7, 7, 7, 8, 8, 8]) == (0.25, 0.75)
    assert of([7, 7, 0, 0, 7, 7, 7, 7]) == (0.5, 0)


def test_the_object_that_joins_most_counts():
    joined, parted = of([7, 8, 8, 8, 7, 8, 8, 0])
    assert joined == 0.5 and parted == 0.25


def test_passes_are_averaged():
    assert of([7] * 8, [7] * 4 + [8] * 4, [0] * 8) == pytest.approx((1 / 3, 1 / 3))


def test_without_passes_or_voxels_nothing_is_known():
    assert np.isnan(of()).all()
    assert np.isnan(agreement(OWN, np.zeros_like(OWN), [OWN.astype(int)])).all()
    assert np.isnan(NO_PASSES).all()


def test_order_of_the_two_does_not_matter():
    labels = np.random.default_rng(1).integers(0, 4, OWN.shape)
    assert agreement(OWN, OTHER, [labels]) == agreement(OTHER, OWN, [labels])


def test_passes_of_a_cut_project_are_read_where_the_pair_lies(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    labels = bars()
    write_volumes("data.h5", raw=grey_of(labels))
    save_threshold_network()
    write_config(
        inference=f'passes {{ name: "one" }} passes {{ name: "two" }} {CUT}',
        evaluation="",
        agglomeration="{}",
    )
    config = load_config("c.textproto")
    workspace = open_workspace(config)
    for name, shift in (("one", 0), ("two", 100)):
        for subvolume in workspace.plan:
            store(workspace, name, subvolume.box, labels[subvolume.box.slices()] + shift)
    point = (30, 30, 30)
    asked = Box((10, 20, 24), (34, 40, 36))
    found, part = passes_around(config, point, asked)
    (inside,) = [each.box for each in workspace.plan if each.core.contains(point)]
    assert part == asked.intersect(inside) and part != asked
    assert_array_equal(found[0], labels[part.slices()])
    assert_array_equal(found[1], labels[part.slices()] + 100)


def test_supervoxels_of_another_origin_have_no_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_config(agglomeration='{ supervoxels { spec: "data.h5:pieces" } }')
    box = Box((0, 0, 0), (2, 2, 2))
    assert passes_around(load_config("c.textproto"), (1, 1, 1), box) == ([], box)


def store(workspace, name, box, labels):
    """A made-up result of one pass in one subvolume."""
    none = np.zeros(0, np.int64)
    result = SubvolumeResult(
        box=box,
        segmentation=labels.astype(np.int32),
        probability=np.zeros(labels.shape, np.uint8),
        object_ids=none,
        seeds_zyx=none.reshape(0, 3),
        fovs=none,
        counts={},
        settings={},
    )
    save_result(workspace.stage_directory(name), result)
