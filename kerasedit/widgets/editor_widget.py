"""The widget over an editor."""

from __future__ import annotations

import traitlets

from .base import Listing


class EditorWidget(Listing):
    """Shows the model of an editor as an editable layer list.

    Args:
        editor: an `Editor`, or whatever `Editor` takes.
        options: values of traits.

    Attributes:
        selected: paths of the selected rows; may be set, linked and observed.
        filter: the text of the filter box; may be set, linked and observed.
        height: how high the list may get before it scrolls, in pixels.
    """

    part = traitlets.Unicode("editor").tag(sync=True)
