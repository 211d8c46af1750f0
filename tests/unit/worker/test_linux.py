"""What a renderer may not do, tried in a process of its own."""

import subprocess
import sys
from pathlib import Path

TRY = """
import errno, os, socket, sys
from PIL import Image
from thumbnails_worker import linux

linux.forbid_new_privileges()
server = socket.create_server(("127.0.0.1", 0))
kept = os.open("/proc/self/status", os.O_RDONLY)
if not linux.confine():
    print("no landlock")
    sys.exit()

def refused(attempt):
    try:
        attempt()
    except OSError as error:
        return error.errno == errno.EACCES
    return False

print(refused(lambda: open("/etc/passwd")), refused(lambda: open("/proc/self/environ")),
      refused(lambda: open("/tmp/thumbnails-test-landlock", "w")), refused(lambda: os.listdir(".")),
      refused(lambda: socket.create_connection(server.getsockname())))
print(len(os.read(kept, 10)), os.memfd_create("x") > 0)
import colorsys  # a module that nothing imported so far
from PIL import IcnsImagePlugin
"""


def test_a_confined_process_opens_no_file_and_no_connection(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", TRY], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    lines = run.stdout.splitlines()
    assert lines in (["no landlock"], ["True True True True True", "10 True"])


def data_kept_of(blocks: int, *, keep: bool) -> tuple[int, int]:
    """What a process still has after it freed so many MiB, and what once it gave them back, in MiB."""
    code = f"""
import sys
from thumbnails_worker import linux
if {keep}: linux.keep_freed_memory()
meter = linux.DataMeter()
before = meter.data_bytes()
block = bytes(1 << 20) * {blocks}
del block
kept = meter.data_bytes() - before
linux.give_back_freed_memory()
print(kept >> 20, (meter.data_bytes() - before) >> 20)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    kept, left = done.stdout.split()
    return int(kept), int(left)


def test_freed_memory_is_kept_for_the_next_picture_and_can_be_given_back() -> None:
    kept, left = data_kept_of(20, keep=True)
    assert kept >= 19
    assert left <= 2


def test_what_is_kept_is_bounded() -> None:
    assert data_kept_of(400, keep=True)[0] <= 128
