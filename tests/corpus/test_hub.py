"""Models of KerasHub, tiny and random: most of them are made of layers with layers inside.

Their classes are functional models with a `get_config` of their own, so each is copied by its class
until its structure is edited, and layer by layer from then on. Some of their layers cannot be made
from their own configuration: then the edit says which one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from keras_hub import models as hub

from kerasedit import EditError, Editor, StructureError
from tests.models import data, fingerprint, out, same, scramble, state_of, whole

from .wires import Wires, at_rest

pytestmark = pytest.mark.filterwarnings("ignore:.*becomes a plain model")

Made = tuple[Any, Any]  # a model and a batch for it

TINY = {"vocabulary_size": 50, "num_layers": 2, "hidden_dim": 8, "intermediate_dim": 16}
GROUPED = {**TINY, "num_query_heads": 2, "num_key_value_heads": 1}
PICTURE = (2, 16, 16, 3)


def text(*more: str) -> dict[str, np.ndarray]:
    mask = np.array([[1] * 6, [1] * 4 + [0] * 2], "int32")
    return {"token_ids": whole(50, 2, 6), "padding_mask": mask, **{n: whole(2, 2, 6) for n in more}}


def bert() -> Made:
    model = hub.BertBackbone(**TINY, num_heads=2, max_sequence_length=8, name="encoder")
    return scramble(model), text("segment_ids")


def bert_classifier() -> Made:
    backbone, x = bert()
    return scramble(hub.BertTextClassifier(backbone, num_classes=3, name="classifier")), x


def mistral() -> Made:
    return scramble(hub.MistralBackbone(**GROUPED, name="decoder")), text()


def gemma() -> Made:
    return scramble(hub.GemmaBackbone(**GROUPED, head_dim=4, name="decoder")), text()


def gemma_lm() -> Made:
    backbone, x = gemma()
    return scramble(hub.GemmaCausalLM(backbone, name="language")), x


def t5() -> Made:
    side = {"token_ids": whole(50, 2, 5), "padding_mask": np.ones((2, 5), "int32")}
    x = {f"{part}_{name}": batch for part in ("encoder", "decoder") for name, batch in side.items()}
    return scramble(hub.T5Backbone(**TINY, num_heads=2)), x


def vit() -> Made:
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 8, "mlp_dim": 16}
    model = hub.ViTBackbone(image_shape=PICTURE[1:], patch_size=4, **sizes, name="encoder")
    return scramble(model), data(*PICTURE)


def vit_classifier() -> Made:
    backbone, x = vit()
    return scramble(hub.ViTImageClassifier(backbone, num_classes=3, name="classifier")), x


def segmenter() -> Made:
    encoder = hub.ResNetBackbone(
        [64], [7], [64, 64], [1, 1], [1, 2], "basic_block", image_shape=(32, 32, 3)
    )
    backbone = hub.DeepLabV3Backbone(
        image_encoder=encoder,
        low_level_feature_key="P2",
        spatial_pyramid_pooling_key="P3",
        dilation_rates=[2, 3],
        upsampling_size=2,
        projection_filters=8,
        name="backbone",
    )
    model = hub.DeepLabV3ImageSegmenter(backbone, num_classes=3, name="segmenter")
    return scramble(model), data(2, 32, 32, 3)


def llama() -> Made:
    return scramble(hub.LlamaBackbone(**GROUPED)), text()


def gpt_neo_x() -> Made:
    model = hub.GPTNeoXBackbone(**{**TINY, "hidden_dim": 16}, num_heads=2, rotary_percentage=0.5)
    return scramble(model), text()


def mit() -> Made:
    model = hub.MiTBackbone(
        layerwise_depths=[1, 1],
        num_layers=2,
        layerwise_num_heads=[1, 2],
        layerwise_sr_ratios=[2, 1],
        max_drop_path_rate=0.1,
        layerwise_patch_sizes=[7, 3],
        layerwise_strides=[4, 2],
        hidden_dims=[4, 8],
        image_shape=PICTURE[1:],
    )
    return scramble(model), data(*PICTURE)


GOOD = (bert, bert_classifier, mistral, gemma, gemma_lm, t5, vit_classifier, segmenter)
# What cannot be made again, and the layer that a structural edit names.
STUCK = {
    llama: "'transformer_layer_0' of class LlamaTransformerDecoder cannot tell",
    gpt_neo_x: "'transformer_layer_0' of class GPTNeoXDecoder cannot be made again",
    vit: "'vit_patching_and_embedding' of class ViTPatchingAndEmbedding cannot be made again",
    mit: "'hierarchical_encoder_0_0' of class HierarchicalTransformerEncoder cannot be made again",
}


def check(ed: Editor, wires: Wires, x: Any) -> None:
    """The copy puts out what the source's own layers do, called along the edited wires."""
    given = {name: x[name] for name in ed.model.input} if isinstance(x, Mapping) else x
    assert same(out(ed.model, given), wires.put_out(x))


