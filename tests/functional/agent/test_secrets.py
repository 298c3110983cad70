"""At rest nothing can be read: what a run logged is in no file of its home, whichever way it came and went."""

from __future__ import annotations

import os
import subprocess
import sys

LOG = """
import sys
import mlops_tui as mlops
canary = sys.argv[1]
with mlops.start_run(experiment="canary", params={"secret": canary}, tags={"note": canary}) as run:
    run.log({"loss": 1.0}, step=0)
    run.log({f"m/{canary}": 2.0}, step=0)
    print(canary)
if len(sys.argv) > 2:
    raise SystemExit(canary)
"""


def files_with(home, canary: str) -> list[str]:
    """Return the files under a home that hold the text in any of the ways in which it might be written."""
    ways = [canary.encode(), canary.encode("utf-16-le"), canary[::-1].encode(), canary.encode().hex().encode()]
    found = []
    for folder, _, names in os.walk(home.data):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                data = file.read()
            if any(way in data for way in ways) or canary in name:
                found.append(os.path.relpath(path, home.data))
    return found


def test_nothing_that_was_logged_can_be_read_at_rest(home, unborn, until):
    agent, canary = unborn, f"canary{os.urandom(8).hex()}"
    subprocess.run([sys.executable, "-c", LOG, canary], check=True, capture_output=True, timeout=60)
    assert files_with(home, canary), "the search finds what lies plain in the spool"
    agent.start()
    client = agent.client()
    script = home.data / "train.py"
    script.write_text(LOG)
    client.follow(client.call("job.train", {"script": str(script), "args": [canary]}))
    failed = client.call("job.train", {"script": str(script), "args": [canary, "fail"], "name": "fails"}).job
    until(lambda: client.call("job.show", {"job": failed}).status == "failed")
    note = os.path.join(home.data, "..", "note.csv")
    with open(note, "w") as file:
        file.write("a,b\n" + "".join(f"{canary},{i}\n" for i in range(200)))
    client.run_job("data.add", {"name": "notes", "path": os.path.abspath(note)})
    query = f"SELECT count(*) FROM param WHERE value = '{canary}'"
    until(lambda: client.call("sql.query", {"query": query}).rows == [[3]])
    agent.stop()
    script.unlink()
    assert files_with(home, canary) == []
    agent.start()
    again = agent.client()
    assert again.call("sql.query", {"query": query}).rows == [[3]], "and it is all there for who has the key"
    again.call("identity.create", {"name": again.call("home.show").user, "role": "admin"}, reason=canary)
    agent.kill()
    assert files_with(home, canary) == [], "not in the write-ahead log of a killed agent either"
