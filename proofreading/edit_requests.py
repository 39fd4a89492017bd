"""Who asks for an edit, and what a request has to be like before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proofreading.edits import Edit, Kind
from proofreading.errors import ConflictError, ProofreadingError

_LONGEST_NAME = 200
_LONGEST_REASON = 10_000


@dataclass(frozen=True)
class Request:
    """Who asks for what kinds of edit, and on which conditions.

    Attributes:
      kinds: that it may become.
      person: who asks.
      client_key: chosen anew for every edit.
      expected: versions of neurons that the decision was made on, by ID.
      reason: why, in the person's words.
      force: done although a neuron gets two cell bodies.
      task: that it answers.
    """

    kinds: tuple[Kind, ...]
    person: str
    client_key: str
    expected: Mapping[int, int]
    reason: str
    force: bool
    task: int | None


def require_words(about: Request) -> None:
    """Refuses names and words that the log does not hold.

    Args:
      about: the request.

    Raises:
      ProofreadingError: one is empty, too long, or has a character 0.
    """
    for name, text in (("person", about.person), ("client key", about.client_key)):
        if not 0 < len(text) <= _LONGEST_NAME or "\0" in text:
            raise ProofreadingError(f"the {name} of an edit needs 1 to {_LONGEST_NAME} characters")
    if len(about.reason) > _LONGEST_REASON or "\0" in about.reason:
        raise ProofreadingError(
            f"the reason of an edit may have {_LONGEST_REASON} characters, none of them 0"
        )


def require_same(about: Request, edit: Edit, *, is_same_change: bool) -> Edit:
    """The edit that was done under a request's client key, if it is the same request.

    The key of an answer's edit follows from the answer: nobody chooses it, and what is to be done may be
    proposed anew by a later agglomeration.

    Args:
      about: the request.
      edit: of its key.
      is_same_change: it does what is asked for.

    Raises:
      ConflictError: another person, or another edit, used the key.
    """
    is_same = (edit.person, edit.task) == (about.person, about.task) and edit.kind in about.kinds
    if not is_same or not (is_same_change or about.task is not None):
        raise ConflictError(
            f"client key '{about.client_key}' was used for edit {edit.id}; choose another for each edit"
        )
    return edit
