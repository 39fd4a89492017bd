"""A run from supervoxels to neurons: decisions, figures and files; reruns, kills, and what is refused."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from tiny_project import WIDE, lit_bars, metrics, save_threshold_network, write_config, write_volumes

from agglomeration.calibration import Calibration
from agglomeration.pair_signals import SIGNALS
from agglomeration.scoring import ScoreTable
from commands import run_agglomeration
from volumes import open_volume

# Whole projects are run.
pytestmark = pytest.mark.slow

SHAPE = (30, 30, 60)
RESEGMENTATION = "resegmentation { radius_nm: 140 analysis_radius_nm: 100 exclusion_radius_nm: 30 }"
SUPERVOXELS = 'supervoxels { spec: "data.h5:pieces" }'
CANDIDATES = "candidates { min_size: 10 max_distance_nm: 60 }"
# Three bars along x. The first one is in three pieces, the second one in two, the third one whole.
FIRST, SECOND, THIRD = (3, 5, 9), (4, 7), (8,)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_project()


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a run was made once for all tests."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        make_project()
        assert agglomerate() == 0
    return folder / "out"


@pytest.fixture
def done(finished: Path, project: None) -> None:
    """The outcome of a run, in this test's folder."""
    shutil.copytree(finished, "out")


def make_project() -> None:
    labels, pieces = np.zeros(SHAPE, np.uint32), np.zeros(SHAPE, np.uint64)
    bars = {
        1: (slice(4, 11), slice(5, 12)),
        2: (slice(4, 11), slice(16, 23)),
        3: (slice(19, 26), slice(5, 12)),
    }
    for name, (z, y) in bars.items():
        labels[z, y, :] = name
    for parts, bar in ((FIRST, 1), (SECOND, 2), (THIRD, 3)):
        edges = np.linspace(0, SHAPE[2], len(parts) + 1).astype(int)
        for part, low, high in zip(parts, edges[:-1], edges[1:], strict=True):
            pieces[..., low:high][labels[..., low:high] == bar] = part
    write_volumes("data.h5", raw=lit_bars(labels), labels=labels, pieces=pieces)
    save_threshold_network(architecture=WIDE)
    configure()


def configure(agglomeration: str = f"{SUPERVOXELS} {CANDIDATES} {RESEGMENTATION}", **other: str) -> None:
    write_config(agglomeration=f"{{ {agglomeration} }}", **other)


def agglomerate(*more: str) -> int:
    return run_agglomeration.run(["--config", "c.textproto", *more])


def rows(table: str, without: tuple[str, ...] = (), output: str = "out") -> list[tuple[Any, ...]]:
    """All rows of a table of the decisions, sorted, without some columns."""
    with sqlite3.connect(f"{output}/decisions.sqlite") as database:
        names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        kept = ", ".join(name for name in names if name not in without)
        return sorted(database.execute(f"SELECT {kept} FROM {table}").fetchall(), key=repr)


def decisions(output: str = "out") -> dict[str, list[tuple[Any, ...]]]:
    """All that a run decided, without time stamps and its number."""
    tables = ("supervoxels", "edges", "somas", "refusals", "flags", "neurons")
    return {name: rows(name, without=("run",), output=output) for name in tables}


def states(output: str = "out") -> dict[tuple[int, int], str]:
    with sqlite3.connect(f"{output}/decisions.sqlite") as database:
        found = database.execute("SELECT id_a, id_b, state FROM edges").fetchall()
    return {(a, b): state for a, b, state in found}


def neurons(output: str = "out", scale: int = 0) -> np.ndarray:
    with open_volume(f"precomputed://file://{Path(output).resolve()}/neurons#{scale}") as volume:
        return volume.read()


def pieces() -> np.ndarray:
    with open_volume("data.h5:pieces") as volume:
        return volume.read()


def write_somas(*places: tuple[int, int, int]) -> None:
    """A table of cell bodies at voxels."""
    lines = [",".join(f"{(n + 0.5) * 10}" for n in place) + ",30" for place in places]
    Path("somas.csv").write_text("\n".join(["z_nm,y_nm,x_nm,radius_nm", *lines]) + "\n")


