"""Calibrations mean what they say on volumes they did not see, and survive the disk to the last bit."""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agglomeration import calibration as calibration_module
from agglomeration.calibration import KINDS, Calibration, from_dict, load_calibration, logistic
from agglomeration.errors import AgglomerationError
from agglomeration.pair_signals import SIGNALS, signals
from agglomeration.pair_truth import true_objects, truth_of_pairs
from agglomeration.reliability import (
    figures,
    precision_of_accepted,
    reliability_of,
    wilson,
    write_reliability_plot,
)
from agglomeration.scoring import SCORES, ScoreTable
from agglomeration.training import cross_validated, fit
from evaluation import contingency

SIDES = (
    *(("a_from_a", "b_from_b"), ("a_from_b", "b_from_a"), ("deleted_from_a", "deleted_from_b")),
    *(("max_depth_a_nm", "max_depth_b_nm"), ("flood_depth_a_nm", "flood_depth_b_nm")),
    *(("voxels_a", "voxels_b"), ("size_a", "size_b")),
)


def score_table(columns: dict[str, np.ndarray]) -> ScoreTable:
    n = len(columns["iou"])
    ids = np.arange(1, n + 1, dtype=np.uint64)
    return ScoreTable(ids, ids + np.uint64(1), np.zeros((n, 3), np.int64), columns)


def drawn(n: int, seed: int) -> tuple[ScoreTable, np.ndarray, np.ndarray]:
    """Pairs whose overlap and shares tell about the truth, truth, and five volumes."""
    random = np.random.default_rng(seed)
    iou = random.random(n)
    truth = random.random(n) < logistic(9 * (iou - 0.5))
    columns = {name: random.random(n) for name in SCORES}
    columns |= {"iou": iou, "a_from_b": np.clip(iou + 0.2 * random.standard_normal(n), 0, 1)}
    columns |= {
        name: random.integers(300, 10**6, n) for name in ("size_a", "size_b", "voxels_a", "voxels_b", "fovs")
    }
    columns |= {name: random.uniform(1, 200, n) for name in SCORES if name.endswith("_nm")}
    return score_table(columns), truth, random.integers(0, 5, n)


TABLE, TRUTH, GROUPS = drawn(800, 3)


@cache
def fit_cached(kind: str) -> Calibration:
    return fit(TABLE, TRUTH, GROUPS, kind=kind, trained_on={"network": "0f"})


@pytest.fixture(params=KINDS)
def trained(request: pytest.FixtureRequest) -> Calibration:
    return fit_cached(request.param)


def with_scores(**changes: float) -> ScoreTable:
    """One pair of middling scores, some of them changed."""
    columns = {name: np.median(TABLE[name][:200], keepdims=True).astype(np.float64) for name in SCORES}
    return score_table(columns | {name: np.array([value]) for name, value in changes.items()})


def test_signals_do_not_know_which_of_two_is_a() -> None:
    swapped = dict(TABLE.columns)
    for first, second in SIDES:
        swapped[first], swapped[second] = TABLE[second], TABLE[first]
    np.testing.assert_array_equal(signals(score_table(swapped)), signals(TABLE))


