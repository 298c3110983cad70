"""Bundles: nothing of one is loaded before every file was compared with its manifest."""

import hashlib
import io
import json
import tarfile

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mlops_tui.core.errors import BadInput, NotFound, Refused
from mlops_tui.serving.deployment import Model, Part, Revision
from mlops_tui.serving.models import bundle
from mlops_tui.serving.models.bundle import Entry, Manifest
from mlops_tui.serving.models.sources import find_source

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()


@pytest.fixture
def write(tmp_path):
    """Write a bundle of one model that is a file and one that is a folder."""

    def make(sign=KEY, revise=None):
        folder = tmp_path / "b"
        contents = {"models/1/model.onnx": b"weights", "models/2/MLmodel": b"card", "models/2/data/m.pkl": b"more"}
        for path, data in contents.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        parts = tuple(Part(p.removeprefix("models/2/"), p) for p in contents if p.startswith("models/2/"))
        revisions = (
            Revision("a", 1, "v1", Model("models/1/model.onnx"), 90.0),
            Revision("b", 2, "v2", Model("models/2", "d", "pyfunc", parts), 10.0, "canary"),
        )
        files = tuple(Entry(p, len(data), hashlib.sha256(data).hexdigest()) for p, data in contents.items())
        manifest = Manifest(name="m", made_us=1, program="0", revisions=revisions, files=files, sticky="x-user")
        bundle.write_manifest(folder, revise(manifest) if revise else manifest, sign)
        return folder

    return make


def test_a_bundle_is_read_with_every_file_where_it_lies(write):
    folder = write()
    found = bundle.read(folder, PUBLIC)
    assert found.signed_by == PUBLIC
    one, two = found.revisions
    assert one.model.file == str(folder / "models/1/model.onnx") and one.weight == 90.0
    assert [(p.path, p.file) for p in two.model.parts] == [
        ("MLmodel", str(folder / "models/2/MLmodel")),
        ("data/m.pkl", str(folder / "models/2/data/m.pkl")),
    ]


@pytest.mark.parametrize("data", [b"weightZ", b"weights and more", b""])
def test_a_changed_file_is_named(write, data):
    folder = write()
    (folder / "models/1/model.onnx").write_bytes(data)
    with pytest.raises(Refused, match=r"models/1/model\.onnx of the bundle was changed"):
        bundle.read(folder)


def test_a_missing_file_and_a_link_are_named(write):
    folder = write()
    path = folder / "models/2/data/m.pkl"
    path.rename(folder / "elsewhere")
    with pytest.raises(NotFound, match=r"models/2/data/m\.pkl of the bundle is missing"):
        bundle.read(folder)
    path.symlink_to(folder / "elsewhere")
    with pytest.raises(Refused, match="was changed · it is a link"):
        bundle.read(folder)


def test_a_changed_manifest_has_not_its_signature(write):
    folder = write()
    manifest = json.loads((folder / bundle.MANIFEST).read_bytes())
    manifest["revisions"][1]["weight"] = 100.0
    (folder / bundle.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(Refused, match=r"was changed · the signature is not that of bundle\.json"):
        bundle.read(folder)


def test_the_signature_of_a_certain_key_may_be_asked_for(write):
    folder = write()
    with pytest.raises(Refused, match="signed by another key"):
        bundle.read(folder, "00" * 32)
    (folder / bundle.SIGNATURE).unlink()
    assert bundle.read(folder).signed_by == ""
    with pytest.raises(Refused, match="is not signed"):
        bundle.read(folder, PUBLIC)
    (folder / bundle.SIGNATURE).write_text('{"public_key": "zz"}')
    with pytest.raises(Refused, match=r"signature of .* cannot be read"):
        bundle.read(folder)


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", "a/../../b", ""])
def test_a_path_that_leads_out_is_refused(write, path):
    entry = Entry(path, 0, hashlib.sha256(b"").hexdigest())
    folder = write(revise=lambda one: msgspec.structs.replace(one, files=(*one.files, entry)))
    with pytest.raises(BadInput, match="leads out of the bundle"):
        bundle.read(folder)


def test_a_model_must_be_among_the_files_that_were_compared(write):
    odd = Revision("c", 3, "v3", Model("models/3/model.onnx"))
    folder = write(revise=lambda one: msgspec.structs.replace(one, revisions=(odd,)))
    with pytest.raises(BadInput, match="not among the files"):
        bundle.read(folder)


def test_an_archive_is_unpacked_and_one_that_is_cut_is_refused(write, tmp_path):
    folder, archive = write(), tmp_path / "b.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, "inner")
    found = find_source(archive, tmp_path / "unpacked", PUBLIC)
    assert (found.name, found.sticky, len(found.revisions)) == ("m", "x-user", 2)
    archive.write_bytes(archive.read_bytes()[:-40])
    with pytest.raises(BadInput, match="cannot unpack"):
        find_source(archive, tmp_path / "again")


def test_an_archive_cannot_write_outside(tmp_path):
    archive = tmp_path / "evil.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../evil")
        member.size = 3
        tar.addfile(member, io.BytesIO(b"bad"))
    with pytest.raises(BadInput, match="cannot unpack"):
        bundle.unpack(archive, tmp_path / "in")
    assert not (tmp_path / "evil").exists()


def test_a_folder_and_nothing_are_no_bundles(tmp_path):
    with pytest.raises(BadInput, match="is a folder"):
        find_source(tmp_path, tmp_path / "s")
    with pytest.raises(NotFound, match="there is no"):
        find_source(tmp_path / "no.onnx", tmp_path / "s")
