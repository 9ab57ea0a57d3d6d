"""What lets a method be tried in seconds, on top of its ``compact`` preset. One that is not here is tried as it is."""

GENERATOR = {"encoder": (4, 4, 4), "decoder": ((4,), (4,), (4,))}
SLICES = {"size": (16, 16)}
SETTINGS = {
    "mre-net": {"patch_voxels": 12**3, "batch": 2},
    "unet": {"patch_voxels": 12**3, "batch": 2},
    "lt-net": {
        "critic_widths": (4, 4, 4, 4),
        "encoder": (4, 4, 4),
        "decoder": ((4,), (4,), (4,)),
        "labels_per_step": 2,
    },
    "voxelmorph": {"encoder": (4, 4, 4), "decoder": ((4,), (4,), (4,))},
    "elnet": SLICES | {"stem": (4, 4), "widths": (8, 8), "exemplars": 1, "synthetic": 3, "pseudo_labelled": 1},
    "mt-unet": SLICES | {"stem": (4, 4), "widths": (8, 8), "synthetic": 3},
    "unet-slices": SLICES | {"widths": (4, 4), "synthetic": 3},
    "mlds": SLICES | {"widths": (4, 4), "exemplars": 2, "pool": 2},
    "data-aug": {
        **{"encoder": (4, 4, 4), "decoder": ((4,), (4,), (4,)), "appearance_widths": (4, 4)},
        **{"patch_voxels": 12**3, "affine": False, "settling_batches": 2},
    },
    "fcn": {"size": (32, 32), "width": 0.0625, "batch": 2},
    "scs": {"size": (32, 32), "superpixels": 30, "words": 8, "sampled": 500, "epochs": 2},
    "multi-atlas": {"levels": ((2, 5), (1, 2))},
    "ants-syncc": {"iterations": (5,)},
    "ants-fusion": {"search_radius": 1},
}
