"""Pipelines: the one place where networks and sampling meet."""

from stablenormal.pipelines.output import NormalsOutput
from stablenormal.pipelines.stable_normal import StableNormal

__all__ = ["NormalsOutput", "StableNormal"]
