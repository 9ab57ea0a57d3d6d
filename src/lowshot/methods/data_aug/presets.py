"""Named settings of DataAug. No import, so that listing them is free."""

# How the public code measures smoothness; with ``compact``'s weights it hardly counts.
PAPER: dict[str, float | str] = {"smoothness": 1 / 3, "appearance_norm": "absolute"}

# MRE-Net's comparison on BTCV: its data, patches and 3-D U-Net. Sizes are left-right, front-back, head-foot.
PAPER_BTCV = PAPER | {
    "crop": "foreground",
    "resize": (396, 324, 72),
    "intensity": "window:-210:290",
    "grid_shape": None,
    "affine": True,
    "segmenter": "luna-park",
    "widths": (64, 128, 256),
    "convolutions": (3, 4, 5),
    "strides": ((2, 2, 2), (2, 2, 1)),
    "patch": (36, 36, 12),
    "margin": (4, 4, 2),
    "batch": 64,
    "balance": 1.0,
    "augmentation": "light",
    "learning_rate": 1e-3,
    "decay": True,
    "steps": 72_000,
    "spatial_share": 0.69,
    "appearance_share": 0.03,
}

# Ours: what two CPU cores train in minutes, on scans of any size and spacing. How it was found: README.md.
COMPACT = {
    "most_voxels": 600_000,
    "crop": "foreground",
    "intensity": "foreground-zscore",
    "affine": True,
    "grid_spacing": (4.0, 4.0, 4.0),
    "grid_shape": None,
    "decoder": ((32,), (32,), (32,), (32, 32), (16, 16)),
    "appearance_widths": (16, 16, 32),
    "segmenter": "luna-park",
    "widths": (16, 32, 64, 64),
    "convolutions": (2, 2, 2, 2),
    "patch": None,
    "patch_voxels": 48**3,
    "batch": 2,
    "balanced": 0.3,
    "augmentation": "strong",
    "balance": 0.3,
    "loss_share": 0.25,
    "steps": 1500,
    "spatial_share": 0.3,
    "appearance_share": 0.1,
    "transform_rate": 1e-3,
    "learning_rate": 2e-3,
    "decay": True,
    "clip_norm": 5.0,
    "settling_batches": 40,
}

DATA_AUG = {"paper": PAPER, "paper-btcv": PAPER_BTCV, "compact": COMPACT}
