"""What JupyterLab and its server load of kerasedit. Importing it imports no Keras."""

from __future__ import annotations

from typing import Any

from .. import __version__

__all__ = ["__version__"]


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "kerasedit.lab"}]


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "../labextension", "dest": "kerasedit"}]


def _load_jupyter_server_extension(server: Any) -> None:
    from .handlers import make_handlers

    server.web_app.add_handlers(".*$", make_handlers(server.web_app.settings["base_url"]))
    server.log.info("kerasedit: model files are shown without a kernel.")
