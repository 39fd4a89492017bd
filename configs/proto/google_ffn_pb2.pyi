from configs.proto import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Vector3j(_message.Message):
    __slots__ = ("x", "y", "z")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    Z_FIELD_NUMBER: _ClassVar[int]
    x: int
    y: int
    z: int
    def __init__(self, x: _Optional[int] = ..., y: _Optional[int] = ..., z: _Optional[int] = ...) -> None: ...

class BoundingBox(_message.Message):
    __slots__ = ("start", "size", "description", "object_label")
    START_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    OBJECT_LABEL_FIELD_NUMBER: _ClassVar[int]
    start: Vector3j
    size: Vector3j
    description: str
    object_label: int
    def __init__(self, start: _Optional[_Union[Vector3j, _Mapping]] = ..., size: _Optional[_Union[Vector3j, _Mapping]] = ..., description: _Optional[str] = ..., object_label: _Optional[int] = ...) -> None: ...

class BoundingBoxes(_message.Message):
    __slots__ = ("box",)
    BOX_FIELD_NUMBER: _ClassVar[int]
    box: _containers.RepeatedCompositeFieldContainer[BoundingBox]
    def __init__(self, box: _Optional[_Iterable[_Union[BoundingBox, _Mapping]]] = ...) -> None: ...

class DecoratedVolume(_message.Message):
    __slots__ = ("volinfo", "hdf5", "tensorstore", "precomputed", "zarr", "spec", "decorator_specs")
    VOLINFO_FIELD_NUMBER: _ClassVar[int]
    HDF5_FIELD_NUMBER: _ClassVar[int]
    TENSORSTORE_FIELD_NUMBER: _ClassVar[int]
    PRECOMPUTED_FIELD_NUMBER: _ClassVar[int]
    ZARR_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    DECORATOR_SPECS_FIELD_NUMBER: _ClassVar[int]
    volinfo: str
    hdf5: str
    tensorstore: str
    precomputed: str
    zarr: str
    spec: str
    decorator_specs: str
    def __init__(self, volinfo: _Optional[str] = ..., hdf5: _Optional[str] = ..., tensorstore: _Optional[str] = ..., precomputed: _Optional[str] = ..., zarr: _Optional[str] = ..., spec: _Optional[str] = ..., decorator_specs: _Optional[str] = ...) -> None: ...

class MaskChannelConfig(_message.Message):
    __slots__ = ("channel", "min_value", "max_value", "values", "invert")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    MIN_VALUE_FIELD_NUMBER: _ClassVar[int]
    MAX_VALUE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    INVERT_FIELD_NUMBER: _ClassVar[int]
    channel: int
    min_value: float
    max_value: float
    values: _containers.RepeatedScalarFieldContainer[int]
    invert: bool
    def __init__(self, channel: _Optional[int] = ..., min_value: _Optional[float] = ..., max_value: _Optional[float] = ..., values: _Optional[_Iterable[int]] = ..., invert: bool = ...) -> None: ...

class ImageMaskOptions(_message.Message):
    __slots__ = ("channels",)
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    channels: _containers.RepeatedCompositeFieldContainer[MaskChannelConfig]
    def __init__(self, channels: _Optional[_Iterable[_Union[MaskChannelConfig, _Mapping]]] = ...) -> None: ...

class VolumeMaskOptions(_message.Message):
    __slots__ = ("mask", "channels")
    MASK_FIELD_NUMBER: _ClassVar[int]
    CHANNELS_FIELD_NUMBER: _ClassVar[int]
    mask: DecoratedVolume
    channels: _containers.RepeatedCompositeFieldContainer[MaskChannelConfig]
    def __init__(self, mask: _Optional[_Union[DecoratedVolume, _Mapping]] = ..., channels: _Optional[_Iterable[_Union[MaskChannelConfig, _Mapping]]] = ...) -> None: ...

class CoordinateExpressionOptions(_message.Message):
    __slots__ = ("expression",)
    EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    expression: str
    def __init__(self, expression: _Optional[str] = ...) -> None: ...

