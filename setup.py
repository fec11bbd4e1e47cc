"""An editable install that type checkers can follow; all else stands in pyproject.toml.

The package lies in two folders of the repository, nnfs_gpu/ and kernels/, and setuptools makes
such a package editable by an import hook, which mypy and pyright do not run: they would not find
nnfs_gpu at all. Through two links in the repository, src/nnfs_gpu and nnfs_gpu/kernels, it lies
in one folder, and an editable install is a path. Where links were not checked out (Windows, as
Git sets it up), it is the import hook. Wheels and sdists take the folders themselves.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.editable_wheel import editable_wheel

LINKED = Path(__file__).parent / "src" / "nnfs_gpu" / "kernels" / "__init__.py"


class EditableWheel(editable_wheel):
    """The package lies in src/, where links were checked out."""

    def finalize_options(self) -> None:
        """Set the folder before setuptools looks for the packages."""
        if LINKED.is_file():
            self.distribution.package_dir = {"": "src"}
        super().finalize_options()


setup(cmdclass={"editable_wheel": EditableWheel})
