"""How `evaluate` carries a comparison out; `commands._comparison_files` writes what is found."""

from __future__ import annotations

import hashlib
import json

from commands._comparison_files import write_results
from commands._comparison_subject import SKELETONS, Subject
from evaluation.comparison import StageFigures, Tell, compare_stage, prepare_truth
from evaluation.result_files import read_metrics
from evaluation.true_skeletons import Keep
from jobs.pieces import require_writable_file


def carry_out(subject: Subject, tell: Tell) -> list[StageFigures]:
    """Compares all stages, and writes the results unless there is no place for them.

    Args:
      subject: what is compared.
      tell: called with lines about what is allowed but worth knowing.

    Raises:
      ReconstructionError: anything that cannot be compared, read or written.
    """
    if subject.output is not None:
        read_metrics(subject.output)
        require_writable_file(subject.output)
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        tell(line)

    for line in subject.notes:
        note(line)
    states = _states(subject)
    truth = prepare_truth(
        subject.labels,
        subject.box,
        subject.last.voxel_size_nm,
        subject.settings,
        clip=subject.clip,
        extent=subject.last.bounds,
        memory_gb=subject.memory_gb,
        keep=_keep(subject),
        tell=note,
        display=subject.display,
    )
    stages = [
        compare_stage(
            name,
            volume,
            truth,
            subject.box,
            subject.settings,
            memory_gb=subject.memory_gb,
            display=subject.display,
        )
        for name, volume in subject.segmentations.items()
    ]
    for line in stages[-1].notes:
        note(line)
    if subject.output is not None:
        write_results(subject, truth, stages, notes, states)
    return stages


def _states(subject: Subject) -> dict[str, str]:
    """By the SPECs of local volumes, digests that change when their files do; not with where these lie."""
    from inference.freshness import state_of_volume

    volumes = (*subject.segmentations.values(), subject.labels, subject.raw)
    found = {}
    for spec in {each.spec for each in volumes if each is not None}:
        # Sizes and times of change, without paths and inodes.
        state = [row[2:] if len(row) == 4 else row for row in state_of_volume(spec)]
        if state:
            found[spec] = hashlib.blake2b(json.dumps(state).encode(), digest_size=8).hexdigest()
    return found


def _keep(subject: Subject) -> Keep | None:
    """Where skeletons of the labels are kept, and the state of these."""
    if subject.output is None or subject.labels is None:
        return None
    from inference.freshness import state_of_volume

    spec = subject.labels.spec
    state = state_of_volume(spec)
    return Keep(subject.output.parent / SKELETONS, [spec, state] if state else None)
