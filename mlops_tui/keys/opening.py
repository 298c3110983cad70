"""Opening the keys of a store: the sources in order for a new one, exactly the recorded source for an old one."""

from __future__ import annotations

from collections.abc import Sequence

from mlops_tui.core.clock import now_us
from mlops_tui.core.config import Config
from mlops_tui.core.errors import BadInput, MlopsError, NotAllowed, NotFound
from mlops_tui.core.ids import uuid7
from mlops_tui.core.paths import Home
from mlops_tui.keys.keys import Keys, fits, key_check, key_id
from mlops_tui.keys.meta import StoreMeta, create_meta, leftover, meta_path, read_meta
from mlops_tui.keys.sources import (
    Credentials,
    Environment,
    KeyFile,
    Keyring,
    NotUsable,
    Offer,
    Plugin,
    PluginSource,
    Source,
)

__all__ = ["PluginSource", "open_keys"]


def open_keys(
    home: Home, config: Config, plugin_sources: Sequence[PluginSource] = (), *, must_exist: bool = False
) -> Keys:
    """Return the keys of the home's store; makes them (and ``store.meta``) when there is no store yet.

    A new store takes the first source that works: environment (CI only), service credentials, OS keyring, plugins, a
    new key file. An existing store uses the source that ``store.meta`` names and no other. ``store.key_source`` and
    ``store.encryption`` count for a new store only.

    Args:
        home: the folders of the installation.
        config: settings in force.
        plugin_sources: key sources that plugins bring, in order.
        must_exist: refuse to begin a new store; for everybody but the agent.

    Raises:
        NotFound: there is no store and ``must_exist`` is set.
        NotAllowed: the key is missing, locked or wrong, or a store lies there without its ``store.meta``.
        BadInput: a key is not 32 bytes in base64, or ``store.key_source`` names no source.
    """
    plugins = [Plugin(source) for source in plugin_sources]
    sources: list[Source] = [Environment(), Credentials(), Keyring(), *plugins, KeyFile(home.keys)]
    meta = read_meta(home)
    if meta is None and must_exist:
        raise NotFound(f"there is no store in {home.data}", f"{meta_path(home)} is missing", "set MLOPS_HOME")
    if meta is None:
        return _make(home, config, sources)
    return _open(meta, sources)


def _open(meta: StoreMeta, sources: Sequence[Source]) -> Keys:
    source = next((s for s in sources if s.name == meta.key_source), None)
    try:
        if source is None:
            raise NotAllowed(
                f"the store's key comes from {meta.key_source}, which is not there",
                "its plugin is not installed, not trusted or failed to load",
                "mlops plugin list",
            )
        secret = source.find(meta)
        if not fits(secret, meta):
            raise NotAllowed(
                "the key does not fit the store",
                f"the store needs key {meta.key_id}, {meta.key_source} gave {key_id(secret)}",
                "bring the key that the store was made with",
            )
    except MlopsError as error:
        # A plain store opens without its key file: only signing the audit chain needs it.
        if meta.encryption == "off":
            return Keys(meta, None, problem=str(error))
        raise
    return Keys(meta, secret)


def _make(home: Home, config: Config, sources: Sequence[Source]) -> Keys:
    if (found := leftover(home)) is not None:
        raise NotAllowed(
            f"{meta_path(home)} is missing although there is a store",
            f"{found} was made with a key that only that file names",
            "put store.meta back from a backup, or move the old store away",
        )
    encryption, store_id = config.get("store.encryption"), uuid7()
    source, offer, passed_over = _choose(
        sources, "file" if encryption == "off" else config.get("store.key_source"), store_id
    )
    meta = StoreMeta(
        store_id=store_id,
        encryption=encryption,
        key_id=key_id(offer.secret),
        key_check=key_check(offer.secret, store_id, encryption),
        key_source=source.name,
        key_note=offer.note,
        created=now_us(),
    )
    if not create_meta(home, meta):
        # Another process was faster: its key counts, ours was never used.
        if isinstance(source, KeyFile):
            source.path(meta.key_id).unlink(missing_ok=True)
        winner = read_meta(home)
        assert winner is not None
        return _open(winner, sources)
    return Keys(meta, offer.secret, _announce(offer, encryption, passed_over))


def _choose(sources: Sequence[Source], forced: str, store_id: str) -> tuple[Source, Offer, list[str]]:
    """Return the first source that can keep a new key, and why the ones before it could not."""
    wanted = [s for s in sources if not forced or forced in (s.name, s.name.partition(":")[0])]
    if not wanted:
        raise BadInput(
            f"store.key_source = {forced} names no key source", f"there are {', '.join(s.name for s in sources)}"
        )
    passed_over: list[str] = []
    for source in wanted:
        try:
            if (offer := source.offer(store_id)) is not None:
                return source, offer, passed_over
            reason = "not set up here"
        except NotUsable as error:
            reason = str(error)
            passed_over.append(f"{source.name}: {reason}")
    raise NotAllowed(
        f"store.key_source = {forced} cannot keep a key", reason, "choose another source for the new store"
    )


def _announce(offer: Offer, encryption: str, passed_over: Sequence[str]) -> str:
    if encryption == "off":
        return "Encryption is off: whoever can read this disk can read the store and its artifacts."
    if passed_over:
        return f"{offer.announcement} (Not used: {'; '.join(passed_over)}.)"
    return offer.announcement
