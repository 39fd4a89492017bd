"""Volumes with a channel axis: which axis it is, and one channel of it.

A volume has the axes z, y, x. Class predictions and shifts are stored with several channels, of which one
is opened at a time (`volumes.opening.open_channel`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from volumes.errors import NoChannelError

if TYPE_CHECKING:
    import tensorstore as ts

_BARE = ("c", "z", "y", "x")


def require_channel(spec: str, channel: int, count: int) -> None:
    """Refuse a channel that is not there.

    Args:
        spec: the SPEC, for messages.
        channel: counted from 0.
        count: how many there are.

    Raises:
        NoChannelError: says how many there are.
    """
    if not 0 <= channel < count:
        there = "one channel, 0" if count == 1 else f"{count} channels, 0 to {count - 1}"
        raise NoChannelError(f"'{spec}' has no channel {channel}; it has {there}")


def channel_view(
    store: ts.TensorStore, axes: Sequence[str], channel: int, spec: str
) -> tuple[ts.TensorStore, tuple[str, ...]]:
    """One channel of an array.

    Args:
        store: an array of any rank.
        axes: the name of each of its axes, "c" being the channels; empty where they are not named: four are
            then c, z, y, x and three z, y, x.
        channel: counted from 0.
        spec: the SPEC, for messages.

    Returns:
        The array without its channel axis, and the names of the axes left (empty where there were none).

    Raises:
        NoChannelError: no such channel.
    """
    names = tuple(axes) or _BARE[-store.rank :]
    if "c" not in names or len(names) != store.rank:
        require_channel(spec, channel, 1)
        return store, tuple(axes)
    axis = names.index("c")
    require_channel(spec, channel, int(store.shape[axis]))
    view = store[(slice(None),) * axis + (channel,)]
    return view, tuple(name for name in axes if name != "c")
