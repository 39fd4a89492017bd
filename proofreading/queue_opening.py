"""The queue of a project, opened with the tasks of the agglomeration that counts."""

from __future__ import annotations

import time

from configs import ConfigView
from proofreading import queue_figures
from proofreading.agenda import Agenda
from proofreading.decided import learnt_beyond, read_decisions
from proofreading.lengths import lengths_of
from proofreading.queue import TaskQueue
from proofreading.queue_views import Clock
from proofreading.state import ProofreadingState
from proofreading.task_sources import find_candidates
from proofreading.timing import ExpectedSeconds


def open_queue(config: ConfigView, state: ProofreadingState, clock: Clock = time.time) -> TaskQueue:
    """The queue of a project, brought up to date with the agglomeration that counts.

    Lengths of supervoxels are measured where that was not done before.

    Args:
      config: of the project, with `agglomeration`.
      state: of its neurons.
      clock: the time, seconds since the epoch.

    Raises:
      ReconstructionError: there is no finished agglomeration, or voxels or database cannot be used.
    """
    database, section = state.database, config.proofreading
    lengths, run = lengths_of(config, database), state.run
    decisions = read_decisions(database, run, lengths, state.base.changes)
    with database.reading() as connection:
        beyond = learnt_beyond(decisions, *queue_figures.ends_that_went_on(connection))
    found = find_candidates(database, run, decisions, lengths, section, beyond)
    seconds, least = ExpectedSeconds.of(section), section.min_probability
    agenda = Agenda(state, lengths, seconds, beyond, min_probability=least)
    return TaskQueue(state, agenda, section, found, run, clock)
