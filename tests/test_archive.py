import errno
import hashlib
import io
import json
import os
import pickle
import zipfile

import pytest
import torch

from sightline import archive
from sightline.errors import BundleError

TENSORS = {"weights": {"w": torch.arange(6.0).view(2, 3), "n": torch.tensor(7)}}


def write(path, kind="demo", **changed):
    given = {
        "manifest": {"by": "me"},
        "json_members": {"settings": {"x": [1, None, "é\n"]}},
        "tensors": TENSORS,
        "files": {"sources/net.py": b"raise SystemExit\n"},
    }
    archive.write(path, kind, **{**given, **changed})


def rewrite(path, change, *, compress=zipfile.ZIP_STORED):
    """Write the archive anew after `change` has had its way with the members."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    change(manifest, members)
    with zipfile.ZipFile(path, "w", compress) as new:
        new.writestr("manifest.json", json.dumps(manifest))
        for name, data in members.items():
            new.writestr(name, data)


def refused(path, kind="demo"):
    with pytest.raises(BundleError) as caught:
        archive.read(path, kind)
    return str(caught.value)


def test_what_was_written_is_read(tmp_path):
    write(tmp_path / "a.zip")
    found = archive.read(str(tmp_path / "a.zip"), "demo")
    assert found.manifest["by"] == "me"
    assert found.manifest["format_version"] == archive.version_of("demo")
    assert found.json == {"settings": {"x": [1, None, "é\n"]}}
    assert found.files == {"sources/net.py": b"raise SystemExit\n"}
    assert torch.equal(found.tensors["weights"]["w"], TENSORS["weights"]["w"])
    assert found.tensors["weights"]["n"].shape == ()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32, torch.bool])
def test_tensors_keep_their_type(tmp_path, dtype):
    tensor = torch.tensor([[1, 0, 1]]).to(dtype)
    write(tmp_path / "a.zip", tensors={"weights": {"w": tensor}})
    assert torch.equal(archive.read(tmp_path / "a.zip", "demo").tensors["weights"]["w"], tensor)


def test_shared_sliced_and_empty_tensors_are_written_whole(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    named = {"tied": base, "again": base, "sliced": base.T[1:3], "none": torch.empty(0, 3)}
    write(tmp_path / "a.zip", tensors={"weights": named, "rows": {}})
    found = archive.read(tmp_path / "a.zip", "demo").tensors
    assert found["rows"] == {}
    assert all(torch.equal(found["weights"][name], tensor) for name, tensor in named.items())


def test_every_member_is_stored_and_has_its_checksum(tmp_path):
    write(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as bundle:
        sums = json.loads(bundle.read("manifest.json"))["sha256"]
        assert {info.compress_type for info in bundle.infolist()} == {zipfile.ZIP_STORED}
        assert sums == {
            name: hashlib.sha256(bundle.read(name)).hexdigest()
            for name in bundle.namelist()
            if name != "manifest.json"
        }


def test_the_same_values_give_the_same_bytes(tmp_path):
    write(tmp_path / "a.zip")
    write(tmp_path / "b.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_numbers_that_json_does_not_know_are_refused_and_nothing_is_left(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "a.zip", json_members={"settings": float("nan")})
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------- files that cannot be used


def test_a_file_that_is_not_there(tmp_path):
    assert f"{tmp_path / 'a.zip'} does not exist." in refused(tmp_path / "a.zip")


def test_a_folder(tmp_path):
    assert f"{tmp_path} is a folder, not a file." in refused(tmp_path)


@pytest.mark.parametrize("data", [b"", b"a,b\n1,2\n", pickle.dumps({"a": 1}), b"\x00" * 5000])
def test_a_file_that_is_no_zip(tmp_path, data):
    (tmp_path / "a.zip").write_bytes(data)
    said = refused(tmp_path / "a.zip")
    assert f"{tmp_path / 'a.zip'} is not a Sightline file: it is not an archive." in said
    assert "model.save()" in said


def test_another_programs_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("word/document.xml", "<xml/>")
    assert "is not a Sightline file: it has no manifest" in refused(tmp_path / "a.zip")


@pytest.mark.parametrize("manifest", [{"format": "other"}, {}, [1, 2], "sightline"])
def test_another_programs_manifest(tmp_path, manifest):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("manifest.json", json.dumps(manifest))
    assert "its manifest was written by another program" in refused(tmp_path / "a.zip")


@pytest.mark.parametrize("data", [b"{", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json(tmp_path, data):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as bundle:
        bundle.writestr("manifest.json", data)
    assert "is damaged" in refused(tmp_path / "a.zip")


@pytest.mark.parametrize("version", [archive.version_of("demo") + 1, 99, "1", None])
def test_a_newer_format(tmp_path, version):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda manifest, _: manifest.update(format_version=version))
    said = refused(tmp_path / "a.zip")
    newest = archive.version_of("demo")
    assert f"is a demo of format version {version}; this Sightline reads versions up to {newest}" in said  # fmt: skip
    assert "pip install --upgrade sightline" in said


def test_the_versions_of_each_kind_are_counted_apart(tmp_path, monkeypatch):
    for kind in ("model", "checkpoint"):
        write(tmp_path / kind, kind=kind)
    monkeypatch.setitem(archive.VERSIONS, "checkpoint", 7)
    write(tmp_path / "new", kind="checkpoint")
    write(tmp_path / "bundle", kind="model")
    assert archive.read(tmp_path / "checkpoint", "checkpoint").manifest["format_version"] == 4
    assert archive.read(tmp_path / "new", "checkpoint").manifest["format_version"] == 7
    assert archive.read(tmp_path / "bundle", "model").manifest["format_version"] == 7
    monkeypatch.undo()
    assert "new is a checkpoint of format version 7" in refused(tmp_path / "new", "checkpoint")


def test_an_archive_of_another_kind(tmp_path):
    write(tmp_path / "a.zip")
    assert "holds a 'demo', not a 'model'" in refused(tmp_path / "a.zip", "model")


def test_a_manifest_without_checksums(tmp_path):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda manifest, _: manifest.pop("sha256"))
    assert "its manifest lists no checksums" in refused(tmp_path / "a.zip")


def test_a_member_too_many(tmp_path):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda _, members: members.update({"extra.bin": b"x"}))
    said = refused(tmp_path / "a.zip")
    assert "its members are not those of its manifest: ['extra.bin']" in said


def test_a_member_too_few(tmp_path):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda _, members: members.pop("weights.safetensors"))
    assert "['weights.safetensors']" in refused(tmp_path / "a.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice(tmp_path):
    write(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as bundle:
        bundle.writestr("settings.json", "{}")
    assert "its members are not those of its manifest" in refused(tmp_path / "a.zip")


def test_compressed_members(tmp_path):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda *_: None, compress=zipfile.ZIP_DEFLATED)
    assert "its member settings.json is compressed" in refused(tmp_path / "a.zip")


def test_a_changed_member(tmp_path):
    write(tmp_path / "a.zip")
    rewrite(tmp_path / "a.zip", lambda _, members: members.update({"settings.json": b"{}"}))
    said = refused(tmp_path / "a.zip")
    assert "its member settings.json does not have the checksum written beside it" in said


def test_pickled_bytes_under_a_true_checksum_are_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    trap = pickle.dumps(Trap())
    for name in ("weights.safetensors", "settings.json", "sources/net.py"):

        def plant(manifest, members, name=name):
            members[name] = trap
            manifest["sha256"][name] = hashlib.sha256(trap).hexdigest()

        write(tmp_path / "a.zip")
        rewrite(tmp_path / "a.zip", plant)
        if name == "sources/net.py":  # plain bytes: kept, never looked into
            assert archive.read(tmp_path / "a.zip", "demo").files[name] == trap
        else:
            assert f"its member {name} cannot be read" in refused(tmp_path / "a.zip")
    assert not (tmp_path / "executed").exists()
    pickle.loads(trap)  # the trap itself works
    assert (tmp_path / "executed").exists()


def test_a_truncated_file(tmp_path):
    write(tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    for percent in range(0, 100, 10):
        (tmp_path / "cut.zip").write_bytes(whole[: len(whole) * percent // 100])
        said = refused(tmp_path / "cut.zip")
        assert ("cut off or altered" if percent else "is not an archive") in said
    (tmp_path / "cut.zip").write_bytes(whole[:-1])
    assert "cut off or altered" in refused(tmp_path / "cut.zip")


def test_no_flipped_bit_goes_unseen_or_unexplained(tmp_path):
    """Zip headers hold a few bytes that mean nothing (a date): then all content is as it was."""
    write(tmp_path / "a.zip")
    whole = (tmp_path / "a.zip").read_bytes()
    good = archive.read(tmp_path / "a.zip", "demo")
    unseen = 0
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 1 << (place % 8)
        (tmp_path / "flip.zip").write_bytes(changed)
        try:
            found = archive.read(tmp_path / "flip.zip", "demo")
        except BundleError:
            continue
        unseen += 1
        assert (found.manifest, found.json, found.files) == (good.manifest, good.json, good.files)
        assert torch.equal(found.tensors["weights"]["w"], good.tensors["weights"]["w"])
    assert unseen < 0.2 * len(whole)


def test_an_altered_offset_is_an_altered_file(tmp_path):
    """The last 22 bytes say where the list of members is."""
    write(tmp_path / "a.zip")
    changed = bytearray((tmp_path / "a.zip").read_bytes())
    for place in range(len(changed) - 10, len(changed) - 2):
        flipped = bytearray(changed)
        flipped[place] ^= 0x81
        (tmp_path / "flip.zip").write_bytes(flipped)
        assert "cut off or altered" in refused(tmp_path / "flip.zip")


# ------------------------------------------------------------- writing atomically


def full(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch):
    write(tmp_path / "a.zip")
    old = (tmp_path / "a.zip").read_bytes()
    monkeypatch.setattr(os, "fsync", full)
    for name in ("a.zip", "new.zip"):
        with pytest.raises(OSError, match="No space left"):
            write(tmp_path / name, manifest={"by": "another"})
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]
    assert (tmp_path / "a.zip").read_bytes() == old


def test_a_disk_that_is_really_full(small_disk):
    disk = small_disk("64k")
    write(disk / "a.zip")
    old = (disk / "a.zip").read_bytes()
    large = {"weights": {"w": torch.zeros(100_000)}}
    for name in ("a.zip", "new.zip"):
        with pytest.raises(OSError, match="No space left"):
            write(disk / name, tensors=large)
    assert [file.name for file in disk.iterdir()] == ["a.zip"]
    assert (disk / "a.zip").read_bytes() == old
    assert archive.read(disk / "a.zip", "demo").json["settings"]["x"][0] == 1


def test_numbers_that_json_lacks(tmp_path):
    values = {"settings": {"x": [float("inf"), float("-inf"), 1.5]}}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(tmp_path / "a.zip", json_members=values)
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a.zip", json_members=values, allow_nan=True)
    assert archive.read(tmp_path / "a.zip", "demo").json == values


def test_an_atomic_file_that_cannot_be_made_is_called_by_its_own_name(tmp_path):
    path = tmp_path / "nowhere" / "m.sightline"
    with pytest.raises(FileNotFoundError) as raised, archive.atomic_file(path):
        raise AssertionError
    assert raised.value.filename == str(path)
    assert ".tmp" not in str(raised.value)


def test_an_interrupted_write_leaves_nothing_behind(tmp_path):
    def write_half():
        with archive.atomic_file(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert list(tmp_path.iterdir()) == []


def test_the_final_name_is_not_there_before_the_end(tmp_path):
    with archive.atomic_file(tmp_path / "a") as file:
        file.write(b"half")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"half"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "a.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_under_the_final_name_stays(tmp_path):
    (tmp_path / "a.zip").mkdir()
    with pytest.raises(OSError, match=r"a\.zip"):
        write(tmp_path / "a.zip")
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_a_file_is_readable_as_the_umask_says(tmp_path):
    if os.name != "posix":
        pytest.skip("file modes are POSIX's")
    old = os.umask(0o027)
    try:
        write(tmp_path / "a.zip")
    finally:
        os.umask(old)
    assert (tmp_path / "a.zip").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["é" * 100, "😀" * 60, "a" * 255, "-x", " ", "a\nb"])
def test_any_name_that_the_file_system_takes(tmp_path, name):
    (tmp_path / name).write_bytes(b"old")  # the file system takes it
    write(tmp_path / name)
    assert archive.read(tmp_path / name, "demo").manifest["by"] == "me"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_zip_in_front_of_which_something_stands_is_read_or_refused(tmp_path):
    write(tmp_path / "a.zip")
    buffer = io.BytesIO(b"#!/bin/sh\n" + (tmp_path / "a.zip").read_bytes())
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    assert archive.read(tmp_path / "a.zip", "demo").manifest["by"] == "me"
