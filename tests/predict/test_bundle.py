import errno
import hashlib
import json
import os
import zipfile

import numpy as np
import pytest
import torch

import sightline as sl
from sightline import archive
from sightline.contracts import SCALINGS
from sightline.errors import BundleError, NetworkError
from tests.predict.networks import Members, Own
from tests.predict.tables import columns, train

DATA = columns()


def saved(model, tmp_path):
    model.save(tmp_path / "m.sightline")
    return tmp_path / "m.sightline"


def change(path, **parts):
    """Write a bundle again, with true checksums, after changing its parts."""
    found = archive.read(path, "model")
    given = {
        "manifest": dict(found.manifest),
        "json": dict(found.json),
        "tensors": dict(found.tensors),
    }
    for name, function in parts.items():
        function(given[name])
    archive.write(
        path, "model", given["manifest"], json_members=given["json"], tensors=given["tensors"],
        files=found.files,
    )  # fmt: skip


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("target", [("no", "yes"), ("a", "b", "c"), None])
def test_saved_and_loaded_models_give_the_same_bits(scaling, target, tmp_path):
    data = columns(target or tuple(i / 7 for i in range(60)))
    model = train(data, numeric=scaling)
    again = sl.Model.load(saved(model, tmp_path))
    first, second = model.predictions(data), again.predictions(data)
    assert first.values.tobytes() == second.values.tobytes()
    assert (first.labels == second.labels).all()
    assert again.encoder == model.encoder
    assert again.spec == model.spec
    assert (again.baseline == model.baseline).all()
    assert not np.isnan(first.values).any()


def test_a_loaded_model_explains_and_evaluates_the_same(every, tmp_path):
    again = sl.Model.load(saved(every, tmp_path))
    one = {name: values[4] for name, values in DATA.items()}
    assert again.explain(one) == every.explain(one)
    assert again.evaluate(DATA) == every.evaluate(DATA)


def test_provenance_and_rows_are_kept(tmp_path):
    model = train(DATA)
    model.provenance["name"], model.rows["test"] = "penguins", torch.arange(3)
    again = sl.Model.load(saved(model, tmp_path))
    assert again.provenance == model.provenance
    assert again.rows["test"].tolist() == [0, 1, 2]


def test_the_same_model_gives_the_same_bytes(every, tmp_path):
    every.save(tmp_path / "a.sightline")
    every.save(tmp_path / "b.sightline")
    sl.Model.load(tmp_path / "a.sightline").save(tmp_path / "c.sightline")
    contents = {(tmp_path / f"{name}.sightline").read_bytes() for name in "abc"}
    assert len(contents) == 1


def test_a_bundle_holds_what_the_design_says(every, tmp_path):
    with zipfile.ZipFile(saved(every, tmp_path)) as bundle:
        assert set(bundle.namelist()) == {
            "manifest.json", "spec.json", "prepare.json", "weights.safetensors",
            "transform.safetensors", "rows.safetensors", "typical.safetensors",
        }  # fmt: skip
        manifest = json.loads(bundle.read("manifest.json"))
    assert (manifest["format_version"], manifest["kind"]) == (7, "model")
    assert manifest["network"] == {
        "class": "MLP", "built_in": True,
        "config": {"hidden": [8], "activation": "relu", "dropout": 0.0, "residual": [], "replaced": {}},
    }  # fmt: skip
    assert {"sightline", "torch", "numpy", "pyarrow", "python"} == set(manifest["versions"])


def test_a_preparation_whose_sizes_are_made_up_takes_no_memory(model, tmp_path):
    path = saved(model, tmp_path)
    with zipfile.ZipFile(path) as bundle:
        members = {name: bundle.read(name) for name in bundle.namelist()}
    prepare, manifest = (json.loads(members[f"{name}.json"]) for name in ("prepare", "manifest"))
    prepare["transform"]["numbers"] = 10**12
    members["prepare.json"] = json.dumps(prepare).encode()
    manifest["sha256"]["prepare.json"] = hashlib.sha256(members["prepare.json"]).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as bundle:
        for name, content in members.items():
            bundle.writestr(name, content)
    with pytest.raises(BundleError, match="preparation is damaged: its tensors are not those"):
        sl.Model.load(path)


def test_a_full_disk_keeps_the_old_model(every, model, tmp_path, monkeypatch):
    path = saved(model, tmp_path)
    old = path.read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            every.save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


# ------------------------------------------------------------- networks of one's own


@pytest.mark.parametrize("kind", [Own, Members])
def test_a_network_of_ones_own_needs_its_class(kind, tmp_path, penguins):
    model = train(DATA, network=kind)
    path = saved(model, tmp_path)
    name = kind.__name__
    with pytest.raises(
        BundleError, match=f"network of your own, {name}: .*network={name}"
    ) as caught:
        sl.Model.load(path)
    assert "sources/" in str(caught.value)
    for given in (kind, lambda spec: kind(spec), kind(model.spec), f"{kind_file()}:{name}"):
        again = sl.Model.load(path, network=given)
        assert again.predict_proba(DATA).tobytes() == model.predict_proba(DATA).tobytes()


