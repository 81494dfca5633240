"""A computer that runs a list of programs, and its disk before and after.

  image ─▶ QEMU, whose console goes to a log ─▶ e2fsck -fn finds nothing ─▶ folders are copied out by debugfs

The programs are lines for /sbin/init -l, which says on the console what it begins and what status it had.
"""

import atexit
import os
import random
import re
import shutil
import subprocess
import sys
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{REPOSITORY}/tools")
import kernel_machine

STATUS = re.compile(rb"^init: (\d+) (.*?)\r?$", re.M)
os.environ["PATH"] += ":/usr/sbin:/sbin"


class Failed(Exception):
    """What went wrong, in a line or more."""


def run(*command, wanted=(0,)):
    """A command's output; its status must be among those wanted."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    text = done.stdout.decode(errors="replace")
    if done.returncode not in wanted:
        raise Failed(f"{' '.join(command)}: status {done.returncode}\n{text}")
    return text


class Guest:
    """A folder with a disk, a swap disk and the console's log of each boot."""

    def __init__(self, build, folder, kernel, memory_mib, cpus, block=4096, files=None):
        """files: {path on the disk: bytes}."""
        self.build, self.folder = build, folder
        self.machine = kernel_machine.Machine(
            build=build,
            kernel=kernel,
            memory=f"{memory_mib}M",
            cpus=cpus,
            disk=f"{folder}/kernel-disk.img",
            swap=f"{folder}/kernel-swap.img",
        )
        self.boots = 0
        self.process = None
        atexit.register(self.kill)
        os.makedirs(folder, exist_ok=True)
        tree = f"{folder}/tree"
        shutil.rmtree(tree, ignore_errors=True)
        for name in ("work", "out"):
            os.makedirs(f"{tree}/{name}")
        for path, content in (files or {}).items():
            os.makedirs(os.path.dirname(f"{tree}/{path}"), exist_ok=True)
            with open(f"{tree}/{path}", "wb") as file:
                file.write(content)
        swap_mib = max(128, 6 * min(memory_mib, 64))
        sizes = ("--block", str(block), "--size", "512M", "--swap-size", f"{swap_mib}M")
        run(f"{REPOSITORY}/tools/kernel-image", "--build", folder, *sizes, f"{build}/kernel-root", tree)
        problem = kernel_machine.missing(self.machine)
        if problem:
            raise Failed(problem)

    # ---- the disk, while no QEMU runs ----

    def debugfs(self, request):
        return run("debugfs", "-w", "-R", request, self.machine.disk)

    def put(self, name, text):
        path = f"{self.folder}/{name}"
        with open(path, "w") as file:
            file.write(text)
        self.debugfs(f"rm {name}")
        self.debugfs(f"write {path} {name}")

    def put_list(self, lines):
        self.put("list", "".join(f"{line}\n" for line in lines))

    def check_disk(self):
        run("e2fsck", "-fn", self.machine.disk)

    def repair_disk(self):
        """After a power cut; 1: something was corrected."""
        run("e2fsck", "-fy", self.machine.disk, wanted=(0, 1))
        self.check_disk()

    def copy_out(self, path):
        """The folder `path` of the disk, as a folder of the host; its name."""
        to = f"{self.folder}/copied"
        os.makedirs(to, exist_ok=True)
        shutil.rmtree(f"{to}/{os.path.basename(path)}", ignore_errors=True)
        self.debugfs(f"rdump {path} {to}")
        return f"{to}/{os.path.basename(path)}"

    def block_of(self, path, index):
        """Which block of the disk is block `index` of the file."""
        return int(run("debugfs", "-R", f"bmap {path} {index}", self.machine.disk).split("\n")[1])

    # ---- QEMU ----

    def start(self, lines):
        """Boots; the list runs. Without lines: the shell, to which type() writes."""
        self.put_list(lines)
        self.machine.args = ["-l", "/list"] if lines else []
        self.boots += 1
        self.log = f"{self.folder}/console.{self.boots}"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                self.machine.command(), stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )

    def type(self, text):
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def console(self):
        with open(self.log, "rb") as log:
            return log.read()

    def kill(self):
        """A power cut; or no QEMU runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def wait(self, seconds):
        """To the end of the list. Returns {line: status}."""
        try:
            qemu = self.process.wait(seconds)
        except subprocess.TimeoutExpired as late:
            self.kill()
            raise Failed(f"no end after {seconds:.0f} s: {self.last_words()}") from late
        statuses = {line.decode(): int(status) for status, line in STATUS.findall(self.console())}
        if kernel_machine.program_status(qemu) is None:
            raise Failed(f"QEMU ended with {qemu}: {self.last_words()}")
        if kernel_machine.program_status(qemu) != (1 if any(statuses.values()) else 0):
            raise Failed(f"the kernel ended with {kernel_machine.program_status(qemu)}: {self.last_words()}")
        return statuses

    def wait_for(self, pattern, seconds):
        """Until the console shows the pattern."""
        end = time.monotonic() + seconds
        while not re.search(pattern, self.console()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise Failed(f"no {pattern.decode()} on the console: {self.last_words()}")
            time.sleep(0.05)

    def wait_a_moment(self, most_seconds, seed):
        """A random time."""
        time.sleep(random.Random(seed).uniform(0, most_seconds))

    def last_words(self):
        lines = self.console().decode(errors="replace").splitlines()
        return f"{self.log}:\n" + "\n".join(f"    {line}" for line in lines[-25:])
