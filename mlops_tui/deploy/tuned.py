"""Measured profiles: the one that holds for a model file on this machine, and what a deployment makes of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from mlops_tui.door.registry import refers
from mlops_tui.serving.profile import Setting, fingerprint
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
    """Return what of a setting goes into ``deployment.json``."""
    if not tuned:
        return {}
    setting = msgspec.json.decode(tuned, type=Setting)
    return {"threads": setting.threads, "gather_ms": setting.gather_ms}
