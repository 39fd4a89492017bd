"""proofread serve: the page of a project, until an interrupt.

  proofread serve --config C [--host H] [--port P] [--allowed_host NAME] [--trusted_proxy ADDRESS]
      prints a link that logs in whoever opens it; the log is proofreading/server.log in the output directory

At another host than the loopback the page is reachable from other machines, without encryption: put a proxy
with TLS in front of it and name it with --allowed_host, and its address with --trusted_proxy, so that failed
logins count against those who make them and not against all who come through it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from commands._entry import caution, no_arguments
from configs import load_config

FLAGS = flags.FlagValues()
_CONFIG = flags.DEFINE_string("config", None, "path or shipped name of the config", flag_values=FLAGS)
_HOST = flags.DEFINE_string("host", None, "address to listen at; overrides the config", flag_values=FLAGS)
_PORT = flags.DEFINE_integer(
    "port",
    None,
    "port to listen at, 0 = any that is free; overrides the config",
    lower_bound=0,
    upper_bound=65535,
    flag_values=FLAGS,
)
_ALLOWED = flags.DEFINE_multi_string(
    "allowed_host", [], "further name of the server, such as that of a proxy before it", flag_values=FLAGS
)
_PROXIES = flags.DEFINE_multi_string(
    "trusted_proxy",
    [],
    "address or network of a proxy, which alone reaches the server and says from where in X-Forwarded-For",
    flag_values=FLAGS,
)
_MESHES = flags.DEFINE_bool(
    "meshes", True, "make surfaces of the supervoxels, once; --nomeshes goes without", flag_values=FLAGS
)


def main(rest: Sequence[str]) -> None:
    """Runs the subcommand; its flags have been read."""
    no_arguments(rest)
    if not _CONFIG.value:
        raise flags.Error("serve needs --config; see --help")
    config = load_config(_CONFIG.value, require=("agglomeration",))
    section = config.proofreading
    if _HOST.value is not None:
        section = section.replace(host=_HOST.value)
    if _PORT.value is not None:
        section = section.replace(port=_PORT.value)
    from proofreading.server.serving import serve

    serve(
        config.replace(proofreading=section),
        allowed_hosts=_ALLOWED.value,
        trusted_proxies=_PROXIES.value,
        meshes=_MESHES.value,
        tell=_tell,
        warn=caution,
    )


def _tell(line: str) -> None:
    print(f"open {line}")
    sys.stdout.flush()
