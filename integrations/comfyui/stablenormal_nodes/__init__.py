"""Nodes of StableNormal for ComfyUI: copy this folder to ComfyUI's `custom_nodes`.

The package `stablenormal` must be installed in the environment that runs ComfyUI.
"""

import importlib.util

if importlib.util.find_spec("stablenormal") is None:
    raise ImportError(
        "the nodes of StableNormal need the package stablenormal; install it with the Python that runs "
        "ComfyUI: python -m pip install path/to/the/checkout"
    )

from .nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS  # noqa: E402 (after the check)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
