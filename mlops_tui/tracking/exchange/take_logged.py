"""Taking in logged models that an import's worker has read; one that is here and has not changed is left alone."""

from __future__ import annotations

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts.exchange import FoundLogged
from mlops_tui.door import Context, act, implements
from mlops_tui.store.tags import change_tags
from mlops_tui.tracking.exchange.take import put_files
from mlops_tui.tracking.experiments import ensure
from mlops_tui.tracking.logged.models import put_figures, put_params


@implements(contract.take_logged)
def take_logged(ctx: Context, request: contract.TakeLogged) -> contract.Taken:
    """Take in what is new or has changed."""

    def work(ctx: Context) -> int:
        ids = [one.id for one in request.models]
        known = dict(
            ctx.session.rows("SELECT id, epoch_us(updated) FROM logged_model WHERE id IN (SELECT unnest(?))", [ids])
        )
        for one in request.models:
            if known.get(one.id, -1) < one.updated:
                _put(ctx, one, fresh=one.id not in known)
        put_files(ctx, [(one.id, one.files) for one in request.models])
        return len(set(ids) - set(known))

    return contract.Taken(runs=act(ctx.house, ctx.caller, work), points=0)


def _put(ctx: Context, one: FoundLogged, *, fresh: bool) -> None:
    session = ctx.session
    if fresh:
        session.insert(
            "logged_model", id=one.id, tenant=ctx.tenant, experiment_id=ensure(ctx, ctx.tenant, one.experiment)[0],
            name=one.name, kind=one.kind, status=one.status, run_id=one.run, created_us=one.created,
            updated_us=one.updated, deleted_us=ctx.now if one.deleted else None, actor=ctx.caller.name,
        )  # fmt: skip
        if one.run:
            ctx.link(f"logged:{one.id}", "made_by", f"run:{one.run}")
        ctx.emit("logged", one.id, "imported", f"logged model {one.name}", f"logged:{one.name}")
    else:
        at = [one.status, one.updated, one.id]
        session.execute("UPDATE logged_model SET status = ?, updated = make_timestamp(?) WHERE id = ?", at)
    known = set(session.column("SELECT key FROM param WHERE run = ?", [one.id]))
    put_params(session, one.id, {key: text for key, text in one.params.items() if key not in known})
    change_tags(session, one.id, one.tags, (), ctx.now)
    put_figures(
        session,
        [
            (one.id, figure.key, float(figure.value), figure.step, figure.ts, figure.run, figure.dataset, figure.digest)
            for figure in one.metrics
        ],
    )
