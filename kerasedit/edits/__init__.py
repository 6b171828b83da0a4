"""The edits: small immutable objects, each made by the editor's method of the same name."""

from .base import Edit, read_edit
from .flags import Freeze, FreezeUpTo, Unfreeze
from .folding import FoldBatchnorm
from .group import Transaction
from .growing import GrowChannels, GrowOutputs
from .layers import Configure, Duplicate, Move
from .pruning import PruneChannels
from .quantizing import Quantize
from .recalibrating import RecalibrateBatchnorm
from .regions import Extract, Inline, Nest, ReplaceBetween
from .sparsity import Densify, Sparsify
from .structure import Append, Insert, Remove, Rename, Replace, Trim
from .weights import MapWeights, Reinitialize, ScaleWeights, SetWeights
from .wiring import AddBranch, AddOutput, Connect, Disconnect, RemoveOutput, SetInput

__all__ = [
    "AddBranch",
    "AddOutput",
    "Append",
    "Configure",
    "Connect",
    "Densify",
    "Disconnect",
    "Duplicate",
    "Edit",
    "Extract",
    "FoldBatchnorm",
    "Freeze",
    "FreezeUpTo",
    "GrowChannels",
    "GrowOutputs",
    "Inline",
    "Insert",
    "MapWeights",
    "Move",
    "Nest",
    "PruneChannels",
    "Quantize",
    "RecalibrateBatchnorm",
    "Reinitialize",
    "Remove",
    "RemoveOutput",
    "Rename",
    "Replace",
    "ReplaceBetween",
    "ScaleWeights",
    "SetInput",
    "SetWeights",
    "Sparsify",
    "Transaction",
    "Trim",
    "Unfreeze",
    "read_edit",
]
