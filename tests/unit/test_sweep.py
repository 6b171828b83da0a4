"""Sweeps: each candidate on its own copy, failures told, nothing lost, resumed, or in parallel."""

from __future__ import annotations

import json
import os
import pickle
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import kerasedit
from kerasedit import EditError, Editor, Sweep
from kerasedit.edits import (
    Freeze,
    MapWeights,
    PruneChannels,
    Reinitialize,
    Remove,
    Rename,
    ScaleWeights,
    Transaction,
)
from kerasedit.search.job import Job
from tests.models import chain, data, fingerprint, fork, out, same

X = data(5, 4)


def score(model: Any) -> float:
    return float(np.abs(out(model, X)[0]).sum())


def sweep(candidates: Any, evaluate: Any = score, model: Any = None, **options: Any) -> Sweep:
    model = chain() if model is None else model
    return kerasedit.sweep(model, candidates, evaluate, verbose=False, **options)


def scores(found: Sweep) -> dict[str, Any]:
    return {record["candidate"]: record[found.metric or "score"] for record in found}


def by_hand(edit: Callable[[Editor], Any], model: Any = None) -> float:
    editor = Editor(chain() if model is None else model)
    edit(editor)
    return score(editor.model)


# -- candidates ----------------------------------------------------------------------------------


def test_each_candidate_is_what_the_same_edits_give_by_hand() -> None:
    recipe = Editor(chain()).scale_weights("a", 0.5).remove("norm").recipe()

    found = sweep(
        {
            "an edit": Remove("b"),
            "a list": [Remove("drop"), ScaleWeights("c", 2.0)],
            "a recipe": recipe,
            "a function": lambda ed: ed.insert(layers.Rescaling(3.0), after="c"),
            "a transaction": Transaction("both", (Remove("b"), Remove("norm"))),
        }
    )

    assert scores(found) == {
        "(unedited)": score(chain()),
        "an edit": by_hand(lambda ed: ed.remove("b")),
        "a list": by_hand(lambda ed: ed.remove("drop").scale_weights("c", 2.0)),
        "a recipe": by_hand(lambda ed: ed.scale_weights("a", 0.5).remove("norm")),
        "a function": by_hand(lambda ed: ed.insert(layers.Rescaling(3.0), after="c")),
        "a transaction": by_hand(lambda ed: ed.remove("b").remove("norm")),
    }
    assert len({record["score"] for record in found}) == 6


def test_without_names_candidates_are_called_by_their_edits() -> None:
    found = sweep([Remove("b"), [Remove("drop"), Remove("b")], Remove("b")])

    assert [r["candidate"] for r in sorted(found, key=lambda r: r["number"])] == [
        "(unedited)",
        "remove 'b'",
        "remove 'drop'; remove 'b'",
        "remove 'b' (2)",
    ]


def test_edits_that_are_no_data_are_settled_on_the_model() -> None:
    few = data(6, 4)
    prune = {"fraction": 0.4, "criterion": "activation"}

    found = sweep(
        {
            "pruned": PruneChannels("b", **prune, data=(few, None)),
            "mapped": MapWeights("a", np.sign, "kernel"),
        }
    )

    assert scores(found) == {
        "(unedited)": score(chain()),
        "pruned": by_hand(lambda ed: ed.prune_channels("b", **prune, data=few)),
        "mapped": by_hand(lambda ed: ed.map_weights("a", np.sign, "kernel")),
    }


def test_candidates_start_from_what_an_editor_has_made() -> None:
    editor = Editor(chain()).remove("norm")
    editor.model.layers[0].kernel.assign(np.ones((4, 5)))  # as if trained
    before, history = fingerprint(editor.model), editor.history

    found = sweep([Remove("b")], model=editor)

    assert found.baseline["score"] == score(editor.model)
    assert found.baseline["params"] == editor.model.count_params()
    assert fingerprint(editor.model) == before and editor.history == history
    assert scores(found)["remove 'b'"] == score(editor.remove("b").model)


def test_a_model_can_be_a_path(tmp_path: Path) -> None:
    chain().save(tmp_path / "m.keras")

    assert sweep([Remove("b")], model=tmp_path / "m.keras").baseline["score"] == score(chain())


