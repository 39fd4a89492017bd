"""The page's files: volumes as Neuroglancer asks for them, its client, and what browsers are told of them."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served_project import client_of, grey, labels, served

from proofreading.server import viewer_files
from proofreading.server.data_files import find_file
from volumes import open_volume


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return client_of(served(tmp_path), "reader")


def fetched(client: TestClient, layer: str, folder: Path, scale: int = 0) -> np.ndarray:
    """All chunks of one scale of a layer, fetched one by one into a folder, then read as a volume."""
    described = client.get(f"/data/{layer}/info")
    found = described.json()["scales"][scale]
    (folder / found["key"]).mkdir(parents=True)
    (folder / "info").write_bytes(described.content)
    first, size, edges = (np.array(found[name]) for name in ("voxel_offset", "size", "chunk_sizes"))
    for index in np.ndindex(*(-(-size // edges[0]))):
        low = first + index * edges[0]
        high = np.minimum(low + edges[0], first + size)
        name = "_".join(f"{a}-{b}" for a, b in zip(low, high, strict=True))
        chunk = client.get(f"/data/{layer}/{found['key']}/{name}")
        assert chunk.status_code == 200
        (folder / found["key"] / name).write_bytes(chunk.content)
    with open_volume(f"precomputed://file://{folder}#{scale}") as volume:
        return volume.read()


@pytest.mark.parametrize("as_hdf5", [False, True], ids=["folders", "hdf5"])
def test_voxels_arrive_as_they_are(as_hdf5: bool, tmp_path: Path) -> None:
    client = client_of(served(tmp_path, as_hdf5=as_hdf5), "reader")
    assert np.array_equal(fetched(client, "segmentation", tmp_path / "fetched" / "labels"), labels())
    assert np.array_equal(fetched(client, "image", tmp_path / "fetched" / "grey"), grey())


@pytest.mark.parametrize(
    "name", ["0/0-64_0-24_0-21", "0/1-64_0-24_0-20", "0/0-64_0-24_20-40", "1/0-64_0-24_0-20", "0/cat", "0/"]
)
def test_a_chunk_that_is_none_is_missing(name: str, tmp_path: Path) -> None:
    client = client_of(served(tmp_path, as_hdf5=True), "reader")
    assert client.get(f"/data/segmentation/{name}").status_code == 404


def test_a_gzipped_chunk_says_so_where_the_plain_one_is_absent(client: TestClient, tmp_path: Path) -> None:
    folder = tmp_path / "out/image/10_10_20"
    plain = next(folder.iterdir())
    voxels = plain.read_bytes()
    path = f"/data/image/{folder.name}/{plain.name}"
    assert "content-encoding" not in client.get(path).headers
    (folder / f"{plain.name}.gz").write_bytes(gzip.compress(voxels))
    plain.unlink()
    found = client.get(path)
    assert found.headers["content-encoding"] == "gzip" and found.content == voxels
    (folder / f"{plain.name}.gz").unlink()
    assert client.get(path).status_code == 404


@pytest.mark.parametrize("as_hdf5", [False, True], ids=["folders", "hdf5"])
def test_what_the_browser_has_is_not_sent_again(as_hdf5: bool, tmp_path: Path) -> None:
    client = client_of(served(tmp_path, as_hdf5=as_hdf5), "reader")
    key = client.get("/data/image/info").json()["scales"][0]["key"]
    path = f"/data/image/{key}/0-64_0-24_0-20"
    first = client.get(path)
    assert "private" in first.headers["cache-control"]
    again = client.get(path, headers={"If-None-Match": f'"other", {first.headers["etag"]}'})
    assert again.status_code == 304 and again.content == b""
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_a_part_of_a_file_can_be_asked_for(client: TestClient) -> None:
    key = client.get("/data/image/info").json()["scales"][0]["key"]
    path = f"/data/image/{key}/0-64_0-24_0-20"
    part = client.get(path, headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == client.get(path).content[10:20]


def test_the_viewer_has_the_stub_before_its_own_scripts(client: TestClient) -> None:
    page = client.get("/ng/v/stub/")
    assert page.status_code == 200 and page.text.index("stub.js") < page.text.index("defer")
    stub = client.get("/ng/v/stub/stub.js")
    assert stub.status_code == 200 and stub.headers["content-type"].startswith("text/javascript")


def test_every_file_of_the_client_but_maps_is_sent_with_its_type(client: TestClient) -> None:
    types = {".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm"}
    for path in viewer_files.client_folder().iterdir():
        found = client.get(f"/ng/v/stub/{path.name}")
        if path.suffix in types:
            assert found.status_code == 200 and found.content == path.read_bytes()
            assert found.headers["content-type"].startswith(types[path.suffix])
            assert "immutable" in found.headers["cache-control"]
            # A worker has the policy of its script, and some of them make functions of text.
            assert "'unsafe-eval'" in found.headers["content-security-policy"]
        else:
            assert found.status_code == 404


@pytest.mark.parametrize("path", ["/health", "/api/me", "/ng/v/stub/", "/data/image/info", "/api/nothing"])
def test_every_answer_carries_the_policy(path: str, client: TestClient) -> None:
    headers = client.get(path).headers
    policy = dict(each.strip().split(" ", 1) for each in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'" and policy["frame-ancestors"] == "'self'"
    assert (
        policy["script-src"] == "'self' 'wasm-unsafe-eval'" and policy["connect-src"] == "'self' blob: data:"
    )
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    if path.startswith("/api"):
        assert headers["cache-control"] == "no-store"


def test_a_link_that_stays_in_the_folder_is_followed_and_one_that_leaves_it_is_not(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "a").write_text("a")
    (inside / "b").symlink_to(inside / "a")
    (tmp_path / "secret").write_text("secret")
    (inside / "c").symlink_to(tmp_path / "secret")
    found = find_file(inside, "b")
    assert found is not None and found.path == inside / "a"
    assert find_file(inside, "c") is None
