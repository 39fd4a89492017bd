"""Statistics for preprocessing are read once for a project; with and without them voxels are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_project import CUT, corners, make_bars, run, stored, write_config, write_volumes

from configs import ConfigView
from configs.parsing import parse_text
from configs.proto import reconstruction_pb2
from inference.grey_statistics import changed_image, make_statistics
from volumes import Box, Volume, _grey_statistics, open_volume, preprocess_array, preprocessed, resampled
from volumes._grey_stages import NormalisedVolume
from volumes.arrays import ArrayVolume
from volumes.derived import missing_statistics

# Whole projects are run.
pytestmark = pytest.mark.slow

NM = (8.0, 4.0, 4.0)
SHAPE = (11, 12, 10)
SETTINGS = {
    "sections": "sections { mean: 120 stddev: 40 }",
    "histogram": 'histogram { reference { spec: "reference.h5:raw" } }',
    "each section": 'histogram { reference { spec: "reference.h5:raw" } each_section: true }',
    "inverted": "invert: true sections {}",
    "all": 'invert: true sections {} histogram { reference { spec: "reference.h5:raw" } } clahe {}',
}


def _image(seed: int = 0, shape: tuple[int, ...] = SHAPE, dtype: str = "uint8") -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.beta(2, 5, shape) * 200 + random.integers(0, 50, (shape[0], 1, 1))).astype(dtype)


class Counting(ArrayVolume):
    """An image of a file that remembers the boxes read."""

    def __init__(self, array: np.ndarray, chunk: tuple[int, int, int] = (2, 5, 5), start=(0, 0, 0)) -> None:
        super().__init__(array, voxel_size_nm=NM, start=start)
        self.spec, self.chunk_shape = "image.h5:raw", chunk
        self.boxes: list[Box] = []

    def _load(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return super()._load(box)


class InMemory(dict[str, Mapping[str, np.ndarray]]):
    """A store that lasts as long as the test."""

    def load(self, name: str) -> Mapping[str, np.ndarray] | None:
        return self.get(name)

    def save(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        self[name] = arrays


def _reference(spec: str, voxel_size_nm) -> Volume:
    return ArrayVolume(_image(7, (4, 6, 5)), voxel_size_nm=voxel_size_nm)


def _section(text: str) -> ConfigView:
    return ConfigView(parse_text(text, reconstruction_pb2.Preprocessing, "preprocessing"))


def _make_missing(volume: Volume, box: Box) -> list[int]:
    """Makes what is missing; the voxels of each part."""
    parts = list(missing_statistics(volume, box))
    for part in parts:
        part.make()
    return [part.voxels for part in parts]


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_a_second_opening_reads_the_box_and_nothing_else(text: str) -> None:
    store, box = InMemory(), Box((3, 4, 4), (6, 7, 6))
    expected = preprocess_array(_image(), NM, _section(text), (0, 0, 0), _reference)
    assert _make_missing(preprocessed(Counting(_image()), _section(text), _reference, store), box)

    def unread(spec: str, voxel_size_nm) -> Volume:
        class Unread(ArrayVolume):
            def _load(self, box: Box) -> np.ndarray:
                raise AssertionError("the reference is counted already")

        return Unread(np.zeros((2, 2, 2), np.uint8), voxel_size_nm=voxel_size_nm)

    source = Counting(_image())
    again = preprocessed(source, _section(text), unread, store)
    assert list(missing_statistics(again, box)) == []
    np.testing.assert_array_equal(again.read(box), expected[box.slices()])
    # CLAHE reads the tiles around.
    assert len(source.boxes) == 1 and (source.boxes == [box] or "clahe" in text)


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
@settings(deadline=None, max_examples=15)
@given(st.data(), st.sampled_from([1, 2, 3, 50, 200]), st.sampled_from(["uint8", "uint16"]))
def test_any_boxes_made_ahead_give_the_same_voxels(text: str, data, depth: int, dtype: str) -> None:
    def reference(spec: str, voxel_size_nm) -> Volume:
        return ArrayVolume(_image(7, (4, 6, 5), dtype))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_grey_statistics, "_GROUP_SECTIONS", 4)
        patch.setattr(_grey_statistics, "_MOST_BYTES_HELD", data.draw(st.sampled_from([0, 1000, 10**9])))
        image, store = _image(1, dtype=dtype), InMemory()
        whole = preprocess_array(image, NM, _section(text), (-3, 2, 0), reference)

        def opened(kept: InMemory | None) -> Volume:
            return preprocessed(Counting(image, (depth, 5, 5), (-3, 2, 0)), _section(text), reference, kept)

        for kept in (store, store, None):
            low, high = sorted(data.draw(st.lists(st.integers(-3, 8), min_size=2, max_size=2, unique=True)))
            box = Box((low, 2, 0), (high, 14, 10))
            _make_missing(opened(store), box)
            assert _make_missing(opened(store), box) == []
            np.testing.assert_array_equal(opened(kept).read(box), whole[box.slices((-3, 2, 0))])


def test_only_what_is_missing_is_made_in_whole_sections_stored_together() -> None:
    store, source = InMemory(), Counting(_image(), (2, 12, 10))
    volume = preprocessed(source, _section("sections {}"), store=store)
    section = 12 * 10
    assert _make_missing(volume, Box((3, 0, 0), (4, 1, 1))) == [2 * section]
    assert source.boxes == [Box((2, 0, 0), (4, 12, 10))]
    assert _make_missing(volume, Box((3, 0, 0), (7, 1, 1))) == [4 * section]
    assert _make_missing(volume, volume.bounds) == [(11 - 6) * section]
    coarse = resampled(volume, tuple(2 * n for n in NM))
    assert _make_missing(coarse, coarse.bounds) == []


def test_a_coarse_image_needs_the_sections_it_is_made_of() -> None:
    volume = preprocessed(Counting(_image(), (1, 12, 10)), _section("sections {}"), store=InMemory())
    coarse = resampled(volume, tuple(2 * n for n in NM))
    assert _make_missing(coarse, Box((5, 0, 0), (6, 1, 1))) == [12 * 10], "the volume ends within this voxel"
    assert _make_missing(coarse, Box((4, 0, 0), (5, 1, 1))) == [2 * 12 * 10]


def test_reads_of_many_sections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_grey_statistics, "MOST_VOXELS", 100)
    for text in SETTINGS.values():
        source = Counting(_image())
        volume = preprocessed(source, _section(text), _reference, InMemory())
        _make_missing(volume, volume.bounds)
        assert max(box.size for box in source.boxes) <= 100
        read = sum(box.size for box in source.boxes)
        # What is normalised and then matched is read for either.
        assert read == source.bounds.size * (1 + ("sections" in text and "histogram" in text))


def test_without_a_store_nothing_is_made_ahead() -> None:
    volume = preprocessed(Counting(_image()), _section(SETTINGS["all"]), _reference)
    assert list(missing_statistics(volume, volume.bounds)) == []
    assert list(missing_statistics(Counting(_image()), Box.from_shape(SHAPE))) == []


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files that the SPECs name."""
    monkeypatch.chdir(tmp_path)
    write_volumes("image.h5", raw=_image())
    write_volumes("reference.h5", raw=_image(7, (4, 6, 5)))
    return tmp_path