def test_what_evaluate_does_to_a_model_reaches_no_other() -> None:
    model = chain()
    model.compile("sgd", "mse")
    model.fit(X, data(5, 2), verbose=0)  # pyright: ignore
    before = fingerprint(model)

    def evaluate(copy: Any) -> float:
        first = score(copy)
        copy.fit(X, np.zeros((5, 2)), verbose=0)
        for weight in copy.weights:
            weight.assign(weight * 0)
        return first

    found = sweep([Remove("drop"), Remove("b"), Remove("drop")], evaluate, model)

    assert fingerprint(model) == before
    values = scores(found)
    assert values["(unedited)"] == values["remove 'drop'"] == values["remove 'drop' (2)"]
    assert values["(unedited)"] == score(model)


# -- what goes wrong -----------------------------------------------------------------------------


def test_a_candidate_that_fails_is_told_and_the_others_go_on() -> None:
    def evaluate(model: Any) -> Any:
        names = [layer.name for layer in model.layers]
        if "b" not in names:
            raise ZeroDivisionError("there is no b")
        return "much" if "norm" not in names else score(model)

    def wrong(ed: Editor) -> None:
        raise KeyError("mine")

    found = sweep([Remove("a"), Remove("b"), Remove("norm"), wrong, Remove("drop")], evaluate)

    status = {r["candidate"]: (r["status"], r["error"]) for r in found}
    assert status.pop("(unedited)") == status.pop("remove 'drop'") == ("done", "")
    assert {kind for kind, _ in status.values()} == {"failed"}
    assert "'b/kernel' has shape (5, 5)" in status["remove 'a'"][1]
    assert "ZeroDivisionError: there is no b" in status["remove 'b'"][1]
    assert "'much'" in status["remove 'norm'"][1]
    assert "mine" in status["wrong"][1]
    assert [r["candidate"] for r in found.failed] == list(status)
    assert [r["number"] for r in found][:2] == [0, 5]  # those without a score come last


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({"candidates": []}, "no candidates"),
    "a text": ({"candidates": "b"}, "not str"),
    "a number": ({"candidates": [Remove("b"), 3]}, "not 3"),
    "a number by name": ({"candidates": {"mine": 3}}, "'mine'"),
    "a list of recipes": ({"candidates": [[kerasedit.Recipe(())]]}, "list of edits"),
    "the name of the baseline": ({"candidates": {"(unedited)": Remove("b")}}, "unedited"),
    "no function": ({"evaluate": 3}, "evaluate"),
    "no mode": ({"mode": "best"}, "'best'"),
    "no such metric": ({"metric": "loss"}, "no 'loss' but 'score'"),
    "a taken name": ({"evaluate": lambda model: {"params": 1}}, "'params'"),
    "no folder": ({"resume": "/nowhere/at/all.jsonl"}, "all.jsonl"),
    "no model": ({"model": 3}, "int"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_raise(name: str) -> None:
    options, words = BAD[name]
    with pytest.raises(EditError, match=words):
        sweep(**{"candidates": [Remove("b")], **options})


# -- order and seeds -----------------------------------------------------------------------------


def test_the_best_is_first_by_the_metric_that_was_asked_for() -> None:
    made = {"a": (1.0, 9.0), "p": (3.0, 7.0), "q": (float("nan"), 1.0), "r": (2.0, 8.0)}

    def evaluate(model: Any) -> dict[str, float]:
        gain, loss = made[model.layers[0].name]
        return {"gain": gain, "test_loss": loss}

    def order(**options: Any) -> str:
        found = sweep([Rename("a", name) for name in "pqr"], evaluate, **options)
        return "".join("apqr"[record["number"]] for record in found)

    assert order() == order(mode="max") == "praq"
    assert order(mode="min") == "arpq"
    assert order(metric="test_loss") == "qpra"
    assert order(metric="test_loss", mode="max") == "arpq"


def test_what_is_drawn_depends_on_the_seed_alone() -> None:
    draw = {"first": Reinitialize("a"), "second": Reinitialize("c")}
    backwards = dict(reversed(draw.items()))
    model = chain()
    states = random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[index]

    found = scores(sweep(draw, model=model))

    assert states == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index]
    assert scores(sweep(backwards)) == found
    assert scores(sweep(draw, seed=1))["first"] != found["first"]


