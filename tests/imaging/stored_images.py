"""Small images and label maps, in memory and on disk, on grids that are neither straight nor even."""

import nibabel
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from lowshot.imaging.names import Names
from lowshot.imaging.scan import Segmentation

SHAPE = (4, 5, 6)
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", (20, -15, 10), degrees=True).as_matrix() * (0.9, 1.4, 3.3)
OBLIQUE[:3, 3] = (-30, 12, 55)
SHEARED = OBLIQUE @ np.array([[1, 0.1, 0, 0], [0, 1, 0.25, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
VOLUMES = (".nii", ".nii.gz", ".nrrd", ".mha")
SHIFTED = OBLIQUE.copy()
SHIFTED[:3, 3] += 2


def segmentation(values=(0, 1, 2), affine=OBLIQUE, shape=SHAPE):
    labels = torch.randint(0, len(values), shape, generator=torch.Generator().manual_seed(0))
    labels.view(-1)[: len(values)] = torch.arange(len(values))
    return Segmentation(labels, Names.from_values(values, background=values[0]), affine)


def save_nifti(path, array, affine=OBLIQUE, **header):
    image = nibabel.Nifti1Image(array, affine, dtype=array.dtype)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, path)
    return path


def image_array(shape=SHAPE, dtype=np.int16):
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def with_forms(path, sform=None, qform=None, unit="unknown", sides=(0.9, 1.4, 3.3)):
    header = nibabel.Nifti1Header()
    header.set_data_shape(SHAPE)
    header.set_xyzt_units(unit)
    header.set_zooms(sides)
    header.set_sform(None if sform is None else sform[0], 0 if sform is None else sform[1])
    header.set_qform(None if qform is None else qform[0], 0 if qform is None else qform[1])
    nibabel.save(nibabel.Nifti1Image(image_array(), None, header), path)
    return path
