"""Models that leave the editor: bound to a variable, saved to a file; and those read from files."""

from __future__ import annotations

import json
import os
import stat
import zipfile
from pathlib import Path
from typing import Any

import keras
import pytest
from keras import layers

import kerasedit
from kerasedit import EditError, Editor, NameTaken
from kerasedit.errors import ModelFileError
from tests import models
from tests.models import data, fingerprint, same, state_of, weights_of

# -- hand_back -----------------------------------------------------------------------------------


def test_hand_back_binds_the_model_itself() -> None:
    space: dict[str, Any] = {}
    ed = Editor(models.chain()).remove("drop")
    made = ed.hand_back("model2", space)
    assert space == {"model2": made}
    assert made is ed.model
    ed.freeze("a")  # acts on the handed-back model, too
    assert not space["model2"].get_layer("a").trainable
    ed.remove("b")  # a structural edit does not
    assert [la.name for la in space["model2"].layers] == ["a", "b", "norm", "c"]
    ed.unfreeze("a")
    _ = ed.model
    assert not space["model2"].get_layer("a").trainable


def test_hand_back_replaces_a_model_and_nothing_else() -> None:
    old = models.fork()
    space: dict[str, Any] = {"m": old, "text": "precious", "zero": 0, "nothing": None}
    ed = Editor(models.chain())
    assert ed.hand_back("m", space) is space["m"] is ed.model
    for name in ("text", "zero", "nothing"):
        was = space[name]
        with pytest.raises(NameTaken, match=name):
            ed.hand_back(name, space)
        assert space[name] is was
        assert ed.hand_back(name, space, overwrite=True) is space[name]


def test_in_a_notebook_names_of_pythons_own_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    space: dict[str, Any] = {}
    monkeypatch.setattr("kerasedit.handback.user_namespace", lambda: space)
    ed = Editor(models.chain())
    with pytest.raises(NameTaken, match="print"):
        ed.hand_back("print")
    assert space == {}
    assert ed.hand_back("print", overwrite=True) is space["print"]
    assert ed.hand_back("print") is space["print"], "it holds a model now"


@pytest.mark.parametrize("name", ["", "2m", "a b", "for", "a.b", None, 3, "m-1", "None"])
def test_names_no_variable_can_have(name: Any) -> None:
    space: dict[str, Any] = {}
    ed = Editor(models.chain())
    with pytest.raises(EditError):
        ed.hand_back(name, space)
    assert space == {}
    assert not ed._copy.built  # nothing was built in vain


def test_hand_back_outside_of_a_notebook_says_what_to_do() -> None:
    with pytest.raises(EditError, match=r"namespace="):
        Editor(models.chain()).hand_back("m")


# -- save ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_save_and_open_again(tmp_path: Path, name: str) -> None:
    model, x = models.chain(), data(3, 4)
    ed = Editor(model).remove("drop").freeze("a")
    assert ed.save(tmp_path / name) is ed
    assert os.listdir(tmp_path) == [name]
    loaded = keras.saving.load_model(tmp_path / name)
    assert same(loaded.predict(x, verbose=0), ed.model.predict(x, verbose=0))
    again = Editor(tmp_path / name)
    assert [v.path for v in again.layers] == [v.path for v in ed.layers] or name == "m.h5"
    assert same(again.model.get_weights(), ed.model.get_weights())
    assert not again.model.get_layer("a").trainable
    assert again.source.name == model.name
    Editor(str(tmp_path / name)).remove("b").save(str(tmp_path / name))
    assert len(keras.saving.load_model(tmp_path / name).layers) == 3


