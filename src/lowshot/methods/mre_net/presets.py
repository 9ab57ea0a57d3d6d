"""Named settings of MRE-Net and of the U-Net that it is compared with. No import, so that listing them is free."""

# The sizes are left-right, front-back, head-foot here; the paper prints 324×396×72 as height, width, depth.
PAPER_BTCV = {
    "crop": "foreground",
    "resize": (396, 324, 72),
    "intensity": "window:-210:290",
    "hard_multiple": 4.0,
}

# Whole images of 128×128; patch, batch and N_Lg are ours, the paper gives none.
PAPER_ULTRASOUND = {
    "dimensions": 2,
    "orientation": None,
    "crop": "none",
    "resize": (128, 128, 1),
    "patch": (128, 128, 1),
    "margin": (0, 0, 0),
    "strides": ((2, 2, 1), (2, 2, 1)),
    "batch": 8,
    "hard_multiple": 3.0,
}

# Ours: what two CPU cores train in minutes, on scans of any size and spacing. How it was found: docs/compact.md.
COMPACT_DATA = {
    "most_voxels": 8_000_000,
    "crop": "foreground",
    "intensity": "foreground-zscore",
    "patch": None,
    "patch_voxels": 48**3,
    "batch": 2,
    "balanced": 0.3,
    "augmentation": "strong",
    "dimensions": None,
    "widths": (16, 32, 64),
    "convolutions": (2, 2, 2),
    "strides": None,
    "steps": 1500,
    "learning_rate": 1e-3,  # see the benchmark brain-tuning: four rates, for MRE-Net and for U-Net
    "decay_at": None,
    "clip_norm": 5.0,
    # Large categories count more than in the paper: within minutes, equal weights make small structures swell.
    "balance": 0.3,
    "loss_share": 0.25,
    "settling_batches": 40,
}
COMPACT_EMBEDDING = {
    # Mining costs points within so few steps, even late in the training, when the easy voxels are learned.
    "mining": False,
    "mining_from": 0.6,
    "hard_multiple": 20.0,
    "level_width": 16,
    "pyramid_width": 16,
    "pyramid_rates": (2, 4, 6),
    "pyramid_stride": 2,
    "embedding_size": 64,
    "mixer_width": 32,
}

# Ours: whole images as in the paper, and two halvings more, so that a lesion of any size is seen at once.
COMPACT_ULTRASOUND = PAPER_ULTRASOUND | {
    "batch": 4,
    "intensity": "zscore",  # in pictures without air, what Otsu's threshold calls the body changes from one to the next
    "widths": (16, 32, 48, 64, 96),
    "convolutions": (2, 2, 2, 2, 2),
    "strides": ((2, 2, 1), (2, 2, 1), (2, 2, 1), (2, 2, 1)),
    "mining": True,  # as in the paper: here it costs nothing, and finds less that is no lesion
    "mining_from": 0.0,
    "balance": 1.0,
}

# The published U-Net: 20,000 iterations of 64 patches. The table seems to apply MRE-Net's decay every 1,500, which
# would freeze it; decay at 50 % and 75 % is ours.
UNET_TRAINING = {"batch": 64, "steps": 20_000, "decay_at": (0.5, 0.75)}

MRE_NET = {
    "paper": {},
    "paper-btcv": PAPER_BTCV,
    "paper-ultrasound": PAPER_ULTRASOUND,
    "compact": COMPACT_DATA | COMPACT_EMBEDDING,
    "compact-ultrasound": COMPACT_DATA | COMPACT_EMBEDDING | COMPACT_ULTRASOUND,
}

UNET = {
    "paper": UNET_TRAINING,
    "paper-augmented": UNET_TRAINING | {"augmentation": "light"},
    "paper-btcv": PAPER_BTCV | UNET_TRAINING,
    "compact": COMPACT_DATA,
    "compact-plain": COMPACT_DATA | {"augmentation": "none"},
}