def _config(preprocessing: str) -> ConfigView:
    text = f'name: "a" output_dir: "out" raw {{ spec: "image.h5:raw" }} preprocessing {{ {preprocessing} }}'
    return ConfigView(parse_text(text, reconstruction_pb2.ReconstructionConfig, "config"))


def _made(config: ConfigView) -> tuple[Counting, Volume, list[str]]:
    """The image opened in a project whose statistics have been made: the image, what it became, notes."""
    stored_image = Counting(_image())
    opened = changed_image(stored_image, config)
    notes = make_statistics(config, [(opened, opened.bounds)])
    return stored_image, opened, notes


@pytest.mark.parametrize("text", SETTINGS.values(), ids=SETTINGS)
def test_a_project_reads_its_image_once(place: Path, text: str) -> None:
    config = _config(text)
    expected = changed_image(Counting(_image()), config).read()
    first, _, notes = _made(config)
    assert first.boxes and notes == []
    again, opened, _ = _made(config)
    assert again.boxes == [], "neither to look what is missing nor to open it"
    np.testing.assert_array_equal(opened.read(), expected)
    assert {box.size for box in again.boxes} == {opened.bounds.size}
    shutil.rmtree("out")
    np.testing.assert_array_equal(changed_image(Counting(_image()), config).read(), expected)
    assert not Path("out").exists(), "who only reads writes nothing"


