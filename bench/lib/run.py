"""Runs the benchmark program once on one system and stamps its lines as they arrive.

A guest's own clock cannot be trusted to measure its VMM, so what counts is the host's: wall time, and processor time of
the VMM's process (all its threads), which a busy host disturbs much less. The guest's clock is only compared.
"""

import os
import select
import signal
import subprocess
import tempfile
import time

from lib.residence import residence

SILENCE = 120  # seconds without a line after which a run is given up


def process_clock(pid):
    """The clock of a process's processor time, as clock_getcpuclockid(3) computes it."""
    return (~pid << 3) | 2


class Run:
    def __init__(self, system):
        self.system = system
        self.boot = None  # {"wall", "cpu"}: seconds to the first line of user space
        self.results = {}  # benchmark -> {"rounds", "checksum", "wall", "cpu", "own_wall"}; times in ns
        self.absent = set()
        self.memory = {}  # "booted", "measured" -> residence()
        self.problems = []
        self._tail = []
        self._begun = None
        self._done = False

    def go(self):
        start = time.monotonic_ns()
        with tempfile.TemporaryFile() as self._errors, subprocess.Popen(
            self.system.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
            preexec_fn=self.system.prepare, start_new_session=True,
        ) as process:  # fmt: skip
            self._process, self._start = process, start
            try:
                self._read_lines()
                status = process.wait(timeout=SILENCE)
                if status != 0:
                    self.problems.append(f"exit status {status}: {self._last_words()}")
            except (TimeoutError, subprocess.TimeoutExpired):
                self.problems.append(f"no line for {SILENCE} s; the last: {self._last_words()}")
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            if not self._done and not self.problems:
                self.problems.append(f"ended early: {self._last_words()}")
        return self

    def _last_words(self):
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace")
        return " / ".join([*self._tail[-3:], *errors.strip().splitlines()[-3:]])

    def _read_lines(self):
        output = self._process.stdout.fileno()
        rest = b""
        while True:
            if not select.select([output], [], [], SILENCE)[0]:
                raise TimeoutError
            wall = time.monotonic_ns()
            data = os.read(output, 65536)
            if not data:
                return
            try:
                cpu = time.clock_gettime_ns(process_clock(self._process.pid))
            except OSError:  # it has ended meanwhile
                cpu = None
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                self._line(line.decode(errors="replace").strip(), wall, cpu)

    def _line(self, line, wall, cpu):
        self._tail = [*self._tail[-9:], line]
        kind, *words = line.split()[:6] or [""]
        if kind == "#user":
            self.boot = {"wall": (wall - self._start) / 1e9, "cpu": cpu / 1e9}
        elif kind == "#idle" and self.system.is_guest:
            # Halfway through the time that nothing is done.
            time.sleep(0.2)
            self.memory[words[0]] = residence(self._process.pid, self.system.memory_mib, self.system.ram_mapping)
        elif kind == "#begin":
            self._begun = (words[0], wall, cpu)
        elif kind == "#end":
            self._end(words, wall, cpu)
        elif kind == "#absent":
            self.absent.add(words[0])
        elif kind == "#!":
            self.problems.append(line[3:])
        elif kind == "#done":
            self._done = True

    def _end(self, words, wall, cpu):
        name, rounds, checksum, own_wall, own_cpu = words
        begun, begin_wall, begin_cpu = self._begun
        if begun != name:
            self.problems.append(f"{name} ended but {begun} had begun")
            return
        # Natively the program's children do the work of some benchmarks; only it can add them up.
        used = cpu - begin_cpu if self.system.is_guest else int(own_cpu)
        result = {"rounds": int(rounds), "checksum": checksum, "wall": wall - begin_wall, "cpu": used}
        result["own_wall"] = int(own_wall)
        self.results[name] = result
