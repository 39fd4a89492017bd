"""The report: one page that needs nothing else and shows what it was given; equal data, equal pages."""

from __future__ import annotations

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from commands._evaluation_table import evaluation_table
from evaluation._local_paths import without_folders
from evaluation.best_overlap import best_ious
from evaluation.comparison import StageFigures, evaluation_settings
from evaluation.detected_errors import DetectedError
from evaluation.errors import EvaluationError
from evaluation.overlap import contingency, table_metrics
from evaluation.planes import partners, read_planes, recoloured
from evaluation.report import Report, render, write_report
from evaluation.result_files import read_metrics, update_metrics, write_neurons, write_objects
from volumes import Box
from volumes.arrays import ArrayVolume

SIZE_NM = (40.0, 10.0, 10.0)
SHAPE = (6, 20, 30)


def truth() -> np.ndarray:
    labels = np.zeros(SHAPE, np.uint32)
    labels[:, :9], labels[:, 10:] = 7, 8
    return labels


def split_truth() -> np.ndarray:
    """Object 7 is segment 1; object 8 is segments 2 and, its smaller part, 3."""
    labels = truth()
    parts = np.where(labels == 7, 1, np.where(labels == 8, 2, 0)).astype(np.uint64)
    parts[:, 10:, 20:] = np.where(labels[:, 10:, 20:] == 8, 3, 0)
    return parts


def skeleton_figures(nerl: float) -> dict[str, Any]:
    return {
        "erl_nm": 5000 * nerl,
        "max_erl_nm": 5000.0,
        "nerl": nerl,
        "splits": 3,
        "mergers": 1,
        "omissions": 12,
        "splits_across_gaps": 5,
        "splits_per_mm": 30.0,
        "splits_with_gaps_per_mm": 80.0,
        "mergers_per_mm": 10.0,
        "erl_tolerant_2_nodes_nm": 5500 * nerl,
        "nerl_tolerant_2_nodes": 1.1 * nerl,
        "erl_tolerant_100_nm": 6000 * nerl,
        "nerl_tolerant_100_nm": 1.2 * nerl,
    }


def neuron(number: int, length_nm: float, nerl: float) -> dict[str, Any]:
    return {
        "id": number,
        "length_nm": length_nm,
        "erl_nm": length_nm * nerl,
        "nerl": nerl,
        "erl_tolerant_nm": length_nm * (1 + nerl) / 2,
        "nerl_tolerant": (1 + nerl) / 2,
        "splits": 1,
        "splits_across_gaps": 4,
        "mergers": 0,
        "omissions": 2,
        "segments": 2,
        "largest_segment": 3,
        "largest_share": 0.5,
        "coverage": 0.9,
    }


ERRORS = [
    DetectedError("split", (81.0, 105.0, 209.0), (2, 3), (8,), 400.0),
    DetectedError("merger", (20.0, 95.0, 15.0), (1,), (7, 8), 2500.0),
    DetectedError("omission", (200.0, 5.0, 5.0), (), (7,), 90.0),
]


def stage(name: str = "forward", nerl: float = 0.5, **fields: Any) -> StageFigures:
    metrics = table_metrics(contingency(split_truth(), truth())) | skeleton_figures(nerl)
    known: dict[str, Any] = {
        "metrics": metrics,
        "neurons": [neuron(7, 9000, 0.9), neuron(8, 8000, 0.1)],
        "errors": ERRORS,
        "runs_nm": np.array([100.0, 2000.0, 3000.0]),
        "partner": {1: 7, 2: 8},
    }
    return StageFigures(name, **{**known, **fields})


def volume(array: np.ndarray) -> ArrayVolume:
    return ArrayVolume(array, voxel_size_nm=SIZE_NM)


def report(*stages: StageFigures, **fields: Any) -> Report:
    raw = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    box = Box.from_shape(SHAPE)
    planes = read_planes(box, raw=volume(raw), segmentation=volume(split_truth()), truth=volume(truth()))
    known: dict[str, Any] = {
        "subject": {"segmentation": "a.h5:s"},
        "planes": planes,
        "config": 'name: "x"',
        "tolerance_nm": 100.0,
    }
    return Report(
        "tissue", box=box, voxel_size_nm=SIZE_NM, stages=stages or (stage(),), **{**known, **fields}
    )


@lru_cache
def usual_page() -> str:
    return render(report())


