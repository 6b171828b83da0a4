"""What `pip install` makes from a clean tree: the package with its built front end."""

from __future__ import annotations

import compileall
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

from tests.browser.lab import own_environment

ROOT = Path(__file__).parents[2]
# Neither git nor anything that a checkout does not have.
IGNORED = shutil.ignore_patterns(
    *(".git", ".venv", "node_modules", "artifacts", "__pycache__", ".*_cache"),
    *("static", "labextension", "lib"),
)


DATA = "kerasedit-0.1.0.data/data/"
EXTENSION = f"{DATA}share/jupyter/labextensions/kerasedit/"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=IGNORED)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, tree],
        check=True,
        stdin=subprocess.DEVNULL,
    )
    [made] = folder.glob("kerasedit-*.whl")
    return made


def test_a_wheel_from_a_clean_tree_has_the_widget_and_the_quick_start(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    assert sizes["kerasedit/widgets/static/widget.js"] > 10_000
    assert sizes["kerasedit/widgets/static/widget.css"] > 1_000
    assert sizes["kerasedit/notebooks/quickstart.ipynb"] > 1_000
    assert sizes["kerasedit/recipe.schema.json"] > 10_000
    assert not [name for name in sizes if not name.startswith(("kerasedit/", "kerasedit-"))]
    # The extension is where Jupyter looks for it, and nowhere else.
    assert {f"{EXTENSION}package.json", f"{EXTENSION}install.json"} <= {*sizes}
    assert f"{DATA}etc/jupyter/jupyter_server_config.d/kerasedit.json" in sizes
    assert not [name for name in sizes if name.startswith("kerasedit/labextension")]


def test_jupyter_finds_the_extension_of_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    data = tmp_path / DATA
    environment = own_environment(tmp_path / "home", checkout=False) | {
        "JUPYTER_PATH": str(data / "share" / "jupyter"),
        "JUPYTER_CONFIG_DIR": str(data / "etc" / "jupyter"),
        "PYTHONPATH": str(tmp_path),
    }

    def listed(*command: str) -> str:
        run = subprocess.run(
            [sys.executable, "-m", *command, "list"],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return re.sub(r"\x1b\[\d*m", "", run.stdout + run.stderr)

    assert re.search(
        r"kerasedit v0\.1\.0 +enabled +OK \(python, kerasedit\)", listed("jupyterlab.labextensions")
    )
    told = listed("jupyter_server.extension.serverextension")
    assert re.search(r"kerasedit\.lab +enabled", told)
    assert re.search(r"kerasedit\.lab +.*OK", told)


def test_uninstalling_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    """Of an environment in which it was imported, too."""
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    # JupyterLab has made these. What is empty in the end, pip would leave.
    extensions = environment / "share" / "jupyter" / "labextensions"
    servers = environment / "etc" / "jupyter" / "jupyter_server_config.d"
    for folder in (extensions, servers):
        folder.mkdir(parents=True)

    def files() -> set[Path]:
        return {*environment.rglob("*")}

    def pip(*command: str | Path) -> None:
        subprocess.run(
            [sys.executable, "-m", "pip", "--python", environment, *command],
            check=True,
            stdin=subprocess.DEVNULL,
        )

    before = files()
    pip("install", "--no-index", "--no-deps", "--no-compile", wheel)
    [package] = environment.rglob("kerasedit/__init__.py")
    assert (extensions / "kerasedit" / "package.json").is_file()
    assert (servers / "kerasedit.json").is_file()
    assert compileall.compile_dir(package.parent, quiet=1)  # as importing does
    pip("uninstall", "--yes", "kerasedit")
    assert files() - before == set()
