import resource
import sys

import pytest
import torch

from lowshot.training.allocator import freed_memory_kept


def page_faults_of_many_tensors():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux" or not torch.__config__.show(), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    outside = page_faults_of_many_tensors()
    with freed_memory_kept():
        page_faults_of_many_tensors()
        inside = page_faults_of_many_tensors()
    assert inside < outside / 5
    assert page_faults_of_many_tensors() > 5 * inside
