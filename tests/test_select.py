"""The networks that a training kept are ranked by what they make of held-out data."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_project import TINY, bars, lit_bars, threshold_network, write_volumes

from commands import train_ffn
from ffn.weights import NetworkFile, NetworkInfo, load_network, save_network
from inference import checkpoint_selection
from jobs.lock import only_run_in

CONFIG = """
name: "tiny" output_dir: "run"
training {
  architecture { depth: 1 features: 2 fov { z: 5 y: 5 x: 5 } deltas { z: 2 y: 2 x: 2 } }
  phantoms { seeds: [7] shape { z: 24 y: 24 x: 24 } }
  total_fovs: 64 compute_dtype: FLOAT32 output_weights: "net.ffn.h5"
  selection {
    volumes { raw { spec: "held.h5:raw" } labels { spec: "held.h5:labels" } }
    options { min_segment_size: 50 }
    skeletonisation { const_nm: 20 min_voxels: 100 }
  }
}
"""
# What is added to every logit of a network that finds bright voxels: the second finds everything, the third
# nothing.
GOOD, MERGING, BLIND = 0.0, 9.0, -9.0


def keep(path: str, bias: float, fovs: int, run: str | None = None) -> None:
    weights = threshold_network()
    weights["conv_lom/bias"][:] = bias
    info = NetworkInfo(
        TINY,
        128,
        64,
        pad_value=0.5,
        move_threshold=0.6,
        training={"figures": {"fovs": fovs}, **({"run": run} if run else {})},
    )
    save_network(path, NetworkFile(info, weights))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with held-out bars and four networks: blind, merging, good, and a newest one that is blind."""
    monkeypatch.chdir(tmp_path)
    labels = bars()
    write_volumes("held.h5", raw=lit_bars(labels), labels=labels)
    keep("run/checkpoints/step-00000001.ffn.h5", BLIND, 16)
    keep("run/checkpoints/step-00000002.ffn.h5", MERGING, 32)
    keep("run/best.ffn.h5", GOOD, 48)
    keep("net.ffn.h5", BLIND - 1, 64)
    Path("c.textproto").write_text(CONFIG)
    return tmp_path


def select(*changes: tuple[str, str]) -> list[dict]:
    text = CONFIG
    for change in changes:
        text = text.replace(*change)
    Path("c.textproto").write_text(text)
    assert train_ffn.run(["select", "--config", "c.textproto"]) == 0
    return json.loads(Path("run/selection.json").read_text())["ranking"]


def test_the_network_of_the_longest_runs_is_selected(place: Path, capsys: pytest.CaptureFixture) -> None:
    ranking = select()
    assert [row["network"] for row in ranking][0] == "best.ffn.h5" and len(ranking) == 4
    good = ranking[0]
    assert good["nerl"] > 0.9 and good["mergers"] == 0 and good["objects"] == 15
    # Nothing was found, or all is one: no run either way, and the newer one goes first among equals.
    others = {row["network"]: row for row in ranking[1:]}
    assert others["step-00000001.ffn.h5"]["objects"] == 0
    assert others["step-00000002.ffn.h5"]["mergers"] == 14 and others["step-00000002.ffn.h5"]["nerl"] == 0
    assert [row["network"] for row in ranking[1:]] == [
        "net.ffn.h5",
        "step-00000001.ffn.h5",
        "step-00000002.ffn.h5",
    ]
    selected, best = load_network("run/selected.ffn.h5"), load_network("run/best.ffn.h5")
    assert selected.weights["conv_lom/bias"] == GOOD == best.weights["conv_lom/bias"]
    assert (
        selected.info.training["selected"]["nerl"] > 0.9 and selected.info.training["selected"]["among"] == 4
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:3] == ["best.ffn.h5", "48", f"{good['nerl']:.4f}"]
    assert lines[-1] == "selected network: run/selected.ffn.h5"


def test_figures_are_kept_and_networks_that_came_since_are_added(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured = []
    measure = checkpoint_selection.measure

    def counted(network, *others):
        measured.append(float(network.weights["conv_lom/bias"][0]))
        return measure(network, *others)

    monkeypatch.setattr(checkpoint_selection, "measure", counted)
    first = select()
    assert len(measured) == 4 and select() == first and len(measured) == 4
    keep("run/checkpoints/step-00000003.ffn.h5", GOOD + 0.5, 60)
    assert len(select()) == 5 and measured[4:] == [GOOD + 0.5]
    # Other options are other figures.
    select(("min_segment_size: 50", "min_segment_size: 60"))
    assert len(measured) == 10


def test_two_selections_do_not_share_an_output_directory_but_a_training_may_go_on(place, capsys) -> None:
    Path("run/selection").mkdir()
    with only_run_in(Path("run/selection")):
        assert train_ffn.run(["select", "--config", "c.textproto"]) == 2
    assert "another run works in run/selection" in capsys.readouterr().err
    with only_run_in(Path("run")):
        assert select()


def test_networks_that_another_training_left_there_are_left_out(place, capsys) -> None:
    keep("run/checkpoints/step-00000002.ffn.h5", MERGING, 32, "b")
    keep("net.ffn.h5", BLIND - 1, 64, "b")
    assert [row["network"] for row in select()] == ["net.ffn.h5", "step-00000002.ffn.h5"]
    assert "left out: step-00000001.ffn.h5, best.ffn.h5\n" in capsys.readouterr().err


def test_so_many_networks_are_compared_the_newest_among_them(place: Path) -> None:
    rows = select(("selection {", "selection { most: 2"))
    assert sorted(row["trained_fovs"] for row in rows) == [32, 64]


def test_boxes_count_by_their_path_and_masked_voxels_do_not(place: Path) -> None:
    whole = select()[0]
    write_volumes("held.h5", mask=(bars() > 7).astype("u1"))
    labels = 'labels { spec: "held.h5:labels" }'
    rest = select((labels, labels + ' mask { spec: "held.h5:mask" }'))[0]
    assert rest["objects"] == 7 and rest["nerl"] > 0.9 and rest["filled"] < whole["filled"]
    (line,) = (line for line in CONFIG.splitlines() if "held.h5" in line)
    part = line.replace("volumes {", "volumes { box { start { z: 0 y: 0 x: 0 } shape { z: 12 y: 44 x: 39 } }")
    good = select((line, f"{line}\n{part}"))[0]
    assert good["network"] == "best.ffn.h5" and good["nerl"] > 0.9
    assert good["objects"] == 15 + 4


@pytest.mark.parametrize(
    "change, says",
    [
        (("min_voxels: 100", "min_voxels: 1000000"), "has no object with a skeleton"),
        (('output_dir: "run"', 'output_dir: "empty" '), "no networks to select from; train first"),
        (("held.h5:raw", "gone.h5:raw"), "gone.h5"),
        ((CONFIG[CONFIG.index("  selection {") :], "}"), "training.selection is missing"),
    ],
    ids=["no skeleton", "nothing kept", "missing data", "no selection"],
)
def test_a_selection_without_a_sense_is_refused(place, capsys, change, says) -> None:
    Path("net.ffn.h5").unlink()
    Path("c.textproto").write_text(CONFIG.replace(*change))
    assert train_ffn.run(["select", "--config", "c.textproto"]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not Path("run/selection.json").exists()
