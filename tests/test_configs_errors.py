"""A misstep in a config or request is explained on one line: file, line, field, and what is valid there."""

from __future__ import annotations

from pathlib import Path

import pytest
from config_texts import FULL_REQUEST, MINIMAL, REQUEST
from hypothesis import given
from hypothesis import strategies as st

import configs
from configs.errors import ConfigError

# A line added to a sound config, and what the error about it says.
FAULTS = {
    "unknown section": (
        "inferense { }",
        "'inferense'; did you mean 'inference'? Valid fields: name, ",
    ),
    "unknown field": (
        "outputs { pgn: true }",
        "outputs has no field 'pgn'; did you mean 'png'? Valid",
    ),
    "nothing close": ("zzz: 1", "ReconstructionConfig has no field 'zzz'. Valid fields: name, "),
    "text for bool": ('outputs { png: "yes" }', 'outputs.png takes true or false, but is "yes"'),
    "fraction": ("phantom { seed: 1.5 }", "seed takes a whole number of 32 bits, not negative, but is 1.5"),
    "too many bits": ("phantom { seed: 99999999999 }", "phantom.seed takes a whole number of 32 bits"),
    "unknown enum": (
        "evaluation { background: X }",
        "takes one of ONE_OBJECT, LEFT_OUT, but is X",
    ),
    "number for block": ("masks: 5", "masks takes a block { movement, seeds, shifts }, but is 5"),
    "bare word": (
        "evaluation { labels { spec: a } }",
        "labels.spec takes text in quotes, but is a",
    ),
    "written twice": ("run { } run { }", "run is given a second time"),
    "unclosed": ("outputs {", 'Expected "}"'),
    "unopened": ("}", "got }"),
    "missing block": ("phantom { }", "phantom.shape is required but missing (a block { z, y, x })"),
    "missing axis": ("phantom { shape { z: 20 y: 20 } }", "phantom.shape.x is required but missing"),
    "out of range": ("phantom { shape { z: 20 y: 20 x: 0 } }", "shape.x is 0, but must be at least 8"),
    "missing text": ("evaluation { labels { } }", "evaluation.labels.spec is required but missing"),
    "blank text": ('evaluation { labels { spec: " " } }', "evaluation.labels.spec is required but empty"),
    "infinite": (
        "phantom { shape { z: 20 y: 20 x: 20 } voxel_size_nm { z: inf y: 1 x: 1 } }",
        "z is inf, but",
    ),
    "several": ("training { total_fovs: 0 }", "(and 3 more to mend)"),
}