def test_signals_by_hand() -> None:
    found = dict(
        zip(
            SIGNALS,
            signals(
                with_scores(
                    iou=0.5,
                    a_from_a=0.9,
                    b_from_b=0.7,
                    a_from_b=0.2,
                    b_from_a=0.4,
                    deleted_from_a=0.099,
                    deleted_from_b=0.019,
                    contact_faces=math.e - 1,
                    flood_depth_a_nm=0,
                    flood_depth_b_nm=99,
                    max_depth_a_nm=49,
                    max_depth_b_nm=9,
                )
            )[0],
            strict=True,
        )
    )
    expected = {
        "iou": 0.5,
        "own_share_low": 0.7,
        "other_share_low": 0.2,
        "other_share_high": 0.4,
        "log_deleted_low": math.log(0.02),
        "log_deleted_high": math.log(0.1),
        "failed_floods": 1,
        "log_contact_faces": 1,
        "log_depth_low": math.log(10),
        "log_depth_high": math.log(50),
        "log_growth_high": math.log(2),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_what_could_not_be_seeded_counts_as_nothing_recovered(trained: Calibration) -> None:
    of_a = ("a_from_a", "b_from_a", "flood_depth_a_nm")
    nothing = dict.fromkeys((*of_a, "iou"), 0.0) | {"deleted_from_a": 1.0}
    missing = dict.fromkeys((*nothing,), math.nan)
    np.testing.assert_array_equal(signals(with_scores(**missing)), signals(with_scores(**nothing)))
    assert trained.probability(with_scores(**missing)) == trained.probability(with_scores(**nothing))


@pytest.mark.parametrize(
    "name, value", [("distance_nm", math.nan), ("size_a", math.nan), ("iou", math.inf), ("voxels_b", -1)]
)
def test_a_pair_that_cannot_be_judged_is_named(name: str, value: float) -> None:
    with pytest.raises(AgglomerationError, match=f"pair 1-2 has {name} = .*; score it anew"):
        signals(with_scores(**{name: value}))


def test_probabilities_of_new_volumes_are_right(trained: Calibration) -> None:
    table, truth, _ = drawn(4000, 11)
    found = figures(trained.probability(table), truth)
    best = figures(logistic(9 * (table["iou"] - 0.5)), truth)
    assert found["log_loss"] < best["log_loss"] + 0.05
    assert found["calibration_error"] < 0.05
    assert found["auc"] > best["auc"] - 0.02


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_signal_never_speaks_against_its_sense(kind: str, data: st.DataObject) -> None:
    trained = fit_cached(kind)
    row = data.draw(st.integers(0, len(TABLE) - 1))
    name = data.draw(st.sampled_from([name for name, sense in SIGNALS.items() if sense]))
    values = np.repeat(signals(TABLE)[row : row + 1], 2, axis=0)
    at = list(SIGNALS).index(name)
    values[1, at] += SIGNALS[name] * data.draw(st.floats(0, 10))
    low, high = trained.probability_of(values)
    assert high >= low


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=40))
def test_isotonic_probabilities_ascend_with_the_score(scores: list[float]) -> None:
    calibration = fit_cached("isotonic")
    ordered = np.sort(np.array(scores))
    found = np.interp(ordered, *calibration.steps)
    assert np.all(np.diff(found) >= 0) and found[0] > 0 and found[-1] < 1


def test_pairs_on_a_step_keep_the_order_of_their_scores() -> None:
    calibration = fit_cached("isotonic")
    order = np.argsort(calibration.score_of(signals(TABLE)), kind="stable")
    score, found = calibration.score_of(signals(TABLE))[order], calibration.probability(TABLE)[order]
    assert np.all((np.diff(found) > 0) == (np.diff(score) > 0))
    np.testing.assert_allclose(found, np.interp(score, *calibration.steps), atol=1e-6)


def test_trees_agree_with_scikit_learn() -> None:
    from sklearn.tree import DecisionTreeRegressor

    from agglomeration.calibration import _leaf_values
    from agglomeration.training import _STEP, _plain

    values = signals(TABLE).astype(np.float32)
    model = DecisionTreeRegressor(max_depth=5, random_state=0).fit(values, TRUTH)
    np.testing.assert_allclose(_leaf_values(_plain(model.tree_), values), _STEP * model.predict(values))


def test_a_probability_does_not_depend_on_the_other_pairs(trained: Calibration) -> None:
    whole = trained.probability(TABLE)
    for rows in (slice(0, 1), slice(3, 40), slice(7, None, 13)):
        np.testing.assert_array_equal(trained.probability(TABLE.select(rows)), whole[rows])