class MaskConfig(_message.Message):
    __slots__ = ("volume", "image", "coordinate_expression", "invert")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    COORDINATE_EXPRESSION_FIELD_NUMBER: _ClassVar[int]
    INVERT_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeMaskOptions
    image: ImageMaskOptions
    coordinate_expression: CoordinateExpressionOptions
    invert: bool
    def __init__(self, volume: _Optional[_Union[VolumeMaskOptions, _Mapping]] = ..., image: _Optional[_Union[ImageMaskOptions, _Mapping]] = ..., coordinate_expression: _Optional[_Union[CoordinateExpressionOptions, _Mapping]] = ..., invert: bool = ...) -> None: ...

class MaskConfigs(_message.Message):
    __slots__ = ("masks",)
    MASKS_FIELD_NUMBER: _ClassVar[int]
    masks: _containers.RepeatedCompositeFieldContainer[MaskConfig]
    def __init__(self, masks: _Optional[_Iterable[_Union[MaskConfig, _Mapping]]] = ...) -> None: ...

class SegmentationSource(_message.Message):
    __slots__ = ("directory", "threshold", "split_cc", "min_size", "mask")
    DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SPLIT_CC_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    directory: str
    threshold: float
    split_cc: bool
    min_size: int
    mask: MaskConfigs
    def __init__(self, directory: _Optional[str] = ..., threshold: _Optional[float] = ..., split_cc: bool = ..., min_size: _Optional[int] = ..., mask: _Optional[_Union[MaskConfigs, _Mapping]] = ...) -> None: ...

class InferenceOptions(_message.Message):
    __slots__ = ("init_activation", "pad_value", "move_threshold", "consistency_threshold", "disco_seed_threshold", "min_boundary_dist", "segment_threshold", "min_segment_size")
    INIT_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    MOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    CONSISTENCY_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    DISCO_SEED_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_BOUNDARY_DIST_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_SEGMENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    init_activation: float
    pad_value: float
    move_threshold: float
    consistency_threshold: float
    disco_seed_threshold: float
    min_boundary_dist: Vector3j
    segment_threshold: float
    min_segment_size: int
    def __init__(self, init_activation: _Optional[float] = ..., pad_value: _Optional[float] = ..., move_threshold: _Optional[float] = ..., consistency_threshold: _Optional[float] = ..., disco_seed_threshold: _Optional[float] = ..., min_boundary_dist: _Optional[_Union[Vector3j, _Mapping]] = ..., segment_threshold: _Optional[float] = ..., min_segment_size: _Optional[int] = ...) -> None: ...

class SelfPredictionOptions(_message.Message):
    __slots__ = ("threshold", "orig_threshold")
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    ORIG_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    threshold: float
    orig_threshold: float
    def __init__(self, threshold: _Optional[float] = ..., orig_threshold: _Optional[float] = ...) -> None: ...

