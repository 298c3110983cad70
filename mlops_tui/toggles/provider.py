"""An OpenFeature provider for users' code: the toggles of a store or of any flagd file, followed as they change.

Needs the extra ``openfeature``::

    from openfeature import api
    from mlops_tui.toggles.provider import MlopsProvider

    api.set_provider_and_wait(MlopsProvider())
    if api.get_client().get_boolean_value("new-checkout", False, EvaluationContext("user-7")): ...

No thread and no agent: a question looks at the file at most once a second.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    FlagNotFoundError,
    GeneralError,
    OpenFeatureError,
    ParseError,
    ProviderNotReadyError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider
from openfeature.provider.metadata import Metadata

from mlops_tui.core.paths import home
from mlops_tui.toggles.definition import Definition, Reason, Resolution
from mlops_tui.toggles.watching import Watched

_LOOK_S = 1.0
_WORDS: dict[Any, str] = {bool: "boolean", str: "string", int: "integer", float: "number", (dict, list): "object"}


class MlopsProvider(AbstractProvider):  # type: ignore[misc]
    """Answers OpenFeature's questions.

    Args:
        path: a flagd file; default, the one that the agent of ``MLOPS_HOME`` keeps.
        tenant: whose toggles, when there is no path.
        must_exist: refuse to be ready while the file is not there, instead of answering that no flag is known.
    """

    def __init__(self, path: str | Path | None = None, tenant: str = "default", *, must_exist: bool = False) -> None:
        super().__init__()
        self.path = Path(path) if path is not None else home().toggles / f"{tenant}.json"
        self._watched, self._must_exist = Watched(self.path), must_exist
        self._look_at = 0.0
        self._failed = ""

    def get_metadata(self) -> Metadata:
        """Return the provider's name."""
        return Metadata("mlops_tui")

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the file.

        Raises:
            ProviderNotReadyError: it is not there though it must be.
            ParseError: it is no definition.
        """
        if self._must_exist and not self.path.exists():
            raise ProviderNotReadyError(f"there is no file {self.path}")
        self._watched.look()
        if self._watched.error:
            raise ParseError(self._watched.error)

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        """Ask a toggle of booleans."""
        return self._ask(flag_key, default_value, evaluation_context, bool)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        """Ask a toggle of texts."""
        return self._ask(flag_key, default_value, evaluation_context, str)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        """Ask a toggle of whole numbers."""
        return self._ask(flag_key, default_value, evaluation_context, int)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        """Ask a toggle of numbers."""
        return self._ask(flag_key, default_value, evaluation_context, float)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Sequence[Any] | Mapping[str, Any],
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Sequence[Any] | Mapping[str, Any]]:
        """Ask a toggle of objects or lists."""
        return self._ask(flag_key, default_value, evaluation_context, (dict, list))

    def _ask(self, key: str, default: Any, asked: EvaluationContext | None, wanted: Any) -> FlagResolutionDetails[Any]:
        definition = self._current()
        if key not in definition.toggles:
            raise FlagNotFoundError(f"there is no toggle {key!r} in {self.path}")
        context: dict[str, Any] = dict(asked.attributes) if asked is not None else {}
        context["targetingKey"] = asked.targeting_key if asked is not None else None
        found = definition.resolve(key, context)
        if found.reason is Reason.ERROR:
            raise GeneralError(found.error)
        said = {**definition.metadata, **definition.toggles[key].metadata}
        if found.variant is None:
            return FlagResolutionDetails(default, reason=str(found.reason), flag_metadata=said)
        value = _typed(key, found, wanted)
        return FlagResolutionDetails(value, variant=found.variant, reason=str(found.reason), flag_metadata=said)

    def _current(self) -> Definition:
        """Return the definition in force, after a look at the file when the last one is a while ago."""
        if (now := time.monotonic()) < self._look_at:
            return self._watched.definition
        self._look_at = now + _LOOK_S
        before = self._watched.definition
        if self._watched.look():
            self.emit_provider_configuration_changed(
                ProviderEventDetails(flags_changed=changed(before, self._watched.definition))
            )
        if self._watched.error != self._failed:
            self._failed = self._watched.error
            if self._failed:
                self.emit_provider_stale(ProviderEventDetails(message=self._failed))
            else:
                self.emit_provider_ready(ProviderEventDetails())
        return self._watched.definition


def changed(before: Definition, after: Definition) -> list[str]:
    """Return the keys of the toggles that came, went or are other than they were."""
    old = {key: one.source for key, one in before.toggles.items()}
    new = {key: one.source for key, one in after.toggles.items()}
    return sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))


def _typed(key: str, found: Resolution, wanted: Any) -> Any:
    value = found.value
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        error: OpenFeatureError = TypeMismatchError(
            f"the variant {found.variant!r} of {key!r} is a {type(value).__name__}, not a {_WORDS[wanted]}"
        )
        raise error
    return value
