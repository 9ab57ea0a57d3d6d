"""What lets a method be tried in seconds, on top of its ``compact`` preset. One that is not here is tried as it is."""

GENERATOR = {"encoder": (4, 4, 4), "decoder": ((4,), (4,), (4,))}
SLICES = {"size": (16, 16)}
REGIONS = {"least_voxels": 30_000}
"""Of a study this small, supervoxels are joined of single voxels if they are as large as usual: thousands of parts."""
TWO_ARM = REGIONS | {"size": (32, 32), "widths": (2, 4), "batch": 2}
FEATURES = REGIONS | {"size": (32, 32), "width": 0.0625, "features": 8}
SETTINGS = {
    "mre-net": {"patch_voxels": 12**3, "batch": 2, "settling_batches": 2},
    "unet": {"patch_voxels": 12**3, "batch": 2, "settling_batches": 2},
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
    "copied-mask": {"size": (16, 16)},
    "scs": {"size": (32, 32), "superpixels": 30, "words": 8, "sampled": 500, "epochs": 2},
    "multi-atlas": {"levels": ((2, 5), (1, 2))},
    "ants-syncc": {"iterations": (5,)},
    "ants-fusion": {"search_radius": 1},
    "apscl": {
        **REGIONS,
        **{"size": (16, 16), "width": 0.0625, "features": 8, "factors": 4, "pooled": 2, "hidden": (8, 8)},
        **{"enhancement_width": 8, "interaction_width": 4, "guidance_width": 8},
    },
    "panet": {"size": (32, 32), "width": 0.0625},
    "sg-one": REGIONS | {"size": (32, 32), "width": 0.0625},
    "gcn-de": REGIONS | {"size": (32, 32), "width": 0.0625, "pairs": 1},
    "se-net": TWO_ARM,
    "co-fcn": TWO_ARM,
    "oslsm": TWO_ARM,
    "sse-one-scan": TWO_ARM,
    "ssl-alpnet": {"size": (32, 32), "width": 0.0625, "features": 8, "tasks": 2},
    "adnet": FEATURES | {"tasks": 2},
    "rp-net": SLICES | {"widths": (2, 4, 4), "relation": 4, "radius": 1, "tasks": 2, "test_passes": 2},
    "aas-dcl": SLICES | {"widths": (4, 4), "kernel": 3, "tasks": 1},
    "poisson-seg": FEATURES | {"tasks": 1},
    "sr-net": FEATURES | {"tasks": 1},
    "lvqm": FEATURES | {"tasks": 1},
}