class Reader(HTMLParser):
    """The text of a page without styles and scripts, its attributes, and its tables as rows of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if {"style", "script"} & set(self._open):
            return
        self.words.append(data)
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data.strip()

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def table_with(self, heading: str) -> list[list[str]]:
        (found,) = (table for table in self.tables if any(heading in cell for row in table for cell in row))
        return found


def test_a_page_loads_nothing_from_anywhere() -> None:
    page = usual_page()
    links = [value for _, name, value in Reader(page).attributes if name in ("src", "href", "xlink:href")]
    assert links
    assert [link for link in links if not str(link).startswith(("data:image/png;base64,", "#"))] == []
    assert re.findall(r"@import|url\((?!#)", page) == []
    assert set(re.findall(r"https?://[^\s\"<]+", page)) <= {"http://www.w3.org/1999/xlink"}


def test_equal_data_give_equal_pages() -> None:
    assert render(report()) == usual_page()


def test_what_comes_from_outside_is_text_and_never_markup() -> None:
    evil = "<script>alert(1)</script>"
    page = render(replace(report(stage(evil)), title=evil, subject={evil: evil}, config=evil, notes=[evil]))
    assert evil not in page
    assert page.count("&lt;script&gt;alert(1)") >= 5


def test_plots_are_well_formed_and_take_the_colours_of_the_page() -> None:
    page = render(report(stage("forward"), stage("consensus", 0.7)))
    plots = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ElementTree.fromstring(plot)
        assert "var(--ink)" in plot
        assert not re.search(r"fill: #000000|stroke: #000000|#010203|#040506|#070809", plot)
    assert "prefers-color-scheme: dark" in page


def test_every_stage_has_its_figures_in_both_conventions() -> None:
    forward, consensus = stage("forward", 0.25), stage("consensus", 0.75)
    reader = Reader(render(report(forward, consensus)))
    overlap = reader.table_with("VOI split")
    assert [row[-8] for row in overlap[1:]] == ["unsegmented = one object", "segmented only"] * 2
    plain = forward.metrics
    assert overlap[1][2:5] == [f"{plain[name]:.3f}" for name in ("voi_split", "voi_merge", "arand")]
    assert overlap[2][1] == f"{plain['segmented_only']['voi_split']:.3f}"
    runs = reader.table_with("splits per mm")
    assert [(row[0], row[2], row[4]) for row in runs[2:]] == [
        ("forward", "0.250", "0.300"),
        ("consensus", "0.750", "0.900"),
    ]
    errors = runs[1].index("splits"), runs[1].index("mergers per mm") + 1
    assert runs[2][slice(*errors)] == ["3", "5", "1", "12", "30.0", "80.0", "10.0"]


def test_the_largest_errors_come_first_with_their_voxels() -> None:
    rows = Reader(usual_page()).table_with("at stake")
    assert [row[:4] for row in rows[1:]] == [
        ["merger", "2.500", "20, 95, 15", "0, 9, 1"],
        ["split", "0.400", "81, 105, 209", "2, 10, 20"],
        ["omission", "0.090", "200, 5, 5", "5, 0, 0"],
    ]


def test_mergers_within_the_tolerance_are_told_apart_and_faint() -> None:
    forgiven = DetectedError("merger", (1.0, 2.0, 3.0), (1,), (7, 8), 60.0, (60.0, 900.0), tolerant=False)
    repeated = DetectedError("split", (1.0, 2.0, 3.0), (1, 2), (7,), 70.0, (70.0, 80.0), count=4)
    page = render(report(stage(errors=[*ERRORS, forgiven, repeated])))
    reader = Reader(page)
    assert [row[0] for row in reader.table_with("at stake")[-2:]] == [
        "split × 4",
        "merger, within the tolerance",
    ]
    assert "2 splits 1 mergers 1 mergers below 100 nm 1 omitted stretches" in reader.text
    (plot,) = (p for p in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "projected" in p)
    marks = re.findall(r"<use [^>]*fill: #e4662c[^>]*fill-opacity: ([0-9.]+)", plot)
    assert marks == ["0.4", "0.9"] * 3


def test_splits_across_gaps_are_told_apart() -> None:
    hidden = DetectedError("omission", (1.0, 2.0, 3.0), (1, 2), (7,), 70.0, count=4)
    across = DetectedError("split", (1.0, 2.0, 3.0), (1, 2), (7,), 90.0, (90.0, 95.0), across_gap=True)
    page = render(report(stage(errors=[ERRORS[0], across, hidden])))
    reader = Reader(page)
    assert "2 splits, 1 of them across gaps 0 mergers 1 omitted stretches" in reader.text
    assert [row[0] for row in reader.table_with("at stake")[1:]] == [
        "split",
        "split across a gap",
        "omission",
    ]
    assert "of them across gaps" not in usual_page()
    (plot,) = (p for p in re.findall(r"<svg.*?</svg>", page, re.DOTALL) if "projected" in p)
    assert len(re.findall(r"<(?:use|path) [^>]*fill: #3b7dd8", plot)) == 2 * 3


def test_the_printed_table_has_splits_with_those_across_gaps() -> None:
    table = evaluation_table([stage()], evaluation_settings(), Box.from_shape(SHAPE)).splitlines()
    heads, cells = re.split(r"\s{2,}", table[0]), re.split(r"\s{2,}", table[1])
    place = heads.index("splits/mm")
    assert heads[place : place + 3] == ["splits/mm", "with gaps", "mergers/mm"]
    assert cells[place : place + 3] == ["30", "80", "10"]
    assert "with gaps: splits/mm with those across gaps; box" in table[2]
    plain = stage(metrics=table_metrics(contingency(split_truth(), truth())))
    assert "gaps" not in evaluation_table([plain], evaluation_settings(), Box.from_shape(SHAPE))


def test_neurons_that_lose_most_come_first_without_any_script() -> None:
    rows = Reader(usual_page()).table_with("lost, µm")
    assert [(row[0], row[3]) for row in rows[1:]] == [("8", "7.200"), ("7", "0.900")]
    assert [row[5:9] for row in rows[1:]] == [["4.400", "0.550", "1", "4"], ["8.550", "0.950", "1", "4"]]


@pytest.mark.slow
def test_neurons_without_a_tolerance_have_strict_figures_alone() -> None:
    strict = [
        {name: value for name, value in neuron(number, 9000, 0.5).items() if "tolerant" not in name}
        for number in (7, 8)
    ]
    reader = Reader(render(report(stage(neurons=strict), tolerance_nm=None)))
    rows = reader.table_with("lost, µm")
    assert [len(row) for row in rows] == [12, 12, 12]
    assert "forgiven" not in " ".join(rows[0]).lower()


def test_ids_are_shown_and_sorted_to_the_last_digit() -> None:
    neurons = [{**neuron(2**64 - each, 9000, 0.5), "largest_segment": 2**63 + each} for each in (1, 2)]
    page = render(report(stage(neurons=neurons)))
    ids = {row[0] for row in Reader(page).table_with("lost, µm")[1:]}
    assert ids == {"18446744073709551615", "18446744073709551614"}
    assert "BigInt(text)" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/u/a.h5:labels", "a.h5:labels"),
        ("/data/u/a.h5:/volumes/labels", "a.h5:/volumes/labels"),
        ("precomputed://file:///data/u/seg", "precomputed://file://seg"),
        ("precomputed://gs://bucket/seg", "precomputed://gs://bucket/seg"),
        ("https://a.org/b/c", "https://a.org/b/c"),
        ('spec: "/out/run/parts/s"  # 1/2 and/or', 'spec: "parts/s"  # 1/2 and/or'),
        ("6, in /out/run; /out/runs/x", "6, in run; x"),
        ("/data/traced/*.swc", "*.swc"),
        ("traced/*/x.swc ../a/b ./c/d ~/e", "traced/*/x.swc ../a/b ./c/d ~/e"),
        ("", ""),
    ],
)
def test_folders_of_this_machine_are_left_out(text: str, shown: str) -> None:
    assert without_folders(text, "/out/run") == shown


def test_no_page_tells_where_it_was_written(tmp_path: Path) -> None:
    known = f'spec: "{tmp_path}/deep/a.h5:labels"'
    page = report(subject={"labels": f"{tmp_path}/deep/a.h5:l"}, config=known, notes=[f"read {tmp_path}/x"])
    write_report(tmp_path / "report.html", page)
    written = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in written and "deep/a.h5:l" in written
    assert str(tmp_path) not in render(page)


def test_the_error_map_marks_every_error_in_each_of_three_views() -> None:
    (plot,) = (p for p in re.findall(r"<svg.*?</svg>", usual_page(), re.DOTALL) if "projected" in p)
    assert plot.count("<image") == 3
    colours = {"split": "#3b7dd8", "merger": "#e4662c", "omission": "#8f959c"}
    for colour in colours.values():
        assert len(re.findall(rf"<use [^>]*fill: {colour}", plot)) == 3


def test_what_is_not_known_is_left_out() -> None:
    labels_only = stage(metrics=table_metrics(contingency(split_truth(), truth())), neurons=(), errors=())
    labels_only = replace(labels_only, runs_nm=np.zeros(0))
    text = Reader(render(report(labels_only))).text
    assert "Overlap with the labelled objects" in text
    assert "Run length along" not in text and "Where the errors are" not in text and "Neurons" not in text
    skeletons_only = Reader(render(report(stage(metrics=skeleton_figures(0.5)), planes=(), config="")))
    assert "Overlap with" not in skeletons_only.text and "Slices" not in skeletons_only.text
    assert "Settings" not in skeletons_only.text


def test_figures_that_do_not_exist_are_dashes() -> None:
    nothing = table_metrics(contingency(np.zeros(SHAPE, np.uint8), truth()))
    overlap = Reader(render(report(stage(metrics=nothing)))).table_with("VOI split")
    assert overlap[2][1:4] == ["–", "–", "–"]


def test_a_set_without_boundaries_is_a_row_of_its_own() -> None:
    metrics = {**stage().metrics, "boundary_tolerant_20_nm": table_metrics(contingency(truth(), truth()))}
    overlap = Reader(render(report(stage(metrics=metrics)))).table_with("VOI split")
    assert overlap[3][:2] == ["unsegmented = one object, without 20 nm around boundaries", "0.000"]


def test_a_report_is_written_whole(tmp_path: Path) -> None:
    write_report(tmp_path / "new" / "report.html", report())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8") == usual_page()


def test_a_segment_has_the_colour_of_the_object_that_fits_it_and_others_one_of_their_own() -> None:
    partner = partners(contingency(split_truth(), truth()))
    assert partner == {1: 7, 2: 8}
    seen = recoloured(np.array([[0, 1], [2, 3]]), partner)
    assert seen.tolist() == [[0, 7], [8, 3 | 1 << 63]]


def test_of_equally_large_partners_the_smaller_id_counts() -> None:
    assert partners(contingency(np.array([1, 1, 2, 2]), np.array([5, 5, 5, 5]))) == {1: 5}


def test_slices_lie_in_the_middle_of_the_box_in_absolute_coordinates() -> None:
    box = Box((10, 0, 4), (14, 20, 24))
    labels = np.arange(40 * 20 * 30).reshape(40, 20, 30)
    z, y, x = read_planes(box, segmentation=volume(labels))
    assert [plane.name for plane in (z, y, x)] == ["xy, z = 12", "xz, y = 10", "yz, x = 14"]
    assert np.array_equal(z.segmentation, labels[12, :, 4:24])
    assert np.array_equal(y.segmentation, labels[10:14, 10, 4:24])
    assert np.array_equal(x.segmentation, labels[10:14, :, 14])
    assert x.extent_nm == (160.0, 200.0)
    assert z.raw is None and z.truth is None


def test_of_a_large_box_only_the_middle_is_read() -> None:
    wide = ArrayVolume(np.broadcast_to(np.uint8(1), (3, 3000, 2000)), voxel_size_nm=SIZE_NM)
    plane, _, _ = read_planes(wide.bounds, segmentation=wide)
    assert plane.box == Box((1, 988, 488), (2, 2012, 1512))


def test_an_image_that_does_not_reach_there_is_left_out() -> None:
    small = ArrayVolume(np.zeros((2, 2, 2), np.uint8), voxel_size_nm=SIZE_NM)
    assert read_planes(Box.from_shape(SHAPE), raw=small, segmentation=volume(truth()))[0].raw is None


def test_metrics_of_others_are_kept_and_those_of_an_earlier_comparison_go(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    compared = {"figures": ["nerl", "boundary_tolerant_20_nm"], "labels": "truth.h5:labels"}
    forward = {"fovs": 5, "voi_split": 2.0, "nerl": 0.1, "boundary_tolerant_20_nm": {}, "compared": compared}
    path.write_text(json.dumps({"stages": {"forward": forward, "other": {"y": 2}}, "config": "c"}))
    new = {"voi_split": 3.0, "segmented_only": {"b": 3}, "compared": {"figures": ["voi_split"]}}
    update_metrics(path, {"forward": new, "new": {"x": 1}})
    assert read_metrics(path) == {
        "stages": {"forward": {"fovs": 5, **new}, "other": {"y": 2}, "new": {"x": 1}},
        "config": "c",
    }


@pytest.mark.parametrize("content", ["{", "[]", '{"stages": 3}', '{"stages": {"a": 3}}'])
def test_a_file_that_holds_no_metrics_is_refused_and_kept(tmp_path: Path, content: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(content)
    with pytest.raises(EvaluationError, match=r"metrics\.json.*move it away"):
        update_metrics(path, {"a": {}})
    assert path.read_text() == content


def test_tables_hold_every_row_the_worst_neuron_and_the_largest_object_first(tmp_path: Path) -> None:
    write_neurons(tmp_path / "n.csv", stage().neurons)
    write_objects(tmp_path / "o.csv", best_ious(contingency(split_truth(), truth())))
    neurons = list(csv.DictReader((tmp_path / "n.csv").open()))
    assert [(row["id"], row["length_nm"], row["erl_nm"]) for row in neurons] == [
        ("8", "8000", "800"),
        ("7", "9000", "8100"),
    ]
    assert list(csv.reader((tmp_path / "o.csv").open())) == [
        ["truth_id", "truth_voxels", "best_segment", "iou"],
        ["8", "1800", "2", "0.666667"],
        ["7", "1620", "1", "1"],
    ]
