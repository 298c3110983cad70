"""Operations and list of machines."""

from __future__ import annotations

from typing import Any

import msgspec

from mlops_tui.contracts import agent as contract
from mlops_tui.contracts.listing import Column
from mlops_tui.core.errors import BadInput, NotFound
from mlops_tui.door import Context, implements
from mlops_tui.hardware.devices import device
from mlops_tui.hardware.probe import Facts
from mlops_tui.hardware.samples import Sample
from mlops_tui.hardware.watch import this_host, watch_of
from mlops_tui.store.listing import Listing, lists
from mlops_tui.store.session import Session

lists(
    Listing(
        noun="host",
        source="host",
        columns=[
            Column(name="id", label="id", kind="id"),
            Column(name="name", label="name"),
            Column(name="cpu", label="CPU", kind="float", unit="%"),
            Column(name="cpus", label="CPUs", kind="int"),
            Column(name="mem_used", label="memory used", kind="bytes"),
            Column(name="mem_total", label="memory", kind="bytes"),
            Column(name="disk_free", label="disk free", kind="bytes"),
            Column(name="gpus", label="GPUs", kind="int"),
            Column(name="os", label="system"),
            Column(name="limits", label="limits"),
            Column(name="seen", label="seen", kind="time"),
        ],
        expressions={
            "id": "id",
            "name": "name",
            "cpu": "(sample::JSON->>'cpu')::DOUBLE",
            "cpus": "(facts::JSON->>'cpus')::INTEGER",
            "mem_used": "(sample::JSON->>'mem_used')::BIGINT",
            "mem_total": "(sample::JSON->>'mem_total')::BIGINT",
            "disk_free": "(sample::JSON->>'disk_total')::BIGINT - (sample::JSON->>'disk_used')::BIGINT",
            "gpus": """(json_array_length(sample::JSON->'gpus')
                + coalesce(json_array_length(sample::JSON->'others'), 0))::INTEGER""",
            "os": "facts::JSON->>'os'",
            "limits": "facts::JSON->>'limits'",
            "seen": "epoch_us(seen)",
        },
        sort="name",
    )
)


@implements(contract.host_show)
def show(ctx: Context, request: contract.OneHost) -> contract.Host:
    """Show a machine, and its busiest processes when they are asked for."""
    row = find(ctx.session, request.host)
    found = shown(row)
    if request.processes:
        watch = watch_of(ctx.house)
        if found.id != watch.facts.id:
            raise BadInput(
                f"the processes of {found.name} cannot be seen from here",
                f"this is {watch.facts.host}",
                f"mlops host show {found.name} --processes, on that machine",
            )
        lines = msgspec.to_builtins(watch.processes())
        found.processes = msgspec.convert(lines, list[contract.Process])
    return found


def find(session: Session, typed: str) -> dict[str, Any]:
    """Return the row of the machine that a person means: by name or id; nothing typed means this one.

    Raises:
        NotFound: there is none.
    """
    wanted = typed.strip().removeprefix("host:") or this_host()
    row = session.dict(
        "SELECT * FROM host WHERE name = $it OR id = $it OR (length($it) >= 4 AND ends_with(id, $it)) "
        "ORDER BY seen DESC LIMIT 1",
        {"it": wanted},
    )
    if row is None:
        why = "" if typed else "its first sample is taken within two seconds of the agent's start"
        raise NotFound(f"there is no machine {wanted!r}", why, "mlops host list shows them")
    return row


def shown(row: dict[str, Any]) -> contract.Host:
    """Return a machine from its row."""
    facts, now = msgspec.json.decode(row["facts"], type=Facts), msgspec.json.decode(row["sample"], type=Sample)
    known = {one.index: one for one in facts.gpus}
    return contract.Host(
        id=facts.id,
        name=facts.host,
        ts=now.ts,
        os=facts.os,
        cpu_model=facts.cpu_model,
        cpus=facts.cpus,
        cpu=now.cpu,
        load=now.load,
        mem_used=now.mem_used,
        mem_total=now.mem_total,
        disk_used=now.disk_used,
        disk_total=now.disk_total,
        net_down=now.net_down,
        net_up=now.net_up,
        gpus=[*(device(known.get(one.index), one) for one in now.gpus), *now.others],
        gpu_state=now.gpu_state + (f"; {len(now.others)} seen by plugins" if now.others else ""),
        limits=facts.limits,
    )
