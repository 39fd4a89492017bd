"""Runs the server until it is told to end.

One server works on a project at a time. It ends on an interrupt or SIGTERM: no new connection is taken,
requests that are under way are answered, and the database is closed. Sessions and leases outlive it, so that
pages go on with their tasks when it is started again.
"""

from __future__ import annotations

import getpass
import re
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import uvicorn

from agglomeration.database import Database
from configs import ConfigView
from inference.outputs import require_writable
from jobs.lock import only_run_in
from proofreading.errors import ProofreadingError
from proofreading.server import accounts
from proofreading.server.app import make_app
from proofreading.server.guards import is_loopback, known_hosts, trusted
from proofreading.server.logs import close_log, event, open_log
from proofreading.server.restoring import finish_restore
from proofreading.server.served import folder_of, open_project

_FINISHING_S = 10
_WAITING = 256
_ANY = {"", "0.0.0.0", "::"}
Tell = Callable[[str], None]


def serve(
    config: ConfigView,
    *,
    allowed_hosts: Iterable[str] = (),
    trusted_proxies: Iterable[str] = (),
    meshes: bool = True,
    tell: Tell = print,
    warn: Tell = print,
) -> None:
    """Serves a project until an interrupt or SIGTERM.

    Args:
      config: of the project; `proofreading.host` and `port` say where (port 0: any that is free).
      allowed_hosts: further names under which the server is asked for, such as that of a proxy.
      trusted_proxies: addresses of proxies whose X-Forwarded-For counts.
      meshes: make meshes of the supervoxels, unless they are there.
      tell: takes a line for the person who started it: the link to log in by.
      warn: takes a line about anything that is allowed but probably not meant.

    Raises:
      ReconstructionError: nothing to serve, another server of the project, or an address that is taken.
    """
    section, folder = config.proofreading, folder_of(config)
    proxies = trusted(trusted_proxies)
    require_writable(folder)
    with only_run_in(folder), _logged(folder / "server.log"), _listening(section.host, section.port) as bound:
        port = bound.getsockname()[1]
        finish_restore(config)
        hosts = known_hosts(section.host, allowed_hosts)
        project = open_project(config, hosts=hosts, proxies=proxies, meshes=meshes, tell=warn)
        try:
            if not is_loopback(section.host):
                warn(
                    f"the page is reachable from other machines ({section.host}), and what is sent is not "
                    "encrypted; put a proxy with TLS in front of it, and name it with --allowed_host"
                )
            tell(_link(section.host, port, own_token(project.state.database)))
            event("start", host=section.host, port=port, project=config.name)
            with _ended_by_signals():
                _server(make_app(project)).run(sockets=[bound])
        finally:
            project.close()
            event("end")


def own_token(database: Database) -> str:
    """A new token of the person who starts the server, who is an admin unless they were given a role.

    Args:
      database: of the project.
    """
    try:
        name = re.sub(r"[^\w.@+-]", "_", getpass.getuser())[:64]
    except (KeyError, OSError):  # A user without a name, as in some containers.
        name = "admin"
    if name not in {person.name for person in accounts.list_persons(database)}:
        accounts.add_person(database, name, "admin")
    return accounts.new_token(database, name, ends_sessions=False)


def _server(app: object) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            app,  # type: ignore[arg-type]
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=_FINISHING_S,
        )
    )


def _link(host: str, port: int, token: str) -> str:
    """Where the page is; the part after # stays in the browser and is in no log."""
    name = "127.0.0.1" if host in _ANY else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/#token={token}"


@contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that takes connections already, so that the link works as soon as it is read.

    Raises:
      ProofreadingError: the address is taken, or none of this machine's.
    """
    with ExitStack() as stack:
        try:
            wanted = socket.SOCK_STREAM, socket.IPPROTO_TCP
            family, _, _, _, address = socket.getaddrinfo(host or None, port, 0, *wanted)[0]
            # Without the protocol's number asyncio lets small answers wait for 40 ms (Nagle's algorithm).
            bound = stack.enter_context(socket.socket(family, *wanted))
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(_WAITING)
        except OSError as error:
            raise ProofreadingError(
                f"cannot listen at {host}:{port} ({error.strerror}); choose another proofreading.host or port"
            ) from error
        yield bound


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    handler = open_log(path)
    try:
        yield
    finally:
        close_log(handler)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Keeps the process alive after the server has ended on a signal, which it sends again then."""
    earlier = {}
    with suppress(ValueError):  # Not in the main thread.
        for number in (signal.SIGINT, signal.SIGTERM):
            earlier[number] = signal.signal(number, lambda *_: None)
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
