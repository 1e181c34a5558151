"""What guests of benchmarks are made of: programs of the host with their libraries, kernel modules, an initramfs."""

import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
GUEST = os.path.join(ROOT, "build/guest")

PACKAGES = {
    "iperf3": "iperf3", "fio": "fio", "ip": "iproute2", "unshare": "util-linux", "qemu-img": "qemu-utils",
    "qemu-system-x86_64": "qemu-system-x86",
}  # fmt: skip


def require(what, programs):
    """Ends the program, `what`, with a line that names the package, unless all are there."""
    for program in programs:
        if shutil.which(program) is None:
            sys.exit(f"{what}: '{program}' is missing; as root: apt-get install {PACKAGES[program]}")


def run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def make_initramfs(path, program, script, modules, files=()):
    """An initramfs with `program` and its libraries, `script` (a file of bench/) at the root, kernel modules, and `files`
    as tools/make-initramfs takes them."""
    program = shutil.which(program)
    adds = [*files, f"{program}:/bin/{os.path.basename(program)}", f"{ROOT}/bench/{script}:/{script}"]
    adds += [f"{GUEST}/vmlinuz-modules/{module}.ko:/modules/{module}.ko" for module in modules]
    for line in subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout.splitlines():
        library = re.search(r"(/\S+)", line)
        if library:
            adds.append(f"{library[1]}:{library[1]}")
    run(f"{ROOT}/tools/make-initramfs", "-o", path, *[word for add in adds for word in ("--add", add)])
