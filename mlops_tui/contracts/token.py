"""Tokens of a deployment's clients. Once it has one, its servers ask everybody for a token."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, Request, operation


class AddToken(Request, frozen=True):
    """Who gets a token for what, and for how long."""

    positional = ("deployment", "client")
    deployment: Annotated[str, Meta(description="name of the deployment")]
    client: Annotated[str, Meta(min_length=1, max_length=100, description="who will send it")]
    days: Annotated[float, Meta(ge=0, le=36_500, description="days until it ends; 0: never")] = 0.0


class OneToken(Request, frozen=True):
    """Names a token by its id, as the list has it."""

    positional = ("token",)
    token: Annotated[str, Meta(description="id of the token")]


class NewToken(Answer):
    """A token. It is shown this once: the store keeps a hash of it. ``expires`` is µs UTC, None: never."""

    id: str
    deployment: str
    client: str
    token: str
    expires: int | None


tokens = listing("token", "List tokens that clients of deployments hold.", "mlops token list")
add = operation(
    "token.add",
    AddToken,
    NewToken,
    permission="deploy:token",
    effect="change",
    help="Give a client a token; from then on the deployment asks for one.",
    example="mlops token add employment mobile-app --days 90",
)
revoke = operation(
    "token.revoke",
    OneToken,
    Done,
    permission="deploy:token",
    effect="change",
    help="Take a token back; servers refuse it at once.",
    example="mlops token revoke 01a21793",
)