def test_what_is_stored_is_what_was_trained(trained: Calibration, tmp_path: Path) -> None:
    trained.save(tmp_path / "c.json")
    found = load_calibration(tmp_path / "c.json")
    assert found.to_dict() == trained.to_dict()
    np.testing.assert_array_equal(found.probability(TABLE), trained.probability(TABLE))
    assert found.trained_on["network"] == "0f"
    assert found.trained_on["groups"] == ["0", "1", "2", "3", "4"]
    assert (found.trained_on["pairs"], found.trained_on["true_pairs"]) == (800, int(TRUTH.sum()))
    assert set(found.figures[trained.kind]) == {"log_loss", "brier", "auc", "calibration_error"}


@pytest.mark.slow
def test_a_second_training_gives_the_same_numbers(trained: Calibration) -> None:
    again = fit(TABLE, TRUTH, GROUPS, kind=trained.kind, trained_on={"network": "0f"})
    assert again.to_dict() == trained.to_dict()


@pytest.mark.slow
def test_held_out_pairs_are_not_seen() -> None:
    # A group whose truth is turned round is judged by the others.
    turned = np.where(GROUPS == 2, ~TRUTH, TRUTH)
    held_out = cross_validated(TABLE, turned, GROUPS, kind="logistic")
    others = GROUPS != 2
    alone = fit(TABLE.select(others), TRUTH[others], GROUPS[others], kind="logistic")
    np.testing.assert_array_equal(held_out[~others], alone.probability(TABLE.select(~others)))


@pytest.mark.slow
def test_the_simplest_kind_that_is_as_good_is_taken() -> None:
    found = fit(TABLE, TRUTH, GROUPS)
    losses = {kind: found.figures[kind]["log_loss"] for kind in KINDS}
    best = min(losses.values())
    assert found.kind == next(kind for kind in KINDS if losses[kind] <= 1.02 * best)


@pytest.mark.parametrize(
    "truth, groups, kind, message",
    [
        (TRUTH, GROUPS, "neural", "kind 'neural' is none of auto, logistic, isotonic, boosting"),
        (TRUTH[1:], GROUPS, "auto", "800 scored pairs, 799 answers and 800 groups do not fit"),
        (TRUTH, np.zeros(800, int), "auto", "pairs of 1 volumes are too few"),
        (np.ones(800, bool), GROUPS, "auto", "almost all of 800 labelled pairs are true"),
        (TRUTH & (GROUPS == 0), GROUPS, "auto", "have but one answer; give pairs of more volumes"),
    ],
    ids=["kind", "lengths", "one volume", "one answer", "one answer elsewhere"],
)
def test_what_cannot_be_trained_on_is_refused(
    truth: np.ndarray, groups: np.ndarray, kind: str, message: str
) -> None:
    with pytest.raises(AgglomerationError, match=message):
        fit(TABLE, truth, groups, kind=kind)


ONE_NODE = ("signal", "threshold", "left", "right", "value")


