"""Plugins as the agent sees them: the list of what is built in and installed, and giving or taking trust."""

from __future__ import annotations

from mlops_tui.contracts import agent as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.contracts.operation import Change, Done, Plan
from mlops_tui.core.errors import Conflict
from mlops_tui.core.paths import home
from mlops_tui.door import Context, implements
from mlops_tui.plugins import loader
from mlops_tui.plugins.found import Found, find_plugin, find_plugins, normal
from mlops_tui.plugins.trust import check_files, set_trust, state_of, trusted
from mlops_tui.store.listing import Listing, lists

COLUMNS = [
    Column(name="name", label="name"),
    Column(name="state", label="state", kind="status"),
    Column(name="summary", label="what it is"),
    Column(name="version", label="version"),
    Column(name="sides", label="sides"),
    Column(name="problem", label="problem"),
]


class PluginListing(Listing):
    """A list whose rows come from this installation, not from the store; filter, sort and pages stay SQL."""

    def rows_from(self) -> str:
        """Return the plugins that are there now."""
        rows = ", ".join("(" + ", ".join(_literal(value) for value in row) + ")" for row in _rows())
        nothing = ", ".join("''" for _ in COLUMNS)
        names = ", ".join(column.name for column in COLUMNS)
        # VALUES may not be empty; the one row without a name is taken away again by ``where``.
        return f"(VALUES ({nothing}){', ' if rows else ''}{rows}) AS plugin({names})"


lists(
    PluginListing(
        noun="plugin",
        source="",
        columns=COLUMNS,
        expressions={column.name: column.name for column in COLUMNS},
        sort="name",
        where="name <> ''",
    )
)


def _rows() -> list[list[str]]:
    where, problems, unasked = home(), loader.problems(), loader.unasked()
    rows = [[name, "builtin", what, "", side, problems.get(name, "")] for name, side, what in loader.builtins()]
    for plugin in find_plugins(where):
        problem = problems.get(plugin.name, "")
        state = state_of(where, plugin)
        if state == "trusted" and problem:
            state = "broken"
        elif state == "trusted" and plugin.name in unasked:
            problem = f"nobody asks for {unasked[plugin.name]} yet"
        sides = ", ".join(sorted(plugin.modules))
        rows.append([plugin.name, state, plugin.summary, plugin.version, sides, problem])
    return rows


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


@implements(contract.plugin_trust)
class TrustPlugin:
    """Trust the installed version of a plugin, or take trust back."""

    def plan(self, ctx: Context, request: contract.TrustPlugin) -> Plan:
        """Say what would be trusted: exactly these files."""
        if request.revoke and normal(request.plugin) in trusted(ctx.home):
            entry = trusted(ctx.home)[normal(request.plugin)]
            return _plan(
                normal(request.plugin), entry["version"], None, f"do not load {normal(request.plugin)} again", []
            )
        plugin = find_plugin(ctx.home, request.plugin)
        state = state_of(ctx.home, plugin)
        if request.revoke or state == "trusted":
            raise Conflict(f"{plugin.name} {plugin.version} is {state} already", "", "mlops plugin list")
        check_files(plugin)
        before = trusted(ctx.home).get(plugin.name, {}).get("version")
        words = f"load {plugin.name} {plugin.version} from now on ({', '.join(sorted(plugin.modules))})"
        warnings = ["its code runs with your rights; trust only what you have read or whose author you trust"]
        return _plan(plugin.name, before, f"{plugin.version} {plugin.digest[:16]}", words, warnings)

    def apply(self, ctx: Context, request: contract.TrustPlugin, plan: Plan) -> Done:
        """Write it down; the agent loads it at once, workers and screens when they start."""
        name = normal(request.plugin)
        plugin = Found(name, "", "", {}, "") if request.revoke else find_plugin(ctx.home, name)

        def write() -> None:
            set_trust(ctx.home, plugin, revoke=request.revoke)
            if request.revoke:
                loader.forget(name)
            else:
                loader.load("agent")

        ctx.after.append(write)  # the audit record first: nothing is trusted that is not written down
        ctx.emit("plugin", name, "revoked" if request.revoke else "trusted", plan.text, f"plugin:{name}")
        return Done(object=name, text=f"{name} is {'no longer ' if request.revoke else ''}trusted")


def _plan(name: str, before: str | None, after: str | None, text: str, warnings: list[str]) -> Plan:
    change = Change(object=name, field="trusted", before=before, after=after)
    return Plan(operation="plugin.trust", object=f"plugin:{name}", text=text, changes=[change], warnings=warnings)
