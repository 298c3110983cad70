"""Bringing logged and registered models of a source: after their runs, through the door like anybody else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from mlops_tui.contracts import exchange as contract
from mlops_tui.contracts import model as model_contract
from mlops_tui.contracts import version as version_contract
from mlops_tui.contracts.exchange import FoundFile
from mlops_tui.core.errors import MlopsError, NotFound
from mlops_tui.jobs.worker import WorkerJob
from mlops_tui.tracking.exchange.digest import OURS
from mlops_tui.tracking.exchange.source import FoundModel, FoundVersion, Source, SourceFile, run_id

AT_ONCE = 20
NUMBER = OURS + "version"
"""Tag of a version with its number in the source."""
_INSIDE = re.compile(r"(?:^|/)((?:m-)?[0-9a-f]{32})/artifacts(?:/(.*))?$")
Keep = Callable[[Callable[[], Iterable[SourceFile]], int], list[FoundFile]]
"""Keeps the files that a call yields among the artifacts; the second argument is their time."""


def bring_logged(source: Source, job: WorkerJob, experiments: Iterable[str], keep: Keep) -> int:
    """Hand in the logged models of some experiments; return how many were new."""
    wanted = set(experiments)
    new = 0
    group: list[contract.FoundLogged] = []
    for one, place in source.logged():
        if one.experiment not in wanted:
            continue
        one.files = keep(partial(source.logged_files, one, place), one.updated)
        group.append(one)
        if len(group) == AT_ONCE:
            new += job.client.call(contract.take_logged, contract.TakeLogged(models=group)).runs
            group = []
    if group:
        new += job.client.call(contract.take_logged, contract.TakeLogged(models=group)).runs
    return new


def bring_registered(source: Source, job: WorkerJob, told: Callable[[str], None]) -> tuple[int, int]:
    """Register the models of a source under the numbers of their versions; return how many of both are new.

    What cannot be registered here is told, and the next one taken.
    """
    models = versions = 0
    for found in source.models():
        try:
            known = _known(job, found)
        except MlopsError as error:
            told(f"{found.name}: {error}")
            continue
        models += known is None
        here = _here(known, found)
        highest = max((one.version for one in known.versions), default=0) if known else 0
        for one in sorted(found.versions, key=lambda one: one.version):
            if one.version in here:
                continue
            try:
                made = _register(job, found.name, one, one.version if one.version > highest else 0)
            except MlopsError as error:
                told(f"{found.name}@{one.version}: {error}")
                continue
            here[one.version] = highest = made.version
            versions += 1
        _point(job, found, here, known.aliases if known else {}, told)
    return models, versions


def _here(known: Any, found: FoundModel) -> dict[int, int]:
    """Return the versions that are here, by their numbers in the source.

    One that came from elsewhere says its number; one that this store made itself is the one of its number and run.
    """
    if known is None:
        return {}
    runs = {one.version: run_id(one.run, "mlflow") if one.run else "" for one in found.versions}
    here = {int(one.tags[NUMBER]): one.version for one in known.versions if NUMBER in one.tags}
    ours = {one.version: one.version for one in known.versions if runs.get(one.version) == (one.run or "")}
    return {**ours, **here}


def _known(job: WorkerJob, found: FoundModel) -> Any:
    """Return the model of that name; when there is none, make it and return None."""
    try:
        return job.client.call(model_contract.show, model_contract.OneModel(model=found.name))
    except NotFound:
        wanted = model_contract.CreateModel(name=found.name, description=found.description, tags=found.tags)
        job.client.call(model_contract.create, wanted)
        return None


def _register(job: WorkerJob, name: str, one: FoundVersion, number: int) -> Any:
    made = job.client.call(
        version_contract.create,
        version_contract.CreateVersion(
            name=name, source=_source(one), run=run_id(one.run, "mlflow") if one.run else "", number=number,
            description=one.description, tags={**one.tags, NUMBER: str(one.version)},
        ),
    )  # fmt: skip
    if one.stage and one.stage != "None":
        wanted = version_contract.MoveVersion(model=f"{name}@{made.version}", stage=one.stage)
        job.client.call(version_contract.stage, wanted)
    return made


def _point(
    job: WorkerJob, found: FoundModel, numbers: dict[int, int], now: dict[str, int], told: Callable[[str], None]
) -> None:
    """Point aliases that nobody has set here."""
    for alias, wanted in found.aliases.items():
        if alias not in now and (number := numbers.get(wanted)):
            request = model_contract.SetAlias(model=f"{found.name}@{number}", alias=alias)
            try:
                job.client.call(model_contract.alias, request)
            except MlopsError as error:
                told(f"{found.name}@{alias}: {error}")


def _source(one: FoundVersion) -> str:
    """Return where a version's files lie now: what leads into files of a run or a logged model leads to theirs here."""
    inside = _INSIDE.search(one.source)
    if inside is None or one.source.startswith(("runs:", "models:")):
        return one.source or "unknown:"
    owner, path = inside[1], inside[2] or ""
    top = f"models:/{owner}" if owner.startswith("m-") else f"runs:/{run_id(owner, 'mlflow')}"
    return f"{top}/{path}".rstrip("/")
