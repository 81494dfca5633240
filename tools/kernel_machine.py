"""A computer for the kernel: what QEMU is told, for `make kernel-run`, the tests and the benchmark.

  -kernel build/kernel.elf (PVH), or Debian's Linux, which the same tests and measures run on
  vda: the root, an ext2 file system     vdb: swap     vdc: one more disk
  ttyS0: the console                     isa-debug-exit: the status

KVM is never used: a run must not depend on the host's processor, and `icount` counts instructions.
"""

import dataclasses
import os
import shlex

# With `rep stosb` and `rep movsb` announced as fast, Linux clears and copies pages by them, and QEMU counts
# each byte as an instruction: without erms and fsrm Linux uses words of 8 bytes, and is faster. Five levels
# of page tables would make its faults longer.
CPU = "max,la57=off,erms=off,fsrm=off"
# An instruction takes a nanosecond. While the processor waits the host's time passes: without sleep it would
# skip to its next timer, and a kernel with few timers would seem to wait a second for each block of the disk.
ICOUNT = ["-icount", "shift=0,sleep=on"]
LINUX = "linux"
LINUX_APPEND = "console=ttyS0 quiet panic=-1"  # a panic ends QEMU
DEBUG_EXIT = ["-device", "isa-debug-exit,iobase=0xf4,iosize=4"]


@dataclasses.dataclass
class Machine:
    """One boot. `kernel` is a file, or LINUX; `disk`, `swap`, `data`: images or empty; `args` go to init."""

    build: str
    kernel: str = ""
    memory: str = "64M"
    cpus: int = 1
    icount: bool = False
    disk: str = ""
    swap: str = ""
    data: str = ""
    init: str = "/sbin/init"
    args: list = dataclasses.field(default_factory=list)
    append: str = ""
    snapshot: bool = False  # what is written to the disks is forgotten
    serial: str = "stdio"
    monitor: str = "none"
    iops: int = 0  # of the disks, in a second; 0: as fast as they are
    blkdebug: str = ""  # a file with rules of QEMU's blkdebug(7) for vda

    def command(self):
        """QEMU's arguments, itself among them."""
        command = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"]
        command += ["-machine", "q35", "-cpu", CPU, "-m", self.memory, "-smp", str(self.cpus)]
        command += ["-accel", "tcg,thread=single" if self.icount else "tcg,thread=multi"]
        command += ICOUNT if self.icount else []
        command += ["-serial", self.serial, "-monitor", self.monitor, *DEBUG_EXIT, *self._kernel()]
        for name, image in (("vda", self.disk), ("vdb", self.swap), ("vdc", self.data)):
            command += self._drive(name, image) if image else []
        return command + (["-snapshot"] if self.snapshot else [])

    def _kernel(self):
        # Linux hands words behind init= that it does not know to init.
        words = [self.append] if self.append else []
        words += ["root=vda"] if self.disk else []
        words += ["swap=vdb"] if self.swap else []
        words += [f"init={self.init}"]
        words += ["--", *map(quoted, self.args)] if self.args else []
        if self.kernel != LINUX:
            return ["-kernel", self.kernel or f"{self.build}/kernel.elf", "-append", " ".join(words)]
        linux = f"{self.build}/linux"
        append = " ".join([LINUX_APPEND, *words])
        return ["-kernel", f"{linux}/vmlinuz", "-initrd", f"{linux}/initrd", "-append", append]

    def _drive(self, name, image):
        # Killing QEMU leaves the host alive, and its cache keeps what was written: flushes cost nothing.
        options = f"if=none,id={name},cache=unsafe,format=raw"
        options += f",throttling.iops-total={self.iops}" if self.iops else ""
        if name == "vda" and self.blkdebug:
            image = f"blkdebug:{self.blkdebug}:{image}"
        return [
            *("-drive", f"{options},file={image}"),
            *("-device", f"virtio-blk-pci,drive={name},disable-legacy=on"),
        ]


def quoted(word):
    """A word of the command line. Both kernels take "…" around one with spaces; neither has an escape."""
    if '"' in word:
        raise ValueError(f'no word of a kernel\'s command line can have a " in it: {word}')
    return f'"{word}"' if " " in word else word


def program_status(qemu_status):
    """What init's program returned, of QEMU's exit status; None: QEMU ended for another reason."""
    return qemu_status >> 1 if qemu_status > 0 and qemu_status & 1 else None


def refuses(errors):
    """Whether QEMU says that it cannot start: its status is 1 then, as after a program's success."""
    lines = [line for line in errors.splitlines() if line.startswith("qemu")]
    return any("warning:" not in line and "terminating" not in line for line in lines)


def missing(machine):
    """What must be made first, as a message; or None."""
    files = [machine.disk, machine.swap, machine.data]
    files += [f"{machine.build}/linux/{name}" for name in ("vmlinuz", "initrd")] if machine.kernel == LINUX else []
    files += [machine.kernel or f"{machine.build}/kernel.elf"] if machine.kernel != LINUX else []
    absent = [file for file in files if file and not os.path.exists(file)]
    if not absent:
        return None
    maker = "bench/kernel/linux/fetch" if machine.kernel == LINUX else "make kernel"
    return f"{', '.join(absent)}: not there; `{maker}` makes it"


def shown(command):
    """The command line as a shell would take it."""
    return " ".join(map(shlex.quote, command))
