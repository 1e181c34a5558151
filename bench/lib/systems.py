"""What the benchmark program runs on: the host itself, QEMU's TCG, the engines of Vellum."""

import os
import shutil
import subprocess


def hurry():
    """Lines are stamped when they are read: on a busy host, whoever stamps must not wait for its turn. Needs a privilege
    (CAP_SYS_NICE), and is left out without."""
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -15)
    except PermissionError:
        pass


def usual_priority():
    os.setpriority(os.PRIO_PROCESS, 0, 0)


class Native:
    """Pinned to one processor, as the guest has one."""

    name = "native"
    is_guest = False

    def __init__(self, program, arguments):
        self.command = [program, *arguments]
        self.processors = {max(os.sched_getaffinity(0))}

    def prepare(self):
        usual_priority()
        os.sched_setaffinity(0, self.processors)


class Guest:
    is_guest = True

    def __init__(self, name, command, memory_mib, ram_mapping):
        self.name = name
        self.command = command
        self.memory_mib = memory_mib
        # What the guest's RAM is called in /proc/PID/smaps; None: the mapping that is as large as the RAM.
        self.ram_mapping = ram_mapping

    def prepare(self):
        usual_priority()


APPEND = "console=ttyS0 quiet panic=-1"


def qemu(kernel, initrd, memory_mib):
    command = [
        "qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-m", str(memory_mib), "-display", "none", "-vga", "none",
        "-nic", "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-kernel", kernel, "-initrd", initrd,
        "-append", APPEND,
    ]  # fmt: skip
    return Guest("qemu", command, memory_mib, None)


def vellum(spec, program, kernel, initrd, memory_mib):
    """`spec` is an engine's name, for bt also with options: bt:chain=off+unit=1."""
    engine, _, options = spec.partition(":")
    command = [program, "run", "--engine", engine]
    if options:
        command += ["--" + engine, options.replace("+", ",")]
    command += ["--memory", f"{memory_mib}M", "--no-reboot", "--kernel", kernel, "--initrd", initrd, "--append", APPEND]
    return Guest(spec, command, memory_mib, "vellum-guest-ram")


def qemu_version():
    if shutil.which("qemu-system-x86_64") is None:
        return None
    text = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0].removeprefix("QEMU emulator version ")


def host():
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        for line in info:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    return {"processor": model, "processors": os.cpu_count(), "kernel": os.uname().release, "load": os.getloadavg()[0]}
