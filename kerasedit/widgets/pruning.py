"""What the widget shows of channels before some of them are pruned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..compress.groups import ChannelGroup
from ..names import visible
from .detail import Reply, asked_paths

if TYPE_CHECKING:
    from ..editor import Editor

# Of groups, and of the layers in the chain of one; the rest is counted.
MAX_GROUPS = 20
MAX_MEMBERS = 40


def tell_channels(editor: Editor, alive: str, message: Mapping[str, Any]) -> Reply:
    """The groups of channels that layers make, each with the chain of all that is tied to them."""
    paths = asked_paths(message)
    with editor.lock:
        groups = editor.channel_groups(tuple(paths))
        revision = editor.revision
    made = [group for group in groups if not set(paths).isdisjoint(group.makers)]
    told = [_group(group) for group in made[:MAX_GROUPS]]
    return {"revision": revision, "total": len(made), "groups": told}, []


def _group(group: ChannelGroup) -> dict[str, Any]:
    members = group.members[:MAX_MEMBERS]
    return {
        "channels": group.channels,
        "makers": [visible(path) for path in group.makers[:MAX_MEMBERS]],
        "chain": [visible(str(member)) for member in members],
        "more": len(group.members) - len(members),
        "mixed": [visible(path) for path in group.mixed[:MAX_MEMBERS]],
        "reason": visible(group.reason),
    }
