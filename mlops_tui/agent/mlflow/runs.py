"""Runs on the wire: made, shown, changed, deleted and searched. What is logged to them is in :mod:`.appends`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mlops_tui.agent.mlflow import runs_json
from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.errors import WireError, invalid, missing
from mlops_tui.agent.mlflow.experiments import STAGES, Pair, found, number_of, view_of
from mlops_tui.agent.mlflow.names import stored_id
from mlops_tui.agent.mlflow.pages import wrong_size
from mlops_tui.agent.mlflow.router import Call, route
from mlops_tui.agent.peers import environment_of
from mlops_tui.contracts import run as contract
from mlops_tui.store.search import Field, compile_order, compile_query, parse, parse_order, rows, sheets
from mlops_tui.tracking.runs.contents import NAME, NOTE, UNNAMED
from mlops_tui.tracking.runs.find import row_of
from mlops_tui.tracking.search.keys import RUN

USER = "mlflow.user"
_TIES = ("epoch_us(r.started) DESC", "r.id")
_WIRE_ID = "replace(r.id, '-', '')"
_PLACE = "coalesce(nullif(e.place, ''), 'mlflow-artifacts:/' || e.number)"
_PATH = f"split_part({_PLACE}, '?', 1)"
_QUERY = f"substr({_PLACE}, length({_PATH}) + 1)"
_ATTRIBUTES = {
    "run_id": Field(_WIRE_ID),
    "artifact_uri": Field(
        f"rtrim({_PATH}, '/') || '/' || {_WIRE_ID} || '/artifacts' || substr({_PLACE}, length({_PATH}) + 1)"
    ),
}
"""What is written otherwise on the wire than in the store; over ``run r`` and ``experiment e``."""
_STATUS = {1: "running", 2: "scheduled", 3: "done", 4: "failed", 5: "killed"}
_WORDS = {"RUNNING": 1, "SCHEDULED": 2, "FINISHED": 3, "FAILED": 4, "KILLED": 5}


class CreateRun(Ask):
    """``runs/create``."""

    experiment_id: str | None = None
    user_id: str | None = None
    run_name: str | None = None
    start_time: int | None = None
    tags: list[Pair] | None = None


class OneRun(Ask):
    """Names a run; old clients say ``run_uuid``."""

    run_id: str | None = None
    run_uuid: str | None = None

    @property
    def run(self) -> str:
        """The id that was given.

        Raises:
            WireError: none was.
        """
        if found := self.run_id or self.run_uuid:
            return found
        raise invalid("Missing value for required parameter 'run_id'.")


class UpdateRun(OneRun):
    """``runs/update``."""

    status: int | str | None = None
    end_time: int | None = None
    run_name: str | None = None


class DeleteTag(OneRun):
    """``runs/delete-tag``."""

    required = ("key",)
    key: str | None = None


class Search(Ask):
    """``runs/search``."""

    experiment_ids: list[str] | None = None
    filter: str | None = None
    run_view_type: int | str | None = None
    max_results: int | None = None
    order_by: list[str] | None = None
    page_token: str | None = None


@route("POST", "runs/create", CreateRun)
def create(call: Call, ask: CreateRun) -> dict[str, Any]:
    """Make a run; it is running from now on."""
    tags = {one.key: one.value or "" for one in ask.tags or [] if one.key}  # of any name, as MLflow's server has it
    named = tags.get(NAME)
    if ask.run_name and named and ask.run_name != named:
        raise invalid(
            "Both 'run_name' argument and 'mlflow.runName' tag are specified, but with different values "
            f"(run_name={ask.run_name!r}, mlflow.runName={named!r})."
        )
    experiment = found(call, ask.experiment_id or "0")
    if experiment["deleted"] is not None:
        raise invalid(f"The experiment {ask.experiment_id} must be in the 'active' state. Current state is deleted.")
    pid = call.pid()
    made = call.perform(
        contract.create,
        contract.CreateRun(
            name=ask.run_name or named or "",
            experiment=experiment["id"],
            tags=tags,
            started=_micros(ask.start_time) if ask.start_time is not None else None,
            actor=ask.user_id or tags.get(USER, ""),
            via="mlflow",
            pid=pid,
            job=_job(call, pid),
        ),
    )
    with call.reading("run:read") as session:
        shown = runs_json.whole(session, [made.id])[0]
    del shown["outputs"]
    return {"run": shown}


@route("GET", "runs/get", OneRun)
def get(call: Call, ask: OneRun) -> dict[str, Any]:
    """Show one whole, deleted or not."""
    run = stored_id(ask.run)
    call.journal.drain(run)
    with call.reading("run:read") as session:
        _row(call, session, run)
        return {"run": runs_json.whole(session, [run])[0]}


@route("POST", "runs/update", UpdateRun)
def update(call: Call, ask: UpdateRun) -> dict[str, Any]:
    """Rename a run, end it, or take its end back."""
    run = stored_id(ask.run)
    call.journal.drain(run)
    with call.reading("run:read") as session:
        row = _row(call, session, run)
    _active(row)
    call.perform(
        contract.update,
        contract.UpdateRun(
            run=run,
            name=ask.run_name or None,
            status=_status(ask.status),  # type: ignore[arg-type]
            ended=_micros(ask.end_time) if ask.end_time is not None else None,
        ),
    )
    with call.reading("run:read") as session:
        return {"run_info": runs_json.whole(session, [run])[0]["info"]}


@route("POST", "runs/delete", OneRun)
def delete(call: Call, ask: OneRun) -> None:
    """Hide a run, even while it is running; once more changes nothing."""
    run = stored_id(ask.run)
    call.journal.drain(run)
    with call.reading("run:read") as session:
        row = _row(call, session, run)
    if row["deleted"] is None:
        call.perform(contract.delete, contract.DeleteRun(run=run, force=True))


@route("POST", "runs/restore", OneRun)
def restore(call: Call, ask: OneRun) -> None:
    """Show a run again; one that is shown stays."""
    run = stored_id(ask.run)
    with call.reading("run:read") as session:
        row = _row(call, session, run)
    if row["deleted"] is not None:
        call.perform(contract.restore, contract.RestoreRun(run=run))


@route("POST", "runs/delete-tag", DeleteTag)
def delete_tag(call: Call, ask: DeleteTag) -> None:
    """Remove one tag."""
    run, key = stored_id(ask.run), ask.key or ""
    call.journal.drain(run)
    with call.reading("run:read") as session:
        row = _row(call, session, run)
        kept = session.column("SELECT key FROM tag WHERE object = ? AND key IN (?, ?)", [run, key, UNNAMED])
    _active(row)
    if key == NAME and UNNAMED not in kept:  # every run has a name: what goes is the tag that says it
        call.perform(contract.tag, contract.TagRequest(run=run, tags={UNNAMED: "true"}))
    elif key in kept:
        call.perform(contract.tag, contract.TagRequest(run=run, tags={key: ""}))
    elif key == NOTE and row["note"]:
        call.perform(contract.note, contract.NoteRequest(run=run, text=""))
    else:
        raise missing(f"No tag with name: {key} in run with id {ask.run}")


@route("POST", "runs/search", Search)
def search(call: Call, ask: Search) -> dict[str, Any]:
    """List a page of runs, whole, newest first."""
    size = 1000 if ask.max_results is None else ask.max_results
    if not 0 < size <= 50_000:
        raise wrong_size(size, 50_000)
    entity = replace(RUN, attributes={**RUN.attributes, **_ATTRIBUTES})
    query, clauses = parse(ask.filter or "", "mlflow"), parse_order(ask.order_by or [], "mlflow")
    stage = STAGES[view_of(ask.run_view_type)].replace("deleted", "r.deleted")
    numbers = [number_of(one) for one in ask.experiment_ids or []]
    call.journal.drain()
    with call.reading("run:read") as session:
        sheets.prepare(session)
        order = compile_order(clauses, entity, _TIES)

        def question(wrap: rows.Wrap, source: str) -> rows.Question:
            condition, by = compile_query(query, wrap(entity)), compile_order(clauses, wrap(entity), _TIES)
            past, places = by.after(by.keyset(ask.page_token)) if ask.page_token else ("true", [])
            where = f"""r.tenant = ? AND {stage} AND e.number IN (SELECT unnest(?::BIGINT[]))
                        AND ({condition.sql}) AND ({past})"""
            params = [*by.params, call.caller.tenant, numbers, *condition.params, *places]
            return by.first("r.id", source, where, size + 1), params

        here = rows.texts(session.kept_rows(*rows.asked(session, rows.SOURCE, question)))
        runs = runs_json.encoded(session, [row[0] for row in here[:size]])
    page: dict[str, Any] = {"runs": runs} if runs else {}
    return page | ({"next_page_token": order.token(here[size - 1][2:])} if len(here) > size else {})


def _job(call: Call, pid: int) -> str:
    """Return the job that a client runs in: the one it names, else the one in the environment of its process."""
    said = call.headers.get(b"x-mlops-job", b"").decode("latin-1")
    return said or (environment_of(pid).get("MLOPS_JOB_ID", "") if pid else "")


def _row(call: Call, session: Any, run: str) -> dict[str, Any]:
    row = row_of(session, run)
    if row is None or row["tenant"] != call.caller.tenant:
        raise missing(f"Run with id={run.replace('-', '')} not found")
    return row


def _active(row: dict[str, Any]) -> None:
    if row["deleted"] is not None:
        run = row["id"].replace("-", "")
        raise invalid(f"The run {run} must be in the 'active' state. Current state is deleted.")


def _micros(millis: int) -> int:
    if not -62_135_596_800_000 <= millis < 253_402_300_800_000:
        raise invalid(f"Invalid value {millis} for a time: it is milliseconds since 1970, of the years 1 to 9999")
    return millis * 1000


def _status(given: int | str | None) -> str | None:
    if given is None:
        return None
    number = _WORDS.get(given, 0) if isinstance(given, str) and not given.isdecimal() else int(given)
    if number not in _STATUS:
        raise WireError("INVALID_PARAMETER_VALUE", f"Invalid value {given} for parameter 'status' supplied.")
    return _STATUS[number]
