"""Named settings of the methods that are one file each. No import, so that listing them is free."""

# Ours: fields at half the resolution, in a quarter of the time.
FAST = {"levels": ((4, 60), (2, 60))}

MULTI_ATLAS = {"paper": {"vote": "majority"}, "compact": {}, "fast": FAST}

# Ours: what two CPU cores train in minutes.
MLDS = {
    "paper": {},
    "paper-synapse": {"intensity": "window:-125:275"},
    "compact": {
        "size": (128, 128),
        "widths": (16, 32, 64, 128, 256),
        "augmentation": "wide",
        "exemplars": 3,
        "pool": 3,
        "steps": 2000,
        "learning_rate": 1e-3,
    },
}

# Ours: what two CPU cores train in minutes.
FCN = {
    "paper": {},
    "compact": {
        "width": 0.25,
        "norm": True,
        "batch": 4,
        "balanced": 0.3,
        "augmentation": "strong",
        "optimiser": "adam",
        "schedule": "cosine",
        "steps": 1000,
    },
}

COPIED_MASK = {"paper": {}, "compact": {"size": (128, 128)}}

# Nothing of it is trained for long.
SCS: dict[str, dict[str, float]] = {"paper": {}, "compact": {}}
