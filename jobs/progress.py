"""How far a long piece of work is: one bar with rate, time left and the figures of the stage.

The bar is drawn by tqdm on standard error, and only on a terminal: in a log file or a test it stays quiet.
Counting goes on either way, so the figures at the end of a run come from the same object.
"""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TextIO

from tqdm import tqdm


class Progress:
    """A counter of done units that can show itself.

        with Progress(total=mask.size, unit="voxel", description="flood") as progress:
            progress.advance(n_filled)
            progress.note(fov_per_s=84.7)

    Args:
        total: the number of units there are; None when unknown (then no time left is shown).
        unit: what is counted, in the singular.
        description: short name of the stage, shown before the bar.
        done: units that an earlier run has done already.
        enabled: True and False force the bar on and off; None shows it on a terminal only.
        stream: where the bar is drawn; standard error by default.
    """

    def __init__(
        self,
        total: int | None,
        unit: str,
        *,
        description: str = "",
        done: int = 0,
        enabled: bool | None = None,
        stream: TextIO | None = None,
    ) -> None:
        stream = sys.stderr if stream is None else stream
        shown = stream.isatty() if enabled is None else enabled
        self._done = done
        self._bar = tqdm(
            total=total,
            initial=done,
            unit=f" {unit}",
            desc=description or None,
            disable=not shown,
            file=stream,
            unit_scale=True,
            dynamic_ncols=True,
            smoothing=0.05,
        )

    @property
    def done(self) -> int:
        """Units counted so far."""
        return self._done

    def advance(self, units: int = 1) -> None:
        """Count `units` more as done."""
        self._done += units
        self._bar.update(units)

    def note(self, **figures: float | int | str) -> None:
        """Show named figures after the rate; they replace those noted before."""
        self._bar.set_postfix(figures, refresh=False)

    def write(self, line: str) -> None:
        """Print a line above the bar without tearing it; printed on standard error without a bar too."""
        tqdm.write(line, file=self._bar.fp if not self._bar.disable else sys.stderr)

    def close(self) -> None:
        """Leave the bar as it stands; counting on afterwards shows nothing."""
        self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
