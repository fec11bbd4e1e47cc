"""What is installed is what stands in the folders: all of it, and nothing at the top level.

Proves the package list of pyproject.toml against the folders and the wheel against both: a
package or a data file that is added and not listed would be missing only on other people's
machines. The wheel is built from a copy, without the network, and what it holds is imported.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import HeaderParser
from fnmatch import fnmatch

import pytest
from built_package import ROOT, build, copy_of_project, unpack

import nnfs_gpu

PLUGIN = "_nnfs_gpu_pytest.py"
SOURCES = {"nnfs_gpu": ROOT / "nnfs_gpu", "nnfs_gpu.kernels": ROOT / "kernels"}


@pytest.fixture(scope="module")
def project():
    """pyproject.toml as a dictionary."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages():
    """Every folder with sources: its package name and its path."""
    found = {}
    for name, top in SOURCES.items():
        for folder in (top, *(path for path in top.rglob("*") if path.is_dir())):
            inside = folder.relative_to(top).parts
            if "__pycache__" not in inside and files(folder):
                found[".".join((name, *inside))] = folder
    return found


def files(folder):
    """Names of the files of `folder` that people wrote."""
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.is_file() and path.suffix not in (".pyc", ".pyo") and path.name[0] != "."
    )


def test_package_list_equals_the_folders(project):
    settings = project["tool"]["setuptools"]
    assert sorted(settings["packages"]) == sorted(packages())
    assert settings["package-dir"] == {
        "": "src",
        "nnfs_gpu": "nnfs_gpu",
        "nnfs_gpu.kernels": "kernels",
    }
    assert settings["py-modules"] == [path.stem for path in (ROOT / "src").glob("*.py")]
    assert all("__init__.py" in files(folder) for folder in packages().values())


def test_every_data_file_is_listed(project):
    patterns = project["tool"]["setuptools"]["package-data"]
    missing = [
        f"{package}: {name}"
        for package, folder in packages().items()
        for name in files(folder)
        if not name.endswith(".py")
        and not any(fnmatch(name, pattern) for pattern in patterns.get(package, []))
    ]
    assert missing == []


def test_core_dependencies_need_no_gpu_and_name_no_upper_version(project):
    names = [re.match(r"[\w.-]+", text).group() for text in project["project"]["dependencies"]]
    assert sorted(names) == [
        "matplotlib",
        "numba",
        "numpy",
        "pillow",
        "rich",
        "safetensors",
        "threadpoolctl",
        "typer",
    ]
    everything = [
        *project["project"]["dependencies"],
        *(text for extra in project["project"]["optional-dependencies"].values() for text in extra),
    ]
    assert all(re.search(r">=\d", text) for text in everything)
    # NumPy beside numba-cuda, which does not know 2.5, is the one exception.
    limited = [text for text in everything if re.search(r"<|==|~=", text)]
    assert limited == 2 * ["numpy>=2.0,<2.5"]
    assert {"cuda12", "cuda13", "test", "bench"} <= set(project["project"]["optional-dependencies"])
    assert project["project"]["requires-python"] == ">=3.11"


def test_version_is_stated_once(project):
    assert project["project"]["dynamic"] == ["version", "readme"]
    assert project["tool"]["setuptools"]["dynamic"]["version"] == {
        "attr": "nnfs_gpu._version.__version__"
    }
    assert re.fullmatch(r"\d+\.\d+\.\d+", nnfs_gpu.__version__)
    text = (ROOT / "nnfs_gpu" / "_version.py").read_text(encoding="utf-8")
    assert f'__version__ = "{nnfs_gpu.__version__}"' in text


def test_the_command_leads_to_a_function(project):
    target = project["project"]["scripts"]["nnfs-gpu"]
    assert target == "nnfs_gpu.cli.app:main"
    assert importlib.util.find_spec("nnfs_gpu.cli.app"), "nnfs_gpu.cli.app does not exist"


def test_nothing_of_ours_is_installed_at_the_top_level(tmp_path):
    code = (
        "import importlib.util as u\n"
        "for name in ('kernels', 'tests', 'bench', 'conftest'):\n"
        "    spec = u.find_spec(name)\n"
        "    print(name, spec and (spec.origin or list(spec.submodule_search_locations)))\n"
        "import nnfs_gpu.kernels as k; print(k.__name__)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    lines = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert lines[-1] == "nnfs_gpu.kernels"
    assert not [line for line in lines[:-1] if str(ROOT) in line]


# ---- the wheel ----


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel built from a copy of the project, without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    return build(copy_of_project(folder / "copy"), folder / "out", "wheel")


def test_wheel_holds_every_source_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        f"{package.replace('.', '/')}/{name}"
        for package, folder in packages().items()
        for name in files(folder)
    }
    assert names == expected | {PLUGIN}
    assert "nnfs_gpu/kernels/cpu/softmax.py" in names
    assert {name.split("/")[0] for name in names} == {"nnfs_gpu", PLUGIN}


def test_wheel_is_for_every_machine_and_of_this_version(wheel):
    assert wheel.name == f"nnfs_gpu-{nnfs_gpu.__version__}-py3-none-any.whl"
    info = f"nnfs_gpu-{nnfs_gpu.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        metadata = HeaderParser().parsestr(archive.read(f"{info}/METADATA").decode())
        points = archive.read(f"{info}/entry_points.txt").decode().split()
        assert any(name.endswith("LICENSE") for name in archive.namelist())
    assert (metadata["Name"], metadata["Version"]) == ("nnfs-gpu", nnfs_gpu.__version__)
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    commands = ["[console_scripts]", "nnfs-gpu", "=", "nnfs_gpu.cli.app:main"]
    assert points == [*commands, "[pytest11]", "nnfs_gpu", "=", PLUGIN.removesuffix(".py")]


def test_wheel_works_where_it_is_unpacked(wheel, tmp_path):
    """Not the working tree: the imported package lies in the unpacked wheel."""
    unpack(wheel, tmp_path / "site")
    code = (
        "import nnfs_gpu, nnfs_gpu.kernels\n"
        "print(nnfs_gpu.__version__)\n"
        "print(nnfs_gpu.__file__)\n"
        "print(nnfs_gpu.kernels.__file__)\n"
        "print(nnfs_gpu.Layer_Dense(2, 3).forward([[1, 2]]).shape)"
    )
    lines = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path / "site"), "NNFS_GPU_BACKEND": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    site = tmp_path / "site" / "nnfs_gpu"
    assert lines == [
        nnfs_gpu.__version__,
        str(site / "__init__.py"),
        str(site / "kernels" / "__init__.py"),
        "(1, 3)",
    ]
