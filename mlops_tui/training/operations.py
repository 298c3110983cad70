"""Operations of training: a script becomes a supervised job that writes a run."""

from __future__ import annotations

from pathlib import Path

from mlops_tui.contracts import job as contract
from mlops_tui.contracts.operation import Change, Plan, Started
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.door import Context, implements
from mlops_tui.jobs import DataFile, start_job
from mlops_tui.store.session import Session
from mlops_tui.training import trainers


@implements(contract.train)
class Train:
    """Run a training script as a supervised job."""

    def plan(self, ctx: Context, request: contract.StartTraining) -> Plan:
        """Check that the script, the data sets and the trainer are there."""
        script = Path(ctx.caller.cwd or ".", request.script)
        if not script.is_file():
            raise NotFound(
                f"there is no script {request.script}", f"looked in {script.parent}", "give its path from where you are"
            )
        files = [data_file(ctx.session, ctx.tenant, given) for given in request.data]
        name = request.name or script.stem
        change = Change(object=f"job:{name}", field="status", after="queued")
        return Plan(
            operation="job.train",
            object=f"job:{name}",
            text=f"run {script.name} as {name}",
            changes=[change],
            data={"argv": trainers.command(request.trainer, str(script), request.args), "name": name, "files": files},
        )

    def apply(self, ctx: Context, request: contract.StartTraining, plan: Plan) -> Started:
        """Queue the job; its run's id is known from now on."""
        name, run = plan.data["name"], uuid7()
        job = start_job(
            ctx,
            kind="train",
            name=name,
            argv=plan.data["argv"],
            lane="train",
            run_id=run,
            data=plan.data["files"],
            env={**request.env, "MLOPS_EXPERIMENT": request.experiment, "MLOPS_RUN_NAME": name},
            cwd=request.cwd or ctx.caller.cwd,
            retries=request.retries,
        )
        return Started(job=job, text=plan.text)


def data_file(session: Session, tenant: str, given: str) -> DataFile:
    """Read ``NAME=data@version`` into the artifact that a job gets as a file.

    Raises:
        BadInput: it is not of that form.
        NotFound: there is no such data set version.
    """
    name, equals, reference = given.partition("=")
    if not equals or not name:
        raise BadInput(f"{given!r} does not say which name the data gets", "", "--data train=census@1")
    dataset, _, version = reference.partition("@")
    row = session.dict(
        """SELECT v.digest, v.format FROM dataset_version v JOIN dataset d ON d.id = v.dataset_id
           WHERE d.tenant = ? AND d.name = ? AND (? = '' OR v.version = TRY_CAST(? AS INTEGER))
           ORDER BY v.version DESC LIMIT 1""",
        [tenant, dataset, version, version],
    )
    if row is None:
        raise NotFound(f"there is no data set {reference}", "", "mlops data list shows them")
    return DataFile(name=name, digest=row["digest"], suffix=f".{row['format']}")
