"""What every request has to pass before anything else, and what every answer carries.

A browser sends a person's cookie with whatever page it shows. Therefore:

- *Host.* Only names that the server knows of are answered, and addresses written as numbers: a page elsewhere
  whose name is made to point at this machine (DNS rebinding) has another name.
- *Origin.* A request that another page caused is refused, and one that may change something needs the header
  `X-Requested-By: proofread`, which no form and no other page can send.
- *Address.* Behind a proxy that is named all requests come from its address; it says from which they came
  to it (`X-Forwarded-For`), which counts from such a proxy alone.
- *Rate.* Every address has a bucket (`proofreading.server.limits`).

Answers have a content-security policy that lets nothing be loaded from elsewhere, and Neuroglancer run.
Sources: https://owasp.org/www-community/attacks/csrf, https://www.w3.org/TR/CSP3/,
https://www.w3.org/TR/fetch-metadata/
"""

from __future__ import annotations

import ipaddress
import math
import socket
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proofreading.errors import ProofreadingError
from proofreading.server.limits import Limits, RateLimiter
from proofreading.server.refusals import Refused, refusal

_READING = {"GET", "HEAD", "OPTIONS"}
_OUR_PAGES = {"same-origin", "none"}
REQUESTED_BY = "proofread"
Networks = tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "img-src 'self' data: blob:",
        "style-src 'self' 'unsafe-inline'",
        "connect-src 'self' blob: data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'self'",
    )
)
# For the scripts of the viewer's client: a worker has the policy of its own script, and those that decode
# JPEG, PNG and raw labels make functions of text as they start. Pages never may.
WORKER_POLICY = POLICY.replace("'wasm-unsafe-eval'", "'wasm-unsafe-eval' 'unsafe-eval'")
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def known_hosts(host: str, more: Iterable[str] = ()) -> frozenset[str]:
    """The names under which a server is asked for.

    Args:
      host: that it listens at; one that stands for all addresses adds the names of this machine.
      more: such as the name that a proxy in front of it has.
    """
    names = {"localhost", host, *more}
    if host in ("", "0.0.0.0", "::"):
        names |= {socket.gethostname(), socket.getfqdn()}
    return frozenset(name.lower() for name in names if name)


def is_loopback(host: str) -> bool:
    """Whether a host is reached from this machine only.

    Args:
      host: a name or an address.
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def trusted(proxies: Iterable[str]) -> Networks:
    """Networks by their addresses.

    Args:
      proxies: such as "127.0.0.1" or "10.0.0.0/8".

    Raises:
      ProofreadingError: one is no address.
    """
    try:
        return tuple(ipaddress.ip_network(each, strict=False) for each in proxies)
    except ValueError as error:
        raise ProofreadingError(f"--trusted_proxy: {error}; give an address such as 10.0.0.2") from error


def forwarded(address: str, said: str, proxies: Networks) -> str:
    """The address that a request came from before proxies passed it on.

    Args:
      address: that it comes from.
      said: `X-Forwarded-For`; each proxy adds the address that it got the request from.
      proxies: whose word counts.

    Returns:
      The last one that is no such proxy, or the first of all; `address` where a word is none.
    """
    found = address
    for each in reversed([word.strip() for word in said.split(",") if word.strip()]):
        if not _is_among(found, proxies) or not _is_address(each):
            break
        found = each
    return found


def guard(
    app: ASGIApp, hosts: frozenset[str], limits: Limits, limiter: RateLimiter, proxies: Networks = ()
) -> ASGIApp:
    """Refuses requests that no page of ours sent, and too many of them; adds headers to all answers.

    Args:
      app: what is behind it.
      hosts: names of the server (`known_hosts`).
      limits: of requests.
      limiter: counts them.
      proxies: whose `X-Forwarded-For` counts.
    """

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        if proxies and (said := ",".join(Headers(scope=scope).getlist("x-forwarded-for"))):
            scope["client"] = forwarded(address_of(scope), said, proxies), 0

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            _require_ours(scope, hosts)
            require_rate(limiter, limits, scope)
        except Refused as error:
            answer = refusal(scope, error.status, str(error), headers=error.headers)
            await answer(scope, receive, with_headers)
            return
        await app(scope, receive, with_headers)

    return guarded


def address_of(scope: Scope) -> str:
    """The address that a request comes from; empty where none is known."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def require_rate(limiter: RateLimiter, limits: Limits, scope: Scope) -> None:
    """Counts a request of an address.

    Args:
      limiter: counts.
      limits: how many are allowed.
      scope: of the request.

    Raises:
      Refused: 429, too many.
    """
    is_api = scope["path"].startswith("/api/")
    kind, rate = ("address", limits.address) if is_api else ("files", limits.files)
    refuse_for(limiter.wait_s(kind, address_of(scope), rate))


def refuse_for(wait_s: float) -> None:
    """Refuses a request that comes too early.

    Args:
      wait_s: seconds until it would be allowed; 0 lets it pass.

    Raises:
      Refused: 429.
    """
    if wait_s > 0:
        seconds = str(math.ceil(wait_s))
        raise Refused(429, f"too many requests; try again in {seconds} s", {"Retry-After": seconds})


def _is_among(address: str, networks: Networks) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in each for each in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _require_ours(scope: Scope, hosts: frozenset[str]) -> None:
    """Refuses other hosts and requests of other pages.

    Raises:
      Refused: 400 or 403.
    """
    headers = Headers(scope=scope)
    host = headers.get("host", "")
    if not _is_known(host, hosts):
        raise Refused(400, f"this server is not '{host[:100]}'; use its own address, or serve --allowed_host")
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        raise Refused(403, f"request of another origin, '{origin[:100]}'")
    fetched_from = headers.get("sec-fetch-site", "none")
    is_link = headers.get("sec-fetch-mode") == "navigate" and not scope["path"].startswith(
        ("/api/", "/data/")
    )
    if fetched_from not in _OUR_PAGES and not is_link:
        raise Refused(403, "request of a page of another origin")
    if scope["method"] not in _READING and headers.get("x-requested-by") != REQUESTED_BY:
        raise Refused(403, f"the header 'X-Requested-By: {REQUESTED_BY}' is missing")


def _is_known(host: str, hosts: frozenset[str]) -> bool:
    name = host.lower()
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    return name in hosts or _is_address(name)