def kind_file():
    return os.path.join(os.path.dirname(__file__), "networks.py")


def test_its_source_is_kept_and_never_run(tmp_path, monkeypatch):
    path = saved(train(DATA, network=Own), tmp_path)
    with open(kind_file(), "rb") as file:
        source = file.read()
    found = archive.read(path, "model")
    assert found.files == {found.manifest["network"]["source"]: source}
    monkeypatch.setenv("SIGHTLINE_TEST_MARK", str(tmp_path / "mark"))
    with pytest.raises(BundleError):
        sl.Model.load(path)
    sl.Model.load(path, network=Own)
    assert not (tmp_path / "mark").exists()
    sl.Model.load(path, network=f"{kind_file()}:Own")  # asked for, from the user's own file
    assert (tmp_path / "mark").exists()


def test_another_class_does_not_fit(tmp_path):
    path = saved(train(DATA, network=Own), tmp_path)
    with pytest.raises(
        BundleError, match=r"(?s)weights do not fit MLP.*the class that the model was"
    ):
        sl.Model.load(path, network=sl.MLP)
    with pytest.raises(NetworkError, match="'nowhere' is not of the form"):
        sl.Model.load(path, network="nowhere")


# ------------------------------------------------------------- bundles that cannot be used


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(BundleError, match=r"none\.sightline does not exist"):
        sl.Model.load(tmp_path / "none.sightline")


def test_a_truncated_or_changed_bundle(every, tmp_path):
    path = saved(every, tmp_path)
    whole = path.read_bytes()
    for percent in range(0, 100, 10):
        path.write_bytes(whole[: len(whole) * percent // 100])
        with pytest.raises(BundleError, match=r"m\.sightline is (damaged|not a Sightline file)"):
            sl.Model.load(path)
    for part in ("weights.safetensors", "spec.json", "prepare.json", "transform.safetensors"):
        path.write_bytes(whole)
        with zipfile.ZipFile(path) as bundle:
            place = whole.index(bundle.read(part)) + bundle.getinfo(part).file_size // 2
        changed = bytearray(whole)
        changed[place] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError, match="is damaged"):
            sl.Model.load(path)


def test_an_archive_of_another_kind(tmp_path):
    archive.write(tmp_path / "c", "checkpoint", {}, json_members={}, tensors={})
    with pytest.raises(BundleError, match="holds a 'checkpoint', not a 'model'"):
        sl.Model.load(tmp_path / "c")


@pytest.mark.parametrize(
    "parts",
    [
        {"json": lambda json: json.pop("spec")},
        {"json": lambda json: json.update(spec=[])},
        {"json": lambda json: json.update(prepare={"encoder": 3})},
        {"manifest": lambda manifest: manifest.pop("task")},
        {"manifest": lambda manifest: manifest.update(task={"centre": 1})},
        {"tensors": lambda tensors: tensors.pop("rows")},
        {"tensors": lambda tensors: tensors.update(transform={})},
        {"tensors": lambda tensors: tensors.update(
            transform={**tensors["transform"], "center": torch.zeros(99)}
        )},
    ],
)  # fmt: skip
def test_a_bundle_that_is_not_a_whole_model(every, tmp_path, parts):
    path = saved(every, tmp_path)
    change(path, **parts)
    with pytest.raises(
        BundleError,
        match=r"m\.sightline( is not a complete model: \w+Error|'s preparation is damaged)",
    ):
        sl.Model.load(path)


def test_a_bundle_that_weighs_a_part_that_is_not_there(every, tmp_path):
    path = saved(every, tmp_path)
    weights = {"network": 0.5, "forest": 0.5}
    change(path, manifest=lambda manifest: manifest.update(blend={"weights": weights}))
    with pytest.raises(
        BundleError, match="has weights for the parts network, forest, but this Sightline"
    ) as caught:
        sl.Model.load(path)
    assert "Install a newer Sightline" in str(caught.value)


def test_weights_of_another_shape(every, tmp_path):
    path = saved(every, tmp_path)
    change(path, tensors=lambda tensors: tensors.update(weights={"w": torch.zeros(2)}))
    with pytest.raises(BundleError, match=r"m\.sightline's weights do not fit MLP"):
        sl.Model.load(path)


def test_a_network_of_a_later_version(every, tmp_path):
    path = saved(every, tmp_path)
    network = {"class": "Later", "built_in": True, "config": {}}
    change(path, manifest=lambda manifest: manifest.update(network=network))
    with pytest.raises(BundleError, match="holds a Later, which this Sightline does not know"):
        sl.Model.load(path)


def test_a_model_made_stage_by_stage_can_be_inspected(tmp_path):
    from sightline.predict.bundle import describe

    prepared = sl.prepare(
        sl.split(sl.read({"x": [1.5, 2, 3, 4] * 9, "y": list("abab") * 9}), target="y")
    )
    training = sl.Training(sl.MLP(prepared.spec), prepared, epochs=1)
    list(training.steps())
    training.model().save(tmp_path / "a.sightline")
    assert "does not say which table" in describe(tmp_path / "a.sightline")["lines"][-1]
