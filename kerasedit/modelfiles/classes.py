"""What is known of Keras's own layers by their names: families, and what their weights are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_FAMILIES = {
    "input": "InputLayer",
    "core": "Dense EinsumDense Embedding Identity Lambda Masking ReversibleEmbedding Wrapper",
    "conv": (
        "Conv1D Conv1DTranspose Conv2D Conv2DTranspose Conv3D Conv3DTranspose DepthwiseConv1D "
        "DepthwiseConv2D SeparableConv1D SeparableConv2D"
    ),
    "pool": (
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D "
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D AveragePooling1D "
        "AveragePooling2D AveragePooling3D GlobalAveragePooling1D GlobalAveragePooling2D "
        "GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D "
        "MaxPooling1D MaxPooling2D MaxPooling3D"
    ),
    "norm": (
        "BatchNormalization GroupNormalization LayerNormalization RMSNormalization "
        "SpectralNormalization UnitNormalization"
    ),
    "activation": "Activation ELU LeakyReLU PReLU ReLU Softmax",
    "regularization": (
        "ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise "
        "SpatialDropout1D SpatialDropout2D SpatialDropout3D"
    ),
    "merge": "Add Average Concatenate Dot Maximum Minimum Multiply Subtract",
    "reshape": (
        "Cropping1D Cropping2D Cropping3D Flatten Permute RepeatVector Reshape UpSampling1D "
        "UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D"
    ),
    "rnn": (
        "Bidirectional ConvLSTM1D ConvLSTM2D ConvLSTM3D GRU GRUCell LSTM LSTMCell RNN SimpleRNN "
        "SimpleRNNCell StackedRNNCells TimeDistributed"
    ),
    "attention": "AdditiveAttention Attention GroupQueryAttention MultiHeadAttention",
    "preprocessing": (
        "AugMix AutoContrast CategoryEncoding CenterCrop ContrastLimitedAdaptiveHistogramEqualization "
        "CutMix Discretization Equalization HashedCrossing Hashing IntegerLookup MaxNumBoundingBoxes "
        "MelSpectrogram MixUp Normalization Pipeline RandAugment RandomBrightness "
        "RandomColorDegeneration RandomColorJitter RandomContrast RandomCrop RandomElasticTransform "
        "RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
        "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness "
        "RandomShear RandomTranslation RandomZoom Rescaling Resizing STFTSpectrogram Solarization "
        "StringLookup TextVectorization"
    ),
}
FAMILIES = {name: family for family, names in _FAMILIES.items() for name in names.split()}

# Layers that hold code, or have another library run some.
HOLD_CODE = {"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"}

_KERNEL = ("kernel", "bias")
_CELL = ("kernel", "recurrent_kernel", "bias")
_SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
_WEIGHTS = {
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "Conv1D": _KERNEL,
    "Conv1DTranspose": _KERNEL,
    "Conv2D": _KERNEL,
    "Conv2DTranspose": _KERNEL,
    "Conv3D": _KERNEL,
    "Conv3DTranspose": _KERNEL,
    "Dense": _KERNEL,
    "DepthwiseConv1D": _KERNEL,
    "DepthwiseConv2D": _KERNEL,
    "EinsumDense": _KERNEL,
    "Embedding": ("embeddings",),
    "GRU": _CELL,
    "GRUCell": _CELL,
    "GroupNormalization": ("gamma", "beta"),
    "LSTM": _CELL,
    "LSTMCell": _CELL,
    "LayerNormalization": ("gamma", "beta"),
    "Normalization": ("mean", "variance", "count"),
    "PReLU": ("alpha",),
    "RMSNormalization": ("scale",),
    "SeparableConv1D": _SEPARABLE,
    "SeparableConv2D": _SEPARABLE,
    "SimpleRNN": _CELL,
    "SimpleRNNCell": _CELL,
}
# The argument without which a layer has no such weight.
_ASKED_FOR = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
_NEVER_TRAINED = {"moving_mean", "moving_variance", "mean", "variance", "count", "vector_u"}

# The parts of a layer that is made of layers, in the order in which it has them.
_PARTS = {
    "Bidirectional": ("forward_layer", "backward_layer"),
    "MultiHeadAttention": ("query_dense", "key_dense", "value_dense", "gate_dense", "output_dense"),
}
_CELLS = {"LSTM", "GRU", "SimpleRNN"}


def weight_names(class_name: str, config: Mapping[str, Any], count: int) -> list[str]:
    """The names of a layer's `count` own weights; numbers where they are not known."""
    known = [
        name
        for name in _WEIGHTS.get(class_name, ())
        if config.get(_ASKED_FOR.get(name, ""), True) is not False
        and not (class_name == "EinsumDense" and name == "bias" and count == 1)
    ]
    return known if len(known) == count else [str(number) for number in range(count)]


def is_trained(name: str) -> bool:
    """Whether training changes a weight of this name, such as `"dense/kernel"`."""
    return name.rpartition("/")[2] not in _NEVER_TRAINED


def part_order(class_name: str, name: str) -> tuple[int, str]:
    """By what the parts of a layer are sorted."""
    parts = _PARTS.get(class_name, ())
    return (parts.index(name) if name in parts else len(parts), name)


def part_of(class_name: str, config: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    """The class and the configuration of a part of a layer; `("", {})` where they are not known."""
    if name == "cell" and class_name in _CELLS:
        return class_name, config
    if class_name == "MultiHeadAttention" and name.endswith("_dense"):
        return "EinsumDense", {}
    told = config.get("layer" if name == "forward_layer" else name)
    if isinstance(told, Mapping):
        inner, inside = told.get("class_name"), told.get("config")
        if isinstance(inner, str) and isinstance(inside, Mapping):
            return inner, inside
    return "", {}