class AlignmentOptions(_message.Message):
    __slots__ = ("type", "alignment_volinfo", "scale_divisor", "reversed_fiducials", "shift_function", "abort_shift_threshold", "max_shift", "xcorr_mode", "save_raw")
    class AlignType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_ALIGNMENT: _ClassVar[AlignmentOptions.AlignType]
        NO_ALIGNMENT: _ClassVar[AlignmentOptions.AlignType]
        TRANSLATION: _ClassVar[AlignmentOptions.AlignType]
        RIGID: _ClassVar[AlignmentOptions.AlignType]
        SIMILARITY: _ClassVar[AlignmentOptions.AlignType]
        AFFINE: _ClassVar[AlignmentOptions.AlignType]
    UNKNOWN_ALIGNMENT: AlignmentOptions.AlignType
    NO_ALIGNMENT: AlignmentOptions.AlignType
    TRANSLATION: AlignmentOptions.AlignType
    RIGID: AlignmentOptions.AlignType
    SIMILARITY: AlignmentOptions.AlignType
    AFFINE: AlignmentOptions.AlignType
    class ShiftFunction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        UNKNOWN_SHIFT_FUNCTION: _ClassVar[AlignmentOptions.ShiftFunction]
        MEAN: _ClassVar[AlignmentOptions.ShiftFunction]
        MEDIAN: _ClassVar[AlignmentOptions.ShiftFunction]
    UNKNOWN_SHIFT_FUNCTION: AlignmentOptions.ShiftFunction
    MEAN: AlignmentOptions.ShiftFunction
    MEDIAN: AlignmentOptions.ShiftFunction
    TYPE_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_VOLINFO_FIELD_NUMBER: _ClassVar[int]
    SCALE_DIVISOR_FIELD_NUMBER: _ClassVar[int]
    REVERSED_FIDUCIALS_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FUNCTION_FIELD_NUMBER: _ClassVar[int]
    ABORT_SHIFT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MAX_SHIFT_FIELD_NUMBER: _ClassVar[int]
    XCORR_MODE_FIELD_NUMBER: _ClassVar[int]
    SAVE_RAW_FIELD_NUMBER: _ClassVar[int]
    type: AlignmentOptions.AlignType
    alignment_volinfo: str
    scale_divisor: int
    reversed_fiducials: bool
    shift_function: AlignmentOptions.ShiftFunction
    abort_shift_threshold: int
    max_shift: int
    xcorr_mode: str
    save_raw: bool
    def __init__(self, type: _Optional[_Union[AlignmentOptions.AlignType, str]] = ..., alignment_volinfo: _Optional[str] = ..., scale_divisor: _Optional[int] = ..., reversed_fiducials: bool = ..., shift_function: _Optional[_Union[AlignmentOptions.ShiftFunction, str]] = ..., abort_shift_threshold: _Optional[int] = ..., max_shift: _Optional[int] = ..., xcorr_mode: _Optional[str] = ..., save_raw: bool = ...) -> None: ...

