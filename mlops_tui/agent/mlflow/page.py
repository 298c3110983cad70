"""Where MLflow's client sends people: it prints addresses of pages, and this store's pages are in the terminal.

The one page here turns such an address into the command that opens the same thing.
"""

from __future__ import annotations

from mlops_tui.agent.mlflow.coding import Ask
from mlops_tui.agent.mlflow.router import Call, Reply, route

_PAGE = b"""<!doctype html><html lang="en"><meta charset="utf-8"><title>mlops</title>
<style>body{font:16px/1.6 ui-monospace,monospace;max-width:44em;margin:4em auto;padding:0 1em;color-scheme:light dark}
code{font-size:1.1em}</style>
<h1>This store lives in a terminal</h1><p id="said">Open it with</p><p><code id="command">mlops</code></p>
<script>
const run = location.hash.match(/runs\\/([0-9a-f]{32})/), experiment = location.hash.match(/experiments\\/(\\d+)/)
const model = location.hash.match(/models\\/([^/?]+)(?:\\/versions\\/(\\d+))?/)
const link = run ? "run:" + run[1] : model ? "model:" + decodeURIComponent(model[1]) + (model[2] ? "@" + model[2] : "")
  : ""
const typed = link ? "mlops open " + (/^[\\w:@.-]+$/.test(link) ? link : JSON.stringify(link))
  : experiment ? "mlops experiment show " + experiment[1] : "mlops"
document.getElementById("command").textContent = typed
if (typed !== "mlops") document.getElementById("said").textContent = "Open what you were sent to with"
</script></html>"""
_HEADERS = {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
}


@route("GET", "/", hot=True)
async def page(_call: Call, _ask: Ask) -> Reply:
    """Say how to open what an address of MLflow's pages means."""
    return Reply(_PAGE, headers=_HEADERS)
