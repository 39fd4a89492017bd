from configs.proto import google_ffn_pb2 as _google_ffn_pb2
from configs.proto import rules_pb2 as _rules_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ComputeDtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AUTO: _ClassVar[ComputeDtype]
    FLOAT32: _ClassVar[ComputeDtype]
    BFLOAT16: _ClassVar[ComputeDtype]

class SeedOrder(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FORWARD: _ClassVar[SeedOrder]
    REVERSED: _ClassVar[SeedOrder]

class EdgeContext(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[EdgeContext]
    MIRROR: _ClassVar[EdgeContext]

class OptimizerKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ADAM: _ClassVar[OptimizerKind]
    ADAMW: _ClassVar[OptimizerKind]
    SGD: _ClassVar[OptimizerKind]

class RateSchedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FLAT_THEN_COSINE: _ClassVar[RateSchedule]
    COSINE: _ClassVar[RateSchedule]
    CONSTANT: _ClassVar[RateSchedule]
    EXPONENTIAL: _ClassVar[RateSchedule]

class Normalisation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNNORMALISED: _ClassVar[Normalisation]
    LAYER: _ClassVar[Normalisation]

class UnsegmentedVoxels(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ONE_OBJECT: _ClassVar[UnsegmentedVoxels]
    LEFT_OUT: _ClassVar[UnsegmentedVoxels]
AUTO: ComputeDtype
FLOAT32: ComputeDtype
BFLOAT16: ComputeDtype
FORWARD: SeedOrder
REVERSED: SeedOrder
NONE: EdgeContext
MIRROR: EdgeContext
ADAM: OptimizerKind
ADAMW: OptimizerKind
SGD: OptimizerKind
FLAT_THEN_COSINE: RateSchedule
COSINE: RateSchedule
CONSTANT: RateSchedule
EXPONENTIAL: RateSchedule
UNNORMALISED: Normalisation
LAYER: Normalisation
ONE_OBJECT: UnsegmentedVoxels
LEFT_OUT: UnsegmentedVoxels

class Zyx(_message.Message):
    __slots__ = ("z", "y", "x")
    Z_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    z: int
    y: int
    x: int
    def __init__(self, z: _Optional[int] = ..., y: _Optional[int] = ..., x: _Optional[int] = ...) -> None: ...

class VoxelSizeNm(_message.Message):
    __slots__ = ("z", "y", "x")
    Z_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    X_FIELD_NUMBER: _ClassVar[int]
    z: float
    y: float
    x: float
    def __init__(self, z: _Optional[float] = ..., y: _Optional[float] = ..., x: _Optional[float] = ...) -> None: ...

class BoxZyx(_message.Message):
    __slots__ = ("start", "shape")
    START_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    start: Zyx
    shape: Zyx
    def __init__(self, start: _Optional[_Union[Zyx, _Mapping]] = ..., shape: _Optional[_Union[Zyx, _Mapping]] = ...) -> None: ...

class ReconstructionConfig(_message.Message):
    __slots__ = ("name", "output_dir", "raw", "phantom", "network", "inference", "outputs", "evaluation", "training", "run", "masks", "preprocessing", "consensus", "reconciliation", "agglomeration", "somas", "proofreading", "database")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_DIR_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    PHANTOM_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    RUN_FIELD_NUMBER: _ClassVar[int]
    MASKS_FIELD_NUMBER: _ClassVar[int]
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    CONSENSUS_FIELD_NUMBER: _ClassVar[int]
    RECONCILIATION_FIELD_NUMBER: _ClassVar[int]
    AGGLOMERATION_FIELD_NUMBER: _ClassVar[int]
    SOMAS_FIELD_NUMBER: _ClassVar[int]
    PROOFREADING_FIELD_NUMBER: _ClassVar[int]
    DATABASE_FIELD_NUMBER: _ClassVar[int]
    name: str
    output_dir: str
    raw: VolumeSource
    phantom: Phantom
    network: Network
    inference: Inference
    outputs: Outputs
    evaluation: Evaluation
    training: Training
    run: Run
    masks: Masks
    preprocessing: Preprocessing
    consensus: Consensus
    reconciliation: Reconciliation
    agglomeration: Agglomeration
    somas: Somas
    proofreading: Proofreading
    database: Database
    def __init__(self, name: _Optional[str] = ..., output_dir: _Optional[str] = ..., raw: _Optional[_Union[VolumeSource, _Mapping]] = ..., phantom: _Optional[_Union[Phantom, _Mapping]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., inference: _Optional[_Union[Inference, _Mapping]] = ..., outputs: _Optional[_Union[Outputs, _Mapping]] = ..., evaluation: _Optional[_Union[Evaluation, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ..., run: _Optional[_Union[Run, _Mapping]] = ..., masks: _Optional[_Union[Masks, _Mapping]] = ..., preprocessing: _Optional[_Union[Preprocessing, _Mapping]] = ..., consensus: _Optional[_Union[Consensus, _Mapping]] = ..., reconciliation: _Optional[_Union[Reconciliation, _Mapping]] = ..., agglomeration: _Optional[_Union[Agglomeration, _Mapping]] = ..., somas: _Optional[_Union[Somas, _Mapping]] = ..., proofreading: _Optional[_Union[Proofreading, _Mapping]] = ..., database: _Optional[_Union[Database, _Mapping]] = ...) -> None: ...

class VolumeSource(_message.Message):
    __slots__ = ("spec", "voxel_size_nm")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    spec: str
    voxel_size_nm: VoxelSizeNm
    def __init__(self, spec: _Optional[str] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ...) -> None: ...

class Masks(_message.Message):
    __slots__ = ("movement", "seeds", "shifts")
    MOVEMENT_FIELD_NUMBER: _ClassVar[int]
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    SHIFTS_FIELD_NUMBER: _ClassVar[int]
    movement: _containers.RepeatedCompositeFieldContainer[_google_ffn_pb2.MaskConfig]
    seeds: _containers.RepeatedCompositeFieldContainer[_google_ffn_pb2.MaskConfig]
    shifts: ShiftMask
    def __init__(self, movement: _Optional[_Iterable[_Union[_google_ffn_pb2.MaskConfig, _Mapping]]] = ..., seeds: _Optional[_Iterable[_Union[_google_ffn_pb2.MaskConfig, _Mapping]]] = ..., shifts: _Optional[_Union[ShiftMask, _Mapping]] = ...) -> None: ...

class ShiftMask(_message.Message):
    __slots__ = ("volume", "scale", "threshold", "fov")
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FOV_FIELD_NUMBER: _ClassVar[int]
    volume: VolumeSource
    scale: int
    threshold: int
    fov: BoxZyx
    def __init__(self, volume: _Optional[_Union[VolumeSource, _Mapping]] = ..., scale: _Optional[int] = ..., threshold: _Optional[int] = ..., fov: _Optional[_Union[BoxZyx, _Mapping]] = ...) -> None: ...

class Preprocessing(_message.Message):
    __slots__ = ("invert", "sections", "histogram", "clahe")
    INVERT_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    CLAHE_FIELD_NUMBER: _ClassVar[int]
    invert: bool
    sections: SectionNormalisation
    histogram: HistogramMatching
    clahe: Clahe
    def __init__(self, invert: bool = ..., sections: _Optional[_Union[SectionNormalisation, _Mapping]] = ..., histogram: _Optional[_Union[HistogramMatching, _Mapping]] = ..., clahe: _Optional[_Union[Clahe, _Mapping]] = ...) -> None: ...

class SectionNormalisation(_message.Message):
    __slots__ = ("mean", "stddev")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    STDDEV_FIELD_NUMBER: _ClassVar[int]
    mean: float
    stddev: float
    def __init__(self, mean: _Optional[float] = ..., stddev: _Optional[float] = ...) -> None: ...

class HistogramMatching(_message.Message):
    __slots__ = ("reference", "box", "each_section")
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    EACH_SECTION_FIELD_NUMBER: _ClassVar[int]
    reference: VolumeSource
    box: BoxZyx
    each_section: bool
    def __init__(self, reference: _Optional[_Union[VolumeSource, _Mapping]] = ..., box: _Optional[_Union[BoxZyx, _Mapping]] = ..., each_section: bool = ...) -> None: ...

class Clahe(_message.Message):
    __slots__ = ("tile", "clip_limit")
    TILE_FIELD_NUMBER: _ClassVar[int]
    CLIP_LIMIT_FIELD_NUMBER: _ClassVar[int]
    tile: Zyx
    clip_limit: float
    def __init__(self, tile: _Optional[_Union[Zyx, _Mapping]] = ..., clip_limit: _Optional[float] = ...) -> None: ...

class Consensus(_message.Message):
    __slots__ = ("passes", "min_size", "split_components")
    PASSES_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    passes: _containers.RepeatedScalarFieldContainer[str]
    min_size: int
    split_components: bool
    def __init__(self, passes: _Optional[_Iterable[str]] = ..., min_size: _Optional[int] = ..., split_components: bool = ...) -> None: ...

class Reconciliation(_message.Message):
    __slots__ = ("min_share", "min_overlap_voxels", "min_size")
    MIN_SHARE_FIELD_NUMBER: _ClassVar[int]
    MIN_OVERLAP_VOXELS_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    min_share: float
    min_overlap_voxels: int
    min_size: int
    def __init__(self, min_share: _Optional[float] = ..., min_overlap_voxels: _Optional[int] = ..., min_size: _Optional[int] = ...) -> None: ...

class Phantom(_message.Message):
    __slots__ = ("shape", "voxel_size_nm", "seed", "parameters")
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    shape: Zyx
    voxel_size_nm: VoxelSizeNm
    seed: int
    parameters: PhantomParameters
    def __init__(self, shape: _Optional[_Union[Zyx, _Mapping]] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ..., seed: _Optional[int] = ..., parameters: _Optional[_Union[PhantomParameters, _Mapping]] = ...) -> None: ...

class PhantomParameters(_message.Message):
    __slots__ = ("cell_bodies", "cell_body_radius_nm", "vessel_radius_nm", "dendrites", "axons", "myelinated", "fill_gap_nm", "contrast", "noise", "blur_nm", "missing_sections", "dark_sections", "shifted_sections")
    CELL_BODIES_FIELD_NUMBER: _ClassVar[int]
    CELL_BODY_RADIUS_NM_FIELD_NUMBER: _ClassVar[int]
    VESSEL_RADIUS_NM_FIELD_NUMBER: _ClassVar[int]
    DENDRITES_FIELD_NUMBER: _ClassVar[int]
    AXONS_FIELD_NUMBER: _ClassVar[int]
    MYELINATED_FIELD_NUMBER: _ClassVar[int]
    FILL_GAP_NM_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    BLUR_NM_FIELD_NUMBER: _ClassVar[int]
    MISSING_SECTIONS_FIELD_NUMBER: _ClassVar[int]
    DARK_SECTIONS_FIELD_NUMBER: _ClassVar[int]
    SHIFTED_SECTIONS_FIELD_NUMBER: _ClassVar[int]
    cell_bodies: int
    cell_body_radius_nm: float
    vessel_radius_nm: float
    dendrites: float
    axons: float
    myelinated: float
    fill_gap_nm: float
    contrast: float
    noise: float
    blur_nm: float
    missing_sections: int
    dark_sections: int
    shifted_sections: int
    def __init__(self, cell_bodies: _Optional[int] = ..., cell_body_radius_nm: _Optional[float] = ..., vessel_radius_nm: _Optional[float] = ..., dendrites: _Optional[float] = ..., axons: _Optional[float] = ..., myelinated: _Optional[float] = ..., fill_gap_nm: _Optional[float] = ..., contrast: _Optional[float] = ..., noise: _Optional[float] = ..., blur_nm: _Optional[float] = ..., missing_sections: _Optional[int] = ..., dark_sections: _Optional[int] = ..., shifted_sections: _Optional[int] = ...) -> None: ...

class Network(_message.Message):
    __slots__ = ("weights", "checkpoint", "image_mean", "image_stddev")
    WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    IMAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_STDDEV_FIELD_NUMBER: _ClassVar[int]
    weights: str
    checkpoint: ImportedCheckpoint
    image_mean: float
    image_stddev: float
    def __init__(self, weights: _Optional[str] = ..., checkpoint: _Optional[_Union[ImportedCheckpoint, _Mapping]] = ..., image_mean: _Optional[float] = ..., image_stddev: _Optional[float] = ...) -> None: ...

class ImportedCheckpoint(_message.Message):
    __slots__ = ("model_checkpoint_path", "model_name", "model_args", "image_mean", "image_stddev", "init_activation", "pad_value", "move_threshold", "segment_threshold", "voxel_size_nm", "licence")
    MODEL_CHECKPOINT_PATH_FIELD_NUMBER: _ClassVar[int]
    MODEL_NAME_FIELD_NUMBER: _ClassVar[int]
    MODEL_ARGS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_STDDEV_FIELD_NUMBER: _ClassVar[int]
    INIT_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    MOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    model_checkpoint_path: str
    model_name: str
    model_args: str
    image_mean: float
    image_stddev: float
    init_activation: float
    pad_value: float
    move_threshold: float
    segment_threshold: float
    voxel_size_nm: VoxelSizeNm
    licence: str
    def __init__(self, model_checkpoint_path: _Optional[str] = ..., model_name: _Optional[str] = ..., model_args: _Optional[str] = ..., image_mean: _Optional[float] = ..., image_stddev: _Optional[float] = ..., init_activation: _Optional[float] = ..., pad_value: _Optional[float] = ..., move_threshold: _Optional[float] = ..., segment_threshold: _Optional[float] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ..., licence: _Optional[str] = ...) -> None: ...

class Inference(_message.Message):
    __slots__ = ("passes", "box", "bounding_box", "options", "compute_dtype", "batch_size", "edge_context", "subvolumes", "subvolumes_in_flight", "checkpoint_interval_seconds", "boxes")
    PASSES_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    BOUNDING_BOX_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    EDGE_CONTEXT_FIELD_NUMBER: _ClassVar[int]
    SUBVOLUMES_FIELD_NUMBER: _ClassVar[int]
    SUBVOLUMES_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_INTERVAL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    BOXES_FIELD_NUMBER: _ClassVar[int]
    passes: _containers.RepeatedCompositeFieldContainer[Pass]
    box: BoxZyx
    bounding_box: _google_ffn_pb2.BoundingBox
    options: FloodOptions
    compute_dtype: ComputeDtype
    batch_size: int
    edge_context: EdgeContext
    subvolumes: Subvolumes
    subvolumes_in_flight: int
    checkpoint_interval_seconds: float
    boxes: _containers.RepeatedCompositeFieldContainer[BoxZyx]
    def __init__(self, passes: _Optional[_Iterable[_Union[Pass, _Mapping]]] = ..., box: _Optional[_Union[BoxZyx, _Mapping]] = ..., bounding_box: _Optional[_Union[_google_ffn_pb2.BoundingBox, _Mapping]] = ..., options: _Optional[_Union[FloodOptions, _Mapping]] = ..., compute_dtype: _Optional[_Union[ComputeDtype, str]] = ..., batch_size: _Optional[int] = ..., edge_context: _Optional[_Union[EdgeContext, str]] = ..., subvolumes: _Optional[_Union[Subvolumes, _Mapping]] = ..., subvolumes_in_flight: _Optional[int] = ..., checkpoint_interval_seconds: _Optional[float] = ..., boxes: _Optional[_Iterable[_Union[BoxZyx, _Mapping]]] = ...) -> None: ...

class Subvolumes(_message.Message):
    __slots__ = ("size", "overlap", "memory_gb")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    size: Zyx
    overlap: Zyx
    memory_gb: float
    def __init__(self, size: _Optional[_Union[Zyx, _Mapping]] = ..., overlap: _Optional[_Union[Zyx, _Mapping]] = ..., memory_gb: _Optional[float] = ...) -> None: ...

class Pass(_message.Message):
    __slots__ = ("name", "seed_policy", "seed_policy_args", "seed_order", "voxel_size_nm", "network", "options", "fill_from", "fill_min_size", "image")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEED_POLICY_FIELD_NUMBER: _ClassVar[int]
    SEED_POLICY_ARGS_FIELD_NUMBER: _ClassVar[int]
    SEED_ORDER_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    FILL_FROM_FIELD_NUMBER: _ClassVar[int]
    FILL_MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    name: str
    seed_policy: str
    seed_policy_args: str
    seed_order: SeedOrder
    voxel_size_nm: VoxelSizeNm
    network: Network
    options: FloodOptions
    fill_from: str
    fill_min_size: int
    image: VolumeSource
    def __init__(self, name: _Optional[str] = ..., seed_policy: _Optional[str] = ..., seed_policy_args: _Optional[str] = ..., seed_order: _Optional[_Union[SeedOrder, str]] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., options: _Optional[_Union[FloodOptions, _Mapping]] = ..., fill_from: _Optional[str] = ..., fill_min_size: _Optional[int] = ..., image: _Optional[_Union[VolumeSource, _Mapping]] = ...) -> None: ...

class FloodOptions(_message.Message):
    __slots__ = ("init_activation", "pad_value", "move_threshold", "segment_threshold", "min_segment_size", "min_boundary_dist", "disco_seed_threshold")
    INIT_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    MOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_SEGMENT_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_BOUNDARY_DIST_FIELD_NUMBER: _ClassVar[int]
    DISCO_SEED_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    init_activation: float
    pad_value: float
    move_threshold: float
    segment_threshold: float
    min_segment_size: int
    min_boundary_dist: Zyx
    disco_seed_threshold: float
    def __init__(self, init_activation: _Optional[float] = ..., pad_value: _Optional[float] = ..., move_threshold: _Optional[float] = ..., segment_threshold: _Optional[float] = ..., min_segment_size: _Optional[int] = ..., min_boundary_dist: _Optional[_Union[Zyx, _Mapping]] = ..., disco_seed_threshold: _Optional[float] = ...) -> None: ...

class Outputs(_message.Message):
    __slots__ = ("precomputed", "npz", "hdf5", "png", "zarr", "scales")
    PRECOMPUTED_FIELD_NUMBER: _ClassVar[int]
    NPZ_FIELD_NUMBER: _ClassVar[int]
    HDF5_FIELD_NUMBER: _ClassVar[int]
    PNG_FIELD_NUMBER: _ClassVar[int]
    ZARR_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    precomputed: bool
    npz: bool
    hdf5: bool
    png: bool
    zarr: bool
    scales: int
    def __init__(self, precomputed: bool = ..., npz: bool = ..., hdf5: bool = ..., png: bool = ..., zarr: bool = ..., scales: _Optional[int] = ...) -> None: ...

class Evaluation(_message.Message):
    __slots__ = ("labels", "background", "segmentation", "skeletons", "skeletonisation", "skeleton_edge_nm", "merger_tolerance_nodes", "merger_tolerance_nm", "boundary_tolerance_nm", "box", "report", "skeleton_unit_nm")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BACKGROUND_FIELD_NUMBER: _ClassVar[int]
    SEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    SKELETONS_FIELD_NUMBER: _ClassVar[int]
    SKELETONISATION_FIELD_NUMBER: _ClassVar[int]
    SKELETON_EDGE_NM_FIELD_NUMBER: _ClassVar[int]
    MERGER_TOLERANCE_NODES_FIELD_NUMBER: _ClassVar[int]
    MERGER_TOLERANCE_NM_FIELD_NUMBER: _ClassVar[int]
    BOUNDARY_TOLERANCE_NM_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    SKELETON_UNIT_NM_FIELD_NUMBER: _ClassVar[int]
    labels: VolumeSource
    background: UnsegmentedVoxels
    segmentation: VolumeSource
    skeletons: str
    skeletonisation: Skeletonisation
    skeleton_edge_nm: float
    merger_tolerance_nodes: _containers.RepeatedScalarFieldContainer[int]
    merger_tolerance_nm: float
    boundary_tolerance_nm: float
    box: BoxZyx
    report: bool
    skeleton_unit_nm: float
    def __init__(self, labels: _Optional[_Union[VolumeSource, _Mapping]] = ..., background: _Optional[_Union[UnsegmentedVoxels, str]] = ..., segmentation: _Optional[_Union[VolumeSource, _Mapping]] = ..., skeletons: _Optional[str] = ..., skeletonisation: _Optional[_Union[Skeletonisation, _Mapping]] = ..., skeleton_edge_nm: _Optional[float] = ..., merger_tolerance_nodes: _Optional[_Iterable[int]] = ..., merger_tolerance_nm: _Optional[float] = ..., boundary_tolerance_nm: _Optional[float] = ..., box: _Optional[_Union[BoxZyx, _Mapping]] = ..., report: bool = ..., skeleton_unit_nm: _Optional[float] = ...) -> None: ...

class Skeletonisation(_message.Message):
    __slots__ = ("scale", "const_nm", "min_voxels")
    SCALE_FIELD_NUMBER: _ClassVar[int]
    CONST_NM_FIELD_NUMBER: _ClassVar[int]
    MIN_VOXELS_FIELD_NUMBER: _ClassVar[int]
    scale: float
    const_nm: float
    min_voxels: int
    def __init__(self, scale: _Optional[float] = ..., const_nm: _Optional[float] = ..., min_voxels: _Optional[int] = ...) -> None: ...

class Agglomeration(_message.Message):
    __slots__ = ("supervoxels", "network", "options", "candidates", "resegmentation", "conservative_rule", "calibration", "accept_probability", "reject_probability", "neurons")
    SUPERVOXELS_FIELD_NUMBER: _ClassVar[int]
    NETWORK_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    RESEGMENTATION_FIELD_NUMBER: _ClassVar[int]
    CONSERVATIVE_RULE_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    REJECT_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    NEURONS_FIELD_NUMBER: _ClassVar[int]
    supervoxels: VolumeSource
    network: Network
    options: FloodOptions
    candidates: Candidates
    resegmentation: Resegmentation
    conservative_rule: ConservativeRule
    calibration: str
    accept_probability: float
    reject_probability: float
    neurons: Neurons
    def __init__(self, supervoxels: _Optional[_Union[VolumeSource, _Mapping]] = ..., network: _Optional[_Union[Network, _Mapping]] = ..., options: _Optional[_Union[FloodOptions, _Mapping]] = ..., candidates: _Optional[_Union[Candidates, _Mapping]] = ..., resegmentation: _Optional[_Union[Resegmentation, _Mapping]] = ..., conservative_rule: _Optional[_Union[ConservativeRule, _Mapping]] = ..., calibration: _Optional[str] = ..., accept_probability: _Optional[float] = ..., reject_probability: _Optional[float] = ..., neurons: _Optional[_Union[Neurons, _Mapping]] = ...) -> None: ...

class Candidates(_message.Message):
    __slots__ = ("max_distance_nm", "min_size", "min_contact_faces", "block", "end_points")
    MAX_DISTANCE_NM_FIELD_NUMBER: _ClassVar[int]
    MIN_SIZE_FIELD_NUMBER: _ClassVar[int]
    MIN_CONTACT_FACES_FIELD_NUMBER: _ClassVar[int]
    BLOCK_FIELD_NUMBER: _ClassVar[int]
    END_POINTS_FIELD_NUMBER: _ClassVar[int]
    max_distance_nm: float
    min_size: int
    min_contact_faces: int
    block: Zyx
    end_points: bool
    def __init__(self, max_distance_nm: _Optional[float] = ..., min_size: _Optional[int] = ..., min_contact_faces: _Optional[int] = ..., block: _Optional[_Union[Zyx, _Mapping]] = ..., end_points: bool = ...) -> None: ...

class Resegmentation(_message.Message):
    __slots__ = ("radius_nm", "analysis_radius_nm", "max_starts", "exclusion_radius_nm", "min_recovered", "terminate_early", "pairs_per_piece")
    RADIUS_NM_FIELD_NUMBER: _ClassVar[int]
    ANALYSIS_RADIUS_NM_FIELD_NUMBER: _ClassVar[int]
    MAX_STARTS_FIELD_NUMBER: _ClassVar[int]
    EXCLUSION_RADIUS_NM_FIELD_NUMBER: _ClassVar[int]
    MIN_RECOVERED_FIELD_NUMBER: _ClassVar[int]
    TERMINATE_EARLY_FIELD_NUMBER: _ClassVar[int]
    PAIRS_PER_PIECE_FIELD_NUMBER: _ClassVar[int]
    radius_nm: float
    analysis_radius_nm: float
    max_starts: int
    exclusion_radius_nm: float
    min_recovered: float
    terminate_early: bool
    pairs_per_piece: int
    def __init__(self, radius_nm: _Optional[float] = ..., analysis_radius_nm: _Optional[float] = ..., max_starts: _Optional[int] = ..., exclusion_radius_nm: _Optional[float] = ..., min_recovered: _Optional[float] = ..., terminate_early: bool = ..., pairs_per_piece: _Optional[int] = ...) -> None: ...

class ConservativeRule(_message.Message):
    __slots__ = ("min_iou", "min_share", "max_deleted_share")
    MIN_IOU_FIELD_NUMBER: _ClassVar[int]
    MIN_SHARE_FIELD_NUMBER: _ClassVar[int]
    MAX_DELETED_SHARE_FIELD_NUMBER: _ClassVar[int]
    min_iou: float
    min_share: float
    max_deleted_share: float
    def __init__(self, min_iou: _Optional[float] = ..., min_share: _Optional[float] = ..., max_deleted_share: _Optional[float] = ...) -> None: ...

class Neurons(_message.Message):
    __slots__ = ("precomputed", "meshes", "skeletons", "skeletonisation")
    PRECOMPUTED_FIELD_NUMBER: _ClassVar[int]
    MESHES_FIELD_NUMBER: _ClassVar[int]
    SKELETONS_FIELD_NUMBER: _ClassVar[int]
    SKELETONISATION_FIELD_NUMBER: _ClassVar[int]
    precomputed: bool
    meshes: bool
    skeletons: bool
    skeletonisation: Skeletonisation
    def __init__(self, precomputed: bool = ..., meshes: bool = ..., skeletons: bool = ..., skeletonisation: _Optional[_Union[Skeletonisation, _Mapping]] = ...) -> None: ...

class Somas(_message.Message):
    __slots__ = ("table", "volume", "missed_radius_share", "vessels", "outside")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    VOLUME_FIELD_NUMBER: _ClassVar[int]
    MISSED_RADIUS_SHARE_FIELD_NUMBER: _ClassVar[int]
    VESSELS_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    table: str
    volume: VolumeSource
    missed_radius_share: float
    vessels: VolumeSource
    outside: VolumeSource
    def __init__(self, table: _Optional[str] = ..., volume: _Optional[_Union[VolumeSource, _Mapping]] = ..., missed_radius_share: _Optional[float] = ..., vessels: _Optional[_Union[VolumeSource, _Mapping]] = ..., outside: _Optional[_Union[VolumeSource, _Mapping]] = ...) -> None: ...

class Proofreading(_message.Message):
    __slots__ = ("lease_seconds", "reviews", "join_seconds", "cut_seconds", "end_seconds", "min_probability", "suspected_mergers", "loose_ends", "min_length_nm", "host", "port", "upload_bytes", "waiting_pictures", "picture_voxels")
    LEASE_SECONDS_FIELD_NUMBER: _ClassVar[int]
    REVIEWS_FIELD_NUMBER: _ClassVar[int]
    JOIN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CUT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    END_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MIN_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    SUSPECTED_MERGERS_FIELD_NUMBER: _ClassVar[int]
    LOOSE_ENDS_FIELD_NUMBER: _ClassVar[int]
    MIN_LENGTH_NM_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_BYTES_FIELD_NUMBER: _ClassVar[int]
    WAITING_PICTURES_FIELD_NUMBER: _ClassVar[int]
    PICTURE_VOXELS_FIELD_NUMBER: _ClassVar[int]
    lease_seconds: float
    reviews: int
    join_seconds: float
    cut_seconds: float
    end_seconds: float
    min_probability: float
    suspected_mergers: bool
    loose_ends: bool
    min_length_nm: float
    host: str
    port: int
    upload_bytes: int
    waiting_pictures: int
    picture_voxels: int
    def __init__(self, lease_seconds: _Optional[float] = ..., reviews: _Optional[int] = ..., join_seconds: _Optional[float] = ..., cut_seconds: _Optional[float] = ..., end_seconds: _Optional[float] = ..., min_probability: _Optional[float] = ..., suspected_mergers: bool = ..., loose_ends: bool = ..., min_length_nm: _Optional[float] = ..., host: _Optional[str] = ..., port: _Optional[int] = ..., upload_bytes: _Optional[int] = ..., waiting_pictures: _Optional[int] = ..., picture_voxels: _Optional[int] = ...) -> None: ...

class Database(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("architecture", "volumes", "phantoms", "image_mean", "image_stddev", "init_activation", "pad_value", "move_threshold", "segment_threshold", "target_inside", "target_outside", "fov_moves", "partition_thresholds", "min_object_voxels", "centre_clearance_voxels", "batch_size", "optimizer", "total_fovs", "ema_decay", "compute_dtype", "seed", "checkpoint_minutes", "output_weights", "licence", "description", "augmentation", "initial_weights", "voxel_size_nm", "max_moves", "move_window", "read_ahead", "read_threads", "validation", "validation_loss", "checkpoint_steps", "keep_every_steps", "divergence_factor", "tensorboard", "devices", "selection", "memory_gb", "min_class_voxels")
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    PHANTOMS_FIELD_NUMBER: _ClassVar[int]
    IMAGE_MEAN_FIELD_NUMBER: _ClassVar[int]
    IMAGE_STDDEV_FIELD_NUMBER: _ClassVar[int]
    INIT_ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    PAD_VALUE_FIELD_NUMBER: _ClassVar[int]
    MOVE_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TARGET_INSIDE_FIELD_NUMBER: _ClassVar[int]
    TARGET_OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    FOV_MOVES_FIELD_NUMBER: _ClassVar[int]
    PARTITION_THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    MIN_OBJECT_VOXELS_FIELD_NUMBER: _ClassVar[int]
    CENTRE_CLEARANCE_VOXELS_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FOVS_FIELD_NUMBER: _ClassVar[int]
    EMA_DECAY_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_DTYPE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_MINUTES_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AUGMENTATION_FIELD_NUMBER: _ClassVar[int]
    INITIAL_WEIGHTS_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    MAX_MOVES_FIELD_NUMBER: _ClassVar[int]
    MOVE_WINDOW_FIELD_NUMBER: _ClassVar[int]
    READ_AHEAD_FIELD_NUMBER: _ClassVar[int]
    READ_THREADS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_LOSS_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    DIVERGENCE_FACTOR_FIELD_NUMBER: _ClassVar[int]
    TENSORBOARD_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_GB_FIELD_NUMBER: _ClassVar[int]
    MIN_CLASS_VOXELS_FIELD_NUMBER: _ClassVar[int]
    architecture: Architecture
    volumes: _containers.RepeatedCompositeFieldContainer[TrainingVolume]
    phantoms: _containers.RepeatedCompositeFieldContainer[TrainingPhantoms]
    image_mean: float
    image_stddev: float
    init_activation: float
    pad_value: float
    move_threshold: float
    segment_threshold: float
    target_inside: float
    target_outside: float
    fov_moves: int
    partition_thresholds: _containers.RepeatedScalarFieldContainer[float]
    min_object_voxels: int
    centre_clearance_voxels: float
    batch_size: int
    optimizer: Optimizer
    total_fovs: int
    ema_decay: float
    compute_dtype: ComputeDtype
    seed: int
    checkpoint_minutes: float
    output_weights: str
    licence: str
    description: str
    augmentation: Augmentation
    initial_weights: str
    voxel_size_nm: VoxelSizeNm
    max_moves: int
    move_window: Zyx
    read_ahead: int
    read_threads: int
    validation: _containers.RepeatedCompositeFieldContainer[TrainingVolume]
    validation_loss: ValidationLoss
    checkpoint_steps: int
    keep_every_steps: int
    divergence_factor: float
    tensorboard: bool
    devices: int
    selection: Selection
    memory_gb: float
    min_class_voxels: int
    def __init__(self, architecture: _Optional[_Union[Architecture, _Mapping]] = ..., volumes: _Optional[_Iterable[_Union[TrainingVolume, _Mapping]]] = ..., phantoms: _Optional[_Iterable[_Union[TrainingPhantoms, _Mapping]]] = ..., image_mean: _Optional[float] = ..., image_stddev: _Optional[float] = ..., init_activation: _Optional[float] = ..., pad_value: _Optional[float] = ..., move_threshold: _Optional[float] = ..., segment_threshold: _Optional[float] = ..., target_inside: _Optional[float] = ..., target_outside: _Optional[float] = ..., fov_moves: _Optional[int] = ..., partition_thresholds: _Optional[_Iterable[float]] = ..., min_object_voxels: _Optional[int] = ..., centre_clearance_voxels: _Optional[float] = ..., batch_size: _Optional[int] = ..., optimizer: _Optional[_Union[Optimizer, _Mapping]] = ..., total_fovs: _Optional[int] = ..., ema_decay: _Optional[float] = ..., compute_dtype: _Optional[_Union[ComputeDtype, str]] = ..., seed: _Optional[int] = ..., checkpoint_minutes: _Optional[float] = ..., output_weights: _Optional[str] = ..., licence: _Optional[str] = ..., description: _Optional[str] = ..., augmentation: _Optional[_Union[Augmentation, _Mapping]] = ..., initial_weights: _Optional[str] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ..., max_moves: _Optional[int] = ..., move_window: _Optional[_Union[Zyx, _Mapping]] = ..., read_ahead: _Optional[int] = ..., read_threads: _Optional[int] = ..., validation: _Optional[_Iterable[_Union[TrainingVolume, _Mapping]]] = ..., validation_loss: _Optional[_Union[ValidationLoss, _Mapping]] = ..., checkpoint_steps: _Optional[int] = ..., keep_every_steps: _Optional[int] = ..., divergence_factor: _Optional[float] = ..., tensorboard: bool = ..., devices: _Optional[int] = ..., selection: _Optional[_Union[Selection, _Mapping]] = ..., memory_gb: _Optional[float] = ..., min_class_voxels: _Optional[int] = ...) -> None: ...

class ValidationLoss(_message.Message):
    __slots__ = ("fovs", "every_steps", "keep_best")
    FOVS_FIELD_NUMBER: _ClassVar[int]
    EVERY_STEPS_FIELD_NUMBER: _ClassVar[int]
    KEEP_BEST_FIELD_NUMBER: _ClassVar[int]
    fovs: int
    every_steps: int
    keep_best: bool
    def __init__(self, fovs: _Optional[int] = ..., every_steps: _Optional[int] = ..., keep_best: bool = ...) -> None: ...

class Selection(_message.Message):
    __slots__ = ("volumes", "phantoms", "options", "skeletonisation", "min_merger_nm", "most")
    VOLUMES_FIELD_NUMBER: _ClassVar[int]
    PHANTOMS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    SKELETONISATION_FIELD_NUMBER: _ClassVar[int]
    MIN_MERGER_NM_FIELD_NUMBER: _ClassVar[int]
    MOST_FIELD_NUMBER: _ClassVar[int]
    volumes: _containers.RepeatedCompositeFieldContainer[TrainingVolume]
    phantoms: _containers.RepeatedCompositeFieldContainer[TrainingPhantoms]
    options: FloodOptions
    skeletonisation: Skeletonisation
    min_merger_nm: float
    most: int
    def __init__(self, volumes: _Optional[_Iterable[_Union[TrainingVolume, _Mapping]]] = ..., phantoms: _Optional[_Iterable[_Union[TrainingPhantoms, _Mapping]]] = ..., options: _Optional[_Union[FloodOptions, _Mapping]] = ..., skeletonisation: _Optional[_Union[Skeletonisation, _Mapping]] = ..., min_merger_nm: _Optional[float] = ..., most: _Optional[int] = ...) -> None: ...

class Architecture(_message.Message):
    __slots__ = ("name", "depth", "features", "fov", "deltas", "normalisation", "arguments")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DEPTH_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    FOV_FIELD_NUMBER: _ClassVar[int]
    DELTAS_FIELD_NUMBER: _ClassVar[int]
    NORMALISATION_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    depth: int
    features: int
    fov: Zyx
    deltas: Zyx
    normalisation: Normalisation
    arguments: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., depth: _Optional[int] = ..., features: _Optional[int] = ..., fov: _Optional[_Union[Zyx, _Mapping]] = ..., deltas: _Optional[_Union[Zyx, _Mapping]] = ..., normalisation: _Optional[_Union[Normalisation, str]] = ..., arguments: _Optional[_Iterable[str]] = ...) -> None: ...

class TrainingVolume(_message.Message):
    __slots__ = ("raw", "labels", "box", "weight", "mask")
    RAW_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    raw: VolumeSource
    labels: VolumeSource
    box: BoxZyx
    weight: float
    mask: VolumeSource
    def __init__(self, raw: _Optional[_Union[VolumeSource, _Mapping]] = ..., labels: _Optional[_Union[VolumeSource, _Mapping]] = ..., box: _Optional[_Union[BoxZyx, _Mapping]] = ..., weight: _Optional[float] = ..., mask: _Optional[_Union[VolumeSource, _Mapping]] = ...) -> None: ...

class TrainingPhantoms(_message.Message):
    __slots__ = ("seeds", "shape", "voxel_size_nm", "weight", "parameters")
    SEEDS_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    VOXEL_SIZE_NM_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    seeds: _containers.RepeatedScalarFieldContainer[int]
    shape: Zyx
    voxel_size_nm: VoxelSizeNm
    weight: float
    parameters: PhantomParameters
    def __init__(self, seeds: _Optional[_Iterable[int]] = ..., shape: _Optional[_Union[Zyx, _Mapping]] = ..., voxel_size_nm: _Optional[_Union[VoxelSizeNm, _Mapping]] = ..., weight: _Optional[float] = ..., parameters: _Optional[_Union[PhantomParameters, _Mapping]] = ...) -> None: ...

class Optimizer(_message.Message):
    __slots__ = ("learning_rate", "warmup_steps", "decay_share", "gradient_clip", "kind", "beta_1", "beta_2", "momentum", "weight_decay", "schedule", "decay_factor", "decay_steps")
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_STEPS_FIELD_NUMBER: _ClassVar[int]
    DECAY_SHARE_FIELD_NUMBER: _ClassVar[int]
    GRADIENT_CLIP_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    BETA_1_FIELD_NUMBER: _ClassVar[int]
    BETA_2_FIELD_NUMBER: _ClassVar[int]
    MOMENTUM_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    DECAY_FACTOR_FIELD_NUMBER: _ClassVar[int]
    DECAY_STEPS_FIELD_NUMBER: _ClassVar[int]
    learning_rate: float
    warmup_steps: int
    decay_share: float
    gradient_clip: float
    kind: OptimizerKind
    beta_1: float
    beta_2: float
    momentum: float
    weight_decay: float
    schedule: RateSchedule
    decay_factor: float
    decay_steps: int
    def __init__(self, learning_rate: _Optional[float] = ..., warmup_steps: _Optional[int] = ..., decay_share: _Optional[float] = ..., gradient_clip: _Optional[float] = ..., kind: _Optional[_Union[OptimizerKind, str]] = ..., beta_1: _Optional[float] = ..., beta_2: _Optional[float] = ..., momentum: _Optional[float] = ..., weight_decay: _Optional[float] = ..., schedule: _Optional[_Union[RateSchedule, str]] = ..., decay_factor: _Optional[float] = ..., decay_steps: _Optional[int] = ...) -> None: ...

class Augmentation(_message.Message):
    __slots__ = ("reflect", "permute_axes", "contrast", "brightness", "noise", "section_contrast", "section_brightness", "missing_section", "dark_section", "dark_contrast", "out_of_focus_section", "out_of_focus_voxels", "slip", "slip_voxels", "salt_and_pepper", "blur_voxels", "elastic", "elastic_nm", "elastic_grid_nm")
    REFLECT_FIELD_NUMBER: _ClassVar[int]
    PERMUTE_AXES_FIELD_NUMBER: _ClassVar[int]
    CONTRAST_FIELD_NUMBER: _ClassVar[int]
    BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    NOISE_FIELD_NUMBER: _ClassVar[int]
    SECTION_CONTRAST_FIELD_NUMBER: _ClassVar[int]
    SECTION_BRIGHTNESS_FIELD_NUMBER: _ClassVar[int]
    MISSING_SECTION_FIELD_NUMBER: _ClassVar[int]
    DARK_SECTION_FIELD_NUMBER: _ClassVar[int]
    DARK_CONTRAST_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_FOCUS_SECTION_FIELD_NUMBER: _ClassVar[int]
    OUT_OF_FOCUS_VOXELS_FIELD_NUMBER: _ClassVar[int]
    SLIP_FIELD_NUMBER: _ClassVar[int]
    SLIP_VOXELS_FIELD_NUMBER: _ClassVar[int]
    SALT_AND_PEPPER_FIELD_NUMBER: _ClassVar[int]
    BLUR_VOXELS_FIELD_NUMBER: _ClassVar[int]
    ELASTIC_FIELD_NUMBER: _ClassVar[int]
    ELASTIC_NM_FIELD_NUMBER: _ClassVar[int]
    ELASTIC_GRID_NM_FIELD_NUMBER: _ClassVar[int]
    reflect: bool
    permute_axes: bool
    contrast: float
    brightness: float
    noise: float
    section_contrast: float
    section_brightness: float
    missing_section: float
    dark_section: float
    dark_contrast: float
    out_of_focus_section: float
    out_of_focus_voxels: float
    slip: float
    slip_voxels: int
    salt_and_pepper: float
    blur_voxels: float
    elastic: float
    elastic_nm: float
    elastic_grid_nm: float
    def __init__(self, reflect: bool = ..., permute_axes: bool = ..., contrast: _Optional[float] = ..., brightness: _Optional[float] = ..., noise: _Optional[float] = ..., section_contrast: _Optional[float] = ..., section_brightness: _Optional[float] = ..., missing_section: _Optional[float] = ..., dark_section: _Optional[float] = ..., dark_contrast: _Optional[float] = ..., out_of_focus_section: _Optional[float] = ..., out_of_focus_voxels: _Optional[float] = ..., slip: _Optional[float] = ..., slip_voxels: _Optional[int] = ..., salt_and_pepper: _Optional[float] = ..., blur_voxels: _Optional[float] = ..., elastic: _Optional[float] = ..., elastic_nm: _Optional[float] = ..., elastic_grid_nm: _Optional[float] = ...) -> None: ...

class Run(_message.Message):
    __slots__ = ("progress", "workers", "scheduler", "retries")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    SCHEDULER_FIELD_NUMBER: _ClassVar[int]
    RETRIES_FIELD_NUMBER: _ClassVar[int]
    progress: bool
    workers: int
    scheduler: str
    retries: int
    def __init__(self, progress: bool = ..., workers: _Optional[int] = ..., scheduler: _Optional[str] = ..., retries: _Optional[int] = ...) -> None: ...
