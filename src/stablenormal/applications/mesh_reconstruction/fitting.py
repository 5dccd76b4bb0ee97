"""The reconstruction itself: a state that steps, grows finer, is saved and goes on bit for bit."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from stablenormal.applications.mesh_reconstruction.losses import losses
from stablenormal.applications.mesh_reconstruction.node_grid import NodeGrid, cells_touching
from stablenormal.applications.mesh_reconstruction.rendering import (
    Field,
    Occupancy,
    Rendered,
    occupancy,
    render,
)
from stablenormal.applications.mesh_reconstruction.settings import ReconstructionSettings
from stablenormal.applications.mesh_reconstruction.views import OPAQUE, ReconstructionView, ray_table
from stablenormal.applications.mesh_reconstruction.visual_hull import find_cube, hull, signed_distance
from stablenormal.errors import DataError, SettingError
from stablenormal.geometry.normal_detail import detail_on
from stablenormal.io.checkpoint import read_checkpoint, save_checkpoint
from stablenormal.io.fingerprint import of_bytes

GRID_EVERY = 60
"""Steps between two choices of the nodes that exist."""

OCCUPANCY_EVERY = 15
"""Steps between two searches for empty space."""

PRIOR_PER_LEVEL = 2
"""Times at each resolution that the broad shape of a prior is taken from the surface."""

SHELL = 1.6
"""Nodes exist up to this times the sampled band, in which the surface can move until the next choice."""

BETAS = (0.9, 0.99)
"""Of Adam."""

LAST_RATE = 0.15
"""Share of the step size that is left at the end of each resolution."""

PREVIEW_ROWS = 4096
"""Rays of a picture rendered at once."""


@dataclass(frozen=True)
class Progress:
    """Where a reconstruction stands after a step."""

    done: int
    total: int
    resolution: int
    losses: Mapping[str, float]


class SurfaceFit:
    """A reconstruction in progress.

    Args:
        views: of one object, at least two of which show it.
        settings: how to reconstruct.
        device: where to compute.

    Raises:
        SceneError: if the views do not show one object.
    """

    def __init__(
        self,
        views: Sequence[ReconstructionView],
        settings: ReconstructionSettings,
        device: torch.device | str = "cpu",
    ) -> None:
        self.settings = settings
        self.device = torch.device(device)
        self.views = tuple(view.shrunk(settings.image_size) for view in views)
        self.cube = find_cube(self.views)
        self.rays = ray_table(self.views, self.cube, self.device)
        self._prior = self.rays.normals
        self._has_detail = bool(settings.prior_detail and settings.normal_weight and self._prior.any())
        if self._has_detail:
            self.rays = replace(self.rays, normals=torch.zeros_like(self._prior))
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.done = 0
        self.consistent = True
        """False while a step is changing the state: then it must not be saved."""
        inside = hull(self.views, self.cube, settings.resolutions[0])
        self._dense = torch.from_numpy(signed_distance(inside).astype(np.float32))  # (R, R, R), on the CPU
        channels = 3 + 9 * (settings.colour_degree > 0)
        self._begin_level(torch.zeros(inside.size, channels))

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.done >= self.settings.total_iterations

    @property
    def field(self) -> Field:
        """The surface as it is now."""
        return Field(self._grid, self._distances, self._colours)

    def step(self) -> Progress:
        """One step of Adam on a random choice of patches.

        Raises:
            SettingError: if all steps are done.
        """
        if self.finished:
            raise SettingError("the reconstruction is finished; give it more iterations")
        self.consistent = False
        level, place = self._level_of(self.done)
        if place == 0 and level > 0:
            self._refine(self.settings.resolutions[level])
        elif place % GRID_EVERY == 0 and place > 0:
            self._choose_nodes()
        if place % OCCUPANCY_EVERY == 0:
            self._occupied = occupancy(self.field, self.settings.band)
        if self._has_detail and self._prior_is_due(level, place):
            self._fit_prior()
        share = place / self.settings.iterations[level]
        self._set_rates(share)
        pixels = self._draw_patches()
        flat = pixels.reshape(-1)
        jitter = torch.rand(len(pixels), generator=self.generator).repeat_interleave(4).to(self.device)
        field = self.field
        rendered = render(
            field,
            self._occupied,
            self.rays.origins[self.rays.view[flat]],
            self.rays.directions[flat],
            jitter,
            self.settings.step,
            self._sharpness(share),
        )
        terms = losses(field, rendered, self.rays, pixels, self.settings)
        self._optimiser.zero_grad()
        torch.autograd.backward(terms.total(self.settings))
        self._optimiser.step()
        self.done += 1
        self.consistent = True
        numbers = {name: float(value.detach()) for name, value in vars(terms).items()}
        return Progress(self.done, self.settings.total_iterations, self._grid.resolution, numbers)

    @torch.no_grad()
    def picture(self, view: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Colour and world normals of a view as the surface is now, (H, W, 3) each; zero where it is not."""
        height, width = self.views[view].mask.shape
        first = int(self.rays.first[view])
        rgb, normals = self._seen(torch.arange(first, first + height * width, device=self.device))
        shape = (height, width, 3)
        return rgb.view(shape).cpu().numpy(), normals.view(shape).cpu().numpy()

    def _seen(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Colour and world normals (P, 3) of pixels (P,) of the ray table; zero where the surface is not."""
        occupied = occupancy(self.field, self.settings.band)
        parts: list[Rendered] = []
        for start in range(0, len(pixels), PREVIEW_ROWS):
            rows = pixels[start : start + PREVIEW_ROWS]
            directions = self.rays.directions[rows]
            parts.append(
                render(
                    self.field,
                    occupied,
                    self.rays.origins[self.rays.view[rows]],
                    directions,
                    torch.full((len(directions),), 0.5, device=self.device),
                    self.settings.step,
                    self._sharpness(1.0),
                )
            )
        opacity = torch.cat([part.opacity for part in parts])[:, None]
        rgb = torch.cat([part.rgb for part in parts]) * opacity
        normals = F.normalize(torch.cat([part.normals for part in parts]), dim=1) * (opacity > 0.5)
        return rgb, normals

    def dense_distances(self) -> npt.NDArray[np.float32]:
        """Signed distances (R, R, R) in the cube, negative inside; far away only the sign is right."""
        values = self._dense.clone().view(-1)
        values[self._grid.nodes.cpu()] = self._distances.detach()[:, 0].cpu()
        return values.view(self._dense.shape).numpy()

    def save(self, path: Path) -> None:
        """Write everything that `load` needs to go on, completely or not at all.

        Raises:
            OutputError: if it cannot be written.
        """
        save_checkpoint(path, self._state(), self._identity())

    def load(self, path: Path) -> None:
        """Go on where `save` was called; on a CPU with as many threads the result is the same to the bit.

        Raises:
            SettingError: if the checkpoint is damaged, or belongs to other settings or views.
        """
        way_out = "leave out resume to start again"
        own = self._identity()
        try:
            found, state = read_checkpoint(path)
            other = [name for name in own if found[name] != own[name]]
        except (DataError, TypeError, KeyError) as error:  # damaged, or of a training
            raise SettingError(f"{path}: not a checkpoint of a reconstruction; {way_out}") from error
        if other:
            raise SettingError(f"{path}: was made with other {' and '.join(other)}; {way_out}")
        self._restore(state)

    def _identity(self) -> dict[str, Any]:
        settings = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.settings).items()
        }
        rays = self.rays
        told = (rays.rgb, rays.mask, self._prior.abs(), rays.confidence, rays.origins, rays.directions)
        pixels = of_bytes(values.cpu().contiguous().numpy().tobytes() for values in told)
        return {
            "settings": settings,
            "views": [
                [view.name for view in self.views],
                pixels,
                [round(value, 6) for value in (*self.cube.centre, self.cube.half)],
            ],
        }

    def _state(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "dense": self._dense,
            "cells": self._grid.cells.cpu(),
            "resolution": self._grid.resolution,
            "distances": self._distances.detach().cpu(),
            "colours": self._colours.detach().cpu(),
            "optimiser": self._optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "occupied": [self._occupied.fine.cpu(), self._occupied.coarse.cpu()],
            "prior": self.rays.normals.cpu() if self._has_detail else None,
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.done, self._dense = state["done"], state["dense"]
        r = state["resolution"]
        self._grid = NodeGrid.around(state["cells"].view(r, r, r).to(self.device))
        self._set_tables(state["distances"], state["colours"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        if self._has_detail:
            self.rays = replace(self.rays, normals=state["prior"].to(self.device))
        fine, coarse = (value.to(self.device) for value in state["occupied"])
        self._occupied = Occupancy(fine, coarse)

    def _level_of(self, done: int) -> tuple[int, int]:
        for level, count in enumerate(self.settings.iterations):
            if done < count:
                return level, done
            done -= count
        return len(self.settings.iterations) - 1, self.settings.iterations[-1]

    def _sharpness(self, share: float) -> float:
        """S of the density when a share of the level's steps is done."""
        first, last = self.settings.width_start, self.settings.width_end
        width: float = first * (last / first) ** share * self._grid.spacing
        return 1 / width

    def _set_rates(self, share: float) -> None:
        fall = LAST_RATE + (1 - LAST_RATE) * (1 + math.cos(math.pi * share)) / 2
        distances, colours = self._optimiser.param_groups
        distances["lr"] = self.settings.sdf_rate * self._grid.spacing * fall
        colours["lr"] = self.settings.colour_rate * fall

    def _draw_patches(self) -> Tensor:
        chosen = torch.randint(len(self.rays.anchors), (self.settings.patches,), generator=self.generator)
        return self.rays.patch(self.rays.anchors[chosen.to(self.device)])

    def _begin_level(self, colours: Tensor) -> None:
        """Nodes near the surface of `_dense`, with rows of dense colours (R^3, C)."""
        self._grid = NodeGrid.around(self._shell(self._dense).to(self.device))
        nodes = self._grid.nodes.cpu()
        self._set_tables(self._dense.view(-1, 1)[nodes], colours[nodes])
        self._occupied = occupancy(self.field, self.settings.band)

    def _set_tables(self, distances: Tensor, colours: Tensor) -> None:
        self._distances = distances.to(self.device).clone().requires_grad_()
        self._colours = colours.to(self.device).clone().requires_grad_()
        groups = [{"params": [self._distances]}, {"params": [self._colours]}]
        self._optimiser = torch.optim.Adam(groups, lr=0.0, betas=BETAS, eps=1e-12, fused=True)

    def _shell(self, dense: Tensor) -> Tensor:
        """Cells (R, R, R) by lowest corner near the surface of dense distances."""
        return cells_touching(dense.abs() < SHELL * self.settings.band * 2 / (dense.shape[0] - 1))

    def _prior_is_due(self, level: int, place: int) -> bool:
        """Whether the surface has a broad shape already, and the prior's is to be renewed."""
        period = math.ceil(self.settings.iterations[level] / PRIOR_PER_LEVEL)
        has_shape = level > 0 or (len(self.settings.resolutions) == 1 and place > 0)
        return has_shape and place % period == 0

    @torch.no_grad()
    def _fit_prior(self) -> None:
        """Put the prior's detail on the surface as it is now."""
        rays, fitted = self.rays, torch.zeros_like(self._prior)
        for number, view in enumerate(self.views):
            height, width = view.mask.shape
            rows = slice(int(rays.first[number]), int(rays.first[number + 1]))
            prior = self._prior[rows] * (rays.mask[rows] > OPAQUE)[:, None]
            known = torch.nonzero(prior.any(dim=1))[:, 0]
            if len(known) == 0:
                continue
            surface = torch.zeros_like(prior)
            surface[known] = self._seen(known + rows.start)[1]
            shape = (3, height, width)
            sigma = self.settings.prior_detail * max(height, width)
            found = detail_on(prior.T.reshape(shape), surface.T.reshape(shape), sigma)
            fitted[rows] = found.reshape(3, -1).T
        self.rays = replace(rays, normals=fitted)

    def _spread(self) -> tuple[Tensor, Tensor]:
        """Distances (R, R, R) and colours (R^3, C) of all nodes; far ones get the nearest colour."""
        r = self._grid.resolution
        values = torch.from_numpy(self.dense_distances())
        exists = (self._grid.rows >= 0).cpu().view(r, r, r).numpy()
        sign = torch.where(values < 0, -1.0, 1.0)
        inside = (values < 0).numpy()
        steps = np.where(inside, distance_transform_edt(inside), distance_transform_edt(~inside)) - 0.5
        far = sign * torch.from_numpy(steps.astype(np.float32)) * self._grid.spacing
        dense = torch.where(torch.from_numpy(exists), values, far)
        nearest = distance_transform_edt(~exists, return_distances=False, return_indices=True)
        flat = torch.from_numpy(np.ravel_multi_index(tuple(nearest), exists.shape).reshape(-1))
        rows = self._grid.rows.cpu()[flat]
        return dense, self._colours.detach().cpu()[rows]

    def _refine(self, resolution: int) -> None:
        """Go on with a finer grid."""
        before = self._grid.resolution
        dense, colours = self._spread()
        channels = torch.cat([dense[None], colours.T.reshape(-1, before, before, before)])
        finer = F.interpolate(channels[None], size=(resolution,) * 3, mode="trilinear", align_corners=True)[0]
        self._dense = finer[0].contiguous()
        self._begin_level(finer[1:].reshape(len(finer) - 1, -1).T.contiguous())

    def _choose_nodes(self) -> None:
        """Follow the surface: drop nodes that it left, add nodes that it nears; Adam keeps what it knew."""
        old, states = self._grid, [self._optimiser.state[table] for table in (self._distances, self._colours)]
        dense, colours = self._spread()
        self._dense = dense
        self._grid = NodeGrid.around(self._shell(dense).to(self.device))
        nodes = self._grid.nodes.cpu()
        self._set_tables(dense.view(-1, 1)[nodes], colours[nodes])
        rows = old.rows[self._grid.nodes]
        known = (rows >= 0)[:, None]
        for table, state in zip((self._distances, self._colours), states, strict=True):
            moved = {
                name: torch.where(known, state[name][rows.clamp(min=0)], 0.0)
                for name in ("exp_avg", "exp_avg_sq")
            }
            self._optimiser.state[table] = {"step": state["step"], **moved}
        self._occupied = occupancy(self.field, self.settings.band)
