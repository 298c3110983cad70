"""Who asks: the uid of a connection, as the kernel or the token told it; what a header claims is only an addition."""

from __future__ import annotations

import pwd
from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import unquote

from mlops_tui.client import wire
from mlops_tui.core.errors import NotAllowed
from mlops_tui.door.context import Caller
from mlops_tui.door.house import House


def caller_of(house: House, client: tuple[str, int] | None, headers: Mapping[bytes, bytes]) -> Caller:
    """Name the caller of a connection.

    Args:
        house: the house.
        client: what the listener wrote into the request's scope.
        headers: names in lower case.

    Raises:
        NotAllowed: the connection carries no identity.
    """
    kind, _, who = (client[0] if client else "").partition(":")
    if kind != "uid":
        raise NotAllowed(
            "the caller is not known",
            "its connection carries no identity",
            "use the Unix socket, or the token of mlops agent url",
        )

    def said(name: str) -> str:
        return headers.get(name.encode(), b"").decode("latin-1")

    request = said(wire.REQUEST_ID)
    return Caller(
        name=str(house.config.get("user") or _login(int(who))),
        uid=int(who),
        tenant=said(wire.TENANT) or "default",
        reason=unquote(said(wire.REASON)),
        cwd=unquote(said(wire.CWD)),
        **({"request_id": request} if request else {}),
    )


@lru_cache(maxsize=64)
def _login(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"
