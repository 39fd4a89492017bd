"""Previews of splits of supervoxels: their sides as a layer, before anything is changed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from served_project import client_of, labels, point_nm, served

from proofreading.server import previews
from proofreading.server.previews import Previews
from proofreading.supervoxel_split import SupervoxelParts
from volumes import Box

SIZE_NM = (20.0, 10.0, 10.0)


def parts(shape: tuple[int, int, int]) -> SupervoxelParts:
    sides = np.ones(shape, np.uint8)
    sides[:, :, shape[2] // 2 :] = 2
    return SupervoxelParts(7, (70, 71), Box.from_shape(shape, (5, 6, 7)), sides)


def test_a_preview_names_a_layer_of_both_sides(tmp_path: Path) -> None:
    client = client_of(served(tmp_path), "worker")
    z, y, x = point_nm(3)
    sides = {"side_a": [z, y, x - 60], "side_b": [z, y, x + 60]}
    body = {name: [{"supervoxel": "3", "point_nm": point}] for name, point in sides.items()}
    seen = client.post("/api/edits/split/preview", json={"neuron": "3", **body}).json()["supervoxel_parts"]
    (scale,) = client.get(f"{seen['layer']}/info").json()["scales"]
    start, size = scale["voxel_offset"], scale["size"]
    box = "_".join(f"{low}-{low + edge}" for low, edge in zip(start, size, strict=True))
    answer = client.get(f"{seen['layer']}/{scale['key']}/{box}")
    voxels = np.frombuffer(answer.content, "<u8").reshape(size[::-1])
    assert [int((voxels == side).sum()) for side in (1, 2)] == seen["voxels"]
    low = start[::-1]
    here = labels()[tuple(slice(a, a + n) for a, n in zip(low, size[::-1], strict=True))]
    assert np.array_equal(voxels > 0, here == 3), "the layer is of this supervoxel only"
    first = [int(nm / edge) - at for nm, edge, at in zip(sides["side_a"], SIZE_NM, low, strict=True)]
    assert voxels[tuple(first)] == 1
    assert client.get("/data/preview-0123456789abcdef/info").status_code == 404


def test_the_latest_previews_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(previews, "_MOST_BYTES", 2 * 4**3)
    kept = Previews()
    names = [kept.keep(parts((4, 4, 4)), SIZE_NM) for _ in range(3)]
    assert [kept.layer(name) is not None for name in names] == [False, True, True]
    large = kept.keep(parts((40, 4, 4)), SIZE_NM)
    assert kept.layer(large) is not None, "the last one is kept, whatever its size"
    assert kept.layer(names[2]) is None
