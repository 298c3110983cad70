"""Feature toggles in flagd's format: read, checked, compiled once, then asked in a few microseconds.

A definition file names flags; each has variants (all booleans, texts, numbers or objects), a default, and may have a
rule, which chooses a variant by the context of the question::

    {"flags": {
       "new-model": {
         "state": "ENABLED",
         "variants": {"new": "v2", "old": "v1"},
         "defaultVariant": "old",
         "targeting": {"if": [{"ends_with": [{"var": "headers.x-user"}, "@example.com"]}, "new",
                              {"fractional": [["new", 10], ["old", 90]]}]},
         "metadata": {"deployment": "employment", "controls": "revision"}}},
     "$evaluators": {}, "metadata": {}}

Rules are JsonLogic with flagd's ``fractional``, ``sem_ver``, ``starts_with`` and ``ends_with``; ``{"$ref": NAME}``
stands for a rule of ``$evaluators``; ``$flagd.flagKey`` and ``$flagd.timestamp`` (seconds) are in every context.
``fractional`` puts a key (by default flag and ``targetingKey``) into a bucket by MurmurHash3 over its canonical CBOR.
The official provider is the judge of all of it in the tests; it costs many times as much and is not needed to run.

Who asks: the servers of a deployment, about flags whose metadata name it
(:mod:`mlops_tui.serving.traffic.toggling`); users' code, through :class:`mlops_tui.toggles.provider.MlopsProvider`
(OpenFeature, the extra ``openfeature``) or any other flagd provider that reads the file. Who writes: the operations
``toggle.*`` of the deploy room, which keep every version in the store.

Order of reading: :mod:`~mlops_tui.toggles.definition` (the file), :mod:`~mlops_tui.toggles.checking` (what can be wrong
with a rule), :mod:`~mlops_tui.toggles.compiling` and :mod:`~mlops_tui.toggles.operators` (what a rule means),
:mod:`~mlops_tui.toggles.fractional`, :mod:`~mlops_tui.toggles.semver`, :mod:`~mlops_tui.toggles.watching`. Nothing here
knows a store, a server or a third party's library.
"""

from __future__ import annotations

from mlops_tui.toggles.definition import (
    Definition,
    Reason,
    Resolution,
    Toggle,
    content_of,
    defined,
    parsed,
    read_file,
    toggle,
)

__all__ = [
    "Definition",
    "Reason",
    "Resolution",
    "Toggle",
    "content_of",
    "defined",
    "parsed",
    "read_file",
    "toggle",
]
