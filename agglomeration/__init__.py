"""Which supervoxels are one neuron: decision points, resegmentation, scores, the soma constraint, neurons."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agglomeration.calibrating import calibrate
    from agglomeration.calibration import Calibration, load_calibration
    from agglomeration.candidate_pairs import CandidatePairs
    from agglomeration.candidates import find_candidates
    from agglomeration.database import Database, open_database
    from agglomeration.decision_points import find_decision_points
    from agglomeration.end_points import EndPoints, find_end_points
    from agglomeration.errors import AgglomerationError
    from agglomeration.explanations import Explanation, explain, explain_neuron
    from agglomeration.flags import Flag, find_flags
    from agglomeration.google_resegmentation import run_resegmentation_request
    from agglomeration.merge_graph import components
    from agglomeration.neurons import NeuronMap, NeuronTable
    from agglomeration.project import Agglomerated, run_agglomeration
    from agglomeration.reliability import (
        Reliability,
        precision_of_accepted,
        reliability_of,
        write_reliability_plot,
    )
    from agglomeration.resegmentation import PairFloods, resegment_end, resegment_pair
    from agglomeration.scoring import PairScores, ScoreTable, conservative, score_pair
    from agglomeration.soma_constraint import ConstrainedMerges, Refusals, constrained_merges
    from agglomeration.somas import SomaPlaces, find_somas
    from agglomeration.training import fit

__all__ = [
    "Agglomerated",
    "AgglomerationError",
    "Calibration",
    "CandidatePairs",
    "ConstrainedMerges",
    "Database",
    "EndPoints",
    "Explanation",
    "Flag",
    "NeuronMap",
    "NeuronTable",
    "PairFloods",
    "PairScores",
    "Refusals",
    "Reliability",
    "ScoreTable",
    "SomaPlaces",
    "calibrate",
    "components",
    "conservative",
    "constrained_merges",
    "explain",
    "explain_neuron",
    "find_candidates",
    "find_decision_points",
    "find_end_points",
    "find_flags",
    "find_somas",
    "fit",
    "load_calibration",
    "open_database",
    "precision_of_accepted",
    "reliability_of",
    "resegment_end",
    "resegment_pair",
    "run_agglomeration",
    "run_resegmentation_request",
    "score_pair",
    "write_reliability_plot",
]

# A name's module is loaded when the name is first used: `import agglomeration` stays light.
_HOMES = {
    "Agglomerated": "project",
    "AgglomerationError": "errors",
    "Calibration": "calibration",
    "CandidatePairs": "candidate_pairs",
    "ConstrainedMerges": "soma_constraint",
    "Database": "database",
    "EndPoints": "end_points",
    "Explanation": "explanations",
    "Flag": "flags",
    "NeuronMap": "neurons",
    "NeuronTable": "neurons",
    "PairFloods": "resegmentation",
    "PairScores": "scoring",
    "Refusals": "soma_constraint",
    "Reliability": "reliability",
    "ScoreTable": "scoring",
    "SomaPlaces": "somas",
    "calibrate": "calibrating",
    "components": "merge_graph",
    "conservative": "scoring",
    "constrained_merges": "soma_constraint",
    "explain": "explanations",
    "explain_neuron": "explanations",
    "find_candidates": "candidates",
    "find_decision_points": "decision_points",
    "find_end_points": "end_points",
    "find_flags": "flags",
    "find_somas": "somas",
    "fit": "training",
    "load_calibration": "calibration",
    "open_database": "database",
    "precision_of_accepted": "reliability",
    "reliability_of": "reliability",
    "resegment_end": "resegmentation",
    "resegment_pair": "resegmentation",
    "run_agglomeration": "project",
    "run_resegmentation_request": "google_resegmentation",
    "score_pair": "scoring",
    "write_reliability_plot": "reliability",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'agglomeration' has no attribute '{name}'")
    return getattr(import_module(f"agglomeration.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