class InferenceRequest(_message.Message):
    __slots__ = ("image", "image_mean", "image_stddev", "reference_histogram", "histogram_masks", "masks", "seed_masks", "shift_mask", "shift_mask_fov", "shift_mask_scale", "shift_mask_threshold", "movement_policy_name", "movement_policy_args", "model_name", "model_args", "model_checkpoint_path", "batch_size", "concurrent_requests", "inference_options", "segmentation_output_dir", "checkpoint_interval", "seed_policy", "seed_policy_args", "self_prediction", "alignment_options", "init_segmentation")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_STDDEV_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_MASKS_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    SEED_MASKS_FIELD_NUMBER: _ClassVar[int]
    SHIFT_MASK_FIELD_NUMBER: _ClassVar[int]
    SHIFT_MASK_FOV_FIELD_NUMBER: _ClassVar[int]
    SHIFT_MASK_SCALE_FIELD_NUMBER: _ClassVar[int]
    SHIFT_MASK_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MOVEMENT_POLICY_NAME_FIELD_NUMBER: _ClassVar[int]
    MOVEMENT_POLICY_ARGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_ARGS_FIELD_NUMBER: _ClassVar[int]
    MODEL_CHECKPOINT_PATH_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    CONCURRENT_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_OUTPUT_DIR_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    SEED_POLICY_FIELD_NUMBER: _ClassVar[int]
    SEED_POLICY_ARGS_FIELD_NUMBER: _ClassVar[int]
    SELF_PREDICTION_FIELD_NUMBER: _ClassVar[int]
    ALIGNMENT_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    INIT_SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    image: DecoratedVolume
    image_mean: float
    image_stddev: float
    reference_histogram: str
    histogram_masks: _containers.RepeatedCompositeFieldContainer[MaskConfig]
    masks: _containers.RepeatedCompositeFieldContainer[MaskConfig]
    seed_masks: _containers.RepeatedCompositeFieldContainer[MaskConfig]
    shift_mask: DecoratedVolume
    shift_mask_fov: BoundingBox
    shift_mask_scale: int
    shift_mask_threshold: int
    movement_policy_name: str
    movement_policy_args: str
    model_name: str
    model_args: str
    model_checkpoint_path: str
    batch_size: int
    concurrent_requests: int
    inference_options: InferenceOptions
    segmentation_output_dir: str
    checkpoint_interval: int
    seed_policy: str
    seed_policy_args: str
    self_prediction: SelfPredictionOptions
    alignment_options: AlignmentOptions
    init_segmentation: DecoratedVolume
    def __init__(self, image: _Optional[_Union[DecoratedVolume, _Mapping]] = ..., image_mean: _Optional[float] = ..., image_stddev: _Optional[float] = ..., reference_histogram: _Optional[str] = ..., histogram_masks: _Optional[_Iterable[_Union[MaskConfig, _Mapping]]] = ..., masks: _Optional[_Iterable[_Union[MaskConfig, _Mapping]]] = ..., seed_masks: _Optional[_Iterable[_Union[MaskConfig, _Mapping]]] = ..., shift_mask: _Optional[_Union[DecoratedVolume, _Mapping]] = ..., shift_mask_fov: _Optional[_Union[BoundingBox, _Mapping]] = ..., shift_mask_scale: _Optional[int] = ..., shift_mask_threshold: _Optional[int] = ..., movement_policy_name: _Optional[str] = ..., movement_policy_args: _Optional[str] = ..., model_name: _Optional[str] = ..., model_args: _Optional[str] = ..., model_checkpoint_path: _Optional[str] = ..., batch_size: _Optional[int] = ..., concurrent_requests: _Optional[int] = ..., inference_options: _Optional[_Union[InferenceOptions, _Mapping]] = ..., segmentation_output_dir: _Optional[str] = ..., checkpoint_interval: _Optional[int] = ..., seed_policy: _Optional[str] = ..., seed_policy_args: _Optional[str] = ..., self_prediction: _Optional[_Union[SelfPredictionOptions, _Mapping]] = ..., alignment_options: _Optional[_Union[AlignmentOptions, _Mapping]] = ..., init_segmentation: _Optional[_Union[DecoratedVolume, _Mapping]] = ...) -> None: ...

class ConsensusRequest(_message.Message):
    __slots__ = ("segmentation1", "segmentation2", "segmentation_output_dir", "type", "external_min_size", "external_offset", "split_min_size")
    class ConsensusType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        CONSENSUS_EXTERNAL_CONNECTIVITY: _ClassVar[ConsensusRequest.ConsensusType]
        CONSENSUS_SPLIT: _ClassVar[ConsensusRequest.ConsensusType]
    CONSENSUS_EXTERNAL_CONNECTIVITY: ConsensusRequest.ConsensusType
    CONSENSUS_SPLIT: ConsensusRequest.ConsensusType
    SEGMENTATION1_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION2_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_OUTPUT_DIR_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    EXTERNAL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    SPLIT_MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    segmentation1: SegmentationSource
    segmentation2: SegmentationSource
    segmentation_output_dir: str
    type: ConsensusRequest.ConsensusType
    external_min_size: int
    external_offset: Vector3j
    split_min_size: int
    def __init__(self, segmentation1: _Optional[_Union[SegmentationSource, _Mapping]] = ..., segmentation2: _Optional[_Union[SegmentationSource, _Mapping]] = ..., segmentation_output_dir: _Optional[str] = ..., type: _Optional[_Union[ConsensusRequest.ConsensusType, str]] = ..., external_min_size: _Optional[int] = ..., external_offset: _Optional[_Union[Vector3j, _Mapping]] = ..., split_min_size: _Optional[int] = ...) -> None: ...

class ResegmentationPoint(_message.Message):
    __slots__ = ("id_a", "id_b", "point")
    ID_A_FIELD_NUMBER: _ClassVar[int]
    ID_B_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    id_a: int
    id_b: int
    point: Vector3j
    def __init__(self, id_a: _Optional[int] = ..., id_b: _Optional[int] = ..., point: _Optional[_Union[Vector3j, _Mapping]] = ...) -> None: ...