def check_file(ed: Editor, path: Path, x: Any) -> Any:
    ed.save(path)
    loaded = keras.saving.load_model(path)
    assert same(loaded.get_weights(), ed.model.get_weights())
    assert same(out(loaded, x), out(ed.model, x))
    return loaded


def check_undo(ed: Editor, x: Any) -> None:
    """Back at the start, the copy is made by its class again and predicts the source's bits."""
    ed.undo(len(ed.history))
    assert type(ed.model) is type(ed.source)
    assert same(ed.model.predict(x, verbose=0), ed.source.predict(x, verbose=0))


def inside(wires: Wires) -> Callable[..., Any]:
    """Calls the wires of a nested model in its place."""
    return lambda x, **_: [wires.run(x)[key] for key in wires.outputs]


@pytest.mark.parametrize("make", [*GOOD, *STUCK], ids=lambda make: make.__name__)
def test_an_unedited_copy_is_the_same_to_the_bit(make: Callable[[], Made], tmp_path: Path) -> None:
    model, x = make()
    before = fingerprint(model)
    ed = Editor(model)
    copy = ed.model
    assert fingerprint(model) == before
    assert type(copy) is type(model)
    assert copy.compiled is model.compiled
    assert same(copy.get_weights(), model.get_weights())
    assert not {id(v) for v in copy.variables} & {id(v) for v in model.variables}
    assert same(copy.predict(x, verbose=0), model.predict(x, verbose=0))
    assert type(check_file(ed, tmp_path / "copy.keras", x)) is type(model)


def test_bert(tmp_path: Path) -> None:
    model, x = bert()
    wires, before = Wires(model), fingerprint(model)
    ed = Editor(model)
    with pytest.warns(UserWarning, match="'encoder' becomes a plain model: what BertBackbone"):
        ed.remove("transformer_layer_1")
    wires.remove("transformer_layer_1")
    check(ed, wires, x)
    assert type(ed.model) is type(keras.Model(model.input, model.output))

    ed.insert(layers.Dropout(0.5, name="more_dropout"), after="embeddings_add")
    ed.rename("pooled_dense", "pooler")
    check(ed, wires, x)

    norm = layers.LayerNormalization(epsilon=0.1, name="embeddings_layer_norm")
    ed.replace("embeddings_layer_norm", norm)  # takes over the weights
    norm.build((None, None, 8))
    norm.set_weights(model.get_layer("embeddings_layer_norm").get_weights())
    wires.instead["embeddings_layer_norm"] = at_rest(norm)
    check(ed, wires, x)

    def adapter(t: Any) -> Any:
        down = layers.Dense(2, activation="relu", name="down")(t)
        return t + layers.Dense(8, name="up")(down)

    ed.insert(adapter, after="transformer_layer_0")
    down, up = (ed.model.get_layer(name) for name in ("down", "up"))
    old = wires.layer("transformer_layer_0")

    def adapted(*args: Any, **kwargs: Any) -> Any:
        t = old(*args, **kwargs)
        return t + up(down(t))

    wires.instead["transformer_layer_0"] = adapted
    check(ed, wires, x)
    assert set(ed.model.output) == {"sequence_output", "pooled_output"}

    ed.freeze("*").unfreeze("down", "up")
    assert {w.path.split("/")[0] for w in ed.model.trainable_weights} == {"down", "up"}
    check_file(ed, tmp_path / "bert.keras", x)
    assert fingerprint(model) == before
    check_undo(ed, x)


