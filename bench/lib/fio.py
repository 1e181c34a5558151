"""fio's terse output, version 3 (fio's HOWTO, "Terse output")."""

import re

_READ_KIB, _READ_IOPS, _WRITE_KIB, _WRITE_IOPS = 6, 7, 47, 48


def results(output):
    """name -> (operations a second, KiB a second) of each job that reads or writes, not both. ValueError: one failed."""
    found = {}
    for line in re.findall(r"3;fio-.*", output):  # a guest's kernel may have written to the console before it
        fields = line.split(";")
        if fields[4] != "0":
            raise ValueError(f"fio's job {fields[2]} failed with error {fields[4]}")
        reads = (float(fields[_READ_IOPS]), float(fields[_READ_KIB]))
        writes = (float(fields[_WRITE_IOPS]), float(fields[_WRITE_KIB]))
        found[fields[2]] = reads if reads[0] > 0 else writes
    return found