@pytest.mark.parametrize(
    "kind, changes, message",
    [
        ("logistic", {"schema": "other"}, "is none; give a file"),
        ("logistic", {"version": 2}, "has version 2, this release reads 1; train it again"),
        ("logistic", {"kind": "magic"}, "kind 'magic' is none of logistic, isotonic, boosting"),
        ("logistic", {"signals": ["smell"]}, "signal 'smell' is unknown here"),
        ("logistic", {"signals": ["iou"] * 2}, "a signal stands in it twice"),
        ("logistic", {"mean": [0.0]}, "not every row has 19 numbers"),
        ("logistic", {"intercept": math.nan}, "not all of its numbers are finite"),
        ("logistic", {"scale": [0.0] * len(SIGNALS)}, "a scale is not positive"),
        ("logistic", {"coefficients": "many"}, "lacks or garbles a part"),
        ("logistic", {"low": None}, "lacks or garbles a part|not every row"),
        ("logistic", {"steps": [[0, 1], [0, 1]]}, "kind 'logistic' has no steps"),
        ("isotonic", {"steps": [[], []]}, "steps are missing"),
        ("isotonic", {"steps": [[0, 1], [0.5, 0.4]]}, "its steps do not ascend"),
        ("isotonic", {"steps": [[0, 0], [0.5, 0.6]]}, "its steps do not ascend"),
        ("isotonic", {"steps": [[0, 1], [0.5, 1.6]]}, "leave the range from 0 to 1"),
        ("boosting", {"trees": [dict.fromkeys(ONE_NODE, [0])]}, "a tree leads nowhere"),
        ("boosting", {"trees": [dict.fromkeys(ONE_NODE, [99])]}, "asks for a signal that is not there"),
        ("boosting", {"trees": [dict.fromkeys(ONE_NODE, [0]) | {"left": []}]}, "have different lengths"),
        ("logistic", {"trees": [dict.fromkeys(ONE_NODE, [-1])]}, "kind 'logistic' has no trees"),
    ],
)
def test_a_file_that_is_not_sound_is_refused_in_one_line(
    kind: str, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(AgglomerationError, match=message) as caught:
        from_dict(fit_cached(kind).to_dict() | changes)
    assert "\n" not in str(caught.value)


def test_other_json_is_refused() -> None:
    for values in ([], {}, 3, None):
        with pytest.raises(AgglomerationError, match="is none; give a file"):
            from_dict(values)


def test_a_name_that_is_not_shipped_lists_what_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(calibration_module, "_SHIPPED", tmp_path)
    with pytest.raises(AgglomerationError, match="no calibration 'builtin:phantom'; shipped: none"):
        load_calibration("builtin:phantom")
    fit_cached("logistic").save(tmp_path / "phantom.json")
    assert load_calibration("builtin:phantom").kind == "logistic"
    for name in ("builtin:fly", "builtin:../phantom"):
        with pytest.raises(AgglomerationError, match="shipped: builtin:phantom; or give the path"):
            load_calibration(name)


def test_a_file_that_is_missing_or_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(AgglomerationError, match="cannot read calibration '.*none.json': No such file"):
        load_calibration(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(AgglomerationError, match="bad.json' is no JSON"):
        load_calibration(tmp_path / "bad.json")


def test_shipped_calibrations_are_sound() -> None:
    for path in (Path(calibration_module.__file__).parent / "calibrations").glob("*.json"):
        found = load_calibration(f"builtin:{path.stem}")
        probability = found.probability(TABLE)
        assert np.all((probability >= 0) & (probability <= 1))
        assert json.loads(path.read_text())["trained_on"]["groups"]


def test_supervoxels_stand_for_what_most_of_them_is() -> None:
    # 1: nine tenths of 5; 2: six tenths of 5; 3: all of 6, half of it labelled; 4: a tenth labelled; 5: of 5.
    segments = np.repeat([0, 1, 2, 3, 4, 5], 10)
    truth = np.array(
        [5] * 10 + [5] * 9 + [6] + [5] * 6 + [6] * 4 + [6] * 5 + [0] * 5 + [6] + [0] * 9 + [5] * 10
    )
    found = true_objects(contingency(segments, truth))
    assert found.ids.tolist() == [1, 2, 3, 4, 5]
    assert found.objects.tolist() == [5, 0, 6, 0, 5]
    id_a, id_b = np.array([[1, 5], [1, 3], [1, 2], [3, 4], [1, 9]], np.uint64).T
    pairs = truth_of_pairs(id_a, id_b, found)
    assert pairs.same.tolist() == [True, False, False, False, False]
    assert pairs.known.tolist() == [True, True, False, False, False]
    assert pairs.left_out == 3
    assert true_objects(contingency(segments, truth), min_share=0.95).objects.tolist() == [0, 0, 6, 0, 5]


def test_no_supervoxels_stand_for_nothing() -> None:
    found = true_objects(contingency(np.zeros(3, int), np.ones(3, int)))
    assert found.ids.size == 0
    assert not truth_of_pairs(np.array([1], np.uint64), np.array([2], np.uint64), found).known.any()


def test_wilson_intervals_are_those_of_the_literature() -> None:
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3.
    low, high = wilson(np.array([81, 15, 0, 1]), np.array([263, 148, 20, 29]))
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)
    assert [float(end) for end in wilson(0, 0)] == [0, 1]
    assert float(wilson(50, 50)[1]) == 1


def test_precision_of_accepted_pairs() -> None:
    accepted = np.array([True, True, True, True, False, False])
    truth = np.array([True, True, True, False, True, False])
    found = precision_of_accepted(accepted, truth)
    assert (found.accepted, found.right, found.precision, found.recall) == (4, 3, 0.75, 0.75)
    assert found.low < 0.75 < found.high
    none = precision_of_accepted(np.zeros(2, bool), np.zeros(2, bool))
    assert math.isnan(none.precision) and math.isnan(none.recall)


def test_reliability_by_hand() -> None:
    probability = np.array([0.0, 0.1, 0.24, 0.25, 0.9, 1.0])
    truth = np.array([False, False, True, True, True, False])
    found = reliability_of(probability, truth, bins=4)
    assert found.count.tolist() == [3, 1, 0, 2]
    np.testing.assert_allclose(found.probability, [0.34 / 3, 0.25, np.nan, 0.95])
    np.testing.assert_allclose(found.observed, [1 / 3, 1, np.nan, 0.5])
    assert found.expected_error == pytest.approx((0.66 + 0.75 + 0.9) / 6)
    assert len(found.rows()) == 3


def test_figures_agree_with_scikit_learn() -> None:
    from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

    random = np.random.default_rng(2)
    probability = np.round(random.random(300), 2)
    truth = random.random(300) < probability
    found = figures(probability, truth)
    clipped = np.clip(probability, 1e-12, 1 - 1e-12)
    assert found["log_loss"] == pytest.approx(log_loss(truth, clipped))
    assert found["brier"] == pytest.approx(brier_score_loss(truth, probability))
    assert found["auc"] == pytest.approx(roc_auc_score(truth, probability))


@pytest.mark.parametrize(
    "probability, truth, message",
    [
        (np.zeros(2), np.zeros(3, bool), "2 probabilities and 3 answers do not fit"),
        (np.array([1.1]), np.ones(1, bool), "outside of 0 to 1"),
        (np.array([np.nan]), np.ones(1, bool), "outside of 0 to 1"),
    ],
)
def test_what_are_no_probabilities_is_refused(
    probability: np.ndarray, truth: np.ndarray, message: str
) -> None:
    with pytest.raises(AgglomerationError, match=message):
        reliability_of(probability, truth)


def test_the_plot_is_a_picture_and_always_the_same(tmp_path: Path) -> None:
    from PIL import Image

    probability = logistic(9 * (TABLE["iou"] - 0.5))
    for name in ("one.png", "two.png"):
        write_reliability_plot(tmp_path / name, probability, TRUTH, title="Pairs")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (780, 960)


def test_the_shipped_calibration_knows_all_signals_and_the_seeds_it_saw() -> None:
    found = load_calibration("builtin:phantom")
    assert found.names == tuple(SIGNALS)
    assert {str(each).partition("-")[0] for each in found.trained_on["groups"]} == {"seed"}
    apart, joined = (dict.fromkeys(SIGNALS, 0.0) | {"parted_in_passes": p} for p in (1.0, 0.0))
    joined |= dict.fromkeys(("iou", "own_share_low", "other_share_low", "other_share_high"), 0.95)
    joined |= {"joined_in_passes": 2 / 3, "log_deleted_low": -6.9, "log_deleted_high": -6.9}
    values = np.array([list(apart.values()), list(joined.values())])
    assert np.all(np.abs(found.probability_of(values) - [0, 1]) < 0.1)
