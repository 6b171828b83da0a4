"""Distillation: Keras's own `Distiller`, the source as the teacher and the edited copy as the student.

Geoffrey Hinton, Oriol Vinyals, Jeff Dean: Distilling the Knowledge in a Neural Network, 2015.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from .. import _keras
from ..errors import EditError, reason
from ..graph.build import build_model, capture
from ..graph.model_graph import LayerSpec, ModelGraph, Ref, map_refs
from ..running import Side
from ..training.compiled import by_output


def make_distiller(
    source: Side,
    copy: Side,
    custom_objects: Mapping[str, Any],
    *,
    loss: Any,
    weights: Any,
    temperature: float,
    student_loss_weight: float,
) -> Distiller:
    """A distiller whose teacher has the values of the source, and whose student is the copy.

    Raises:
        EditError: the copy is not compiled, the models put out different things, or Keras refuses.
    """
    # Keras freezes the teacher, flags and all: so it is a model of its own.
    teacher = build_model(source.graph, lambda i: capture(source.layers[i]), custom_objects).model
    settings = _keras.compile_settings(copy.model) or {}
    try:
        if loss is None:
            loss = _losses(source.graph, copy.graph, settings.get("loss"), temperature)
        distiller = Distiller(
            teacher,
            copy.model,
            loss,
            distillation_loss_weights=weights,
            student_loss_weight=student_loss_weight,
        )
        distiller.compile()
    except (ValueError, TypeError) as problem:
        if isinstance(problem, EditError):
            raise
        raise EditError(
            f"The copy cannot learn from the source. Keras said: {reason(problem)}"
        ) from problem
    return distiller


# -- what is learnt ------------------------------------------------------------------------------


def _losses(before: ModelGraph, after: ModelGraph, loss: Any, temperature: float) -> list[Any]:
    """What fits the outputs: classes by their logits, other outputs by their values.

    Raises:
        EditError: an output is probabilities in one model alone.
    """
    kinds = [_kinds(graph, by_output("loss", loss, graph.net)) for graph in (before, after)]
    if not all(kinds):  # of a model whose call is Python code nothing is known
        raise EditError(
            "What the model puts out is not known, as its call is Python code. Say how it is compared: "
            "loss=keras.distillation.LogitsDistillation(temperature=3.0) for logits."
        )
    if kinds[0] != kinds[1]:
        raise EditError(
            f"The outputs of the source ({', '.join(kinds[0])}) and of the copy "
            f"({', '.join(kinds[1])}) are not of one kind. Say how they are compared with loss=."
        )
    known = iter(kinds[1])
    kind = map_refs(lambda _: next(known), after.net.outputs)
    found: list[Any] = []
    if any(k in ("probabilities", "logits") for k in kinds[1]):
        # By its name, Keras 3.15 takes the function, and then that of the logits themselves.
        divergence = keras.losses.KLDivergence()
        parts = keras.tree.map_structure(lambda k: None if k == "values" else divergence, kind)
        found.append(ClassDistillation(temperature, parts, kind))
    if "values" in kinds[1]:
        parts = keras.tree.map_structure(lambda k: "mse" if k == "values" else None, kind)
        found.append(keras.distillation.FeatureDistillation(parts))
    return found


def _kinds(graph: ModelGraph, losses: list[Any]) -> list[str]:
    """Whether each output is `"probabilities"` of classes, their `"logits"`, or other `"values"`."""
    net = graph.net
    if net.opaque:
        return []
    return [
        "probabilities"
        if _is_softmax(graph, ref)
        else "logits"
        if getattr(loss, "from_logits", False)
        else "values"
        for ref, loss in zip(net.output_refs, losses, strict=True)
    ]


def _is_softmax(graph: ModelGraph, ref: Ref, owner: int | None = None) -> bool:
    """Whether a softmax makes a tensor; inside a nested model that is looked for too."""
    net = graph.net_of(graph.root if owner is None else owner)
    spec = graph.layers[net.by_id[ref.call].layer]
    if spec.net is not None and not spec.net.opaque:
        return _is_softmax(graph, spec.net.output_refs[ref.index], spec.id)
    return _ends_in_softmax(spec)


def _ends_in_softmax(spec: LayerSpec) -> bool:
    if spec.kind == "op" or issubclass(spec.cls, keras.layers.Softmax):
        return spec.cls.__name__ == "Softmax"
    activation = (spec.config or {}).get("activation")
    if issubclass(spec.cls, keras.layers.TimeDistributed):
        inner = (spec.config or {}).get("layer", {})
        activation = inner.get("config", {}).get("activation")
    return activation == "softmax"


@keras.saving.register_keras_serializable("kerasedit")
class ClassDistillation(keras.distillation.LogitsDistillation):
    """Keras's `LogitsDistillation`, for outputs that are probabilities too.

    Keras takes whatever a model puts out for logits: of probabilities it would take a second softmax,
    which makes all classes nearly equal. Their logarithms are logits, but for a constant.

    Args:
        temperature, loss: those of `LogitsDistillation`.
        kind: for each output, in the structure of the outputs, `"probabilities"` or another text.
    """

    def __init__(
        self, temperature: float = 3.0, loss: Any = "KLDivergence", kind: Any = "probabilities"
    ) -> None:
        super().__init__(temperature, loss)
        self.kind = kind

    def compute_loss(self, teacher_outputs: Any, student_outputs: Any, **kwargs: Any) -> Any:
        def logits(kind: str, tensor: Any) -> Any:
            if kind != "probabilities":
                return tensor
            return keras.ops.log(keras.ops.maximum(tensor, keras.config.epsilon()))

        given = [
            keras.tree.map_structure(logits, self.kind, outputs)
            for outputs in (teacher_outputs, student_outputs)
        ]
        return super().compute_loss(*given, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "kind": self.kind}


# -- learning ------------------------------------------------------------------------------------


class Distiller(keras.distillation.Distiller):
    """Keras's distiller, for a student that goes on as it was compiled.

    Beside what it is taught, it learns by the whole of its own loss: with weights of samples and of
    outputs and with regularization, which Keras's distiller leaves out. Its metrics are told too. What
    was frozen or unfrozen since the last `fit` holds in the next. Without labels, it is only taught,
    and regularized.
    """

    def compile(
        self, optimizer: Any = None, loss: Any = None, metrics: Any = None, **options: Any
    ) -> None:
        """Compiles as the student is, with its very optimizer. With a loss, as Keras's distiller does.

        Raises:
            EditError: the student is not compiled with a loss.
        """
        self._as_student = loss is None
        if loss is not None:
            super().compile(optimizer or "adam", loss, metrics, **options)
            return
        settings = _keras.compile_settings(self.student)
        if settings is None or settings["loss"] is None:
            raise EditError(
                "The student learns by a loss of its own too, and it has none: call "
                "ed.model.compile(...) first."
            )
        names = ("run_eagerly", "steps_per_execution", "jit_compile", "auto_scale_loss")
        kept = {name: settings[name] for name in names if name in settings}
        super().compile(
            optimizer or settings["optimizer"],
            _of_the_student,
            metrics,
            **{**kept, **options},
        )

    def make_train_function(self, force: bool = False) -> Any:
        # A step that was traced goes on with the flags from then.
        state = _keras.training_state(self.student)
        changed = vars(self).get("_traced_with") != state
        object.__setattr__(self, "_traced_with", state)
        return super().make_train_function(force or changed)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The student's own loss and that of distillation, each with its weight."""
        if not self._as_student:
            return super().compute_loss(x, y, y_pred, sample_weight, training)
        taught = super().compute_loss(x, None, y_pred, None, training)
        if y is not None:
            own = self.student.compute_loss(x, y, y_pred, sample_weight, training)
        else:
            own = keras.ops.sum([keras.ops.sum(loss) for loss in self.student.losses] or [0.0])
        share = self.student_loss_weight * own
        # Keras counted the batch with no loss of the student's.
        self.student_loss_tracker.total.assign_add(own)
        self.total_loss_tracker.total.assign_add(share)
        return taught + share

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if self._as_student and y is not None:
            self.student.compute_metrics(x, y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self) -> list[Any]:
        own = super().metrics
        if not getattr(self, "_as_student", False):
            return own
        return [
            *own,
            *(m for m in self.student.metrics if m.name != "loss" and getattr(m, "built", True)),
        ]


def _of_the_student(targets: Any, outputs: Any) -> Any:
    """Stands for the student's own loss where Keras's distiller wants one; it is never called."""
    raise NotImplementedError
