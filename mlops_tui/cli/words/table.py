"""Every first word of the command line with its line of help. Nothing here imports anything heavy.

Help is printed from this table alone; what a word does is loaded when it is called.
"""

from __future__ import annotations

NOUNS: dict[str, str] = {
    "experiment": "Experiments: groups of runs.",
    "run": "Runs: what was tried, with what, and what came of it.",
    "job": "Jobs: supervised processes that outlive every terminal.",
    "data": "Data sets: versions, checks, differences.",
    "feature": "Features: named, versioned SQL used everywhere alike.",
    "model": "Models: versions, aliases, comparison, rollback.",
    "version": "Model versions, one by one.",
    "logged": "Logged models: what runs made, before anybody registers it.",
    "artifact": "Artifacts: files of runs and models, by folder.",
    "profile": "Serving profiles: how models are best served here, measured.",
    "gate": "Gates: what a model must meet before it is registered.",
    "lineage": "Lineage: what came from where.",
    "deploy": "Deployments: models being served.",
    "rollout": "Rollouts: canary, blue-green, shadow; promote and roll back.",
    "toggle": "Feature toggles: switches for servers and code, in flagd's format.",
    "token": "Tokens that clients of deployments hold.",
    "ab": "A/B tests on live traffic.",
    "monitor": "Monitors: deployments that are watched.",
    "drift": "Drift: live traffic against its reference.",
    "alert": "Alerts: open, acknowledged, silenced.",
    "automation": "Proposed responses to alerts.",
    "host": "Machines: processors, memory, GPUs.",
    "import": "Bring runs and models from MLflow or W&B.",
    "export": "Write everything in forms that anybody opens.",
    "event": "What happened, newest first.",
    "audit": "The audit trail: list, verify, export.",
    "identity": "Names and their roles.",
    "policy": "Who may do what, and why.",
    "cost": "What jobs and servers used.",
    "plugin": "Plugins: list, trust, start a new one.",
    "agent": "The agent: status, start, stop, log, url.",
    "config": "Settings: show, get, set, with their origin.",
    "undo": "Take back your last change of a note, of tags, or a deletion.",
    "gc": "Remove for good what was deleted, and files that nothing refers to.",
    "sql": "Run one SELECT over the store, read-only.",
}
"""Nouns. Their verbs are made from the operations of the contracts, and come from ``VERBS``."""

COMMANDS: dict[str, tuple[str, str]] = {
    "init": (
        "init:init",
        "Make the store, if there is none, and say where it is and what comes next.",
    ),
    "demo": ("demo:demo", "Run the whole story on real data, from a file to a safe rollout."),
    "train": ("train:train", "Run a training script as a supervised job."),
    "serve": (
        "serve:serve",
        "Serve one model in the foreground: a registered one, a file, a bundle.",
    ),
    "open": ("open:open_link", "Open the TUI at an object: run:NAME, model:NAME@ALIAS …"),
    "top": ("top:top", "Print what Home shows, once, as text."),
    "doctor": ("doctor:doctor", "Check this installation and say how to mend it."),
    "info": ("info:info", "Print version, folders and agent."),
    "env": ("info:env", "Print the variables that point MLflow clients at this store."),
    "spec": ("spec:spec", "Describe every operation for programs."),
}
"""Words with code of their own: where it is in ``cli.commands``, and their line of help."""

VERBS: dict[str, dict[str, tuple[str, str]]] = {
    "artifact": {
        "get": ("artifact:get", "Copy a file or a folder of artifacts here."),
        "put": ("artifact:put", "Keep a file of this machine among the artifacts."),
    },
    "agent": {
        "start": ("agent:start", "Start the agent; --stay keeps it when idle."),
        "log": ("agent:log", "Print the end of the agent's log."),
        "url": ("agent:url", "Open the loopback listener and print its address and token."),
    },
    "config": {
        "show": ("config:show", "Show every setting; --origin says where it was set."),
        "get": ("config:get", "Print one setting."),
        "set": ("config:set_value", "Write a setting into your own file."),
    },
    "run": {
        "tail": ("watch:tail", "Follow a run's log until the run ends."),
        "watch": ("watch:watch", "Follow a run's metrics in place until the run ends."),
    },
    "rollout": {
        "watch": ("rollout:watch", "Follow a rollout until it is over."),
        "schema": ("rollout:schema", "Print the JSON schema of a rollout file."),
    },
    "plugin": {"new": ("plugin:new", "Write the skeleton of a plugin that passes its own test.")},
}
"""Verbs of a noun that are no operations."""

ALIASES = {"deployment": "deploy", "dataset": "data", "machine": "host", "identities": "identity", "policies": "policy"}

SECTIONS: dict[str, tuple[str, ...]] = {
    "Begin": ("init", "demo", "train", "open", "top"),
    "Work": (
        "experiment",
        "run",
        "job",
        "data",
        "feature",
        "artifact",
        "logged",
        "model",
        "version",
        "gate",
        "profile",
        "lineage",
    ),
    "Serve and watch": (
        "serve",
        "deploy",
        "rollout",
        "toggle",
        "token",
        "ab",
        "monitor",
        "drift",
        "alert",
        "automation",
        "host",
        "event",
    ),
    "In and out": ("import", "export"),
    "Govern": ("audit", "identity", "policy", "cost"),
    "This installation": ("agent", "plugin", "undo", "gc", "sql", "doctor", "info", "env", "config", "spec"),
}
"""How ``mlops --help`` groups them."""


def word(typed: str) -> str | None:
    """Return the word of the table that was meant: singular or plural, or an alias; None when there is none."""
    for candidate in (typed, ALIASES.get(typed, ""), typed.removesuffix("s"), ALIASES.get(typed.removesuffix("s"), "")):
        if candidate in NOUNS or candidate in COMMANDS:
            return candidate
    return None


def line_of(known: str) -> str:
    """Return a word's line of help."""
    return NOUNS.get(known) or COMMANDS[known][1]
