"""Configs and google/ffn requests load into frozen views."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from config_texts import FULL_REQUEST, MINIMAL, REQUEST

import configs
from configs.errors import ConfigError
from configs.proto import google_ffn_pb2

SHIPPED = sorted(path.stem for path in Path(configs.__file__).parent.glob("*.textproto"))


def _tensorstore(**spec: object) -> str:
    """The tensorstore form of a DecoratedVolume."""
    return f"tensorstore: '{json.dumps(spec)}'"


@pytest.fixture
def minimal(tmp_path: Path) -> configs.ConfigView:
    """The shortest config for inference."""
    path = tmp_path / "project.textproto"
    path.write_text(MINIMAL, encoding="utf-8")
    return configs.load_config(path)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_config_loads_by_its_name(name: str) -> None:
    assert configs.load_config(name).name == name


def test_shipped_configs_hold_what_their_commands_need() -> None:
    configs.load_config("demo", require=("phantom", "network", "inference", "evaluation"))
    configs.load_config("train_phantom", require=("training",))
    fib25 = configs.load_config("fib25", require=("raw", "network", "inference", "evaluation"))
    start, stop = configs.region_bounds(fib25.inference) or ((0, 0, 0), (0, 0, 0))
    assert all(high - low >= least for low, high, least in zip(start, stop, (100, 160, 160), strict=True))


def test_fib25_config_points_at_data_that_holds_its_box(shared_data: Path) -> None:
    h5py = pytest.importorskip("h5py")
    config = configs.load_config("fib25")
    _, stop = configs.region_bounds(config.inference) or ((0, 0, 0), (0, 0, 0))
    for source in (config.raw, config.evaluation.labels):
        path, dataset = source.spec.split(":")
        with h5py.File(shared_data / "data" / Path(path).name) as file:
            assert all(high <= size for high, size in zip(stop, file[dataset].shape, strict=True))
    prefix = Path(config.network.checkpoint.model_checkpoint_path)
    assert (shared_data / "models" / "fib25" / f"{prefix.name}.index").is_file()


def test_defaults_are_filled_in_where_a_config_is_silent(minimal: configs.ConfigView) -> None:
    assert [single.name for single in minimal.inference.passes] == ["forward"]
    assert minimal.inference.passes[0].seed_policy == "PolicyPeaks"
    assert minimal.inference.options.min_boundary_dist == (1, 1, 1)
    assert minimal.inference.options.disco_seed_threshold == -1
    assert minimal.outputs.precomputed is True
    assert minimal.run.progress is True


def test_absent_values_without_default_are_none(minimal: configs.ConfigView) -> None:
    assert minimal.training is None
    assert minimal.inference.options.move_threshold is None
    assert minimal.raw.voxel_size_nm is None
    assert configs.region_bounds(minimal.inference) is None
    assert "move_threshold" not in minimal.inference.options.to_dict()


def test_enums_read_as_lower_case_names_and_vectors_as_zyx_tuples() -> None:
    demo = configs.load_config("demo")
    assert demo.inference.compute_dtype == "auto"
    assert demo.inference.passes[0].seed_order == "forward"
    assert demo.phantom.shape == (96, 128, 128)


def test_a_view_cannot_be_changed(minimal: configs.ConfigView) -> None:
    with pytest.raises(AttributeError, match=r"read-only; use \.replace\(name="):
        minimal.name = "other"
    with pytest.raises(AttributeError, match="read-only"):
        del minimal.name
    minimal.to_message().name = "other"
    assert minimal.name == "small"


def test_a_misspelt_attribute_names_the_closest_field(minimal: configs.ConfigView) -> None:
    with pytest.raises(AttributeError, match="did you mean 'inference'"):
        _ = minimal.inferences
    assert not hasattr(minimal, "__array__")


def test_views_compare_hash_and_pickle_by_content(minimal: configs.ConfigView) -> None:
    again = pickle.loads(pickle.dumps(minimal))
    assert again == minimal and hash(again) == hash(minimal)
    assert minimal.replace(name="other") != minimal
    assert minimal != "small"


def test_replace_validates_again_and_leaves_the_old_view(minimal: configs.ConfigView) -> None:
    changed = minimal.replace(
        inference={
            "passes": [{"name": "back", "seed_order": "reversed"}],
            "box": {"start": (0, 1, 2), "shape": (10, 20, 30)},
            "options": minimal.inference.options.replace(min_segment_size=7),
        }
    )
    assert changed.inference.passes[0].seed_order == "reversed"
    assert configs.region_bounds(changed.inference) == ((0, 1, 2), (10, 21, 32))
    assert changed.inference.options.min_segment_size == 7
    assert minimal.inference.box is None
    assert changed.replace(inference=None).inference is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"nam": "x"}, "did you mean 'name'", id="unknown"),
        pytest.param({"name": 3}, "name takes text in quotes, but is 3", id="wrong type"),
        pytest.param({"name": ""}, "name is required but empty", id="empty"),
        pytest.param({"raw": {"spec": "a", "voxel_size_nm": (0, 1, 1)}}, "z is 0, but must", id="bound"),
        pytest.param({"inference": {"compute_dtype": "float23"}}, "did you mean FLOAT32", id="enum"),
        pytest.param({"inference": {"box": {"start": (1, 2)}}}, "start takes", id="vector"),
        pytest.param({"inference": 5}, "inference takes a block", id="message"),
    ],
)
def test_replace_refuses_what_a_file_would_be_refused_for(
    minimal: configs.ConfigView, changes: dict, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        minimal.replace(**changes)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_resolved_config_loads_back_equal(name: str, tmp_path: Path) -> None:
    config = configs.load_config(name)
    path = tmp_path / "made" / "config.textproto"
    configs.save_resolved(config, path)
    assert configs.load_config(path) == config
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("text", [REQUEST, FULL_REQUEST], ids=["plain", "full"])
def test_a_google_ffn_request_parses_as_text_and_as_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "request.pbtxt"
    path.write_text(text, encoding="utf-8")
    request = configs.parse_inference_request(text)
    assert configs.parse_inference_request(str(path)) == configs.parse_inference_request(path) == request
    assert configs.volume_spec(request.image) == "grayscale_maps.h5:raw"
    assert request.checkpoint_interval == 1800
    assert request.inference_options.min_boundary_dist == (3, 2, 1)
    assert request.inference_options.move_threshold == pytest.approx(0.9)


def test_a_google_ffn_request_without_disco_seed_threshold_has_the_rule_on() -> None:
    assert configs.parse_inference_request(REQUEST).inference_options.disco_seed_threshold == 0


def test_a_google_ffn_bounding_box_is_turned_to_zyx() -> None:
    text = "start { x: 1 y: 2 z: 3 } size { x: 10 y: 20 z: 30 }"
    assert configs.parse_bounding_box(text) == ((3, 2, 1), (33, 22, 11))
    assert configs.parse_bounding_box("size { x: 1 y: 2 z: 3 }") == ((0, 0, 0), (3, 2, 1))


@pytest.mark.parametrize(
    ("volume", "spec"),
    [
        ('hdf5: "a.h5:raw"', "a.h5:raw"),
        ('spec: "stack:sections/*.png"', "stack:sections/*.png"),
        ('precomputed: "gs://bucket/em"', "precomputed://gs://bucket/em"),
        ('precomputed: "precomputed://file:///em"', "precomputed://file:///em"),
        ('zarr: "em.zarr"', "zarr://em.zarr"),
        (_tensorstore(driver="zarr3", kvstore="file:///em"), "zarr3://file:///em"),
        (_tensorstore(driver="n5", kvstore={"driver": "file", "path": "/em.n5"}), "n5://file:///em.n5"),
        (
            _tensorstore(
                driver="neuroglancer_precomputed", kvstore={"driver": "gcs", "bucket": "b", "path": "em"}
            ),
            "precomputed://gs://b/em",
        ),
    ],
)
def test_every_form_of_a_decorated_volume_has_a_spec(volume: str, spec: str) -> None:
    request = configs.parse_inference_request(REQUEST.replace('hdf5: "grayscale_maps.h5:raw"', volume))
    assert configs.volume_spec(request.image) == spec


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ('volinfo: "v"', "volinfo belongs to a store that is not public"),
        ('hdf5: "a:b" decorator_specs: "[]"', "decorator_specs belongs to"),
        (_tensorstore(driver="zarr", kvstore="file:///em", transform={}), "with 'transform'"),
        (_tensorstore(driver="boss", kvstore="file:///em"), "with driver 'boss'"),
        (_tensorstore(driver="zarr"), "no usable kvstore"),
    ],
)
def test_a_volume_that_cannot_be_opened_here_is_refused(volume: str, message: str) -> None:
    request = configs.parse_inference_request(REQUEST.replace('hdf5: "grayscale_maps.h5:raw"', volume))
    with pytest.raises(ConfigError, match=message):
        configs.volume_spec(request.image)


def test_other_google_ffn_requests_load_from_files(tmp_path: Path) -> None:
    consensus = tmp_path / "consensus.pbtxt"
    consensus.write_text(
        'segmentation1 { directory: "a" split_cc: true min_size: 100 } segmentation2 { directory: "b" }'
        'segmentation_output_dir: "c" type: CONSENSUS_SPLIT split_min_size: 1000'
    )
    view = configs.load_text(consensus, google_ffn_pb2.ConsensusRequest)
    assert view.type == "consensus_split" and view.segmentation1.min_size == 100
    pairs = tmp_path / "pairs.pbtxt"
    pairs.write_text(
        f"inference {{ {REQUEST} }} points {{ id_a: 1 id_b: 2 point {{ x: 5 y: 6 z: 7 }} }}"
        'radius { x: 50 y: 50 z: 25 } analysis_radius { x: 34 y: 34 z: 17 } output_directory: "d"'
        "max_retry_iters: 8 segment_recovery_fraction: 0.6 exclusion_radius { x: 8 y: 8 z: 4 }"
    )
    view = configs.load_text(pairs, google_ffn_pb2.ResegmentationRequest)
    assert view.points[0].point == (7, 6, 5) and view.analysis_radius == (17, 34, 34)


def test_result_messages_with_maps_can_be_viewed(tmp_path: Path) -> None:
    path = tmp_path / "result.pbtxt"
    path.write_text("id: 3 overlaps { key: 18446744073709551615 value { num_overlapping: 5 } }")
    view = configs.load_text(path, google_ffn_pb2.EndpointResegmentationResult)
    assert view.overlaps[2**64 - 1].num_overlapping == 5


def test_importing_configs_loads_no_heavy_library() -> None:
    heavy = ["numpy", "tensorflow", "keras", "cloudvolume", "tensorstore", "h5py"]
    code = f"import sys, configs; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
