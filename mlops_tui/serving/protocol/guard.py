"""Who may ask: the Host and Origin of a request against DNS rebinding, and the token."""

from __future__ import annotations

import base64
import binascii
import socket
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from mlops_tui.serving.exposure import address_of, is_loopback
from mlops_tui.serving.problem import Problem
from mlops_tui.serving.protocol.tokens import Tokens

_OPEN = frozenset({"/v2/health/live", "/v2/health/ready", "/ping", "/health", "*"})
_REMEMBERED = 256


class Guard:
    """Checks requests before anything else looks at them.

    A page in a browser can reach loopback under a name of its own; so a name that is not this server's is refused,
    and so is a request that a foreign page sent. Addresses are taken when the server is bound beyond loopback.

    Args:
        host: the name or address that the server is bound to.
        allowed: further host names.
        tokens: one of which ``Authorization`` must carry, as a bearer or as a Basic password, if they are asked for.
    """

    def __init__(self, host: str, allowed: Iterable[str] = (), tokens: Tokens | None = None) -> None:
        self._names = {"localhost", host.lower(), *(name.lower() for name in allowed)}
        self._any_address = not is_loopback(host)
        if self._any_address:
            self._names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
        self.tokens = tokens or Tokens(None)
        self._hosts: dict[bytes, bool] = {}

    def check(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        """Let a request pass or refuse it. Health is open to whoever reaches the port, so that probes need no token;
        so is ``*``, which asks whether anybody speaks HTTP here.

        Raises:
            Problem: 400 without a Host, 403 for a foreign Host or Origin, 401 without the token.
        """
        host = headers.get(b"host")
        if host is None:
            raise Problem("the request has no Host header")
        if not self._known(host):
            raise Problem(f"host {host.decode('latin-1')!r} is not served here", 403)
        origin = headers.get(b"origin")
        if origin is not None and not self._known(origin.partition(b"://")[2]):
            raise Problem("requests from foreign pages are refused", 403)
        if self.tokens.asked and path.rstrip("/") not in _OPEN and not self._holds(headers.get(b"authorization", b"")):
            raise Problem("a token is needed", 401, ((b"www-authenticate", b'Bearer realm="mlops"'),))

    def _known(self, host: bytes) -> bool:
        known = self._hosts.get(host)
        if known is None:
            known = self._judge(host.decode("latin-1"))
            if len(self._hosts) < _REMEMBERED:
                self._hosts[host] = known
        return known

    def _judge(self, host: str) -> bool:
        try:
            name = "" if set(host) & set("@/?#\\") else urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self._names or is_loopback(name):
            return True
        return self._any_address and address_of(name) is not None

    def _holds(self, authorization: bytes) -> bool:
        scheme, _, value = authorization.partition(b" ")
        if scheme.lower() == b"basic":
            try:
                value = base64.b64decode(value.strip(), validate=True).partition(b":")[2]
            except binascii.Error:
                return False
        elif scheme.lower() != b"bearer":
            return False
        return self.tokens.holds(value.strip())
