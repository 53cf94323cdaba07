"""The contract's tests: whether a converter does what `dandify.sources.contract` says, tried on a sample."""

from dandify.testing.case import Case, Check
from dandify.testing.check import check_converter
from dandify.testing.sources import SOURCE_CHECKS

__all__ = ["SOURCE_CHECKS", "Case", "Check", "check_converter"]
