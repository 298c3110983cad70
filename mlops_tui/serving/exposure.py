"""Who can reach a server, and what it must have before more than this machine can.

Beyond loopback a server needs TLS, and must know who asks: by tokens, or by certificates of a client authority. Whoever
has both elsewhere (a tunnel, a mesh, an ingress) says so, and is told what that leaves open.
"""

from __future__ import annotations

import http.client
import ipaddress
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from mlops_tui.core.errors import Refused
from mlops_tui.serving.tls import Tls

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def is_loopback(name: str) -> bool:
    """Tell whether a host name or address can only mean this machine."""
    found = address_of(name)
    return found.is_loopback if found else name.lower().rstrip(".") == "localhost"


def address_of(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return a host as an address; None when it is a name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def check(host: str, tls: Tls | None, asks: bool, insecure: bool) -> str:
    """Return what an address leaves open; empty when nothing is.

    Args:
        host: what the server is bound to.
        tls: its files, if any.
        asks: whether it asks clients for a token.
        insecure: whether somebody has said that this is well.

    Raises:
        Refused: it is open, and nobody has said so.
    """
    if is_loopback(host):
        return ""
    lacks = [] if tls else ["without TLS whoever is on the way reads and changes what is sent"]
    if not asks and not (tls and tls.client_ca):
        lacks.append("whoever reaches the port may ask")
    if not lacks:
        return ""
    if not insecure:
        fix = "--tls-cert FILE --tls-key FILE, and a token or --tls-client-ca; --insecure if a tunnel or mesh has both"
        raise Refused(f"{host} is not only this machine", "; ".join(lacks), fix)
    return f"{host} is open: {'; '.join(lacks)}"


def url(host: str, port: int, tls: bool) -> str:
    """Return the address of a server; empty without a port."""
    named = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{named}:{port}" if port else ""


def own_line(url: str, timeout_s: float, certificate: Path | None = None) -> http.client.HTTPConnection:
    """Return a connection to a server that this installation has started itself, wherever it is bound.

    Its certificate is not looked at: it names the server for others, and need not name this way to it. Ours, with its
    key, is shown where there is one.
    """
    parts = urlsplit(url)
    host = _ANYWHERE.get(parts.hostname or "", parts.hostname or "")
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    if certificate is not None:
        trusting.load_cert_chain(certificate)
    return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=trusting)