class ResegmentationRequest(_message.Message):
    __slots__ = ("inference", "points", "radius", "output_directory", "subdir_digits", "max_retry_iters", "exclusion_radius", "init_exclusion_radius", "segment_recovery_fraction", "terminate_early", "analysis_radius")
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    POINTS_FIELD_NUMBER: _ClassVar[int]
    RADIUS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIRECTORY_FIELD_NUMBER: _ClassVar[int]
    SUBDIR_DIGITS_FIELD_NUMBER: _ClassVar[int]
    MAX_RETRY_ITERS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSION_RADIUS_FIELD_NUMBER: _ClassVar[int]
    INIT_EXCLUSION_RADIUS_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_RECOVERY_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TERMINATE_EARLY_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_RADIUS_FIELD_NUMBER: _ClassVar[int]
    inference: InferenceRequest
    points: _containers.RepeatedCompositeFieldContainer[ResegmentationPoint]
    radius: Vector3j
    output_directory: str
    subdir_digits: int
    max_retry_iters: int
    exclusion_radius: Vector3j
    init_exclusion_radius: Vector3j
    segment_recovery_fraction: float
    terminate_early: bool
    analysis_radius: Vector3j
    def __init__(self, inference: _Optional[_Union[InferenceRequest, _Mapping]] = ..., points: _Optional[_Iterable[_Union[ResegmentationPoint, _Mapping]]] = ..., radius: _Optional[_Union[Vector3j, _Mapping]] = ..., output_directory: _Optional[str] = ..., subdir_digits: _Optional[int] = ..., max_retry_iters: _Optional[int] = ..., exclusion_radius: _Optional[_Union[Vector3j, _Mapping]] = ..., init_exclusion_radius: _Optional[_Union[Vector3j, _Mapping]] = ..., segment_recovery_fraction: _Optional[float] = ..., terminate_early: bool = ..., analysis_radius: _Optional[_Union[Vector3j, _Mapping]] = ...) -> None: ...