def test_bert_trimmed_to_its_first_layer() -> None:
    model, x = bert()
    wires = Wires(model)
    ed = Editor(model).trim("transformer_layer_0")
    wires.outputs = [("transformer_layer_0", 0, 0)]
    check(ed, wires, x)
    with pytest.raises(EditError, match="'position_embedding'"):
        Editor(model).remove("token_embedding", on_mismatch="slice")
    check_undo(ed, x)


def test_a_layer_inside_the_backbone_of_a_classifier(tmp_path: Path) -> None:
    model, x = bert_classifier()
    wires, encoder = Wires(model), Wires(model.backbone)
    wires.instead["encoder"] = inside(encoder)
    ed = Editor(model)
    assert same(out(ed.model, x), wires.put_out(x))
    with pytest.warns(UserWarning, match="becomes a plain model") as told:
        ed.remove("encoder/transformer_layer_0")
    assert {str(w.message).split("'")[1] for w in told} == {"classifier", "encoder"}
    encoder.remove("transformer_layer_0")
    check(ed, wires, x)

    ed.replace("logits", layers.Dense(5, name="logits"), weights="slice")
    ed.freeze("encoder")
    head = ed.model.get_layer("logits")
    wires.instead["logits"] = at_rest(head)
    check(ed, wires, x)
    old, new = model.get_layer("logits").get_weights(), head.get_weights()
    assert same([a[..., :3] for a in new], old)

    check_file(ed, tmp_path / "classifier.keras", x)
    frozen = ed.model.get_layer("encoder").get_weights()
    ed.model.fit(x, np.array([0, 4]), verbose=0)
    assert same(ed.model.get_layer("encoder").get_weights(), frozen)
    assert not same(head.get_weights(), new)
    check_undo(ed, x)


def test_a_classifier_s_encoder_trains_once_it_is_let_loose() -> None:
    """The class compiles itself as it is made, so its copy is made with values, frozen or not."""
    model, x = bert_classifier()
    model.backbone.trainable = False
    ed = Editor(model)
    kernel = ed.model.get_layer("encoder").get_layer("pooled_dense").kernel
    before = ops.convert_to_numpy(kernel)
    ed.model.fit(x, np.array([0, 2]), verbose=0)
    assert same(ops.convert_to_numpy(kernel), before)
    ed.unfreeze("encoder")
    ed.model.fit(x, np.array([0, 2]), verbose=0)
    assert not same(ops.convert_to_numpy(kernel), before)


@pytest.mark.parametrize(
    ("make", "layer", "norm"),
    [
        (mistral, "transformer_layer_0", "sequence_output_layernorm"),
        (gemma, "decoder_block_1", "final_normalization"),
    ],
)
def test_a_decoder_with_rotary_embeddings(
    make: Callable[[], Made], layer: str, norm: str, tmp_path: Path
) -> None:
    model, x = make()
    wires = Wires(model)
    ed = Editor(model).remove(layer)
    wires.remove(layer)
    check(ed, wires, x)
    ed.insert(layers.Dropout(0.5, name="more_dropout"), before=norm)
    half = layers.Rescaling(0.5, name="half")
    ed.insert(half, after="token_embedding")
    wires.then("token_embedding", half)
    check(ed, wires, x)
    ed.replace(norm, layers.RMSNormalization(name="norm"), weights="none")
    wires.instead[norm] = at_rest(ed.model.get_layer("norm"))
    check(ed, wires, x)
    ed.append(layers.Dense(4, name="top"))
    wires.then(norm, ed.model.get_layer("top"))
    check(ed, wires, x)
    check_file(ed, tmp_path / "decoder.keras", x)
    check_undo(ed, x)


def test_an_embedding_shared_by_a_backbone_and_its_head(tmp_path: Path) -> None:
    model, x = gemma_lm()
    wires, decoder = Wires(model), Wires(model.backbone)
    wires.instead["decoder"] = inside(decoder)
    ed = Editor(model).remove("decoder/decoder_block_0")
    decoder.remove("decoder_block_0")
    check(ed, wires, x)
    nested = ed.model.get_layer("decoder")
    assert ed.model.get_layer("token_embedding") is nested.get_layer("token_embedding")
    # A file of a plain model holds such a layer twice. Keras cannot load it; that is found out.
    with pytest.raises(EditError, match=r"load.* back"):
        ed.save(tmp_path / "tied.keras")
    assert not list(tmp_path.iterdir())
    check_undo(ed, x)


