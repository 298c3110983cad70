"""Loading plugins: trusted ones only, one by one, each on its own side. A broken one warns; the app goes on."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlops_tui.core.errors import BadInput, MlopsError
from mlops_tui.core.paths import Home, home
from mlops_tui.plugins.found import Found, find_plugins
from mlops_tui.plugins.trust import require_trust, trusted

if TYPE_CHECKING:
    import pluggy

    from mlops_tui.plugins.hookspecs import KeySource, Side

log = logging.getLogger(__name__)
BUILTIN = "builtin:"

_guard = threading.RLock()
_manager: pluggy.PluginManager | None = None
_problems: dict[str, str] = {}


def hooks(side: Side) -> pluggy.HookRelay:
    """Return the hooks with every built-in, and every trusted plugin's module of this side, registered.

    Called again it loads what was trusted since. Prefer :func:`brought`, which lets one plugin fail alone.
    """
    with _guard:
        manager = _the_manager()
        _load_trusted(manager, side, home())
        return manager.hook


def brought(what: str) -> dict[str, Any]:
    """Return what built-ins and plugins bring for one hook, by name.

    Args:
        what: name of the hook without its prefix: ``gates``, ``drift_statistics``, ``panels`` …

    A plugin whose hook raises, or that brings a name that is taken, is skipped with a warning.
    """
    from mlops_tui.plugins.hookspecs import SIDE_OF

    caller = getattr(hooks(SIDE_OF[f"mlops_{what}"]), f"mlops_{what}")
    found: dict[str, Any] = {}
    for answer in sorted(caller.get_hookimpls(), key=lambda one: not one.plugin_name.startswith(BUILTIN)):
        try:
            for one in answer.function():
                if one.name in found:
                    raise BadInput(f"the name {one.name!r} is taken")
                found[one.name] = one
        except Exception as error:
            _warn(answer.plugin_name, f"{what}: {type(error).__name__}: {error}")
    return found


def register_builtin(module_or_object: Any) -> None:
    """Register hooks of our own; what they bring goes before what plugins bring. Twice is once."""
    with _guard:
        manager = _the_manager()
        if not manager.is_registered(module_or_object):
            manager.register(module_or_object, name=BUILTIN + _name_of(module_or_object))


def key_sources() -> Sequence[KeySource]:
    """Return the key sources of trusted plugins, in the order of their names; costs nothing when there are none."""
    try:
        if not trusted(home()):
            return ()
    except MlopsError as error:
        _warn("plugins", str(error))
        return ()
    return list(brought("key_sources").values())


def load(side: Side) -> None:
    """Load what was trusted since this process looked last."""
    hooks(side)


def builtins() -> list[tuple[str, str, str]]:
    """Return what is registered of our own, with the sides it is asked on, and what it brings."""
    from mlops_tui.plugins.hookspecs import SIDE_OF

    with _guard:
        manager = _the_manager()
        own = [(name, thing) for name, thing in manager.list_name_plugin() if name.startswith(BUILTIN)]
        hooks = {name: [caller.name for caller in manager.get_hookcallers(thing) or []] for name, thing in own}
        return [
            (name, ", ".join(sorted({SIDE_OF[hook] for hook in found})), ", ".join(_words(found)))
            for name, found in hooks.items()
        ]


def unasked() -> dict[str, str]:
    """Return by plugin what it brings in this process that nobody asks for yet."""
    from mlops_tui.plugins.hookspecs import NOT_ASKED

    if _manager is None:
        return {}
    with _guard:
        found = {
            name.partition("/")[0]: [caller.name for caller in _manager.get_hookcallers(thing) or []]
            for name, thing in _manager.list_name_plugin()
        }
    told = {name: _words([hook for hook in hooks if hook in NOT_ASKED]) for name, hooks in found.items()}
    return {name: ", ".join(words) for name, words in told.items() if words}


def problems() -> dict[str, str]:
    """Return why plugins failed to load or to answer in this process, by name."""
    with _guard:
        return dict(_problems)


def forget(name: str) -> None:
    """Unregister a plugin whose trust was taken back; what it already brought stays until the process ends."""
    with _guard:
        if _manager is not None:
            for loaded in [key for key, _ in _manager.list_name_plugin() if key.partition("/")[0] == name]:
                _manager.unregister(name=loaded)


def _the_manager() -> pluggy.PluginManager:
    global _manager
    if _manager is None:
        import pluggy

        from mlops_tui.plugins import hookspecs

        _manager = pluggy.PluginManager(hookspecs.PROJECT)
        _manager.add_hookspecs(hookspecs)
    return _manager


def _load_trusted(manager: pluggy.PluginManager, side: Side, where: Home) -> None:
    try:
        if not trusted(where):
            return
        chosen = trusted(where)
        wanted = [plugin for plugin in find_plugins(where) if side in plugin.modules and plugin.name in chosen]
    except MlopsError as error:
        _warn("plugins", str(error))
        return
    for plugin in wanted:
        if not manager.has_plugin(f"{plugin.name}/{side}"):
            try:
                require_trust(where, plugin)
                _load(manager, plugin, side)
            except MlopsError as error:
                _warn(plugin.name, str(error))


def _load(manager: pluggy.PluginManager, plugin: Found, side: Side) -> None:
    """Import one module and register it; whatever it does wrong becomes one error of ours."""
    name = f"{plugin.name}/{side}"
    try:
        module = importlib.import_module(plugin.modules[side])
        manager.register(module, name=name)
        _check_hooks(manager, module, side)
    except (Exception, SystemExit) as error:
        if manager.has_plugin(name):
            manager.unregister(name=name)
        raise MlopsError(
            f"the plugin {plugin.name} {plugin.version} cannot be loaded",
            f"{type(error).__name__}: {error}",
            f"upgrade it, or mlops plugin trust {plugin.name} --revoke",
        ) from error
    _problems.pop(plugin.name, None)


def _check_hooks(manager: pluggy.PluginManager, module: Any, side: Side) -> None:
    from mlops_tui.plugins.hookspecs import SIDE_OF

    names = [caller.name for caller in manager.get_hookcallers(module) or []]
    if not names:
        raise BadInput(f"{module.__name__} has no hook", "", "mark its functions with mlops_tui.plugins.hook")
    for name in names:
        if SIDE_OF.get(name) != side:
            known = f"it is asked on the {SIDE_OF[name]} side" if name in SIDE_OF else "there is no such hook"
            raise BadInput(f"{module.__name__} has {name}", known, "move it to the module of that side")


def _warn(plugin: str, text: str) -> None:
    plugin = plugin.partition("/")[0]
    if _problems.get(plugin) != text:
        _problems[plugin] = text
        log.warning("plugin %s: %s", plugin, text)


def _words(hooks: list[str]) -> list[str]:
    return sorted(name.removeprefix("mlops_").replace("_", " ") for name in hooks)


def _name_of(thing: Any) -> str:
    name = str(getattr(thing, "__name__", None) or type(thing).__name__)
    return name.removeprefix("mlops_tui.")
