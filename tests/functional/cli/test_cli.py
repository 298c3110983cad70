"""The command line against a real agent."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

SCRIPT = """
import sys, time
import mlops_tui as mlops
with mlops.start_run() as run:
    run.log({"loss": 0.5}, step=1)
    print("hello from the script", *sys.argv[1:], flush=True)
    if "fail" in sys.argv:
        raise ValueError("as asked")
    for _ in range(600 if "long" in sys.argv else 0):
        time.sleep(0.1)
"""


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return str(path)


def until(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_agent_is_started_by_who_needs_it_and_never_by_who_asks_for_it(mlops, home):
    absent = mlops("agent", "status")
    assert absent.returncode == 7 and "no agent is running" in absent.stderr and "mlops agent start" in absent.stderr
    assert mlops("agent", "stop").returncode == 7 and not home.socket.exists()
    assert mlops("agent", "log").returncode == 5

    first = mlops("init", "--json")
    assert f"written to {home.keys}" in first.stderr  # where the new key is, said once
    again = json.loads(mlops("init", "--json").stdout)
    assert json.loads(first.stdout) == {**again, "made": True} and again["made"] is False
    assert again["store"] == str(home.store) and "mlops demo" in again["next"]
    listed = mlops("runs", "--json")
    assert listed.returncode == 0 and json.loads(listed.stdout)["rows"] == []

    status = mlops("agent", "start", "--json")
    assert status.returncode == 0 and json.loads(status.stdout)["home"] == str(home.data)
    assert json.loads(mlops("agent", "--json").stdout)["pid"] == json.loads(status.stdout)["pid"]
    staying = mlops("agent", "start", "--stay")
    assert staying.returncode == 6 and "mlops agent stop" in staying.stderr
    assert mlops("agent", "log", "-n", "5").returncode == 0
    doctor = {check["check"]: check for check in json.loads(mlops("doctor", "--json").stdout)["checks"]}
    assert doctor["agent"]["text"].startswith("running") and doctor["encryption"]["text"].startswith("on")
    assert doctor["key"]["state"] == "ok"

    assert mlops("agent", "stop").returncode == 0
    until(lambda: mlops("agent", "status").returncode == 7)
    stays = mlops("agent", "start", "--stay", "--fields", "stay", "--json")
    assert stays.returncode == 0 and json.loads(stays.stdout)["stay"] is True and "written" not in stays.stderr
    assert mlops("agent", "stop").returncode == 0
    until(lambda: mlops("agent", "status").returncode == 7)


def test_a_job_is_followed_to_its_end_and_its_exit_code_is_ours(mlops, agent, script):
    done = mlops("train", script, "--name", "good", "--json", "--", "one", "--two")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["status"]) == ("job.train/1", "done")
    assert "hello from the script one --two" in done.stderr and "train good · done" in done.stderr
    quiet = mlops("train", script, "--name", "quiet", "-q", "-o", "plain")
    assert quiet.stderr == "" and "status: done" in quiet.stdout

    failed = mlops("train", script, "--name", "bad", "--json", "--", "fail")
    assert failed.returncode == 1 and failed.stdout == ""
    assert json.loads(failed.stderr.splitlines()[-1])["error"]["exit_code"] == 1

    started = mlops("train", script, "--name", "long", "--no-wait", "--json", "--", "long")
    job = json.loads(started.stdout)["job"]
    assert started.returncode == 0
    assert mlops("job", "show", job[-8:], "--json", "--fields", "status").returncode == 0
    refused = mlops("job", "stop", "long")
    assert refused.returncode == 2 and "mlops job stop long --yes" in refused.stderr
    assert mlops("job", "stop", "long", "--yes").returncode == 0


def test_ctrl_c_stops_watching_and_the_job_goes_on(mlops, agent, script):
    watching = subprocess.Popen(
        [sys.executable, "-m", "mlops_tui", "train", script, "--name", "long", "--", "long"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    until(lambda: '"running"' in mlops("jobs", "--json").stdout)
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=30)
    assert watching.returncode == 130 and out == ""
    assert "the job goes on · mlops job show" in err and "Traceback" not in err
    assert '"running"' in mlops("jobs", "--json").stdout
    limited = mlops("train", script, "--name", "other", "--timeout", "1", "-q", "--", "long")
    assert limited.returncode == 1 and "did not end within 1 s" in limited.stderr


def test_changes_ask_when_it_matters(mlops, typed, agent, script):
    assert mlops("train", script, "--name", "one", "-q").returncode == 0
    harmless = mlops("run", "tag", "one", "stage=gold")
    assert harmless.returncode == 0 and "stage=gold" in harmless.stdout

    def deleted():
        return json.loads(mlops("run", "show", "one", "--json").stdout)["deleted"]

    alone = mlops("run", "delete", "one", "--reason", "too old")
    assert alone.returncode == 2 and alone.stdout == ""
    assert "mlops run delete one --reason 'too old' --yes" in alone.stderr
    plan = json.loads(mlops("run", "delete", "one", "--dry-run", "--json").stdout)
    assert plan["schema"] == "run.delete/1" and plan["changes"] and plan["digest"] and not deleted()

    code, screen = typed("run", "delete", "one", answer="n\n", asks="[y/N]")
    assert code == 3 and "nothing was changed" in screen and not deleted()
    code, screen = typed("run", "delete", "one", "--no-input", answer="")
    assert code == 2 and "[y/N]" not in screen and not deleted()
    code, screen = typed("run", "delete", "one", answer="y\n", asks="[y/N]")
    assert code == 0 and deleted(), screen
    assert mlops("run", "restore", "one").returncode == 0
    assert mlops("run", "delete", "one", "--confirm", "two").returncode == 3 and not deleted()
    assert mlops("run", "delete", "one", "--confirm", "one").returncode == 0 and deleted(), "the name is a yes, too"
    assert mlops("run", "restore", "one").returncode == 0
    assert mlops("run", "delete", "one", "--yes", "--reason", "too old").returncode == 0
    records = json.loads(mlops("audit", "list", "--json").stdout)["rows"]
    assert "too old" in [record["reason"] for record in records]


def test_production_wants_the_name(mlops, typed, agent, script):
    production = {"MLOPS_ENVIRONMENT": "prod"}
    assert mlops("train", script, "--name", "one", "-q").returncode == 0
    for more in ((), ("--yes",)):
        asked = mlops("run", "note", "one", "x", *more, **production)
        assert asked.returncode == 2 and "--confirm one" in asked.stderr
    assert mlops("run", "note", "one", "x", "--confirm", "two", **production).returncode == 3
    code, screen = typed("run", "note", "one", "x", answer="two\n", asks="to go on:", **production)
    assert code == 3 and "production" in screen
    assert json.loads(mlops("run", "show", "one", "--json").stdout)["note"] == ""
    code, screen = typed("run", "note", "one", "by hand", answer="one\n", asks="to go on:", **production)
    assert code == 0, screen
    assert mlops("run", "note", "one", "by flag", "--confirm", "one", **production).returncode == 0
    assert json.loads(mlops("run", "show", "one", "--json").stdout)["note"] == "by flag"
    readonly = mlops("run", "note", "one", "no", MLOPS_READONLY="1")
    assert readonly.returncode == 4 and "read-only" in readonly.stderr


def test_results_go_to_stdout_in_every_format(mlops, agent, script, home):
    for name in ("one", "two"):
        assert mlops("train", script, "--name", name, "-q").returncode == 0
    assert {row["name"] for row in json.loads(mlops("runs", "--json").stdout)["rows"]} == {"one", "two"}
    assert json.loads(mlops("runs", MLOPS_OUTPUT="json").stdout)["total"] == 2
    assert [
        json.loads(line) for line in mlops("runs", "name:one", "-o", "jsonl", "--fields", "name").stdout.splitlines()
    ] == [{"name": "one"}]
    assert list(
        csv.reader(io.StringIO(mlops("runs", "--sort", "name", "-o", "csv", "--fields", "name,status").stdout))
    )[1:] == [["one", "done"], ["two", "done"]]
    table = mlops("runs", "--limit", "1")
    assert len(table.stdout.splitlines()) == 2 and "--offset 1 shows more" in table.stderr
    assert mlops("runs", "--limit", "1", "-q").stderr == ""
    assert "the list is empty" in mlops("ab", "list").stderr
    assert mlops("run", "show", "nope").returncode == 5
    wrong = mlops("runs", "loss>>x")
    assert wrong.returncode == 2 and wrong.stdout == ""
    sql = json.loads(mlops("sql", "select name, 1.5::double as x from run order by name", "--json").stdout)
    assert sql["schema"] == "sql.query/1" and sql["rows"][0] == {"name": "one", "x": 1.5}
    assert mlops("sql", "delete from run").returncode == 2
    assert mlops("policy", "model:promote").returncode == 0
    names = json.loads((home.cache / "names.json").read_text())
    assert set(names["run"]) == {"one", "two"}


def test_whoever_has_seen_enough_may_close_the_pipe(mlops, agent):
    for words in ("event list --json", "spec --json", "--help"):
        line = f"sleep 0.2; {sys.executable} -m mlops_tui {words}; echo code $? >&2"
        done = subprocess.run(
            ["bash", "-c", f"({line}) | true"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == "code 0\n", words


def test_a_path_is_the_caller_s_not_the_agent_s(mlops, agent, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,b\n" + "".join(f"{i},{i % 3}\n" for i in range(50)))
    added = mlops("data", "add", "mine", "mine.csv", "--json")
    assert added.returncode == 0, added.stderr
    shown = json.loads(mlops("data", "show", "mine", "--json").stdout)
    assert shown["rows"] == 50 and shown["data_schema"]
    missing = mlops("data", "add", "mine", "nothing.csv")
    assert missing.returncode in (2, 5) and str(tmp_path / "nothing.csv") in missing.stderr
    assert mlops("audit", "export", "trail.jsonl").returncode == 0 and (tmp_path / "trail.jsonl").exists()


def test_home_as_text(mlops, agent):
    top = mlops("top", "--json")
    assert top.returncode == 0 and json.loads(top.stdout)["schema"] == "home.show/1"
    line = mlops("top", "--line")
    assert line.returncode == 0 and len(line.stdout.splitlines()) == 1 and "cpu" in line.stdout


def test_settings_are_written_where_they_are_read(mlops, home):
    assert mlops("config", "get", "theme").stdout == "auto\n"
    assert mlops("config", "set", "theme", "ansi-dark").returncode == 0
    assert mlops("config", "set", "store.key_source", "file").returncode == 0
    assert mlops("config", "set", "jobs.parallel", "many").returncode == 2
    rows = {row["setting"]: row for row in json.loads(mlops("config", "--origin", "--json").stdout)["settings"]}
    assert rows["theme"] == {"setting": "theme", "value": "ansi-dark", "origin": f"{home.config_file}:1"}
    assert oct(home.config_file.stat().st_mode)[-3:] == "600"
    beaten = mlops("config", "set", "theme", "auto", MLOPS_THEME="mlops-dark")
    assert beaten.returncode == 0 and "environment MLOPS_THEME comes first" in beaten.stderr
    assert mlops("config", "get", "theme", MLOPS_THEME="mlops-dark").stdout == "mlops-dark\n"


def test_a_terminal_gets_colours_and_no_color_takes_them(typed, agent):
    code, screen = typed("doctor", answer="")
    assert code == 0 and "\x1b[32m✔" in screen
    code, screen = typed("doctor", answer="", NO_COLOR="1")
    assert code == 0 and "\x1b[" not in screen
    code, screen = typed("agent", "status", answer="")
    assert code == 0 and "\x1b[" in screen and str(os.getuid()) is not None


def test_the_tui_needs_a_terminal(mlops):
    for words, instead in (
        ((), "mlops top"),
        (("open", "run:abc"), "mlops run show abc"),
        (("open", "models"), "mlops model list"),
        (("--low-bandwidth", "--theme", "ansi-dark"), "mlops top"),
    ):
        done = mlops(*words)
        assert done.returncode == 2 and instead in done.stderr and done.stdout == ""