def test_the_head_of_a_vision_transformer(tmp_path: Path) -> None:
    """The backbone has a layer that cannot be made again; left alone, its own class makes it."""
    model, x = vit_classifier()
    wires = Wires(model)
    ed = Editor(model)
    with pytest.warns(UserWarning, match="becomes a plain model: what ViTImageClassifier"):
        ed.remove("output_dropout")
    wires.remove("output_dropout")
    check(ed, wires, x)
    wide = layers.Dense(5, activation="tanh", name="wide")
    ed.insert(wide, before="predictions", on_mismatch="reinit")
    copy = ed.model
    wires.instead["predictions"] = lambda t: copy.get_layer("predictions")(
        copy.get_layer("wide")(t)
    )
    check(ed, wires, x)
    assert type(copy.get_layer("encoder")) is hub.ViTBackbone
    check_file(ed, tmp_path / "vit.keras", x)
    with pytest.raises(StructureError, match=STUCK[vit]):
        ed.remove("encoder/vit_encoder")
    check_undo(ed, x)


def test_a_segmenter(tmp_path: Path) -> None:
    model, x = segmenter()
    wires, backbone = Wires(model), Wires(model.backbone)
    wires.instead["backbone"] = inside(backbone)
    ed = Editor(model)
    ed.insert(layers.Dropout(0.5, name="more_dropout"), before="segmentation_output")
    ed.replace("segmentation_output", layers.Conv2D(4, 1, activation="sigmoid", name="classes"))
    wires.instead["segmentation_output"] = at_rest(ed.model.get_layer("classes"))
    check(ed, wires, x)
    check_file(ed, tmp_path / "segmenter.keras", x)

    ed.remove("backbone/decoder_norm")
    backbone.remove("decoder_norm")
    ed.replace("backbone/segmentation_head_relu", layers.Activation("tanh"))
    backbone.instead["segmentation_head_relu"] = ops.tanh
    check(ed, wires, x)
    (encoder,) = (v.path for v in ed.layers if v.kind == "model" and v.level == 2)
    resnet = Wires(model.backbone.get_layer(encoder.split("/")[-1]))
    backbone.instead[encoder.split("/")[-1]] = lambda t, **_: inside(resnet)([t])
    ed.remove(f"{encoder}/conv1_relu")
    resnet.remove("conv1_relu")
    check(ed, wires, x)
    ed.freeze(encoder)
    frozen = [v for v in ed.layers if v.path.startswith(encoder) and v.weights]
    assert frozen and not any(v.trainable for v in frozen)
    check_undo(ed, x)


@pytest.mark.parametrize(
    ("make", "why"), STUCK.items(), ids=lambda item: getattr(item, "__name__", "")
)
def test_a_layer_that_cannot_be_made_again_is_named(
    make: Callable[[], Made], why: str, tmp_path: Path
) -> None:
    """Looking, flags and files work; an edit of the structure changes nothing."""
    model, x = make()
    before = fingerprint(model)
    ed = Editor(model)
    names = [view.path for view in ed.layers if view.kind == "layer"]
    assert names == [la.name for la in model.layers if not isinstance(la, layers.InputLayer)]
    assert ed.find(type(model.get_layer(names[0])))[0] == names[0]
    assert sum(view.params for view in ed.layers) == model.count_params()
    assert sum(h.size for h in ed.histograms().values()) == model.count_params()
    ed.freeze(names[0])
    assert len(ed.model.trainable_weights) < len(model.trainable_weights)
    assert not ed.model.get_layer(names[0]).trainable

    copy, state = ed.model, state_of(ed)
    last = names[-1]
    for edit in (
        lambda to: to.insert(layers.Dropout(0.5), after=last),
        lambda to: to.rename(last, "other"),
        lambda to: to.replace(last, layers.Activation("tanh")),
    ):
        with pytest.raises(StructureError, match=why):
            edit(ed)
        plan = edit(ed.preview)
        assert not plan.ok and why in plan.errors[0]
    assert state_of(ed) == state
    assert ed.model is copy
    check_file(ed, tmp_path / "frozen.keras", x)
    check_undo(ed, x)
    assert fingerprint(model) == before
