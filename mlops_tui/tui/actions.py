"""What can be done with an object: every change that the contracts declare, by the noun it works on."""

from __future__ import annotations

from typing import NamedTuple


class Action(NamedTuple):
    """An operation and the field of its request that names the object."""

    operation: str
    field: str = ""


ACTIONS: dict[str, tuple[Action, ...]] = {
    "run": (
        Action("model.register", "run"),
        Action("gate.run", "run"),
        Action("run.note", "run"),
        Action("run.tag", "run"),
        Action("run.update", "run"),
        Action("artifact.delete", "of"),
        Action("run.delete", "run"),
        Action("run.restore", "run"),
    ),
    "experiment": (
        Action("job.train"),
        Action("experiment.tag", "experiment"),
        Action("experiment.rename", "experiment"),
        Action("experiment.delete", "experiment"),
        Action("experiment.restore", "experiment"),
        Action("export.store"),
        Action("gc.run"),
        Action("experiment.create"),
        Action("import.mlflow"),
        Action("import.wandb"),
    ),
    "data": (
        Action("data.check", "data"),
        Action("data.verify", "data"),
        Action("data.tag", "data"),
        Action("feature.training-set", "data"),
        Action("data.add"),
    ),
    "feature": (Action("feature.materialize", "view"), Action("feature.apply")),
    "model": (
        Action("model.alias", "model"),
        Action("model.rollback", "model"),
        Action("model.note", "model"),
        Action("model.tag", "model"),
        Action("model.rename", "model"),
        Action("model.delete", "model"),
        Action("model.restore", "model"),
        Action("model.create"),
    ),
    "logged": (Action("logged.tag", "model"), Action("logged.delete", "model"), Action("logged.restore", "model")),
    "version": (
        Action("model.alias", "model"),
        Action("model.note", "model"),
        Action("model.tag", "model"),
        Action("version.stage", "model"),
        Action("model.verify", "model"),
        Action("model.tune", "model"),
        Action("deploy.create", "model"),
    ),
    "deploy": (
        Action("rollout.start", "deployment"),
        Action("rollout.pause", "rollout"),
        Action("rollout.resume", "rollout"),
        Action("rollout.approve", "rollout"),
        Action("rollout.promote", "rollout"),
        Action("rollout.abort", "rollout"),
        Action("rollout.rollback", "deployment"),
        Action("deploy.kill", "deployment"),
        Action("deploy.revive", "deployment"),
        Action("deploy.fallback", "deployment"),
        Action("deploy.bundle", "name"),
        Action("token.add", "deployment"),
        Action("deploy.replay", "deployment"),
        Action("monitor.add", "deployment"),
        Action("monitor.remove", "deployment"),
        Action("ab.start", "deployment"),
        Action("deploy.remove", "deployment"),
    ),
    "toggle": (Action("toggle.set", "key"), Action("toggle.remove", "key"), Action("toggle.import")),
    "token": (Action("token.revoke", "token"),),
    "alert": (Action("alert.ack", "alert"), Action("alert.silence", "alert")),
    "automation": (Action("automation.run", "automation"), Action("automation.dismiss", "automation")),
    "ab": (Action("ab.stop", "test"),),
    "job": (Action("job.stop", "job"), Action("job.train")),
    "host": (Action("gc.run"), Action("export.store")),
    "plugin": (Action("plugin.trust", "plugin"),),
    "identity": (Action("identity.revoke", "name"), Action("identity.create")),
    "audit": (Action("audit.export"), Action("undo.last")),
}
"""By noun; an action without a field makes something new."""

FOR_PROGRAMS = frozenset(
    ("run.create", "version.create", "logged.create", "logged.finish", "logged.param"),
)
"""Changes that a program makes while it logs; in a menu nobody would look for them."""
