"""The data sets of the five papers, and the layouts in which copies of them are passed on."""

from lowshot.datasets.dataset import Dataset

NIFTI = r"\.nii(\.gz)?"
UPPER_ABDOMEN = {1: "liver", 2: "right kidney", 3: "left kidney", 4: "spleen"}
CHAOS_MR = Dataset(
    name="chaos-mr",
    title="CHAOS, T2-SPIR",
    modality="MR of the abdomen",
    licence="CC BY-SA 4.0",
    source="chaos.grand-challenge.org; the training set, 20 cases",
    images={"T2-SPIR": r"MR/(?P<case>\d+)/T2SPIR/DICOM_anon/[^/]+\.(dcm|DCM)"},
    labels=r"MR/(?P<case>\d+)/T2SPIR/Ground/[^/]+\.png",
    structures={63: "liver", 126: "right kidney", 189: "left kidney", 252: "spleen"},
    ranges={63: (56, 70), 126: (111, 135), 189: (176, 200), 252: (241, 255)},
    cases=20,
)
CHAOS_CT = Dataset(
    name="chaos-ct",
    title="CHAOS, CT",
    modality="CT of the abdomen",
    licence="CC BY-SA 4.0",
    source="chaos.grand-challenge.org; the training set, 20 cases",
    images={"CT": r"CT/(?P<case>\d+)/DICOM_anon/[^/]+\.(dcm|DCM)"},
    labels=r"CT/(?P<case>\d+)/Ground/[^/]+\.png",
    structures={255: "liver"},
    ranges={255: (1, 255)},
    cases=20,
)
BTCV = Dataset(
    name="btcv",
    title="BTCV, multi-atlas labelling beyond the cranial vault (Synapse)",
    modality="CT of the abdomen",
    licence="for research, after registration",
    source="synapse.org, syn3193805: RawData/Training, 30 cases",
    images={"CT": rf"img/img(?P<case>\d+){NIFTI}"},
    labels=rf"label/label(?P<case>\d+){NIFTI}",
    structures={
        **{1: "spleen", 2: "right kidney", 3: "left kidney", 4: "gallbladder", 5: "oesophagus", 6: "liver"},
        **{7: "stomach", 8: "aorta", 9: "inferior vena cava", 10: "portal and splenic vein", 11: "pancreas"},
        **{12: "right adrenal gland", 13: "left adrenal gland"},
    },
    cases=30,
)
MRBRAINS18 = Dataset(
    name="mrbrains18",
    title="MRBrainS18",
    modality="MR of the brain: T1, IR, FLAIR",
    licence="for research, after registration",
    source="mrbrains18.isi.uu.nl; training, 7 cases",
    images={
        "T1": rf"(?P<case>\w+)/pre/reg_T1{NIFTI}",
        "IR": rf"(?P<case>\w+)/pre/reg_IR{NIFTI}",
        "FLAIR": rf"(?P<case>\w+)/pre/FLAIR{NIFTI}",
    },
    labels=rf"(?P<case>\w+)/segm{NIFTI}",
    structures={
        **{1: "cortical grey matter", 2: "basal ganglia", 3: "white matter", 4: "white matter hyperintensities"},
        **{5: "cerebrospinal fluid", 6: "ventricles", 7: "cerebellum", 8: "brain stem"},
    },
    unknown=(9, 10),  # infarctions and others: the challenge masks them out
    cases=7,
)
MS_CMRSEG = Dataset(
    name="ms-cmrseg",
    title="MS-CMRSeg 2019, bSSFP (C0)",
    modality="MR of the heart",
    licence="for research, after registration",
    source="zmiclab.github.io, MS-CMRSeg 2019; the 35 cases whose C0 label maps are given",
    images={"C0": rf"patient(?P<case>\d+)_C0{NIFTI}"},
    labels=rf"patient(?P<case>\d+)_C0_manual{NIFTI}",
    structures={200: "myocardium", 500: "left ventricle", 600: "right ventricle"},
    not_annotated="3[6-9]|4[0-5]",
    cases=35,
)
CANDI = Dataset(
    name="candi",
    title="CANDI, SchizBull 2008",
    modality="MR of the brain: T1",
    licence="CC BY-NC",
    source="nitrc.org, project candi_share; 103 cases",
    images={"T1": rf"(BPDwithPsy|BPDwithoutPsy|HC|SS)/(?P<case>\w+)/(?P=case)_procimg{NIFTI}"},
    labels=rf"(BPDwithPsy|BPDwithoutPsy|HC|SS)/(?P<case>\w+)/(?P=case)_seg{NIFTI}",
    structures={
        **{2: "left white matter", 3: "left cortex", 4: "left lateral ventricle", 7: "left cerebellar white matter"},
        **{8: "left cerebellar cortex", 10: "left thalamus", 11: "left caudate", 12: "left putamen"},
        **{13: "left pallidum", 14: "third ventricle", 15: "fourth ventricle", 16: "brain stem"},
        **{17: "left hippocampus", 18: "left amygdala", 24: "cerebrospinal fluid", 28: "left ventral diencephalon"},
        **{41: "right white matter", 42: "right cortex", 43: "right lateral ventricle"},
        **{46: "right cerebellar white matter", 47: "right cerebellar cortex", 49: "right thalamus"},
        **{50: "right caudate", 51: "right putamen", 52: "right pallidum", 53: "right hippocampus"},
        **{54: "right amygdala", 60: "right ventral diencephalon"},
    },
    others_are_background=True,  # LT-Net's 28 are those that are there
    cases=103,
)
ACDC = Dataset(
    name="acdc",
    title="ACDC, end-diastole and end-systole",
    modality="MR of the heart",
    licence="CC BY-NC-SA 4.0",
    source="humanheart-project.creatis.insa-lyon.fr; training, 100 patients, two frames each",
    # patients 101 to 150 are the challenge's test, which newer copies hold beside the training
    images={"cine": rf"patient\d+/(?P<case>patient(0\d\d|100)_frame\d+){NIFTI}"},
    labels=rf"patient\d+/(?P<case>patient(0\d\d|100)_frame\d+)_gt{NIFTI}",
    structures={1: "right ventricle", 2: "myocardium", 3: "left ventricle"},
    cases=200,
)
BUSI = Dataset(
    name="busi",
    title="BUSI, breast ultrasound images",
    modality="ultrasound of the breast",
    licence="for research",
    source="scholar.cu.edu.eg, Dataset_BUSI_with_GT; 780 images, those of normal breasts show no lesion",
    images={"ultrasound": r"(benign|malignant|normal)/(?P<case>\w+ \(\d+\))\.png"},
    labels=r"(benign|malignant|normal)/(?P<case>\w+ \(\d+\))_mask(_\d+)?\.png",
    structures={255: "lesion"},
    ranges={255: (1, 255)},
    empty=r"normal \(\d+\)",
    left_out={r"benign \((234|261)\)": "left out: one picture under two names, with colour"},
    cases=780,
)
ORIGINAL_GT = Dataset(
    name="original-gt",
    title="images in original/, masks of equal names in GT/",
    modality="2-D images with one structure",
    licence="that of the images",
    source="a layout in which ultrasound data sets are passed on",
    images={"image": r"original/(?P<case>[^/]+)\.(png|tiff?)"},
    labels=r"GT/(?P<case>[^/]+)\.(png|tiff?)",
    structures={255: "lesion"},
    ranges={255: (1, 255)},
)
IMAGE_N = Dataset(
    name="image-n",
    title="CHAOS MR as image_N.nii.gz, label_N.nii.gz",
    modality="MR of the abdomen",
    licence="CC BY-SA 4.0",
    source="copies that the few-shot literature passes on",
    images={"T2-SPIR": rf"image_(?P<case>\d+){NIFTI}"},
    labels=rf"label_(?P<case>\d+){NIFTI}",
    structures=UPPER_ABDOMEN,
    cases=20,
)
DATASETS = {
    each.name: each
    for each in (CHAOS_MR, CHAOS_CT, BTCV, MRBRAINS18, MS_CMRSEG, CANDI, ACDC, BUSI, ORIGINAL_GT, IMAGE_N)
}
"""By name. The generic ``images/`` and ``labels/`` and nnU-Net's raw layout are read as ever: they say themselves what
they hold (``lowshot.inputs.base_files``)."""
