"""All that a running server holds of a project; the routes get it from here."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from configs import ConfigView
from proofreading.lengths import Lengths, lengths_of
from proofreading.pictures import PictureQueue, open_pictures
from proofreading.queue import TaskQueue
from proofreading.queue_opening import open_queue
from proofreading.server.guards import Networks, known_hosts
from proofreading.server.layers import SEGMENTATION, Layer, open_layers
from proofreading.server.limits import Limits, RateLimiter
from proofreading.server.metrics import Metrics
from proofreading.server.previews import Previews
from proofreading.server.sessions import Sessions
from proofreading.server.supervoxel_meshes import supervoxel_meshes
from proofreading.state import ProofreadingState, open_state

FOLDER = "proofreading"


@dataclass
class ServedProject:
    """A project that is served; made by `open_project`.

    Attributes:
      config: of the project.
      state: its neurons and the log of edits.
      queue: of its tasks.
      lengths: of its supervoxels.
      layers: what the viewer shows, by name.
      sessions: who is logged in.
      hosts: names under which the server is asked for.
      limits: what it puts up with.
      limiter: counts requests.
      metrics: figures of requests.
      previews: of splits of supervoxels, as layers.
      proxies: networks of proxies that say truly from where a request comes.
    """

    config: ConfigView
    state: ProofreadingState
    queue: TaskQueue
    lengths: Lengths
    layers: dict[str, Layer]
    sessions: Sessions
    hosts: frozenset[str]
    limits: Limits = field(default_factory=Limits)
    limiter: RateLimiter = field(default_factory=RateLimiter)
    metrics: Metrics = field(default_factory=Metrics)
    previews: Previews = field(default_factory=Previews)
    proxies: Networks = ()

    @property
    def folder(self) -> Path:
        """Where the server keeps what is its own."""
        return folder_of(self.config)

    @cached_property
    def pictures(self) -> PictureQueue:
        """Pictures that people had segmented, or wait for."""
        return open_pictures(self.config)

    @cached_property
    def hashing(self) -> ThreadPoolExecutor:
        """Checks logins one after the other, a few at once."""
        return ThreadPoolExecutor(self.limits.logins_at_once, "login")

    def length_nm(self, neuron: int) -> float:
        """The length of a neuron: those of its supervoxels added up. Raises UnknownError.

        A part of a supervoxel that was split is not measured; it has the share of the length that it has of
        the voxels, as in the queue.
        """
        origins, shares = self.state.shares_of(self.state.supervoxels_of(neuron))
        return float((self.lengths.of(origins) * shares).sum())

    def now(self) -> dict[str, int | bool]:
        """How far the log has come, for pages to see that something of theirs has changed, and whether a
        newer agglomeration waits for the server to be started again."""
        return {
            "last_edit": self.state.last_edit,
            "last_voxel_edit": self.state.last_voxel_edit,
            "newer_agglomeration": self.state.has_newer_run,
        }

    def close(self) -> None:
        """Ends it. Leases stay: whoever has a task goes on after a restart, or the lease ends."""
        if "hashing" in vars(self):
            self.hashing.shutdown(wait=False)
        try:
            # Opened by whoever asked for it first, if anybody did.
            if "pictures" in vars(self):
                self.pictures.close()
        finally:
            self.state.close()


def folder_of(config: ConfigView) -> Path:
    """Where proofreading keeps its files.

    Args:
      config: of the project.
    """
    return Path(config.output_dir) / FOLDER


def open_project(
    config: ConfigView,
    *,
    hosts: frozenset[str] | None = None,
    limits: Limits | None = None,
    proxies: Networks = (),
    meshes: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> ServedProject:
    """Opens all that a server needs of a project.

    Args:
      config: of the project, with `agglomeration` and a finished run of it.
      hosts: names of the server; None = that of the config, and the loopback.
      limits: what it puts up with; None = the defaults, with the uploads of the config.
      proxies: networks of proxies that say truly from where a request comes.
      meshes: make meshes of the supervoxels, unless they are there.
      tell: takes a line about anything that is worth knowing.

    Raises:
      ReconstructionError: there is no finished agglomeration, or something of the project cannot be opened.
    """
    section = config.proofreading
    layers = open_layers(config, tell)
    state = open_state(config)
    try:
        if meshes:
            whole = layers[SEGMENTATION]
            made = supervoxel_meshes(config, state.database, whole, folder_of(config), tell)
            layers[SEGMENTATION] = replace(whole, meshes=made)
        return ServedProject(
            config,
            state,
            open_queue(config, state),
            lengths_of(config, state.database),
            layers,
            Sessions(state.database),
            known_hosts(section.host) if hosts is None else hosts,
            Limits(upload_bytes=section.upload_bytes) if limits is None else limits,
            proxies=proxies,
        )
    except BaseException:
        state.close()
        raise


async def project_of(request: Request) -> ServedProject:
    """The project that a request is about."""
    project: ServedProject = request.app.state.project
    return project


Project = Annotated[ServedProject, Depends(project_of)]
