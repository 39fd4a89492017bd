"""What an answer is worth: by how much it is expected to raise the expected run length, in nm.

With l the skeleton length of a neuron and L that of all, a neuron adds l^2 / L to the expected run length,
and a merged one, in which two cells are one segment, adds nothing (`evaluation.erl`). So joining l1 and l2
rightly raises it by 2 l1 l2 / L, and cutting a neuron into l1 and l2 that belong to different cells by
(l1^2 + l2^2) / L. Each is weighed by how probable it is.

What lies beyond a loose end is not known. It is what lay beyond other ends of objects as long, as the merges
of the same volume tell (`Beyond`).

Inputs: lengths in nm, probabilities. Outputs: nm. All functions take numbers or arrays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Numbers = TypeVar("Numbers", float, np.ndarray)

_BINS = 4
# An estimate from fewer merges than this is that of all lengths together.
_FEWEST = 8
_PRIOR_ANSWERS = 4.0
_PRIOR_GOES_ON = 0.25


def join_value(probability: Numbers, first_nm: Numbers, second_nm: Numbers, total_nm: float) -> Numbers:
    """Of joining two neurons.

    Args:
      probability: that they are one cell.
      first_nm, second_nm: their lengths.
      total_nm: of all neurons, above 0.
    """
    return probability * 2 * first_nm * second_nm / total_nm


def cut_value(probability: Numbers, first_nm: Numbers, second_nm: Numbers, total_nm: float) -> Numbers:
    """Of cutting a neuron in two.

    Args:
      probability: that the two parts are different cells.
      first_nm, second_nm: lengths of the parts.
      total_nm: of all neurons, above 0.
    """
    return probability * (first_nm**2 + second_nm**2) / total_nm


def exchange_value(
    probability: float, moved_nm: float, from_nm: float, to_nm: float, total_nm: float
) -> float:
    """Of taking a part from one neuron and giving it to another, as a refused merge does that is right.

    The neuron that loses it was a merger, so all that is left of it counts from now on; the one that gains it
    is longer.

    Args:
      probability: that the part belongs to the other one.
      moved_nm: length of the part.
      from_nm: length of the neuron it is in, itself included.
      to_nm: length of the neuron it is given to.
      total_nm: of all neurons, above 0.
    """
    left_nm = max(from_nm - moved_nm, 0.0)
    return probability * (left_nm**2 + moved_nm**2 + 2 * moved_nm * to_nm) / total_nm


def refusal_probability(refused: float, cut: float) -> float:
    """How probable it is that a refused merge is right, and the one that was accepted instead is wrong.

    Both together join two cell bodies, hence exactly one of them is taken to be wrong.

    Args:
      refused: probability of the merge that was refused, by itself.
      cut: probability of the accepted merge that is the cheapest alternative.
    """
    ours, theirs = refused * (1 - cut), cut * (1 - refused)
    return ours / (ours + theirs) if ours + theirs > 0 else 0.5


@dataclass(frozen=True)
class Beyond:
    """What lies beyond the end of an object, learnt from merges.

    Attributes:
      limits_nm: (k - 1,) ascending: the longest objects of each class but the last.
      mean_nm: (k,) mean length beyond, of the objects of each class.
      goes_on: the share of ends beyond which there is anything at all.
    """

    limits_nm: np.ndarray
    mean_nm: np.ndarray
    goes_on: float

    def expected_nm(self, length_nm: float) -> float:
        """The length that lies beyond an end of an object which does go on.

        Args:
          length_nm: of the object.
        """
        return float(self.mean_nm[np.searchsorted(self.limits_nm, length_nm)])


def learn_beyond(
    here_nm: np.ndarray, beyond_nm: np.ndarray, otherwise_nm: float, went_on: int = 0, ended: int = 0
) -> Beyond:
    """Learns what lies beyond ends.

    Args:
      here_nm: (n,) lengths of objects on one side of accepted merges.
      beyond_nm: (n,) lengths on their other side.
      otherwise_nm: the mean where there are no merges to learn from.
      went_on, ended: answers of people about loose ends; a quarter is taken to go on until there are some.
    """
    share = (went_on + _PRIOR_ANSWERS * _PRIOR_GOES_ON) / (went_on + ended + _PRIOR_ANSWERS)
    if here_nm.size < _FEWEST:
        mean = float(beyond_nm.mean()) if here_nm.size else otherwise_nm
        return Beyond(np.zeros(0), np.array([mean]), share)
    bins = min(_BINS, here_nm.size // _FEWEST)
    limits = np.quantile(here_nm, np.arange(1, bins) / bins)
    there, classes = np.unique(np.searchsorted(limits, here_nm), return_inverse=True)
    means = np.bincount(classes, weights=beyond_nm) / np.bincount(classes)
    # Without the classes that nothing is in, each of the others reaches up to the next.
    return Beyond(limits[there[:-1]], means, share)
