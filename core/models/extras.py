"""Packages that only some architectures need: imported when a network of theirs is built, and an extra of the distribution installs them."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

from core.errors import ModelError


class MissingPackageError(ModelError):
    """An architecture needs a package that cannot be imported."""


@dataclass(frozen=True)
class Extra:
    """A package, and the name of the extra that installs it (pyproject.toml)."""

    package: str
    name: str

    @property
    def installed(self) -> bool:
        """Whether the package is there; it is not imported."""
        try:
            return importlib.util.find_spec(self.package) is not None
        except ValueError:  # imported before, and in a state without a specification
            return False

    def missing(self, title: str, why: str = "is not installed") -> str:
        """What to do where the package cannot be used for the architecture ``title``, in a sentence.

        Examples
        --------
        >>> Extra("transformers", "ast").missing("AST")
        'AST needs the package transformers, which is not installed: pip install "pannscope[ast]"'
        """
        return f'{title} needs the package {self.package}, which {why}: pip install "pannscope[{self.name}]"'

    def load(self, title: str) -> Any:
        """Import the package for the architecture ``title``; raises ``MissingPackageError`` where it cannot be imported."""
        try:
            return importlib.import_module(self.package)
        except ImportError as error:
            why = f"cannot be imported ({error})" if self.installed else "is not installed"
            raise MissingPackageError(self.missing(title, why)) from error
