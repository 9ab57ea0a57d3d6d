"""What lets a method be tried in seconds, on top of its ``compact`` preset. One that is not here is tried as it is."""

SETTINGS = {
    "mre-net": {"patch_voxels": 12**3, "batch": 2},
    "unet": {"patch_voxels": 12**3, "batch": 2},
}
