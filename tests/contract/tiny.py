"""What lets a method be tried in seconds, on top of its ``compact`` preset. One that is not here is tried as it is."""

GENERATOR = {"encoder": (4, 4, 4), "decoder": ((4,), (4,), (4,))}
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
    "multi-atlas": {"levels": ((2, 5), (1, 2))},
    "ants-syncc": {"iterations": (5,)},
    "ants-fusion": {"search_radius": 1},
}
