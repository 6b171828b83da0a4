"""The edits: small immutable objects, each made by the editor's method of the same name."""

from .base import Edit, read_edit
from .flags import Freeze, FreezeUpTo, Unfreeze
from .group import Transaction
from .structure import Append, Insert, Remove, Rename, Replace, Trim

__all__ = [
    "Append",
    "Edit",
    "Freeze",
    "FreezeUpTo",
    "Insert",
    "Remove",
    "Rename",
    "Replace",
    "Transaction",
    "Trim",
    "Unfreeze",
    "read_edit",
]