# -- results -------------------------------------------------------------------------------------


def test_records_have_all_that_is_known_of_a_candidate() -> None:
    found = sweep([Remove("b"), Remove("a")])
    base, removed, failed = sorted(found.records, key=lambda record: record["number"])

    assert base["change"] == 0 and base["layers"] == [] and base["params"] == 87
    assert removed["params"] == 57 and removed["edits"] == "remove 'b'"
    assert removed["change"] == removed["score"] - base["score"] != 0
    assert failed["score"] is None is failed["change"] and failed["seconds"] > 0
    assert len(found) == 3 and found.metric == "score" and found.mode == "max"
    json.dumps(found.records)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_by_layer_tells_how_much_worse_it_gets(mode: Any) -> None:
    found = sweep(
        [
            Remove("b"),
            Remove("norm"),
            [Remove("drop"), Remove("norm")],
            ScaleWeights("c/kernel", 3.0),
            Remove("a"),  # fails
        ],
        mode=mode,
    )

    value = scores(found)
    sign = 1 if mode == "min" else -1
    change = {name: sign * (value[name] - value["(unedited)"]) for name in value if value[name]}
    # Dropout does nothing here, so the list does what the removal of `norm` alone does.
    assert found.by_layer() == {
        "b": change["remove 'b'"],
        "norm": change["remove 'norm'"],
        "drop": change["remove 'norm'"],
        "c": change["scale the weights of 'c/kernel' by 3.0"],
    }


def test_a_table_in_text_and_in_a_page() -> None:
    found = sweep({"<b>&": Remove("b"), "\x1b[31m": Remove("norm"), "worse": Remove("a")})

    text, page = str(found), found._repr_html_()
    lines = text.splitlines()
    assert lines[0].split() == ["candidate", "score", "change", "params", "s"]
    assert [line.split()[0] for line in lines[2:6]] == [
        {"\x1b[31m": "\\x1b[31m"}.get(r["candidate"], r["candidate"]) for r in found
    ]
    assert "failed: The weights of layer 'b'" in text and "2 done, 1 failed" in lines[-1]
    assert "&lt;b&gt;&amp;" in page and "<b>&" not in page and "\x1b" not in page + text
    assert page.count("<tr") == 5 and page.count("font-weight:bold") == 1
    assert repr(found).startswith("<Sweep: 2 done, 1 failed")


def test_a_figure_has_a_bar_for_each_score() -> None:
    found = sweep({"$a_b$": Remove("b"), "n": Remove("norm"), "worse": Remove("a")})

    for order in ("best", "given"):
        axes = found.plot(order).axes[0]  # type: ignore[arg-type]
        wanted = sorted(found, key=lambda r: r["number"]) if order == "given" else found
        names = [r["candidate"] for r in wanted if r["number"] and r["score"] is not None]
        assert [label.get_text() for label in axes.get_yticklabels()] == names
        assert [bar.get_width() for bar in axes.containers[0]] == [scores(found)[n] for n in names]
        assert axes.lines[0].get_xdata() == [found.baseline["score"]] * 2
    assert found.plot()._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    with pytest.raises(EditError, match="'worst'"):
        found.plot("worst")  # type: ignore[arg-type]


def test_a_figure_of_nothing() -> None:
    assert not sweep([Remove("a")], lambda model: "nothing").plot().axes


def test_pandas_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = sweep([Remove("b")])

    assert found.to_pandas().to_dict("records") == found.records

    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(EditError, match=r"pip install pandas.*\.records"):
        found.to_pandas()


def test_a_line_tells_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    kerasedit.sweep(chain(), [Remove("b"), Remove("a")], score)

    shown = capsys.readouterr().out
    assert shown.startswith("\r0 of 3 done") and shown.endswith("\n")
    last = shown.rstrip().split("\r")[-1]
    assert last.startswith("3 of 3 done, 1 of them failed in ")
    sweep([Remove("b")])
    assert capsys.readouterr().out == ""


