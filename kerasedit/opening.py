"""Opening a model file without drawing the random weights that the file then overwrites.

Keras makes every variable with its initial value and loads over it. Here Keras's own loading runs
where variables are made without values; each then gets what was assigned to it, and only those that
the file leaves open get their initial values.
"""

from __future__ import annotations

import json
import random
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import keras

from . import _keras, garbage


def open_model(
    file: Path, *, custom_objects: Mapping[str, Any], safe_mode: bool, compile: bool
) -> Any:
    """What `keras.saving.load_model` gives, in less time where that is possible.

    Files that are damaged or refused are left to Keras too, which then says in its words what is
    wrong.
    """
    dice = random.getstate()
    try:
        return without_initial_values(
            file, custom_objects=custom_objects, safe_mode=safe_mode, compile=compile
        )
    except Exception:
        random.setstate(dice)
        return keras.saving.load_model(
            file, custom_objects=dict(custom_objects), safe_mode=safe_mode, compile=compile
        )


def without_initial_values(
    file: Path, *, custom_objects: Mapping[str, Any], safe_mode: bool, compile: bool
) -> Any:
    """What `keras.saving.load_model` gives; an initializer runs only for what the file leaves open.

    Raises:
        Exception: any, where it takes values to make the model: a stateful RNN keeps its state in a
            variable made of an array, a nested model may be compiled.
    """
    objects = dict(custom_objects)
    settings = _compile_settings(file) if compile else None
    with _keras.known_attributes(), garbage.put_off():
        with _keras.deferred() as pending, _keras.Assignments() as assignments:
            if file.suffix == ".keras" and zipfile.is_zipfile(file):
                model = _keras.model_in(file, objects, safe_mode)
                _keras.load_state(model, file)
            else:
                model = keras.saving.load_model(
                    file, custom_objects=objects, safe_mode=safe_mode, compile=False
                )
        with _keras.as_made([model]):
            assignments.carry_out()
            for variable in pending:
                _keras.initialize(variable)
        if settings:
            # An optimizer looks where the variables are, so these have to have their values.
            with keras.saving.custom_object_scope(objects):
                model.compile_from_config(settings)
            model.compiled = True
            _keras.load_state(model, file, leave=model.layers)
    return model


def _compile_settings(file: Path) -> Mapping[str, Any] | None:
    """How the model of a file was compiled, for `compile_from_config`; None if it was not.

    Raises:
        ValueError: Keras loads that in no step of its own.
    """
    if not zipfile.is_zipfile(file):
        with h5py.File(file) as old:
            if "training_config" in old.attrs:
                raise ValueError("an .h5 file with compiled state")
        return None
    with zipfile.ZipFile(file) as archive:
        settings = json.loads(archive.read("config.json")).get("compile_config")
    if "shared_object_id" in json.dumps(settings):
        raise ValueError("the compiled state shares objects with the model")
    return settings
