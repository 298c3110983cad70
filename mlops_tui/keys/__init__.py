"""Where keys come from and what they are used for: sources in order, ``store.meta``, derivation and wrapping."""

from __future__ import annotations

from mlops_tui.keys.keys import Keys
from mlops_tui.keys.meta import StoreMeta, meta_path, read_meta
from mlops_tui.keys.opening import PluginSource, open_keys

__all__ = ["Keys", "PluginSource", "StoreMeta", "meta_path", "open_keys", "read_meta"]
