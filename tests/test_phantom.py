"""The phantom: the same for the same seed, true to its own ground truth, and hard for simple methods."""

from __future__ import annotations

import hashlib

import cc3d
import edt
import numpy as np
import pytest

from benchmarks.simple_methods import best_of_sweep
from benchmarks.tuned_methods import distance_watershed, flattened, grown_components, threshold_components
from evaluation import overlap_metrics
from volumes import phantom as generator
from volumes.errors import VolumeError
from volumes.phantom import GENERATOR_VERSION, PhantomSpec, TissueClass, make_phantom

FROZEN_DEFAULT = (131.948, 32.900, 125)  # mean and deviation of the grey values, number of neurons
FROZEN_LABELS = "20ef8631ed7a55c8"
# A byte for each section of the image, and the sum of its grey values.
FROZEN_RAW = bytes.fromhex(
    "7d45a733702340547836d3ef0e3687e18166946a5270095e44859caad89976bfbd83d09e81e3552c6fc26023ed0d0bda"
    "e9ba3a21d1cd27355fc211d5b95fd771872fd1e17870b2cc08063e703ff58467529c78903a03f8b6394a7f852f80631f"
    "f8483796da4c3e75c6a38b4cc6a833c4e49de09e3cf64e099e06bd1f7bc116e5"
)
FROZEN_SUM = 276_715_123
SMALL = PhantomSpec(shape=(48, 56, 64), seed=5)


@pytest.fixture(scope="module")
def small():
    return make_phantom(SMALL)


