"""Packages that are optional: imported only where a network of theirs is built, in the version that it is made with."""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType


def extra(package: str, version: str) -> ModuleType:
    """The package, imported.

    Args:
        package: its name on PyPI.

    Raises:
        ValueError: it is not installed, or in another version; one line that says how to install it.
    """
    try:
        installed = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"{package} is not installed; install it: pip install {package}=={version}") from None
    if installed != version:
        raise ValueError(
            f"version: the network is of {package} {version}, but {installed} is installed: pip install "
            f"{package}=={version}"
        )
    return importlib.import_module(package.replace("-", "_"))