def test_a_file_stays_as_it_was_when_saving_fails(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "m.keras"
    ed = Editor(models.chain()).save(path)
    old = path.read_bytes()
    ed.remove("drop")
    before = state_of(ed)

    def half(self: Any, where: Any, **kwargs: Any) -> None:
        Path(where).write_bytes(old[: len(old) // 2])

    def full(self: Any, where: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    def wrong(self: Any, where: Any, **kwargs: Any) -> None:
        Path(where).write_bytes(old)

    for broken in (half, full):
        with monkeypatch.context() as patch:
            patch.setattr(keras.Model, "save", broken)
            patch.setattr(keras.Sequential, "save", broken)
            with pytest.raises(EditError, match=r"m\.keras"):
                ed.save(path)
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["m.keras"]
    ed.model.get_layer("a").kernel.assign_add(keras.ops.ones((4, 5)))
    with monkeypatch.context() as patch:  # a file that loads, with other weights
        patch.setattr(keras.Model, "save", wrong)
        with pytest.raises(EditError, match="weights"):
            ed.save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["m.keras"]
    assert state_of(ed) == before
    ed.save(path)
    assert path.read_bytes() != old


def test_a_file_that_cannot_be_replaced(tmp_path: Path, monkeypatch: Any) -> None:
    path = tmp_path / "m.keras"
    path.write_bytes(b"old")

    def refuse(*args: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(ModelFileError, match="Permission denied"):
        Editor(models.chain()).save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["m.keras"]


@pytest.mark.parametrize("name", ["m.txt", "m", "m.keras.bak", "no/such/folder/m.keras"])
def test_paths_a_model_cannot_be_saved_to(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError):
        Editor(models.chain()).save(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_a_saved_file_has_ordinary_rights_and_keeps_those_of_an_old_one(tmp_path: Path) -> None:
    ed, path = Editor(models.chain()), tmp_path / "m.keras"
    mask = os.umask(0o022)
    try:
        ed.save(path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    path.chmod(0o600)
    ed.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_saving_leaves_the_source_alone(tmp_path: Path) -> None:
    model = models.nested()
    before = fingerprint(model)
    Editor(model).remove("backbone/bn").save(tmp_path / "m.keras")
    assert fingerprint(model) == before


# -- open ----------------------------------------------------------------------------------------


def test_edit_is_editor(tmp_path: Path) -> None:
    model = models.chain()
    assert kerasedit.edit(model).source is model
    model.save(tmp_path / "m.keras")
    assert kerasedit.edit(str(tmp_path / "m.keras")).source.name == "chain"


def _bad_files(folder: Path) -> dict[str, Path]:
    good = folder / "good.keras"
    models.chain().save(good)
    whole = good.read_bytes()
    files = {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"this is no model",
        "truncated.h5": b"\x89HDF\r\n\x1a\n" + b"\0" * 40,
        "empty.h5": b"",
    }
    made = {}
    for name, content in files.items():
        path = folder / (name if name.endswith(".h5") else f"{name}.keras")
        path.write_bytes(content)
        made[name] = path
    with zipfile.ZipFile(folder / "other.keras", "w") as archive:
        archive.writestr("readme.txt", "a zip, and no model")
    with zipfile.ZipFile(folder / "config.keras", "w") as archive:
        archive.writestr("config.json", "{not json")
        archive.writestr("metadata.json", "{}")
    for name, config in {
        "system": {"module": "os", "class_name": "system", "config": {"command": "touch /tmp/owned"},
                   "registered_name": None},
        "list": [1, 2],
        "layer": keras.saving.serialize_keras_object(layers.Dense(3)),
    }.items():  # fmt: skip
        with zipfile.ZipFile(folder / f"{name}.keras", "w") as archive:
            archive.writestr("config.json", json.dumps(config))
            archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))
            archive.writestr("model.weights.h5", b"")
        made[name] = folder / f"{name}.keras"
    made["other"], made["config"] = folder / "other.keras", folder / "config.keras"
    (folder / "folder.keras").mkdir()
    made["folder"] = folder / "folder.keras"
    made["missing"] = folder / "missing.keras"
    made["suffix"] = folder / "model.pkl"
    made["suffix"].write_bytes(whole)
    return made


def test_files_that_are_no_models(tmp_path: Path) -> None:
    for name, path in _bad_files(tmp_path).items():
        content = path.read_bytes() if path.is_file() else None
        with pytest.raises(ModelFileError, match=path.name.split(".")[0]) as caught:
            Editor(path)
        assert isinstance(caught.value, (EditError, OSError)), name
        assert (path.read_bytes() if path.is_file() else None) == content
    assert not Path("/tmp/owned").exists()


def _lambda_model() -> keras.Model:
    return keras.Sequential(
        [keras.Input((3,)), layers.Lambda(lambda t: t * 2, name="twice"), layers.Dense(2, name="d")]
    )


@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_a_file_with_code_in_it_needs_safe_mode_off(tmp_path: Path, name: str) -> None:
    model, x = _lambda_model(), data(2, 3)
    model.save(tmp_path / name)
    with pytest.raises(ModelFileError, match="safe_mode=False"):
        Editor(tmp_path / name)
    ed = Editor(tmp_path / name, safe_mode=False)
    assert same(ed.model.predict(x, verbose=0), model.predict(x, verbose=0))
    # A Lambda of a model in memory is nobody's attack: it is copied, edited and saved.
    live = Editor(model).insert(layers.ReLU(), after="d")
    live.save(tmp_path / name)
    loaded = keras.saving.load_model(tmp_path / name, safe_mode=False)
    assert same(loaded.predict(x, verbose=0), live.model.predict(x, verbose=0))


def test_custom_objects_for_a_file(tmp_path: Path) -> None:
    def make() -> type:
        class Local(models.Scale):
            pass

        return Local

    local = make()
    model = models.scramble(keras.Sequential([keras.Input((3,)), local(name="s"), layers.Dense(2)]))
    path = tmp_path / "m.keras"
    model.save(path)
    with pytest.raises(ModelFileError, match="custom_objects"):
        Editor(path)
    ed = Editor(path, custom_objects={"Local": local}).append(layers.ReLU())
    ed.save(path)
    assert same(weights_of(ed.model, "s"), weights_of(model, "s"))
    # Without them the file could not be read back, so it is not written.
    content = path.read_bytes()
    with pytest.raises(ModelFileError):
        Editor(model).remove(-1).save(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("thing", [None, 3, [], {}, layers.ReLU(), b"m.keras", object()])
def test_what_cannot_be_edited(thing: Any) -> None:
    with pytest.raises(EditError):
        Editor(thing)


def test_an_h5_file_with_a_loss_by_name_is_written(tmp_path: Path) -> None:
    model = models.chain()
    model.compile("adam", "mse")
    path = tmp_path / "m.h5"
    ed = Editor(model).save(path)
    loaded = keras.saving.load_model(path, compile=False)  # with it, Keras 3.15 cannot
    assert same(weights_of(ed.model), weights_of(loaded))
