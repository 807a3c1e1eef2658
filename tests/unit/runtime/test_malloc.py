"""The memory of a large picture is the system's again when the picture is gone."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest
from PIL import Image

DECODE = """
import sys, threading
from shared import images
from shared.runtime import malloc

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 // 1_000_000

def work(data):
    for _ in range(3):
        images.decode(data, max_bytes=10**9, max_pixels=10**9)

data = sys.stdin.buffer.read()
malloc.give_back_what_is_freed()
images.decode(data, max_bytes=10**9, max_pixels=10**9)
before = resident()
threads = [threading.Thread(target=work, args=(data,)) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(resident() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's habit, and /proc")
def test_threads_that_decoded_large_pictures_keep_none_of_their_memory():
    file = io.BytesIO()
    Image.linear_gradient("L").resize((6000, 4000)).convert("RGB").save(file, "PNG", compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", DECODE], input=file.getvalue(), capture_output=True, check=True
    )
    kept_megabytes = int(done.stdout)  # one such picture has 72
    assert kept_megabytes < 30