# -- stopped, and gone on with -------------------------------------------------------------------


class Counted:
    """Scores models, and remembers how many."""

    def __init__(self, stop_at: int | None = None, fail_at: int | None = None) -> None:
        self.count, self.stop_at, self.fail_at = 0, stop_at, fail_at

    def __call__(self, model: Any) -> float:
        self.count += 1
        if self.count == self.stop_at:
            raise KeyboardInterrupt
        if self.count == self.fail_at:
            raise MemoryError
        return score(model)


CANDIDATES = [Remove("b"), Remove("norm"), Reinitialize("c"), Remove("drop")]


def test_an_interrupt_gives_what_was_found(tmp_path: Path) -> None:
    found = sweep(CANDIDATES, Counted(stop_at=3), resume=tmp_path / "s.jsonl")

    assert found.stopped and "stopped" in str(found)
    assert [r["status"] for r in sorted(found, key=lambda r: r["number"])] == [
        "done",
        "done",
        *["waiting"] * 3,
    ]

    rest = Counted()
    again = sweep(CANDIDATES, rest, resume=tmp_path / "s.jsonl")
    assert rest.count == 3 and not again.stopped
    assert scores(again) == scores(sweep(CANDIDATES))


def test_a_run_goes_on_where_another_ended(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    first = sweep(CANDIDATES, Counted(fail_at=2), resume=file)
    assert len(first.failed) == 1

    def evaluated(candidates: Any = CANDIDATES, **options: Any) -> int:
        counted = Counted()
        sweep(candidates, counted, resume=file, **options)
        return counted.count

    assert evaluated() == 1  # what had failed
    assert evaluated() == 0
    assert evaluated({str(n): c for n, c in enumerate(reversed(CANDIDATES))}) == 0  # by any name
    assert evaluated([*CANDIDATES, Remove("b", on_mismatch="slice")]) == 1
    assert evaluated(seed=1) == 5
    other = chain()
    other.layers[-1].bias.assign([0.0, 1.0])
    assert evaluated(model=other) == 5
    wider = Editor(chain()).freeze("a")
    assert evaluated(model=wider) == 5
    assert sweep(CANDIDATES, resume=file).records == sweep(CANDIDATES, resume=file).records


def test_the_same_model_is_known_in_another_process(tmp_path: Path) -> None:
    from kerasedit.search.candidates import fingerprint as known_by

    assert known_by(Editor(fork())) == known_by(Editor(fork())) != known_by(Editor(chain()))
    rewired = Editor(fork()).disconnect("c", "add").model
    assert known_by(Editor(rewired)) != known_by(Editor(fork()))
    assert known_by(Editor(fork()), [X]) != known_by(Editor(fork()), [X + 1])


def test_a_torn_last_line_is_done_again(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    sweep(CANDIDATES, resume=file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])

    counted = Counted()
    found = sweep(CANDIDATES, counted, resume=file)

    assert counted.count == 1 and scores(found) == scores(sweep(CANDIDATES))
    lines = file.read_bytes().splitlines()
    assert len(lines) == 7 and json.loads(lines[-1])["values"]


@pytest.mark.parametrize("content", [b'{"weights": 3}\n', b"\x00\xff", b'{"format": "x"}\n'])
def test_no_other_file_is_written_to(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mine.json"
    file.write_bytes(content)

    with pytest.raises(EditError, match="another name"):
        sweep(CANDIDATES, resume=file)
    assert file.read_bytes() == content


def test_a_file_of_a_later_version_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text('{"format": "kerasedit sweep", "version": 2}\n')

    with pytest.raises(EditError, match="another version"):
        sweep(CANDIDATES, resume=file)


def test_a_file_that_cannot_be_written_any_more_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "f"
    folder.mkdir()

    def evaluate(model: Any) -> float:
        if folder.exists():
            (folder / "s.jsonl").unlink()
            folder.rmdir()
        return score(model)

    with pytest.warns(UserWarning, match="cannot be written any more") as warned:
        found = sweep(CANDIDATES, evaluate, resume=folder / "s.jsonl")
    assert scores(found) == scores(sweep(CANDIDATES))
    assert len([w for w in warned if "cannot be written" in str(w.message)]) == 1


# -- other processes -----------------------------------------------------------------------------


def test_a_worker_opens_a_job_once() -> None:
    from kerasedit.search import job as module

    big = np.arange(1000.0)
    job = Job(chain(), {}, lambda model: float(big.sum()))
    data = pickle.dumps(job)

    first, second = pickle.loads(data), pickle.loads(pickle.dumps(job))

    assert first is second is not job
    assert same(out(first.model, X), out(job.model, X))
    assert first.evaluate(None) == big.sum()
    assert sys.getsizeof(job) > 8000  # by which Dask sends it once
    module._latest.clear()


def test_a_worker_that_runs_another_backend_says_so() -> None:
    from kerasedit.search.job import Unopened, receive

    _, _, arrays = Job(chain(), {}, score).pack()

    found = receive("other", "elsewhere", arrays)

    assert isinstance(found, Unopened) and "KERAS_BACKEND=elsewhere" in found.reason


def test_what_cannot_be_sent_is_told_before_anything_is_done() -> None:
    import threading

    lock = threading.Lock()
    with pytest.raises(EditError, match=r"evaluate.*n_jobs=1"):
        sweep([Remove("b")], lambda model: lock.locked(), n_jobs=2)

    class Odd(layers.Layer):
        def call(self, x: Any) -> Any:
            return x

        def get_config(self) -> Any:
            raise NotImplementedError("mine")

    model = keras.Sequential([keras.Input((4,)), layers.Dense(2), Odd()])
    job = Job(model, {}, score)
    with pytest.raises(EditError, match=r"cannot be saved.*mine"):
        job.pack()


def local_model() -> tuple[keras.Model, Callable[[Any], dict[str, float]]]:
    """What only this process knows: a layer and a loss that no module has."""

    class Twice(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    def loss(y: Any, outputs: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(y - outputs))

    inputs = keras.Input((4,))
    hidden = layers.Dense(5, activation="tanh", name="a")(inputs)
    hidden = layers.Dense(5, activation="tanh", name="b")(hidden)
    outputs = layers.Dense(2, name="c")(Twice(name="twice")(hidden))
    model = keras.Model(inputs, outputs)
    model.compile("sgd", loss=loss)
    x, y = data(400, 4), data(400, 2, seed=2)

    def evaluate(copy: Any) -> dict[str, float]:
        copy.run_eagerly = True
        return {"loss": copy.evaluate(x, y, batch_size=400, verbose=0), "pid": os.getpid()}

    return model, evaluate


def test_two_processes_find_what_one_does(tmp_path: Path) -> None:
    model, evaluate = local_model()
    candidates = [
        Remove("twice"),
        Remove("b"),
        Remove("c"),
        Reinitialize("c"),
        [Freeze(("a",)), PruneChannels("a", fraction=0.5)],
    ]
    here = sweep(candidates, evaluate, model)

    there = sweep(candidates, evaluate, model, n_jobs=2, resume=tmp_path / "s.jsonl")

    assert [r["candidate"] for r in there] == [r["candidate"] for r in here]
    for one, other in zip(here, there, strict=True):
        assert one["status"] == other["status"] and one["error"] == other["error"]
        if one["loss"] is not None:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-6)
    pids = {r["pid"] for r in there if r["pid"]}
    assert os.getpid() not in pids and len(pids) == 2
    assert len((tmp_path / "s.jsonl").read_bytes().splitlines()) == 7


@pytest.mark.slow
def test_a_worker_that_dies_is_told_and_nothing_is_lost() -> None:
    model, evaluate = local_model()

    def deadly(copy: Any) -> dict[str, float]:
        if "b" not in [layer.name for layer in copy.layers]:
            os._exit(3)
        return evaluate(copy)

    found = sweep([Remove("twice"), Remove("b"), Reinitialize("c")], deadly, model, n_jobs=2)

    status = {r["candidate"]: r["status"] for r in found}
    assert status.pop("remove 'b'") == "failed" and set(status.values()) == {"done"}
    assert "ended at once" in found.failed[0]["error"]
