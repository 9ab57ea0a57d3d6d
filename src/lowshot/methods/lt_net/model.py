"""What LT-Net's training comes to: an atlas, and a network that finds its points in a scan."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from lowshot.contract import State
from lowshot.errors import ModelFileError
from lowshot.imaging.grid import Grid
from lowshot.inference.atlas_model import Atlas, AtlasModel, stored_atlases, stored_grid
from lowshot.inference.memory import activation_bytes
from lowshot.inference.patch_model import load_weights
from lowshot.nn.displacement_unet import DisplacementUNet
from lowshot.nn.geometry import Triple
from lowshot.options import SegmentOptions
from lowshot.registration.affine import Picture, align, alignment_bytes, centred
from lowshot.registration.correspondence import Correspondence
from lowshot.registration.deformable import OPTIMISING_BYTES, Refinement
from lowshot.registration.fields import in_mm
from lowshot.registration.pairwise import deformed, laid_upon
from lowshot.registration.sampling import onto_grid
from lowshot.training.run import Run


@dataclass(frozen=True)
class RefineOptions(SegmentOptions):
    """What may be chosen when an atlas's labels are transferred."""

    refine: bool = False
    """Go on from the network's field by optimising it for this one scan (ours, not in the paper)."""
    levels: tuple[tuple[int, int], ...] = ((4, 30), (2, 60), (1, 25))
    """(how many times coarser than the atlas, steps), from coarse to fine."""
    smoothness: float = 0.35
    """Of a refined field, against how alike the scans come to look."""

    def __post_init__(self) -> None:
        _ = self.refinement  # refuses what cannot be

    @property
    def refinement(self) -> Refinement:
        """How the field is optimised."""
        return Refinement.of(self.levels, self.smoothness)


@dataclass(eq=False)
class AtlasTransfer(AtlasModel):
    """One atlas and the forward generator."""

    network: DisplacementUNet
    grid: Grid
    """On which the network works, in the atlas's world."""
    affine: bool
    """Whether scans are aligned as wholes first; else they are laid centre upon centre."""

    def __post_init__(self) -> None:
        self.network.eval()

    def correspondence(self, query: Picture, atlas: Atlas, run: Run, options: RefineOptions) -> Correspondence:
        """One forward pass, and the refinement where it is wanted."""
        picture = atlas.picture
        world = align(query, picture) if self.affine else centred(query, picture)
        fixed, moving = laid_upon(query, world, self.grid), onto_grid(picture.voxels, picture.grid, self.grid)
        network = run.place(self.network)
        with run.autocast():
            field = network(run.tensor(moving[None]), run.tensor(fixed[None]))
        field_mm = in_mm(field.float(), self.grid.spacing)[0].contiguous()
        if not options.refine:
            return Correspondence(world, self.grid, field_mm)
        fine = options.refinement.grid(picture)
        start = onto_grid(field_mm, self.grid, fine, outside="border")
        return deformed(query, picture, world, fine, options.refinement, start)

    def correspondence_memory(self, shape: Triple, run: Run, options: RefineOptions) -> int:
        """The largest of alignment, forward pass and refinement."""
        picture = self.atlases[0].picture
        query = Grid(shape, np.diag([*picture.grid.spacing, 1.0]))  # its spacing is not known yet
        dtype = run.dtype
        image = torch.empty(1, len(self.channels), *self.grid.shape, device="meta", dtype=dtype)
        passing = activation_bytes(self.network, (image, image)) + 40 * math.prod(self.grid.shape)
        refining = OPTIMISING_BYTES * math.prod(options.refinement.grid(picture).shape) if options.refine else 0
        return max(passing, refining, alignment_bytes(query, picture.grid)) + 5 * math.prod(shape)

    def state(self) -> State:
        """With the network and its grid."""
        header, tensors = super().state()
        header["grid"] = {"shape": list(self.grid.shape), "affine": self.grid.affine.tolist()}
        weights = {f"network.{name}": value.detach().cpu() for name, value in self.network.state_dict().items()}
        return State(header, tensors | weights)

    @classmethod
    def restore(cls, network: DisplacementUNet, affine: bool, state: State) -> "AtlasTransfer":
        """The model around a network of the same architecture (may be on the meta device), with the stored weights."""
        header, atlases = stored_atlases(state)
        if len(atlases) != 1:
            raise ModelFileError(f"expected one atlas, got {len(atlases)}")
        own = "network."
        load_weights(network, {k.removeprefix(own): v for k, v in state.tensors.items() if k.startswith(own)})
        grid = stored_grid(state.header["grid"])
        return cls(header.names, header.channels, header.preparation, atlases, network, grid, affine)