def test_what_needs_no_statistics_writes_none(place: Path) -> None:
    source, _, _ = _made(_config("invert: true clahe {}"))
    assert source.boxes == [] and not Path("out").exists()


def test_a_damaged_file_is_named_and_made_anew(place: Path) -> None:
    config = _config(SETTINGS["all"])
    expected = changed_image(Counting(_image()), config).read()
    _made(config)
    pieces = sorted(Path("out").rglob("*.npz"))
    assert [path.stem for path in pieces] == ["histogram", "sections-z0"]
    whole = [path.read_bytes() for path in pieces]
    for path, content in zip(pieces, whole, strict=True):
        path.write_bytes(content[:-200] + b"?" + content[-199:])
    # A worker that comes across it does without.
    np.testing.assert_array_equal(changed_image(Counting(_image()), config).read(), expected)
    source, _, notes = _made(config)
    assert notes == [f"piece {p} does not agree with its digest; it is made anew" for p in pieces]
    assert source.boxes and [path.read_bytes() for path in pieces] == whole


@pytest.mark.parametrize("replaced", ["image.h5", "reference.h5"])
def test_a_replaced_file_or_another_setting_has_statistics_of_its_own(place: Path, replaced: str) -> None:
    config = _config(SETTINGS["histogram"])
    _made(config)
    os.utime(replaced, (1, 1))
    assert _made(config)[0].boxes
    assert _made(config)[0].boxes == []
    assert _made(_config(SETTINGS["each section"]))[0].boxes


def test_an_image_of_a_stack_that_was_replaced_is_noticed(place: Path) -> None:
    for z in range(3):
        Path(f"{z}.tif").touch()
    config, image = _config("sections {}"), Counting(_image())
    image.spec = "stack:*.tif"
    opened = changed_image(image, config)
    make_statistics(config, [(opened, opened.bounds)])
    Path("1.tif").write_text("another")
    reopened = changed_image(image, config)
    assert len(list(missing_statistics(reopened, reopened.bounds))) == 1


def test_a_run_makes_them_once_and_segments_as_if_the_image_were_stored_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_bars()
    made: list[Box] = []
    make = NormalisedVolume._contrasts_of

    def counted(volume: NormalisedVolume, slab: Box) -> np.ndarray:
        made.append(slab)
        return make(volume, slab)

    monkeypatch.setattr(NormalisedVolume, "_contrasts_of", counted)
    write_config(inference=CUT, preprocessing="{ sections { mean: 150 stddev: 60 } }")
    assert run("--config", "c.textproto") == 0
    assert made and len(made) == len(set(made))
    found = {corner: stored("forward", corner)["segmentation"] for corner in corners()}
    made.clear()
    shutil.rmtree("out/passes")
    (damaged,) = Path("out/preprocessing").rglob("*.npz")
    damaged.write_bytes(damaged.read_bytes()[:-1])
    capsys.readouterr()
    assert run("--config", "c.textproto") == 0
    assert f"{damaged} is cut short or carries no digest; it is made anew" in capsys.readouterr().err
    assert made and len(made) == len(set(made))
    with open_volume("data.h5:raw") as raw:
        stored_so = preprocess_array(
            raw.read(), raw.voxel_size_nm, _section("sections { mean: 150 stddev: 60 }")
        )
    write_volumes("stored.h5", raw=stored_so)
    write_config(raw="stored.h5:raw", output_dir='"plain"', inference=CUT)
    assert run("--config", "c.textproto") == 0
    for corner, objects in found.items():
        np.testing.assert_array_equal(stored("forward", corner, "plain")["segmentation"], objects)
