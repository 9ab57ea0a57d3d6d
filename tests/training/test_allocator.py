import json
import subprocess
import sys

import pytest
import torch

MEASURE = """
import json, resource
import torch
from lowshot.training.allocator import freed_memory_kept

def page_faults_of_many_tensors():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(16 * 2**20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = page_faults_of_many_tensors()
with freed_memory_kept():
    page_faults_of_many_tensors()
    inside = page_faults_of_many_tensors()
print(json.dumps([before, inside, page_faults_of_many_tensors()]))
"""


@pytest.mark.skipif(sys.platform != "linux" or not torch.__config__.show(), reason="glibc's allocator")
def test_freed_memory_is_used_again_without_page_faults():
    """In a process of its own: in one that has done much else, the heap may have no room to grow."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    before, inside, after = json.loads(done.stdout)
    assert inside < before / 5
    assert after > 5 * inside