# What the inference section holds, and what the error about it says.
INFERENCE_FAULTS = {
    "name twice": ("passes { name: 'a' } passes { name: 'a' }", "passes[1].name is 'a' a second time"),
    "name is a path": ("passes { name: '../a' }", "since it names a directory"),
    "no JSON": ("passes { name: 'a' seed_policy_args: '{a}' }", "seed_policy_args is not valid JSON"),
    "JSON list": ("passes { name: 'a' seed_policy_args: '[1]' }", "must be a JSON object"),
    "no batch": ("batch_size: 0", "inference.batch_size is 0, but must be at least 1 and at most 4096"),
    "certain": ("options { move_threshold: 1 }", "move_threshold is 1, but must be above 0 and below 1"),
    "negative": ("options { min_boundary_dist { z: -1 y: 0 x: 0 } }", "min_boundary_dist.z is -1, but must"),
    "flat box": ("box { start { z: 0 y: 0 x: 0 } shape { z: 0 y: 1 x: 1 } }", "box.shape.z is 0, but must"),
    "flat bounding box": ("bounding_box { size { x: 1 y: 1 } }", "inference.bounding_box.size.z is 0, but"),
    "two boxes": ("box { } bounding_box { }", 'another member of oneof "region"'),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the config under test lies."""
    return tmp_path / "project.textproto"


def refusal(path: Path, text: str) -> str:
    """The error about a config of this text."""
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        configs.load_config(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_a_config_is_named_with_file_line_and_field(path: Path, fault: str) -> None:
    line, message = FAULTS[fault]
    text = refusal(path, f"{MINIMAL.strip()}\n\n{line}\n")
    assert message in text
    assert text.startswith(f"{path}:7: ")


@pytest.mark.parametrize("fault", INFERENCE_FAULTS)
def test_a_fault_in_the_inference_section_is_named(path: Path, fault: str) -> None:
    section, message = INFERENCE_FAULTS[fault]
    text = refusal(path, MINIMAL.replace("inference { }", f"inference {{ {section} }}"))
    assert message in text
    assert text.startswith(f"{path}:6: ")


def test_a_network_needs_a_source(path: Path) -> None:
    text = refusal(path, MINIMAL.replace('weights: "builtin:phantom"', ""))
    assert text == f"{path}:5: network needs one of weights, checkpoint"


def test_a_missing_name_is_reported_at_the_top(path: Path) -> None:
    assert refusal(path, MINIMAL.replace('name: "small"', "")).startswith(f"{path}:1: name is required")


def test_training_checks_its_lists_and_its_data() -> None:
    training = configs.load_config("train_phantom").training
    with pytest.raises(ConfigError, match="needs one of volumes, phantoms"):
        training.replace(phantoms=None)
    with pytest.raises(ConfigError, match="partition_thresholds must ascend"):
        training.replace(partition_thresholds=[0.2, 0.1])
    with pytest.raises(ConfigError, match=r"partition_thresholds\[1\] is 1.5"):
        training.replace(partition_thresholds=[0.2, 1.5])
    with pytest.raises(ConfigError, match="fov.y is 4, but must be odd"):
        training.architecture.replace(fov=(5, 4, 5))


def test_the_line_of_a_value_far_down_is_found(path: Path) -> None:
    comment, shape = "# a comment { with braces", "phantom {\n  shape {\n    z: 20 y:\n      3\n x: 20 }\n}\n"
    text = refusal(path, f"{MINIMAL}{comment}\n\n{shape}")
    assert text.startswith(f"{path}:12: phantom.shape.y is 3")


def test_a_request_without_what_a_run_needs_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^inference request:1: image is required but missing"):
        configs.parse_inference_request("")
    with pytest.raises(ConfigError, match=r"inference_options\.segment_threshold is required"):
        configs.parse_inference_request(REQUEST.replace("segment_threshold: 0.6", ""))
    with pytest.raises(ConfigError, match="image_stddev is 0, but must be above 0"):
        configs.parse_inference_request(REQUEST.replace("image_stddev: 33", "image_stddev: 0"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("start { x: 0 y: 0 z: 0 } size { x: 0 y: 1 z: 1 }", "size.x is 0, but must be at least 1"),
        ("start { x: 0 y: 0 z: 0 }", "size is required but missing"),
        ("begin { x: 0 }", "no field 'begin'"),
    ],
)
def test_a_bounding_box_without_volume_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        configs.parse_bounding_box(text)


def test_a_section_a_command_needs_is_asked_for_by_name(path: Path) -> None:
    path.write_text(MINIMAL, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"needs the section 'training', which is missing; add training"):
        configs.load_config(path, require=("training",))
    assert configs.load_config(path, require=("raw|phantom",)).raw.spec == "a.h5:raw"
    with pytest.raises(ConfigError, match="section 'phantom' or 'training'"):
        configs.load_config(path, require=("phantom|training",))


def test_the_sections_listed_are_those_that_were_written(path: Path) -> None:
    path.write_text(f"# run {{ }}\n{MINIMAL}evaluation {{ labels {{ spec: 'run' }} }}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\(sections there: raw, network, inference, evaluation\)$"):
        configs.load_config(path, require=("training",))
    path.write_text('name: "n"\noutput_dir: "o"\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"\(sections there: none\)$"):
        configs.load_config(path, require=("training",))


def test_of_two_sections_for_the_same_both_are_too_many(path: Path) -> None:
    path.write_text(f"{MINIMAL}phantom {{ shape {{ z: 9 y: 9 x: 9 }} }}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="raw and phantom are both given, .* leave raw or phantom out$"):
        configs.load_config(path, require=("raw|phantom",))
    assert configs.load_config(path).raw.spec == "a.h5:raw", "who takes neither does not mind"


def test_a_config_that_is_not_there_lists_those_that_ship(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"dmo does not exist; .* one of .*demo, fib25, .*train_phantom"):
        configs.load_config("dmo")
    with pytest.raises(ConfigError, match="is a directory"):
        configs.load_config(tmp_path)
    with pytest.raises(ConfigError, match="does not exist"):
        configs.load_config(tmp_path / "demo")


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    binary = tmp_path / "binary.textproto"
    binary.write_bytes(b"\xff\xfe\x00name")
    with pytest.raises(ConfigError, match=r"binary\.textproto is not a text file"):
        configs.load_config(binary)
    with pytest.raises(ConfigError, match=r"cannot read .*gone\.pbtxt: No such file"):
        configs.parse_inference_request(tmp_path / "gone.pbtxt")


@given(cut=st.integers(0, len(FULL_REQUEST)), length=st.integers(0, 40), patch=st.text(max_size=12))
def test_damaged_text_is_refused_on_one_line_or_accepted(cut: int, length: int, patch: str) -> None:
    text = FULL_REQUEST[:cut] + patch + FULL_REQUEST[cut + length :]
    try:
        configs.parse_inference_request(text + "\n")
    except ConfigError as error:
        assert str(error).startswith("inference request:") and "\n" not in str(error)


@pytest.mark.parametrize("sign", ["{", "image {", "image <", "batch_size: [", '"', "a: "])
def test_hostile_repetition_is_refused(sign: str) -> None:
    with pytest.raises(ConfigError):
        configs.parse_inference_request(sign * 20_001 + "\n")
