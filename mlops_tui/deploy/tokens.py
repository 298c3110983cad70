"""Tokens of a deployment's clients: operations, list, and the file that its servers read.

The file is written right after the commit and looked at again by the reconciler, so that an agent that died in between
has only been late.
"""

from __future__ import annotations

import json
import logging
import secrets
import shlex
from typing import Any

from mlops_tui.contracts import token as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import MlopsError
from mlops_tui.core.ids import uuid7
from mlops_tui.deploy import own
from mlops_tui.deploy.find import find_deployment
from mlops_tui.door import Context, House, every, implements
from mlops_tui.door.lookup import by_name_or_id
from mlops_tui.serving.deployment import TOKENS, write_json
from mlops_tui.serving.protocol.tokens import hashed
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

_NAMED = "(SELECT *, client AS name FROM deployment_token)"
_DAY_US = 86_400_000_000
log = logging.getLogger(__name__)

lists(
    Listing(
        noun="token",
        source="(SELECT t.*, d.name AS deployment FROM deployment_token t JOIN deployment d ON d.id = t.deployment_id)",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="deployment", label="deployment"),
            Column(name="client", label="client"),
            Column(name="created", label="created", kind="time"),
            Column(name="expires", label="ends", kind="time"),
            Column(name="revoked", label="revoked", kind="time"),
            Column(name="actor", label="by"),
        ],
        expressions={
            "id": "id",
            "deployment": "deployment",
            "client": "client",
            "created": "epoch_us(created)",
            "expires": "epoch_us(expires)",
            "revoked": "epoch_us(revoked)",
            "actor": "actor",
        },
        sort="-created",
        tenant="tenant",
    )
)


@implements(contract.add)
class AddToken:
    """Give a client a token."""

    def plan(self, ctx: Context, request: contract.AddToken) -> Plan:
        """Find the deployment; the token itself is made when the plan is carried out."""
        row = find_deployment(ctx.session, ctx.tenant, request.deployment)
        first = not _listed(ctx.session, row["id"])
        object_ = f"deploy:{row['name']}"
        changes = [Change(object=object_, field=f"token of {request.client}", after=_lasts(request.days))]
        if first:
            changes.append(Change(object=object_, field="asks for a token", before="no", after="yes"))
        words = ["mlops", "token", "add", row["name"], request.client]
        return Plan(
            operation="token.add",
            object=object_,
            text=f"a token of {row['name']} for {request.client}",
            changes=changes,
            cli=shlex.join([*words, *(["--days", f"{request.days:g}"] if request.days else [])]),
            environment=str(row["environment"]),
            data={"id": row["id"], "name": row["name"]},
        )

    def apply(self, ctx: Context, request: contract.AddToken, plan: Plan) -> contract.NewToken:
        """Make it and keep its hash."""
        secret, identifier = secrets.token_urlsafe(32), uuid7()
        expires = ctx.now + int(request.days * _DAY_US) if request.days else None
        ctx.session.insert(
            "deployment_token",
            id=identifier,
            tenant=ctx.tenant,
            deployment_id=plan.data["id"],
            client=request.client,
            sha256=hashed(secret.encode()),
            created_us=ctx.now,
            **({"expires_us": expires} if expires else {}),
            actor=ctx.caller.name,
        )
        _changed(ctx, plan, "given")
        return contract.NewToken(
            id=identifier, deployment=plan.data["name"], client=request.client, token=secret, expires=expires
        )


@implements(contract.revoke)
class RevokeToken:
    """Take a token back."""

    def plan(self, ctx: Context, request: contract.OneToken) -> Plan:
        """Find it among those that are good."""
        found = by_name_or_id(
            ctx.session, "token", _NAMED, request.token, ctx.tenant, newest="created", where="revoked IS NULL"
        )
        row = find_deployment(ctx.session, ctx.tenant, found["deployment_id"])
        object_ = f"deploy:{row['name']}"
        return Plan(
            operation="token.revoke",
            object=object_,
            text=f"the token of {row['name']} for {found['client']} is revoked",
            changes=[Change(object=object_, field=f"token of {found['client']}", before="good", after="revoked")],
            cli=shlex.join(["mlops", "token", "revoke", found["id"]]),
            environment=str(row["environment"]),
            data={"id": row["id"], "token": found["id"]},
        )

    def apply(self, ctx: Context, request: contract.OneToken, plan: Plan) -> Done:
        """Write it; the servers' file follows the commit."""
        ctx.session.execute(
            "UPDATE deployment_token SET revoked = make_timestamp(?) WHERE id = ?", [ctx.now, plan.data["token"]]
        )
        _changed(ctx, plan, "revoked")
        return Done(object=plan.object, text=plan.text)


def _lasts(days: float) -> str:
    return f"ends in {days:g} days" if days else "never ends"


def _changed(ctx: Context, plan: Plan, verb: str) -> None:
    ctx.emit("deploy", plan.data["id"], f"token {verb}", plan.text, plan.object)
    house, deployment = ctx.house, plan.data["id"]

    def publish() -> None:
        try:
            _write(house, deployment)
        except MlopsError as error:
            log.warning("tokens of %s: %s; it will be tried again", deployment, error)

    ctx.after.append(publish)


@every(2.0, "deploy.tokens")
def turn(house: House) -> None:
    """Bring the file of every deployment that asks for tokens to what the store says."""
    for deployment in house.memo.get(("deploy.tokens",), ("deploy",), lambda: house.read(_deployments)):
        _write(house, deployment)


def _deployments(session: Session) -> list[str]:
    return session.column(
        "SELECT id FROM deployment d WHERE removed IS NULL AND (json_extract(facts, '$.ask_token') = true "
        "OR EXISTS (FROM deployment_token t WHERE t.deployment_id = d.id))"
    )


def _listed(session: Session, deployment: str) -> list[dict[str, Any]]:
    return session.dicts(
        "SELECT client, sha256, epoch_us(expires) AS expires FROM deployment_token "
        "WHERE deployment_id = ? AND revoked IS NULL ORDER BY id",
        [deployment],
    )


def _write(house: House, deployment: str) -> None:
    """Write the tokens that are good; when the last is revoked the file stays, and lets nobody in."""
    path = house.home.deployments / deployment / TOKENS
    if not path.parent.is_dir():
        return
    ours = {"client": "", "sha256": hashed(own.token(path.parent).encode()), "expires": None}
    wanted = {"tokens": [ours, *house.read(lambda session: _listed(session, deployment))]}
    try:
        if json.loads(path.read_bytes()) == wanted:
            return
    except (OSError, ValueError):
        pass
    write_json(path, wanted, durable=True)
