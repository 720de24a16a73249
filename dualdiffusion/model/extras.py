"""Packages that are optional: imported only where a network of theirs is built, in the version that it is made with."""

from __future__ import annotations

import importlib
import importlib.metadata
from types import ModuleType

from dualdiffusion.errors import one_line


def extra(package: str, version: str, part: str | None = None) -> ModuleType:
    """The package, imported.

    Args:
        package: its name on PyPI.
        part: what is wanted of it, which some packages import only when it is asked for.

    Raises:
        ValueError: it is not installed, in another version, or cannot be imported; one line that says how
            to install it.
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
    try:
        module = importlib.import_module(package.replace("-", "_"))
        if part:
            getattr(module, part, None)
    except (ImportError, RuntimeError) as error:  # the latter by diffusers, for an import that it does late
        raise ValueError(
            f"{package} cannot be imported ({one_line(error)}); install it with all that it needs: pip install "
            f"{package}=={version}"
        ) from None
    return module
