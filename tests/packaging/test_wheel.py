"""What `pip install` makes from a clean tree: the package with its built front end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Neither git nor anything that a checkout does not have.
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "node_modules", "static", "artifacts", "__pycache__", ".*_cache"
)


def test_a_wheel_from_a_clean_tree_has_the_widget_and_the_quick_start(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)

    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", tmp_path, tree],
        check=True,
        stdin=subprocess.DEVNULL,
    )

    [wheel] = tmp_path.glob("kerasedit-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert sizes["kerasedit/widgets/static/widget.js"] > 10_000
    assert sizes["kerasedit/widgets/static/widget.css"] > 1_000
    assert sizes["kerasedit/notebooks/quickstart.ipynb"] > 1_000
    assert sizes["kerasedit/recipe.schema.json"] > 10_000
    assert not [name for name in sizes if not name.startswith(("kerasedit/", "kerasedit-"))]
