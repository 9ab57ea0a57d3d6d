"""An external program that knows NIfTI files alone: ``python nearest_mean.py IMAGE MEANS LABELS``."""

import sys

import nibabel
import numpy as np

image = nibabel.load(sys.argv[1])
means = np.loadtxt(sys.argv[2])
distances = np.abs(image.get_fdata()[..., None] - means)
nibabel.save(nibabel.Nifti1Image(distances.argmin(-1).astype(np.uint8), image.affine), sys.argv[3])
