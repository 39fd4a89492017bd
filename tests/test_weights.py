"""Network files carry everything their network needs, and say what is wrong with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from configs.errors import ConfigError, ReconstructionError
from ffn.network import Architecture, variable_shapes
from ffn.weights import (
    NetworkFile,
    NetworkInfo,
    WeightsError,
    builtin_networks,
    instantiate,
    load_network,
    save_network,
    weights_of,
)

TINY = Architecture(depth=2, features=3, fov_zyx=(5, 7, 7), deltas_zyx=(1, 2, 2))
INFO = NetworkInfo(
    TINY, image_mean=128, image_stddev=33, pad_value=0.5, move_threshold=0.6, voxel_size_nm=(10, 8, 8),
    training={"data": "phantom", "seeds": [1, 2], "figures": {"arand": 0.1}}, licence="Apache-2.0",
)  # fmt: skip


@pytest.fixture
def network() -> NetworkFile:
    random = np.random.default_rng(0)
    shapes = variable_shapes(TINY)
    return NetworkFile(INFO, {name: random.standard_normal(s).astype("f4") for name, s in shapes.items()})


@pytest.fixture
def path(tmp_path: Path, network: NetworkFile) -> Path:
    path = tmp_path / "tiny.ffn.h5"
    save_network(path, network)
    return path


def test_network_file_gives_back_what_was_saved(path: Path, network: NetworkFile) -> None:
    loaded = load_network(path)
    assert loaded.info == network.info
    assert loaded.weights.keys() == network.weights.keys()
    assert all(np.array_equal(loaded.weights[name], network.weights[name]) for name in network.weights)


@pytest.mark.parametrize("compute_dtype", ["float32", "bfloat16"])
def test_instantiated_model_holds_the_weights(network: NetworkFile, compute_dtype: str) -> None:
    found = weights_of(instantiate(network, compute_dtype), TINY)
    assert all(np.array_equal(found[name], network.weights[name]) for name in network.weights)


def test_unknown_voxel_size_stays_unknown(tmp_path: Path, network: NetworkFile) -> None:
    nameless = NetworkFile(replace(INFO, voxel_size_nm=None), network.weights)
    save_network(tmp_path / "a.ffn.h5", nameless)
    assert load_network(tmp_path / "a.ffn.h5").info.voxel_size_nm is None


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_weight(path: Path) -> None:
    with h5py.File(path) as file:
        offset = file["conv1_a/kernel"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[offset] ^= 1
    path.write_bytes(content)


def edit(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def reshape_kernel(file: h5py.File) -> None:
    del file["conv1_a/kernel"]
    file["conv1_a/kernel"] = np.zeros((3, 3, 3, 3, 8), np.float32)


def add_module(file: h5py.File) -> None:
    file["conv2_a/kernel"] = np.zeros((3, 3, 3, 3, 3), np.float32)


def poison(file: h5py.File) -> None:
    file["conv_lom/bias"][0] = np.nan


def describe(**change: object) -> Callable[[Path], None]:
    info = {key: value for key, value in {**INFO.to_dict(), **change}.items() if value != "absent"}
    return edit(lambda file: file.attrs.update(info=json.dumps(info)))


BROKEN_FILES = [
    pytest.param(truncate, "is truncated or not HDF5", id="truncated"),
    pytest.param(lambda path: path.write_text("GIF89a"), "is truncated or not HDF5", id="another format"),
    pytest.param(lambda path: path.unlink(), "does not exist; shipped networks: ", id="missing"),
    pytest.param(flip_a_weight, "is truncated or not HDF5", id="a flipped bit"),
    pytest.param(edit(lambda f: f.attrs.pop("format")), "is HDF5 but not a network file", id="other HDF5"),
    pytest.param(
        edit(lambda f: f.attrs.update(version=9)), "format version 9; this release reads 1", id="newer"
    ),
    pytest.param(edit(lambda f: f.pop("conv1_b/bias")), "lacks variable 'conv1_b/bias'", id="lacks one"),
    pytest.param(
        edit(reshape_kernel),
        r"'conv1_a/kernel' has shape \(3, 3, 3, 3, 8\), but convstack_3d of depth 2 with 3 features expects "
        r"\(3, 3, 3, 3, 3\)",
        id="other shape",
    ),
    pytest.param(edit(add_module), r"has variables \['conv2_a/kernel'\] that", id="extra"),
    pytest.param(edit(poison), r"not finite in \['conv_lom/bias'\]", id="NaN"),
    pytest.param(describe(pad_value=1.5), "its network wrongly: network pad_value is 1.5", id="pad"),
    pytest.param(describe(image_mean="absent"), r"lacks \['image_mean'\]", id="no mean"),
    pytest.param(edit(lambda f: f.attrs.update(info="{")), "describes its network wrongly", id="no JSON"),
]


@pytest.mark.parametrize(("damage", "message"), BROKEN_FILES)
def test_broken_network_file_says_what_is_wrong(
    path: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(path)
    with pytest.raises(WeightsError, match=message) as caught:
        load_network(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_weights_are_refused_before_anything_is_written(tmp_path: Path, network: NetworkFile) -> None:
    deeper = replace(INFO, architecture=replace(TINY, depth=3))
    with pytest.raises(WeightsError, match="lacks variable 'conv2_a/kernel' of convstack_3d of depth 3"):
        save_network(tmp_path / "a.ffn.h5", NetworkFile(deeper, network.weights))
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_earlier_file(
    path: Path, network: NetworkFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def full_disk(*_args: object, **_options: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(h5py.Group, "create_dataset", full_disk)
    with pytest.raises(WeightsError, match="cannot be written"):
        save_network(path, network)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_folder_in_the_way_is_named(tmp_path: Path, network: NetworkFile) -> None:
    (tmp_path / "a.ffn.h5").mkdir()
    with pytest.raises(ReconstructionError, match=r"cannot write .*a\.ffn\.h5"):
        save_network(tmp_path / "a.ffn.h5", network)


def test_unknown_shipped_network_lists_those_there_are() -> None:
    with pytest.raises(WeightsError, match="there is no shipped network 'zebra'; shipped: "):
        load_network("builtin:zebra")


def test_every_shipped_network_loads_and_states_its_licence() -> None:
    for name in builtin_networks():
        assert load_network(f"builtin:{name}").info.licence


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_stddev": 0}, "image_stddev is 0; it must be above 0"),
        ({"image_stddev": float("nan")}, "image_stddev is nan"),
        ({"move_threshold": 0}, "move_threshold is 0; it must lie between 0 and 1"),
        ({"init_activation": 1.0}, "init_activation is 1.0"),
    ],
)
def test_settings_out_of_range_are_refused(change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(INFO, **change)
