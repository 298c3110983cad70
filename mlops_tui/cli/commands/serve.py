"""``mlops serve``: one model in the foreground, from the registry, a file or a bundle."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from mlops_tui.cli.calls.handover import to_module
from mlops_tui.cli.options import Wishes

_ENDINGS = (".onnx", ".pt", ".pt2", ".gz", ".tgz")


def serve(
    ctx: typer.Context,
    source: Annotated[
        str, typer.Argument(help="model@version or model@alias, a model file, a bundle, or a folder of models")
    ],
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one")] = 0,
    host: Annotated[
        str, typer.Option(help="address to listen on; beyond loopback TLS and a token are asked for")
    ] = "127.0.0.1",
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="processes that answer; default 1")] = None,
    threads: Annotated[int | None, typer.Option(min=1, max=256, help="threads a request may use; default 1")] = None,
    token_file: Annotated[str, typer.Option(help="file with the token that clients must send")] = "",
    name: Annotated[str, typer.Option(help="the name in the address; default, the model's")] = "",
    signed_by: Annotated[str, typer.Option(help="public key, in hex, that must have signed the bundle")] = "",
    provider: Annotated[str, typer.Option(help="where ONNX models run: cpu, cuda or tensorrt")] = "",
    provider_policy: Annotated[str, typer.Option(help="without that GPU: require (refuse) or prefer (CPU)")] = "",
    python: Annotated[str, typer.Option(help="Python that runs torch and pyfunc models; default, this one")] = "",
    engines: Annotated[
        int | None, typer.Option(min=1, max=64, help="processes of such a model, shared by the workers; default 1")
    ] = None,
    memory_mb: Annotated[int | None, typer.Option(min=1, help="MB that the process of such a model may have")] = None,
    load_s: Annotated[float | None, typer.Option(min=0.1, help="s until a model must be loaded; default 120")] = None,
    timeout_s: Annotated[
        float | None, typer.Option(min=0.01, help="s until such a model must answer; default 30")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="what tuning found for a registered model here: auto, latency, throughput, memory, none")
    ] = "auto",
    toggles: Annotated[str, typer.Option(help="flagd file of toggles whose deployment is this model's name")] = "",
    log: Annotated[str, typer.Option(help="folder to log predictions in; default, none are")] = "",
    sample: Annotated[
        float | None, typer.Option(min=0, max=1, help="share of the requests in the log; default, all")
    ] = None,
    redact: Annotated[str | None, typer.Option(help="columns that the log leaves out, separated by commas")] = None,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="serve over gRPC too; needs the extra grpc")] = 0,
    traces: Annotated[str, typer.Option(help="OpenTelemetry collector (OTLP over HTTP); needs the extra otel")] = "",
    tls_cert: Annotated[str, typer.Option(help="certificate chain in PEM: https instead of http")] = "",
    tls_key: Annotated[str, typer.Option(help="its key")] = "",
    tls_client_ca: Annotated[str, typer.Option(help="authority in PEM whose certificate clients must have")] = "",
    insecure: Annotated[
        bool, typer.Option("--insecure", help="beyond loopback without TLS and a token: something else has both")
    ] = False,
) -> None:
    """Serve one model in the foreground, without a deployment; Ctrl-C drains and ends.

    A file or a bundle needs neither the agent nor a store.

    Example: mlops serve employment@champion --port 8080
    """
    wishes: Wishes = ctx.obj
    words = [f"--port={port}", f"--host={host}"]
    given: dict[str, Any] = {"workers": workers, "threads": threads, "token-file": token_file, "name": name, "log": log}
    given |= {
        "signed-by": signed_by,
        "toggles": toggles,
        "provider": provider,
        "provider-policy": provider_policy,
        "python": python,
        "engines": engines,
        "memory-mb": memory_mb,
        "load-s": load_s,
        "timeout-s": timeout_s,
        "sample": sample,
        "grpc-port": grpc_port or None,
        "traces": traces,
        "tls-cert": tls_cert,
        "tls-key": tls_key,
        "tls-client-ca": tls_client_ca,
    }
    words += [f"--{key}={value}" for key, value in given.items() if value not in (None, "")]
    words += [f"--redact={redact}"] if redact is not None else []
    words += ["--insecure"] if insecure else []
    words += ["--json"] if wishes.format in ("json", "jsonl") else []
    words += ["--verbose"] if wishes.verbose else []
    if _is_path(source):
        to_module("mlops_tui.serving.process.alone", [*words, "--", source])
    to_module("mlops_tui.serving.process.alone", [*words, f"--registered={_registered(source, profile, wishes)}"])


def _is_path(source: str) -> bool:
    return Path(source).exists() or "/" in source or source.endswith(_ENDINGS)


def _registered(source: str, profile: str, wishes: Wishes) -> str:
    from mlops_tui.cli.calls.call import connect
    from mlops_tui.contracts.deploy import ServeVersion, servable

    with connect(wishes) as client:
        found = client.call(servable, ServeVersion(model=source, profile=profile))
    if found.profile:
        print(found.profile, file=sys.stderr)
    return msgspec.json.encode(found).decode()
