"""The messages of the protocol's gRPC service and of its model repository extension, made when the first is needed.

They live in a pool of their own: a client in the same process may bring the same messages.
"""

from __future__ import annotations

from functools import cache
from typing import Any

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
METHODS = (
    "ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer",
    "RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload",
)  # fmt: skip
# Fields by message: name, number, type. ``*`` repeats, ``%`` is a map from strings, ``?`` one of a choice.
_TABLE: dict[str, str] = {
    "InferParameter": "bool_param 1 ?bool, int64_param 2 ?int64, string_param 3 ?string, double_param 4 ?double, "
    "uint64_param 5 ?uint64",
    "InferTensorContents": "bool_contents 1 *bool, int_contents 2 *int32, int64_contents 3 *int64, "
    "uint_contents 4 *uint32, uint64_contents 5 *uint64, fp32_contents 6 *float, fp64_contents 7 *double, "
    "bytes_contents 8 *bytes",
    "TensorMetadata": "name 1 string, datatype 2 string, shape 3 *int64",
    "InferInputTensor": "name 1 string, datatype 2 string, shape 3 *int64, parameters 4 %InferParameter, "
    "contents 5 InferTensorContents",
    "InferRequestedOutputTensor": "name 1 string, parameters 2 %InferParameter",
    "InferOutputTensor": "name 1 string, datatype 2 string, shape 3 *int64, parameters 4 %InferParameter, "
    "contents 5 InferTensorContents",
    "ServerLiveRequest": "",
    "ServerLiveResponse": "live 1 bool",
    "ServerReadyRequest": "",
    "ServerReadyResponse": "ready 1 bool",
    "ModelReadyRequest": "name 1 string, version 2 string",
    "ModelReadyResponse": "ready 1 bool",
    "ServerMetadataRequest": "",
    "ServerMetadataResponse": "name 1 string, version 2 string, extensions 3 *string",
    "ModelMetadataRequest": "name 1 string, version 2 string",
    "ModelMetadataResponse": "name 1 string, versions 2 *string, platform 3 string, inputs 4 *TensorMetadata, "
    "outputs 5 *TensorMetadata",
    "ModelInferRequest": "model_name 1 string, model_version 2 string, id 3 string, parameters 4 %InferParameter, "
    "inputs 5 *InferInputTensor, outputs 6 *InferRequestedOutputTensor, raw_input_contents 7 *bytes",
    "ModelInferResponse": "model_name 1 string, model_version 2 string, id 3 string, parameters 4 %InferParameter, "
    "outputs 5 *InferOutputTensor, raw_output_contents 6 *bytes",
    "RepositoryIndexRequest": "repository_name 1 string, ready 2 bool",
    "ModelIndex": "name 1 string, version 2 string, state 3 string, reason 4 string",
    "RepositoryIndexResponse": "models 1 *ModelIndex",
    "ModelRepositoryParameter": "bool_param 1 ?bool, int64_param 2 ?int64, string_param 3 ?string, "
    "bytes_param 4 ?bytes",
    "RepositoryModelLoadRequest": "repository_name 1 string, model_name 2 string, "
    "parameters 3 %ModelRepositoryParameter",
    "RepositoryModelLoadResponse": "",
    "RepositoryModelUnloadRequest": "repository_name 1 string, model_name 2 string, "
    "parameters 3 %ModelRepositoryParameter",
    "RepositoryModelUnloadResponse": "",
}


@cache
def messages() -> dict[str, Any]:
    """Return the message classes by their names."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="open_inference.proto", package=PACKAGE, syntax="proto3")
    for name, fields in _TABLE.items():
        message = file.message_type.add(name=name)
        for field in filter(None, fields.split(", ")):
            _add(message, *field.split(" "))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}")) for name in _TABLE}


def _add(message: Any, name: str, number: str, kind: str) -> None:
    """Declare one field of a message."""
    field = message.field.add(name=name, number=int(number), label=3 if kind[0] in "*%" else 1)
    plain = kind.lstrip("*%?")
    if kind[0] == "%":
        plain = "".join(part.capitalize() for part in name.split("_")) + "Entry"
        entry = message.nested_type.add(name=plain)
        entry.options.map_entry = True
        _add(entry, "key", "1", "string")
        _add(entry, "value", "2", kind[1:])
        plain = f"{message.name}.{plain}"
    if kind[0] == "?":
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index = 0
    if plain[0].isupper():
        field.type, field.type_name = field.TYPE_MESSAGE, f".{PACKAGE}.{plain}"
    else:
        field.type = getattr(field, f"TYPE_{plain.upper()}")
