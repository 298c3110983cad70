"""Feature toggles: switches that servers and users' code ask at every request, in the format of flagd."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from mlops_tui.contracts.listing import listing
from mlops_tui.contracts.operation import Answer, Done, File, Request, operation

ToggleKey = Annotated[str, Meta(min_length=1, max_length=200, description="key of the toggle")]


class OneToggle(Request, frozen=True):
    """Names a toggle."""

    positional = ("key",)
    key: ToggleKey


class SetToggle(Request, frozen=True):
    """What a toggle shall be from now on; what is not said stays. A new one has the variants on and off."""

    positional = ("key", "variant")
    key: ToggleKey
    variant: Annotated[str, Meta(description="the default variant; -: none, the caller's own default holds")] = ""
    state: Annotated[Literal["", "on", "off"], Meta(description="off: it is not asked, whatever it says")] = ""
    variants: Annotated[str, Meta(description='all variants as JSON, such as {"new": "v2", "old": "v1"}')] = ""
    rule: Annotated[str, Meta(description="targeting as JSON (JsonLogic, fractional, sem_ver …); {}: none")] = ""
    deployment: Annotated[str, Meta(description="the deployment whose servers ask it")] = ""
    controls: Annotated[str, Meta(description="what it controls there: revision, answers, fallback, shadow, log")] = ""
    metadata: Annotated[dict[str, str], Meta(description="further facts")] = msgspec.field(default_factory=dict)


class PatchToggles(Request, frozen=True):
    """Fields of toggles, as flagd has them, by key; null takes a field away, and a toggle with its last one."""

    toggles: dict[str, dict[str, Any]]


class AskToggle(Request, frozen=True):
    """A question as servers or users' code would ask it."""

    positional = ("key",)
    key: ToggleKey
    context: Annotated[
        dict[str, str], Meta(description="what rules look at, by path: headers.x-plan=pro; JSON where it is some")
    ] = msgspec.field(default_factory=dict)
    targeting_key: Annotated[str, Meta(description="whose request it is; buckets go by it")] = ""


class ImportToggles(Request, frozen=True):
    """A definition file of flagd, JSON or YAML."""

    positional = ("path",)
    path: Annotated[str, Meta(description="file")]
    replace: Annotated[bool, Meta(description="remove the toggles that are not in the file")] = False


class ExportToggles(Request, frozen=True):
    """Which toggles to write."""

    deployment: Annotated[str, Meta(description="only those that its servers ask")] = ""


class ToggleVersion(msgspec.Struct, kw_only=True):
    """A toggle as it was from a moment on; ``enabled`` is None when it was removed."""

    ts: int
    actor: str
    enabled: bool | None
    default: str
    reason: str


class Toggle(Answer):
    """A toggle, whole; ``rule`` is its targeting as the file has it, and ``file`` is where users' code finds it."""

    key: str
    enabled: bool
    kind: str
    default: str
    variants: dict[str, Any]
    rule: Any
    deployment: str
    controls: str
    metadata: dict[str, Any]
    file: str
    versions: list[ToggleVersion]


class Asked(Answer):
    """What a toggle says: without a variant it has nothing to say, and the asker's own default holds."""

    key: str
    value: Any
    variant: str
    reason: str
    error: str


class Definitions(File):
    """A definition file of flagd."""

    toggles: int


toggles = listing("toggle", "List feature toggles.", "mlops toggle list")
show = operation(
    "toggle.show",
    OneToggle,
    Toggle,
    help="Show a toggle: variants, rule, what it controls, its history.",
    example="mlops toggle show new-model",
)
set_ = operation(
    "toggle.set",
    SetToggle,
    Done,
    permission="toggle:write",
    effect="change",
    help="Switch a toggle, or make one.",
    example="mlops toggle set new-model on",
)
remove = operation(
    "toggle.remove",
    OneToggle,
    Done,
    permission="toggle:write",
    effect="change",
    help="Remove a toggle.",
    example="mlops toggle remove new-model",
)
ask = operation(
    "toggle.ask",
    AskToggle,
    Asked,
    permission="toggle:read",
    help="Ask a toggle as a server would, and say why it answers so.",
    example="mlops toggle ask new-model --context headers.x-plan=pro --targeting-key user-7",
)
import_ = operation(
    "toggle.import",
    ImportToggles,
    Done,
    permission="toggle:write",
    effect="change",
    help="Take in a flagd definition file.",
    example="mlops toggle import flags.json --dry-run",
)
export = operation(
    "toggle.export",
    ExportToggles,
    Definitions,
    permission="toggle:read",
    help="Write a flagd definition file.",
    example="mlops toggle export --to flags.json",
)
patch = operation(
    "toggle.patch",
    PatchToggles,
    Done,
    permission="toggle:write",
    effect="change",
    help="Put fields of toggles back.",
    internal=True,
)