class CounterValue(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: int
    def __init__(self, name: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...

class TaskCounters(_message.Message):
    __slots__ = ("counters", "point", "filename")
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    POINT_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    counters: _containers.RepeatedCompositeFieldContainer[CounterValue]
    point: Vector3j
    filename: str
    def __init__(self, counters: _Optional[_Iterable[_Union[CounterValue, _Mapping]]] = ..., point: _Optional[_Union[Vector3j, _Mapping]] = ..., filename: _Optional[str] = ...) -> None: ...

class EndpointResegmentationResult(_message.Message):
    __slots__ = ("id", "start", "num_voxels", "overlaps", "source", "segmentation_radius", "tag")
    class OverlapInfo(_message.Message):
        __slots__ = ("num_overlapping", "num_original")
        NUM_OVERLAPPING_FIELD_NUMBER: _ClassVar[int]
        NUM_ORIGINAL_FIELD_NUMBER: _ClassVar[int]
        num_overlapping: int
        num_original: int
        def __init__(self, num_overlapping: _Optional[int] = ..., num_original: _Optional[int] = ...) -> None: ...
    class OverlapsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: int
        value: EndpointResegmentationResult.OverlapInfo
        def __init__(self, key: _Optional[int] = ..., value: _Optional[_Union[EndpointResegmentationResult.OverlapInfo, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    NUM_VOXELS_FIELD_NUMBER: _ClassVar[int]
    OVERLAPS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_RADIUS_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    id: int
    start: Vector3j
    num_voxels: int
    overlaps: _containers.MessageMap[int, EndpointResegmentationResult.OverlapInfo]
    source: EndpointResegmentationResult.OverlapInfo
    segmentation_radius: Vector3j
    tag: str
    def __init__(self, id: _Optional[int] = ..., start: _Optional[_Union[Vector3j, _Mapping]] = ..., num_voxels: _Optional[int] = ..., overlaps: _Optional[_Mapping[int, EndpointResegmentationResult.OverlapInfo]] = ..., source: _Optional[_Union[EndpointResegmentationResult.OverlapInfo, _Mapping]] = ..., segmentation_radius: _Optional[_Union[Vector3j, _Mapping]] = ..., tag: _Optional[str] = ...) -> None: ...

class PairResegmentationResult(_message.Message):
    __slots__ = ("point", "id_a", "id_b", "segmentation_radius", "tag", "eval")
    class SegmentResult(_message.Message):
        __slots__ = ("origin", "num_voxels", "deleted_voxels", "segment_a_consistency", "segment_b_consistency", "max_edt")
        ORIGIN_FIELD_NUMBER: _ClassVar[int]
        NUM_VOXELS_FIELD_NUMBER: _ClassVar[int]
        DELETED_VOXELS_FIELD_NUMBER: _ClassVar[int]
        SEGMENT_A_CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
        SEGMENT_B_CONSISTENCY_FIELD_NUMBER: _ClassVar[int]
        MAX_EDT_FIELD_NUMBER: _ClassVar[int]
        origin: Vector3j
        num_voxels: int
        deleted_voxels: int
        segment_a_consistency: float
        segment_b_consistency: float
        max_edt: float
        def __init__(self, origin: _Optional[_Union[Vector3j, _Mapping]] = ..., num_voxels: _Optional[int] = ..., deleted_voxels: _Optional[int] = ..., segment_a_consistency: _Optional[float] = ..., segment_b_consistency: _Optional[float] = ..., max_edt: _Optional[float] = ...) -> None: ...
    class EvalResult(_message.Message):
        __slots__ = ("radius", "iou", "from_a", "from_b", "max_edt_a", "max_edt_b", "num_voxels_a", "num_voxels_b")
        RADIUS_FIELD_NUMBER: _ClassVar[int]
        IOU_FIELD_NUMBER: _ClassVar[int]
        FROM_A_FIELD_NUMBER: _ClassVar[int]
        FROM_B_FIELD_NUMBER: _ClassVar[int]
        MAX_EDT_A_FIELD_NUMBER: _ClassVar[int]
        MAX_EDT_B_FIELD_NUMBER: _ClassVar[int]
        NUM_VOXELS_A_FIELD_NUMBER: _ClassVar[int]
        NUM_VOXELS_B_FIELD_NUMBER: _ClassVar[int]
        radius: Vector3j
        iou: float
        from_a: PairResegmentationResult.SegmentResult
        from_b: PairResegmentationResult.SegmentResult
        max_edt_a: float
        max_edt_b: float
        num_voxels_a: int
        num_voxels_b: int
        def __init__(self, radius: _Optional[_Union[Vector3j, _Mapping]] = ..., iou: _Optional[float] = ..., from_a: _Optional[_Union[PairResegmentationResult.SegmentResult, _Mapping]] = ..., from_b: _Optional[_Union[PairResegmentationResult.SegmentResult, _Mapping]] = ..., max_edt_a: _Optional[float] = ..., max_edt_b: _Optional[float] = ..., num_voxels_a: _Optional[int] = ..., num_voxels_b: _Optional[int] = ...) -> None: ...
    POINT_FIELD_NUMBER: _ClassVar[int]
    ID_A_FIELD_NUMBER: _ClassVar[int]
    ID_B_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_RADIUS_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    EVAL_FIELD_NUMBER: _ClassVar[int]
    point: Vector3j
    id_a: int
    id_b: int
    segmentation_radius: Vector3j
    tag: str
    eval: PairResegmentationResult.EvalResult
    def __init__(self, point: _Optional[_Union[Vector3j, _Mapping]] = ..., id_a: _Optional[int] = ..., id_b: _Optional[int] = ..., segmentation_radius: _Optional[_Union[Vector3j, _Mapping]] = ..., tag: _Optional[str] = ..., eval: _Optional[_Union[PairResegmentationResult.EvalResult, _Mapping]] = ...) -> None: ...