def write_calibration(path: str = "calibration.json", intercept: float = 0.0) -> None:
    """A probability that rises with the overlap of the two floods."""
    k = len(SIGNALS)
    weights = np.zeros(k)
    weights[0] = 40
    Calibration(
        "logistic",
        tuple(SIGNALS),
        np.full(k, -100.0),
        np.full(k, 100.0),
        np.append(0.5, np.zeros(k - 1)),
        np.ones(k),
        weights,
        intercept,
    ).save(path)


def test_pieces_of_one_object_become_one_neuron(capsys: pytest.CaptureFixture[str]) -> None:
    assert agglomerate() == 0
    assert [pair for pair, state in states().items() if state == "accepted"] == [(3, 5), (4, 7), (5, 9)]
    expected = np.select([np.isin(pieces(), each) for each in (FIRST, SECOND, THIRD)], [3, 4, 8], 0)
    assert np.array_equal(neurons(), expected)
    printed = capsys.readouterr().out
    assert "3 accepted" in printed and "precision 1.0000" in printed and "results: out" in printed


def test_figures_stand_beside_those_of_other_stages() -> None:
    Path("out").mkdir()
    Path("out/metrics.json").write_text(json.dumps({"stages": {"forward": {"voi_split": 1.5}}, "more": 1}))
    assert agglomerate() == 0
    found = metrics()
    assert (
        found["forward"] == {"voi_split": 1.5}
        and json.loads(Path("out/metrics.json").read_text())["more"] == 1
    )
    for stage in ("agglomerated", "constrained"):
        assert found[stage]["voi_split"] == pytest.approx(0) and found[stage]["voi_merge"] == pytest.approx(0)
        assert found[stage]["coverage"] == 1 and found[stage]["objects"] == 3
        assert found[stage]["merges"] | {"accepted": 3, "right": 3, "recall": 1.0} == found[stage]["merges"]
        assert found[stage]["segmented_only"]["arand"] == pytest.approx(0)


def test_run_lengths_follow_where_true_skeletons_are_given() -> None:
    Path("skeletons").mkdir()
    for number, (z, y) in {1: (75, 85), 2: (75, 195)}.items():
        nodes = [f"{i + 1} 0 {x} {y} {z} 1 {i or -1}" for i, x in enumerate(range(5, 600, 20))]
        Path(f"skeletons/{number}.swc").write_text("\n".join(nodes) + "\n")
    configure(evaluation='{ labels { spec: "data.h5:labels" } skeletons: "skeletons/*.swc" }')
    assert agglomerate() == 0
    assert metrics()["constrained"]["nerl"] == pytest.approx(1)
    assert metrics()["constrained"]["splits"] == 0


def test_two_cell_bodies_stay_apart_and_the_refusal_names_the_cheapest_cut() -> None:
    write_somas((7, 8, 8), (7, 8, 52))
    configure(somas='{ table: "somas.csv" missed_radius_share: 0 }')
    assert agglomerate() == 0
    refused = [pair for pair, state in states().items() if state == "refused"]
    ((id_a, id_b, soma_a, soma_b, cut_a, cut_b),) = rows("refusals", without=("run",))
    assert refused == [(id_a, id_b)] and {soma_a, soma_b} == {1, 2}
    assert {(id_a, id_b), (cut_a, cut_b)} == {(3, 5), (5, 9)}
    assert metrics()["agglomerated"]["objects"] == 3 and metrics()["constrained"]["objects"] == 4
    assert neurons()[7, 8, 2] != neurons()[7, 8, 58]


