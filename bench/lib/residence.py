"""Memory of a VMM's process beyond its guest's RAM, in MiB, from /proc/PID/smaps (proportional set size: what two
mappings of one page share counts once)."""

import re

_HEADER = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+\s*(.*)$")


def residence(pid, memory_mib, ram_mapping):
    total = ram = 0
    in_ram = False
    with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as smaps:
        for line in smaps:
            header = _HEADER.match(line)
            if header:
                size = int(header[2], 16) - int(header[1], 16)
                in_ram = ram_mapping in header[3] if ram_mapping else size >= memory_mib << 20
            elif line.startswith("Pss:"):
                kib = int(line.split()[1])
                total += kib
                ram += kib if in_ram else 0
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        tables = next(int(line.split()[1]) for line in status if line.startswith("VmPTE:"))
    return {"beyond_ram": (total - ram) / 1024, "guest_ram": ram / 1024, "page_tables": tables / 1024}
