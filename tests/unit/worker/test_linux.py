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
