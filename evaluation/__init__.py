"""How good a result is: figures against labels and skeletons, errors as data, the report."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evaluation.best_overlap import BestOverlaps, best_ious
    from evaluation.blockwise import common_box, compare_volumes
    from evaluation.boundaries import without_boundaries
    from evaluation.cleft_volumes import CleftMarks, compare_clefts
    from evaluation.clefts import cleft_distances, cremi_clefts
    from evaluation.comparison import StageFigures, evaluate, evaluation_settings
    from evaluation.detected_errors import DetectedError, detect_errors, read_errors, write_errors
    from evaluation.erl import RunLengths, erl_metrics, neuron_table, run_lengths
    from evaluation.errors import EvaluationError
    from evaluation.instances import InstanceMatches, compare_instances, instance_metrics, match_instances
    from evaluation.node_labels import NodeLabels, look_up_nodes, node_labels_of
    from evaluation.overlap import (
        AdaptedRand,
        ContingencyTable,
        adapted_rand,
        contingency,
        coverage,
        merge_tables,
        overlap_metrics,
        table_metrics,
        variation_of_information,
    )
    from evaluation.ranking import (
        ScoreHistogram,
        average_precision,
        class_average_precisions,
        compare_scores,
        score_histogram,
    )
    from evaluation.teasar import skeletonise, skeletonise_volume
    from evaluation.voxelwise import ConfusionMatrix, class_metrics, compare_classes, confusion_matrix

__all__ = [
    "AdaptedRand",
    "BestOverlaps",
    "CleftMarks",
    "ConfusionMatrix",
    "ContingencyTable",
    "DetectedError",
    "EvaluationError",
    "InstanceMatches",
    "NodeLabels",
    "RunLengths",
    "ScoreHistogram",
    "StageFigures",
    "adapted_rand",
    "average_precision",
    "best_ious",
    "class_average_precisions",
    "class_metrics",
    "cleft_distances",
    "common_box",
    "compare_classes",
    "compare_clefts",
    "compare_instances",
    "compare_scores",
    "compare_volumes",
    "confusion_matrix",
    "contingency",
    "coverage",
    "cremi_clefts",
    "detect_errors",
    "erl_metrics",
    "evaluate",
    "evaluation_settings",
    "instance_metrics",
    "look_up_nodes",
    "match_instances",
    "merge_tables",
    "neuron_table",
    "node_labels_of",
    "overlap_metrics",
    "read_errors",
    "run_lengths",
    "score_histogram",
    "skeletonise",
    "skeletonise_volume",
    "table_metrics",
    "variation_of_information",
    "without_boundaries",
    "write_errors",
]

# A name's module is loaded when the name is first used: `import evaluation` stays light.
_HOMES = {
    "AdaptedRand": "overlap",
    "BestOverlaps": "best_overlap",
    "CleftMarks": "cleft_volumes",
    "ConfusionMatrix": "voxelwise",
    "ContingencyTable": "overlap",
    "DetectedError": "detected_errors",
    "EvaluationError": "errors",
    "InstanceMatches": "instances",
    "NodeLabels": "node_labels",
    "RunLengths": "erl",
    "ScoreHistogram": "ranking",
    "StageFigures": "comparison",
    "adapted_rand": "overlap",
    "average_precision": "ranking",
    "best_ious": "best_overlap",
    "class_average_precisions": "ranking",
    "class_metrics": "voxelwise",
    "cleft_distances": "clefts",
    "common_box": "blockwise",
    "compare_classes": "voxelwise",
    "compare_clefts": "cleft_volumes",
    "compare_instances": "instances",
    "compare_scores": "ranking",
    "compare_volumes": "blockwise",
    "confusion_matrix": "voxelwise",
    "contingency": "overlap",
    "coverage": "overlap",
    "cremi_clefts": "clefts",
    "detect_errors": "detected_errors",
    "erl_metrics": "erl",
    "evaluate": "comparison",
    "evaluation_settings": "comparison",
    "instance_metrics": "instances",
    "look_up_nodes": "node_labels",
    "match_instances": "instances",
    "merge_tables": "overlap",
    "neuron_table": "erl",
    "node_labels_of": "node_labels",
    "overlap_metrics": "overlap",
    "read_errors": "detected_errors",
    "run_lengths": "erl",
    "score_histogram": "ranking",
    "skeletonise": "teasar",
    "skeletonise_volume": "teasar",
    "table_metrics": "overlap",
    "variation_of_information": "overlap",
    "without_boundaries": "boundaries",
    "write_errors": "detected_errors",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'evaluation' has no attribute '{name}'")
    return getattr(import_module(f"evaluation.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