@pytest.fixture(scope="module")
def imaged():
    """The default phantom, and the organelles that were drawn into its image."""
    drawn = []
    render = generator.imaging.render

    def seen(tissue, structures, *others):
        drawn.append(structures)
        return render(tissue, structures, *others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(generator.imaging, "render", seen)
        return make_phantom(PhantomSpec(seed=1)), drawn[0]


@pytest.fixture(scope="module")
def default(imaged):
    return imaged[0]


def test_the_same_spec_gives_the_same_voxels(small):
    again = make_phantom(SMALL)
    np.testing.assert_array_equal(again.raw, small.raw)
    np.testing.assert_array_equal(again.labels, small.labels)


def test_another_seed_gives_other_tissue(small):
    assert (make_phantom(SMALL.replace(seed=6)).labels != small.labels).mean() > 0.5


def test_the_published_default_has_not_changed(default):
    """Figures are quoted for this version; a change of these numbers needs a new version."""
    assert GENERATOR_VERSION == 1
    found = (float(default.raw.mean()), float(default.raw.std()), int(default.labels.max()))
    assert found == pytest.approx(FROZEN_DEFAULT, rel=1e-3)
    assert hashlib.blake2b(default.labels.tobytes(), digest_size=8).hexdigest() == FROZEN_LABELS


def test_the_published_image_has_not_changed(default):
    """Voxel for voxel; releases of numpy round some ten of the two million grey values to a neighbour."""
    digests = [hashlib.blake2b(section.tobytes(), digest_size=1).digest() for section in default.raw]
    equal = np.frombuffer(b"".join(digests), np.uint8) == np.frombuffer(FROZEN_RAW, np.uint8)
    assert equal.mean() > 0.8
    assert abs(int(default.raw.sum(dtype=np.int64)) - FROZEN_SUM) <= np.count_nonzero(~equal)


def test_arrays_have_the_shape_asked_for_and_their_dtypes(small):
    arrays = {
        "raw": np.uint8,
        "labels": np.uint32,
        "tissue": np.uint8,
        "mitochondria": bool,
        "membrane": bool,
    }
    for name, dtype in arrays.items():
        array = getattr(small, name)
        assert (array.shape, array.dtype) == (SMALL.shape, np.dtype(dtype)), name


def test_labels_fill_the_space_except_vessel_and_myelin(default):
    nobody = np.isin(default.tissue, (TissueClass.VESSEL, TissueClass.MYELIN))
    np.testing.assert_array_equal(default.labels == 0, nobody)
    assert 0 < nobody.mean() < 0.15
    np.testing.assert_array_equal(np.unique(default.labels), np.arange(default.labels.max() + 1))


def test_all_tissue_classes_and_organelles_are_there(default):
    found = set(np.unique(default.tissue))
    assert {TissueClass.VESSEL, TissueClass.CELL_BODY, TissueClass.MYELIN, TissueClass.NEUROPIL} <= found
    assert 0.01 < default.mitochondria.mean() < 0.15
    assert not default.mitochondria[default.labels == 0].any()


def test_neurites_range_from_thin_axons_to_thick_dendrites(default):
    radii = np.concatenate([s.radii_nm for s in default.skeletons.values()])
    assert np.percentile(radii, 5) < 35 and radii.max() > 120
    sizes = np.bincount(default.labels.ravel())[1:]
    assert (sizes >= 1000).sum() >= 40


def degrees(skeleton) -> np.ndarray:
    """Edges at each node."""
    return np.bincount(skeleton.edges.ravel(), minlength=len(skeleton.nodes_nm))


def test_many_neurites_branch(default):
    branch_points = [int((degrees(s) >= 3).sum()) for s in default.skeletons.values()]
    assert sum(branch_points) >= 100 and np.count_nonzero(branch_points) >= 40


def spines(skeleton) -> int:
    """Ends that are a head, wider than 90 nm, on a neck at most 50 nm wide."""
    ends, radii = degrees(skeleton) == 1, skeleton.radii_nm
    pairs = [*skeleton.edges, *skeleton.edges[:, ::-1]]
    return sum(bool(ends[head] and radii[head] >= 45 and radii[neck] <= 25) for head, neck in pairs)


def test_thick_dendrites_bear_spines(default):
    thick = [s for s in default.skeletons.values() if s.radii_nm.max() >= 75]
    bearing = [spines(s) for s in thick if spines(s)]
    assert len(bearing) > len(thick) / 2 and sum(bearing) >= 30
    assert sum(spines(s) for s in default.skeletons.values() if s.radii_nm.max() < 45) == 0


def test_half_of_the_thin_axons_are_40_to_80_nm_wide(default):
    """Measured in the labels, at the nodes that lie within the block, the median of each axon."""
    size, extent = default.spec.voxel_size_nm, np.multiply(default.spec.shape, default.spec.voxel_size_nm)
    to_border = edt.edt(default.labels, anisotropy=size)
    widths = []
    for skeleton in default.skeletons.values():
        nodes = skeleton.nodes_nm
        nodes = nodes[np.all((nodes > 100) & (nodes < extent - 100), axis=1)]
        if skeleton.radii_nm.max() <= 60 and len(nodes) >= 10:
            at = np.floor(nodes / size).astype(int)
            # From the middle of a voxel to the middle of the first beyond the border: half a voxel too far
            # on either side, or none where the middle lies between two voxels.
            widths.append(2 * np.median(to_border[tuple(at.T)]) - 5)
    widths = np.array(widths)
    assert len(widths) >= 50 and ((widths >= 40) & (widths <= 80)).mean() >= 0.5


def test_synapses_thicken_membranes_and_vesicles_lie_in_the_cytoplasm(imaged):
    phantom, drawn = imaged
    neuropil = phantom.tissue == TissueClass.NEUROPIL
    assert cc3d.connected_components(drawn.synapses_nm < 0, connectivity=26).max() >= 15
    near, far = drawn.synapses_nm < 0, drawn.synapses_nm > 100
    membrane = phantom.membrane & neuropil
    assert phantom.raw[membrane & near].mean() < phantom.raw[membrane & far].mean() - 25
    assert cc3d.connected_components(drawn.vesicles_nm < 0, connectivity=26).max() >= 50
    inside = neuropil & ~phantom.membrane & ~phantom.mitochondria & far
    rim, away = np.abs(drawn.vesicles_nm) < 6, drawn.vesicles_nm > 25
    assert phantom.raw[inside & rim].mean() < phantom.raw[inside & away].mean() - 8
    assert not (phantom.membrane & (drawn.vesicles_nm < -5)).any()


def test_skeleton_nodes_lie_in_their_own_neuron(default):
    assert len(default.skeletons) > 0.8 * default.labels.max()
    for neuron, skeleton in default.skeletons.items():
        index = np.floor(skeleton.nodes_nm / default.spec.voxel_size_nm).astype(int)
        assert (default.labels[tuple(index.T)] == neuron).all()
        assert len(skeleton.edges) < len(skeleton.nodes_nm)


def test_cell_body_centre_lies_in_its_neuron_and_in_cell_body_tissue(default):
    (centre,), (neuron,) = default.cell_body_centres_nm, default.cell_body_ids
    at = tuple(np.floor(centre / default.spec.voxel_size_nm).astype(int))
    assert default.labels[at] == neuron
    assert default.tissue[at] == TissueClass.CELL_BODY


def test_cell_membranes_are_darker_than_the_cytoplasm(default):
    inside = ~default.membrane & ~default.mitochondria & (default.tissue == TissueClass.NEUROPIL)
    assert default.raw[default.membrane].mean() < default.raw[inside].mean() - 20


@pytest.mark.parametrize(
    "voxel_size_nm", [(40.0, 10.0, 10.0), (20.0, 20.0, 20.0)], ids=["sections", "coarse"]
)
def test_other_voxel_sizes_show_the_same_neurites(voxel_size_nm):
    """Centre lines do not depend on the grid; the voxels along borders do."""
    fine = make_phantom(PhantomSpec(shape=(48, 48, 48), seed=9))
    factors = np.array(voxel_size_nm) / 10
    coarse = make_phantom(
        PhantomSpec(shape=tuple(int(48 / f) for f in factors), seed=9, voxel_size_nm=voxel_size_nm)
    )
    z, y, x = (slice(int(f // 2), None, int(f)) for f in factors)
    pairs = np.unique(
        np.stack([fine.labels[z, y, x].ravel(), coarse.labels.ravel()]), axis=1, return_counts=True
    )
    largest = {}
    for (a, _), count in zip(pairs[0].T, pairs[1], strict=True):
        largest[a] = max(largest.get(a, 0), count)
    assert sum(largest.values()) / coarse.labels.size > 0.9
    lines = [{tuple(n) for s in p.skeletons.values() for n in s.nodes_nm} for p in (fine, coarse)]
    assert len(lines[0] & lines[1]) > 0.95 * max(map(len, lines)) > 0


def test_spoilt_sections_are_dark_or_empty():
    spec = SMALL.replace(missing_sections=1, dark_sections=1, shifted_sections=1)
    means = make_phantom(spec).raw.reshape(SMALL.shape[0], -1).mean(axis=1)
    assert (means == 0).sum() == 1
    assert (means < 0.6 * np.median(means)).sum() == 2


@pytest.mark.slow
def test_a_fresh_seed_each_for_several_cell_bodies_keeps_them_apart():
    phantom = make_phantom(PhantomSpec(shape=(160, 96, 96), seed=3, cell_bodies=2, cell_body_radius_nm=180.0))
    centres = phantom.cell_body_centres_nm
    assert len(centres) == 2 and np.linalg.norm(centres[0] - centres[1]) > 450


@pytest.mark.parametrize(
    "changes", [{"shape": (4, 64, 64)}, {"voxel_size_nm": (10, 0, 10)}, {"missing_sections": 999}], ids=str
)
def test_an_impossible_spec_is_refused(changes):
    with pytest.raises(VolumeError):
        SMALL.replace(**changes)


@pytest.mark.slow
def test_simple_methods_fail_on_the_default_phantom(default):
    """On 128³ of FIB-25 the same plain sweeps leave most of the tissue wrong; a phantom must be no easier."""
    best = best_of_sweep(default.raw, default.labels)
    assert best["threshold"] >= 0.6
    assert best["watershed"] >= 0.4


@pytest.mark.slow
@pytest.mark.xfail(
    raises=AssertionError,
    reason="generator version 1 holds the limit against plain sweeps alone: tuned methods reach 0.16 and "
    "0.17 on it, and 0.25 and 0.19 on FIB-25",
)
@pytest.mark.parametrize("method, settings", [(grown_components, (65,)), (distance_watershed, (50, 1))])
def test_tuned_methods_fail_on_the_default_phantom(default, method, settings):
    segmented = method(flattened(default.raw, 0.7, 4), *settings)
    assert overlap_metrics(segmented, default.labels)["arand"] >= 0.4


@pytest.mark.parametrize(
    "method, settings",
    [(threshold_components, (15,)), (grown_components, (15,)), (distance_watershed, (15, 2))],
)
def test_tuned_methods_part_two_slabs_though_one_is_as_dark_as_the_wall(method, settings):
    """The wall is y 11 and 12, at grey 60 beside 100; the image grows brighter along y by 4 a voxel."""
    y = np.arange(24)
    raw = np.broadcast_to(np.where((y == 11) | (y == 12), 60, 100) + 4 * y, (24, 24, 24)).astype(np.uint8)
    found = method(flattened(raw.swapaxes(1, 2), 0.5, 6), *settings)
    left, right = (set(np.unique(found[:, part])) - {0} for part in (slice(2, 10), slice(14, 22)))
    assert len(left) == len(right) == 1 and left != right
    assert (found == 0).any() == (method is threshold_components)
