"""The schema is consistent, its generated code is current, and it keeps google/ffn's names and numbers."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool

import configs
from configs import generate
from configs.locations import scan
from configs.proto import google_ffn_pb2, reconstruction_pb2, rules_pb2
from configs.rules import fill_defaults, is_repeated, is_vector, rule_of, violations

MODULES = {"rules": rules_pb2, "google_ffn": google_ffn_pb2, "reconstruction": reconstruction_pb2}
SHIPPED = sorted(Path(configs.__file__).parent.glob("*.textproto"))

# Field numbers of google/ffn (inference.proto, consensus.proto, bounding_box.proto), read off its repository.
GOOGLE_FFN_NUMBERS = {
    "Vector3j": {"x": 1, "y": 2, "z": 3},
    "BoundingBox": {"start": 1, "size": 2, "description": 3, "object_label": 4},
    "DecoratedVolume": {"volinfo": 1, "decorator_specs": 2, "hdf5": 3},
    "MaskChannelConfig": {"channel": 1, "min_value": 2, "max_value": 3, "invert": 4, "values": 5},
    "MaskConfig": {"volume": 1, "image": 2, "coordinate_expression": 3, "invert": 4},
    "MaskConfigs": {"masks": 1},
    "InferenceOptions": {
        "init_activation": 1, "pad_value": 2, "move_threshold": 3, "consistency_threshold": 4,
        "disco_seed_threshold": 5, "min_boundary_dist": 6, "segment_threshold": 7, "min_segment_size": 8,
    },
    "InferenceRequest": {
        "image_mean": 2, "image_stddev": 3, "reference_histogram": 4, "masks": 5, "shift_mask": 6,
        "shift_mask_scale": 7, "shift_mask_threshold": 8, "movement_policy_name": 9,
        "movement_policy_args": 10, "model_name": 11, "model_args": 12, "model_checkpoint_path": 13,
        "inference_options": 14, "segmentation_output_dir": 15, "checkpoint_interval": 16, "seed_policy": 17,
        "self_prediction": 18, "seed_policy_args": 19, "alignment_options": 20, "shift_mask_fov": 22,
        "image": 24, "init_segmentation": 25, "histogram_masks": 26, "batch_size": 27,
        "concurrent_requests": 28, "seed_masks": 30,
    },
    "ConsensusRequest": {
        "segmentation1": 1, "segmentation2": 2, "segmentation_output_dir": 3, "type": 4, "split_min_size": 7,
    },
    "SegmentationSource": {"directory": 1, "threshold": 2, "split_cc": 3, "min_size": 4, "mask": 5},
    "ResegmentationPoint": {"id_a": 1, "id_b": 2, "point": 3},
    "ResegmentationRequest": {
        "inference": 1, "points": 2, "radius": 5, "output_directory": 6, "subdir_digits": 7,
        "max_retry_iters": 8, "exclusion_radius": 9, "segment_recovery_fraction": 10,
        "init_exclusion_radius": 11, "terminate_early": 12, "analysis_radius": 13,
    },
}  # fmt: skip


def _messages() -> list[Descriptor]:
    """Every message of the two schema files that carry settings."""
    return [
        message
        for module in (google_ffn_pb2, reconstruction_pb2)
        for message in module.DESCRIPTOR.message_types_by_name.values()
    ]


def _text(file: FileDescriptor) -> str:
    """The description as the runtime gives it; names for JSON are there or not, depending on the source."""
    proto = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(proto)
    return re.sub(r' *json_name: ".*"\n', "", str(proto))


def test_generated_code_belongs_to_the_schema_beside_it() -> None:
    assert generate.fingerprint() == generate.SUMS.read_text(encoding="utf-8"), (
        "configs/proto is stale: run `python -m configs.generate` (its docstring says with which compiler)"
    )


def test_generated_code_runs_from_protobuf_6_on() -> None:
    for module in MODULES.values():
        text = Path(str(module.__file__)).read_text(encoding="utf-8")
        assert f"# Protobuf Python Version: {generate.GENCODE_VERSION}\n" in text
    assert generate.GENCODE_VERSION.startswith("6.")


def test_a_fresh_compilation_gives_the_same_descriptors(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    generate.compile_schema(tmp_path)
    compiled = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "schema.binpb").read_bytes())
    pool = DescriptorPool()
    for file in compiled.file:
        pool.Add(file)
    for name, module in MODULES.items():
        fresh = pool.FindFileByName(f"configs/proto/{name}.proto")
        assert _text(fresh) == _text(module.DESCRIPTOR), f"{name}_pb2.py is stale"


def test_regenerating_with_another_compiler_changes_nothing(monkeypatch, tmp_path: Path, capsys) -> None:
    def write_newer(target: Path) -> None:
        (target / "a_pb2.py").write_text("# Protobuf Python Version: 99.1.0\n", encoding="utf-8")

    before = generate.fingerprint()
    monkeypatch.setattr(generate, "compile_schema", write_newer)
    assert generate.main() == 2
    assert "code for protobuf 99.1.0; use grpcio-tools==" in capsys.readouterr().err
    assert generate.fingerprint() == before


@pytest.mark.parametrize("message", GOOGLE_FFN_NUMBERS)
def test_names_and_numbers_are_those_of_google_ffn(message: str) -> None:
    fields = google_ffn_pb2.DESCRIPTOR.message_types_by_name[message].fields_by_name
    numbers = {name: fields[name].number for name in GOOGLE_FFN_NUMBERS[message] if name in fields}
    assert numbers == GOOGLE_FFN_NUMBERS[message]


def test_decorated_volume_offers_our_formats_too() -> None:
    fields = {field.name for field in google_ffn_pb2.DecoratedVolume.DESCRIPTOR.oneofs[0].fields}
    assert {"hdf5", "tensorstore", "precomputed", "zarr"} <= fields


@pytest.mark.parametrize("message", _messages(), ids=lambda message: message.name)
def test_every_default_obeys_the_rules(message: Descriptor) -> None:
    instance = getattr(MODULES[Path(message.file.name).stem], message.name)()
    fill_defaults(instance)
    broken = [violation for violation in violations(instance) if "but must" in violation.sentence]
    assert broken == []


@pytest.mark.parametrize("message", _messages(), ids=lambda message: message.name)
def test_every_rule_fits_the_type_of_its_field(message: Descriptor) -> None:
    for field in message.fields:
        rule = rule_of(field)
        is_text = field.type == FieldDescriptor.TYPE_STRING
        is_number = field.message_type is None and field.enum_type is None and not is_text
        bounded = any(rule.HasField(name) for name in ("min", "max", "above", "below", "odd"))
        defaulted = field.has_default_value or rule.HasField("default_text")
        assert not bounded or is_number or is_vector(field.message_type), field.full_name
        assert not (rule.json or rule.HasField("pattern")) or is_text, field.full_name
        assert rule.HasField("pattern") == rule.HasField("pattern_in_words"), field.full_name
        assert not (rule.unique_by or rule.ascending) or is_repeated(field), field.full_name
        assert not rule.HasField("default_text") or is_repeated(field) or field.message_type, field.full_name
        assert not (rule.required and defaulted), field.full_name


def test_no_field_is_hidden_by_a_method_of_its_view() -> None:
    names = {field.name for message in _messages() for field in message.fields}
    assert not names & set(vars(configs.ConfigView))


def test_every_message_of_ours_has_a_comment_above_it() -> None:
    text = (generate.FOLDER / "reconstruction.proto").read_text(encoding="utf-8")
    bare = re.findall(r"^(?!//).*\n(?:message|enum) (\w+)", text, re.MULTILINE)
    enums = set(reconstruction_pb2.DESCRIPTOR.enum_types_by_name)
    assert set(bare) <= enums | {"ReconstructionConfig"}


def test_phantom_parameters_are_those_of_the_generator() -> None:
    phantom = pytest.importorskip("volumes.phantom")
    ours = set(reconstruction_pb2.PhantomParameters.DESCRIPTOR.fields_by_name)
    theirs = {field.name for field in dataclasses.fields(phantom.PhantomSpec)}
    assert ours == theirs - {"shape", "voxel_size_nm", "seed"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "style",
    [{}, {"as_one_line": True}, {"pointy_brackets": True}, {"use_short_repeated_primitives": True}],
    ids=str,
)
def test_places_are_the_same_however_the_text_is_laid_out(path: Path, style: dict[str, bool]) -> None:
    config = configs.load_config(path)
    plain = [place.path for place in scan(config.to_text())]
    styled = text_format.MessageToString(config.to_message(), **style)
    assert [place.path for place in scan(styled)] == plain
    assert len(plain) == len(set(plain)) > 10


def test_places_know_line_and_column() -> None:
    places = scan('a: 1 # b: 2\nc {\n  d: "x # y" "z"\n  e: [1,\n 2]\n}\nf <g: \'{\'>')
    found = [(place.path[-1], place.name.position, place.value and place.value.position) for place in places]
    assert found == [
        (("a", 0), (1, 1), (1, 4)),
        (("c", 0), (2, 1), (2, 3)),
        (("d", 0), (3, 3), (3, 6)),
        (("e", 0), (4, 3), (4, 7)),
        (("e", 1), (4, 3), (5, 2)),
        (("f", 0), (7, 1), (7, 3)),
        (("g", 0), (7, 4), (7, 7)),
    ]
