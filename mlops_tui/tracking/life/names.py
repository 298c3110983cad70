"""Names for runs and models that were given none: two words and a number are easier to say and find than an id."""

from __future__ import annotations

from blake3 import blake3

_HOW = (
    "bold bright calm capable clean fearless funny gentle kindly learned nimble orderly peaceful persistent polite"
    " rare resilient silent sincere skillful smiling thoughtful trusting unique upbeat useful welcoming wise"
)
_WHO = (
    "alder badger beech birch bison cedar crane curlew dolphin falcon finch gazelle heron hornbeam ibex jackdaw"
    " kestrel lark linden lynx marten oryx otter plover rowan sorrel swift tern viper walnut willow yew"
)


def name_for(identifier: str) -> str:
    """Return a name such as ``calm-otter-417``; the same for the same id."""
    n = int.from_bytes(blake3(identifier.encode()).digest(length=8))
    hows, whos = _HOW.split(), _WHO.split()
    n, how = divmod(n, len(hows))
    n, who = divmod(n, len(whos))
    return f"{hows[how]}-{whos[who]}-{n % 1000}"
