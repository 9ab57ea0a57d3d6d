"""Named settings of SSL-ALPNet. No import, so that listing them is free."""

# As the public code trains: both copies of a slice are transformed.
RELEASED = {"copies": "both"}

# Ours: what one CPU core trains in minutes, from random weights.
COMPACT = {
    "size": (128, 128),
    "depth": 18,
    "width": 0.5,
    "features": 64,
    "window": 2,
    "test_window": 1,
    "tasks": 2,
    "augmentation": "strong",
    "optimiser": "adamw",
    "schedule": "cosine",
    "learning_rate": 1e-3,
    "steps": 1500,
}

ALPNET = {"paper": {}, "released": RELEASED, "compact": COMPACT}
