"""Measured profiles: the one that holds for a model file on this machine, and what a deployment makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.door.registry import refers
from mlops_tui.serving.models.profile import Setting, fingerprint
from mlops_tui.store.session import Session

AUTO, NONE = "auto", "none"
PROFILES = ("latency", "throughput", "memory")

refers("SELECT variant FROM model_profile WHERE variant <> ''")


class Machine(NamedTuple):
    """This machine, as the hardware room has noted it: what tells its kind, and a few words; unknown at first."""

    fingerprint: str
    text: str


def this_machine(session: Session) -> Machine:
    """Return what kind of machine this is; an empty fingerprint before its first sample."""
    row = session.dict(
        "SELECT facts, sample FROM host WHERE name = ? ORDER BY seen DESC LIMIT 1", [os.uname().nodename]
    )
    if row is None:
        return Machine("", "unknown so far")
    facts, sample = msgspec.json.decode(row["facts"]), msgspec.json.decode(row["sample"])
    gpus = [str(gpu.get("name", "")) for gpu in sample.get("gpus", [])]
    words = [str(facts.get("cpu_model") or facts.get("arch")), f"{facts.get('cpus_allowed')} CPUs", *gpus]
    return Machine(fingerprint(facts, gpus), " · ".join(words))


class Profile(NamedTuple):
    """A profile that holds: its name, the setting, and the artifact to serve instead of the file (empty: the file)."""

    name: str
    setting: Setting
    variant: str
    text: str


def profile_for(session: Session, digest: str, host: str, wanted: str = AUTO) -> Profile | None:
    """Return the newest profile of a model file on a kind of machine.

    Args:
        session: where to look.
        digest: of the file.
        host: fingerprint of the machine.
        wanted: a profile's name, or ``auto``: whichever was measured last.
    """
    row = session.dict(
        """SELECT profile, setting, variant, text FROM model_profile
           WHERE digest = ? AND host = ? AND keeps AND (? = 'auto' OR profile = ?) ORDER BY ts DESC LIMIT 1""",
        [digest, host, wanted, wanted],
    )
    if row is None:
        return None
    return Profile(row["profile"], msgspec.json.decode(row["setting"], type=Setting), row["variant"], row["text"])


def wanted(session: Session, name: str, digest: str, version: str) -> tuple[Profile | None, str]:
    """Return the profile that holds for a version on this machine, and what is to be said when none does.

    Args:
        session: where to look.
        name: of the profile that a person wants; ``auto``: the newest, if there is one; ``none``: none.
        digest: of the version's file.
        version: what people call it.

    Raises:
        BadInput: there is no profile of that name.
        NotFound: it was asked for by name and was not measured here.
    """
    if name not in (AUTO, NONE, *PROFILES):
        raise BadInput(f"there is no profile {name!r}", "", "auto, none, " + ", ".join(PROFILES))
    if name == NONE:
        return None, ""
    host = this_machine(session).fingerprint
    found = profile_for(session, digest, host, name)
    note = "" if found else elsewhere(session, digest, host)
    if found is None and name != AUTO:
        raise NotFound(
            f"{version} was not tuned for {name} on a machine like this",
            note,
            f"mlops model tune {version} --profile {name}",
        )
    return found, note


def elsewhere(session: Session, digest: str, host: str) -> str:
    """Return a sentence when a file was tuned, but on another kind of machine; empty when not."""
    seen = session.value(
        "SELECT count(DISTINCT host) FROM model_profile WHERE digest = ? AND host <> ?", [digest, host]
    )
    return "its profile was measured on another kind of machine and is not used here" if seen else ""


def variant_for(session: Session, deployment: str, digest: str) -> str:
    """Return the artifact that a new revision of a deployment serves for a model file; empty: the file itself.

    It is looked up once, when the revision is made: what a revision answers does not change by measurements.
    """
    wanted = session.value("SELECT profile FROM deployment WHERE id = ? AND target = 'local'", [deployment])
    if wanted in (None, "", NONE):
        return ""
    found = profile_for(session, digest, this_machine(session).fingerprint, wanted)
    return found.variant if found is not None else ""


def words(row: Mapping[str, Any]) -> str:
    """Return how a deployment is served: the setting it took from a profile, or that it took none."""
    if not row.get("tuned"):
        return "as by default"
    return msgspec.json.decode(row["tuned"], type=Setting).name


def facts_of(tuned: str) -> dict[str, Any]:
    """Return what goes into ``deployment.json`` of the setting that a deployment took, if it took one."""
    return facts(msgspec.json.decode(tuned, type=Setting)) if tuned else {}


def facts(setting: Setting) -> dict[str, Any]:
    """Return what of a setting goes into ``deployment.json``; how many workers there are stands in the store."""
    return {"threads": setting.threads, "gather_ms": setting.gather_ms}