def test_a_rerun_changes_nothing_and_floods_nothing(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before, voxels = decisions(), neurons()
    scores = {path: path.stat().st_mtime_ns for path in Path("out/agglomeration").rglob("*.npz")}
    folder = Path("out/agglomeration/scores")
    capsys.readouterr()
    assert agglomerate() == 0
    assert decisions() == before and np.array_equal(neurons(), voxels)
    assert all(path.stat().st_mtime_ns == scores[path] for path in folder.iterdir())
    assert "(decided before)" in capsys.readouterr().out


@pytest.mark.parametrize("batches", [1, 2])
def test_decisions_depend_neither_on_blocks_nor_on_batches(done: None, batches: int) -> None:
    before = decisions()
    more = f"{RESEGMENTATION[:-1]} pairs_per_piece: {batches} }}"
    blocks = f"{CANDIDATES[:-1]} block {{ z: 17 y: 16 x: 23 }} }}"
    configure(f"{SUPERVOXELS} {blocks} {more}", output_dir='"other"', inference=f"batch_size: {3 - batches}")
    assert agglomerate() == 0
    there = decisions("other")
    assert {name: there[name] for name in ("edges", "neurons", "supervoxels")} == {
        name: before[name] for name in ("edges", "neurons", "supervoxels")
    }


def test_decisions_do_not_depend_on_the_order_of_scores(done: None) -> None:
    from agglomeration.decided_pairs import decide_pairs
    from agglomeration.project import prepared, scored, stages_of, workers_of
    from configs import load_config
    from jobs.run_progress import RunProgress

    write_somas((7, 8, 8), (7, 8, 52))
    configure(somas='{ table: "somas.csv" missed_radius_share: 0 }')
    assert agglomerate() == 0
    before = decisions()
    assert before["refusals"]
    config = prepared(load_config("c.textproto"))
    with workers_of(config) as pool, RunProgress(stages_of(config), enabled=False) as progress:
        segmentation, scores = scored(config, pool, progress, lambda _: None)
    shuffled: ScoreTable = scores.select(np.random.default_rng(1).permutation(len(scores)))
    os.remove("out/decisions.sqlite")
    decide_pairs(config, segmentation, shuffled, {})
    assert decisions() == before


def test_a_damaged_score_is_named_and_made_anew(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = decisions()
    path = Path("out/agglomeration/scores/0.npz")
    path.write_bytes(path.read_bytes()[:-9])
    os.remove("out/decisions.sqlite")
    assert agglomerate() == 0
    assert "scores/0.npz is cut short" in capsys.readouterr().err
    assert decisions() == before


def test_other_thresholds_make_another_run_of_the_same_scores(done: None) -> None:
    write_calibration()
    settings = 'calibration: "calibration.json" accept_probability: 0.9 conservative_rule { min_iou: 1 }'
    configure(f"{SUPERVOXELS} {CANDIDATES} {RESEGMENTATION} {settings}")
    scores = {path: path.stat().st_mtime_ns for path in Path("out/agglomeration/scores").iterdir()}
    assert agglomerate() == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out/agglomeration/scores").iterdir()} == scores
    assert len(rows("runs")) == 1
    accepted = [row for row in rows("edges") if "accepted" in row]
    assert len(accepted) == 3 and all("probability" in row for row in accepted)


def test_explanations_name_the_merges_that_join_two_supervoxels(
    done: None, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run_agglomeration.run(["explain", "--config", "c.textproto", "--pair", "9,3"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("supervoxels 3 and 9: one neuron, 3\n")
    assert "3-5 accepted by rule" in printed and "5-9 accepted by rule" in printed
    assert run_agglomeration.run(["explain", "--config", "c.textproto", "--neuron", "7"]) == 0
    assert capsys.readouterr().out.startswith("neuron 4: 2 supervoxels\n  4, 7\n")


def test_a_probability_is_trained_on_projects_with_ground_truth(
    done: None, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = f"{SUPERVOXELS} {CANDIDATES} {RESEGMENTATION} accept_probability: 0.8"
    for name in "ab":
        shutil.copytree("out", f"out_{name}")
        configure(settings, output_dir=f'"out_{name}"', name=f'"{name}"')
        os.rename("c.textproto", f"{name}.textproto")
    arguments = ["calibrate", "--config", "a.textproto", "--config", "b.textproto", "--kind", "logistic"]
    assert run_agglomeration.run([*arguments, "--output", "made.json", "--plot", "made.png"]) == 0
    printed = capsys.readouterr().out
    assert (
        "logistic" in printed and "precision 1.0000" in printed and "results: made.json, made.png" in printed
    )
    assert Path("made.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads(Path("made.json").read_text())["trained_on"]["groups"] == ["a", "b"]
    configure(f'{settings} calibration: "made.json"', output_dir='"out_a"')
    assert agglomerate() == 0
    assert [pair for pair, state in states("out_a").items() if state == "accepted"] == [
        (3, 5),
        (4, 7),
        (5, 9),
    ]


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no section": ({"agglomeration": ""}, "agglomeration"),
    "no supervoxels yet": (
        {"agglomeration": f"{{ {CANDIDATES} {RESEGMENTATION} }}"},
        "there are no supervoxels in 'out/supervoxels'; make them with run_inference",
    ),
    "no such supervoxels": ({"agglomeration": '{ supervoxels { spec: "gone.h5:a" } }'}, "gone.h5"),
    "no such calibration": (
        {"agglomeration": f'{{ {SUPERVOXELS} calibration: "gone.json" }}'},
        "cannot read calibration 'gone.json'",
    ),
    "something else as calibration": (
        {"agglomeration": f'{{ {SUPERVOXELS} calibration: "c.textproto" }}'},
        "calibration 'c.textproto' is no JSON",
    ),
    "a radius below the field of view": (
        {"agglomeration": f"{{ {SUPERVOXELS} resegmentation {{ radius_nm: 10 }} }}"},
        "radius_nm",
    ),
    "meshes of no volume": (
        {"agglomeration": f"{{ {SUPERVOXELS} neurons {{ precomputed: false meshes: true }} }}"},
        "turn agglomeration.neurons.precomputed on",
    ),
    "limits that cross": (
        {"agglomeration": f"{{ {SUPERVOXELS} accept_probability: 0.2 reject_probability: 0.9 }}"},
        "agglomeration.reject_probability 0.9 is above accept_probability 0.2",
    ),
    "no such network": ({"network": "gone.ffn.h5"}, "gone.ffn.h5 does not exist"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_before_anything_is_written(
    case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    changes, words = REFUSED[case]
    given = {"agglomeration": f"{{ {SUPERVOXELS} {CANDIDATES} {RESEGMENTATION} }}", **changes}
    write_config(**given)
    assert agglomerate() == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not Path("out").exists()


def test_a_cell_body_outside_of_the_volume_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    write_somas((7, 8, 8), (7, 8, 500))
    configure(somas='{ table: "somas.csv" missed_radius_share: 0 }')
    assert agglomerate() == 2
    assert "somas.csv, line 3: x_nm = 5005 lies outside" in capsys.readouterr().err
    assert not Path("out").exists()


def test_scores_of_other_settings_are_refused_by_name(done: None, capsys: pytest.CaptureFixture[str]) -> None:
    before = decisions()
    configure(f"{SUPERVOXELS} {CANDIDATES} {RESEGMENTATION[:-1]} max_starts: 2 }}")
    assert agglomerate() == 2
    assert "was made with resegmentation.max_starts = 8, this run has 2" in capsys.readouterr().err
    assert decisions() == before


def test_two_runs_do_not_work_in_one_directory(capsys: pytest.CaptureFixture[str]) -> None:
    from jobs.lock import only_run_in

    Path("out").mkdir()
    with only_run_in(Path("out")):
        assert agglomerate() == 2
    assert "another run works in out" in capsys.readouterr().err


def test_a_project_of_its_own_goes_from_inference_to_neurons() -> None:
    from tiny_project import run

    inference = "subvolumes { size { z: 30 y: 30 x: 40 } overlap { z: 0 y: 0 x: 8 } }"
    configure(f"{CANDIDATES} {RESEGMENTATION}", inference=inference)
    assert agglomerate() == 2
    assert run("--config", "c.textproto") == 0
    forward = metrics()["forward"]
    assert agglomerate() == 0
    assert metrics()["forward"] == forward
    assert set(metrics()) == {"forward", "agglomerated", "constrained"}
    assert metrics()["agglomerated"]["voi_merge"] == pytest.approx(forward["voi_merge"])
    assert run("--config", "c.textproto") == 0


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.3, 0.8, 1.5])
def test_a_kill_at_any_moment_changes_nothing(done: None, seconds: float) -> None:
    before, voxels = decisions(), neurons()
    configure(output_dir='"killed"')
    code = (
        "from commands.run_agglomeration import run; print(1, flush=True); run(['--config', 'c.textproto'])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for more in (0.0, 0.4, 0.9):
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, start_new_session=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            began = Path("killed/agglomeration/settings.json")
            while process.poll() is None and not began.exists():
                time.sleep(0.02)
            time.sleep(seconds + more)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    assert agglomerate() == 0
    assert decisions("killed") == before and np.array_equal(neurons("killed"), voxels)


def test_a_gap_is_bridged_where_an_end_is_flooded_on() -> None:
    pytest.importorskip("kimimaro")
    with h5py.File("data.h5", "a") as file:
        # Wider than both sides grow together.
        file["pieces"][4:11, 5:12, 34:44] = 0
    near = "candidates { min_size: 10 max_distance_nm: 30 EXTEND }"
    boxes = "resegmentation { radius_nm: 140 analysis_radius_nm: 70 exclusion_radius_nm: 30 }"
    made = "neurons { skeletonisation { const_nm: 50 min_voxels: 100 } }"
    for extend, expected in (("", False), ("end_points: true", True)):
        configure(f"{SUPERVOXELS} {near.replace('EXTEND', extend)} {boxes} {made}")
        assert agglomerate() == 0
        assert (states().get((5, 9)) == "accepted") == expected
        assert (neurons()[7, 8, 2] == neurons()[7, 8, 58]) == expected


def test_evaluate_compares_the_neurons_of_a_project_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    from tiny_project import run

    from commands import evaluate

    inference = "subvolumes { size { z: 30 y: 30 x: 40 } overlap { z: 0 y: 0 x: 8 } }"
    configure(f"{CANDIDATES} {RESEGMENTATION}", inference=inference)
    assert run("--config", "c.textproto") == 0 and agglomerate() == 0
    found = metrics()
    assert evaluate.run(["--config", "c.textproto"]) == 0
    told = capsys.readouterr().out
    for stage in ("forward", "agglomerated", "constrained"):
        assert metrics()[stage]["voi_split"] == pytest.approx(found[stage]["voi_split"])
        assert f"\n{stage} " in told
    note = Path("out/agglomeration/neuron_maps.json")
    note.write_text(json.dumps({"supervoxels": "others"}))
    assert evaluate.run(["--config", "c.textproto"]) == 0
    assert "\nagglomerated " not in capsys.readouterr().out


def test_where_no_pair_is_large_enough_every_supervoxel_is_a_neuron() -> None:
    configure(f"{SUPERVOXELS} candidates {{ min_size: 100000 }} {RESEGMENTATION}")
    assert agglomerate() == 0
    np.testing.assert_array_equal(np.unique(neurons()), np.unique(pieces()))


def test_other_supervoxels_are_refused_before_anything_is_scored(
    done: None, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {path: path.read_bytes() for path in Path("out/agglomeration/scores").iterdir()}
    with h5py.File("data.h5", "r+") as file:
        file["pieces"][file["pieces"][...] == 8] = 99
    assert agglomerate() == 2
    assert "holds decisions on other supervoxels" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in Path("out/agglomeration/scores").iterdir()} == scores


def test_a_calibration_of_other_scores_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    configure(f'{SUPERVOXELS} {CANDIDATES} {RESEGMENTATION} calibration: "builtin:phantom"')
    assert agglomerate() == 0
    told = capsys.readouterr().err
    assert "calibration 'builtin:phantom' was trained with" in told and "may be wrong here" in told
