"""A model on patches whose network looks at neighbours first and then decides voxel by voxel."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowshot.imaging.preparation import Prepared
from lowshot.inference.patch_model import PatchModel, TileOptions
from lowshot.inference.sliding_window import Tile, through_tiles, tiles
from lowshot.nn.voxelwise import VoxelwiseNetwork
from lowshot.training.run import Run


@dataclass(eq=False)
class VoxelwiseModel(PatchModel):
    """A patch model that can show by what it decides (``lowshot.contract.Embeds``)."""

    network: VoxelwiseNetwork

    def embeddings(
        self, prepared: Prepared, run: Run, options: TileOptions, voxels: Int[Tensor, "n 3"]
    ) -> Float[Tensor, "n size"]:
        """Tile by tile as in ``regions``, those tiles that hold one of the voxels; takes the memory of ``regions``.

        Raises:
            ValueError: a voxel lies outside of the prepared grid.
        """
        shape = prepared.grid.shape
        if bool(((voxels < 0) | (voxels >= torch.tensor(shape))).any()):
            raise ValueError(f"voxels outside of a grid of {shape}")
        run.place(self.network)
        patch = self.geometry.patch
        held = [(tile, _held(voxels, tile)) for tile in tiles(shape, patch, self.geometry.margin)]
        held = [(tile, where) for tile, where in held if len(where)]
        maps = through_tiles(
            self.network.features,
            prepared.voxels,
            [tile for tile, _ in held],
            patch=patch,
            batch=options.tiles_at_once,
            run=run,
        )
        found = []
        for (_, where), (tile, features) in zip(held, maps, strict=True):
            i, j, k = (voxels[where] - torch.tensor(tile.corner)).to(features.device).unbind(dim=1)
            with torch.inference_mode(), run.autocast():
                found.append(self.network.embed(features[:, i, j, k].T).float().cpu())
        order = torch.cat([where for _, where in held])
        return torch.cat(found)[order.argsort()]


def _held(voxels: Int[Tensor, "n 3"], tile: Tile) -> Int[Tensor, " m"]:
    """Which of the voxels a tile predicts."""
    first = torch.tensor([part.start for part in tile.slices])
    stop = torch.tensor([part.stop for part in tile.slices])
    return ((voxels >= first) & (voxels < stop)).all(dim=1).nonzero()[:, 0]
