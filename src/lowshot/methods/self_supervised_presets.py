"""Named settings of ADNet, RP-Net and AAS-DCL. No import, so that listing them is free."""

# Ours: what one CPU core trains in minutes, from random weights.
ADNET = {
    "paper": {},
    "paper-heart": {"least_voxels": 1000},
    "compact": {
        "size": (128, 128),
        "depth": 18,
        "width": 0.5,
        "features": 64,
        "tasks": 2,
        "augmentation": "strong",
        "optimiser": "adamw",
        "schedule": "cosine",
        "learning_rate": 1e-3,
        "steps": 1500,
    },
}

# Ours, as above.
RP_NET = {
    "paper": {},
    "compact": {
        "size": (128, 128),
        "widths": (16, 32, 64, 128, 128),
        "relation": 32,
        "radius": 3,
        "tasks": 2,
        "augmentation": "strong",
        "schedule": "cosine",
        "learning_rate": 1e-3,
        "steps": 800,
    },
}

# Ours, as above.
AAS_DCL = {
    "paper": {},
    "compact": {
        "size": (128, 128),
        "widths": (8, 16, 32, 64, 128),
        "kernel": 3,
        "entropy_share": 0.2,
        "tasks": 2,
        "lacking": 2,
        "augmentation": "strong",
        "schedule": "cosine",
        "learning_rate": 3e-3,
        "steps": 1200,
    },
}
