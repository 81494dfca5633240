"""descriptors.c: mapped files take no descriptors of the program, which keeps its record locks, and may map a
file again any number of times.
"""

import re
import resource

from harness import *

DESCRIPTORS = os.path.join(os.path.dirname(CALLS), "descriptors")
HARD = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
MANY = 20000 if HARD == resource.RLIM_INFINITY else min(20000, HARD - 1500)
MANY = max(MANY, 300)
REMAPS = 2000
PAIR_US = 100  # a bound that a busy machine keeps; alone it is 10
directory = scratch()
for number in range(MANY):
    with open(os.path.join(directory, str(number)), "wb") as file:
        file.write(bytes([number % 251]) * 5000)
os.sync()


def limited(soft, hard):
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def run(case, n, soft, hard, memory=64 << 20):
    argv = [DESCRIPTORS, case, directory, str(n)]
    native = Run(argv, preexec_fn=limited(soft, hard))
    ours = under(memory, argv, options=["--min-size", "0"], preexec_fn=limited(soft, hard))
    same(f"{case} {n}, {soft} of {hard} descriptors", native, ours, memory)
    said = [
        line
        for line in ours.err.splitlines()
        if line.startswith(b"faultline:") and b"the program forked" not in line
    ]
    check(not said, f"{case} {n}: all of it is managed: {ours.err[-300:]!r}")
    return ours


run("many", 300, min(1024, HARD), min(4096, HARD))
if HARD >= 4096:
    run("many", MANY, 1024, HARD)
    run("limit", 300, 1024, HARD)

# The soft limit is the hard one: the program's descriptors and the shim's share it, which is enough here.
argv = [DESCRIPTORS, "many", directory, "300"]
tight = under(64 << 20, argv, options=["--min-size", "0"], preexec_fn=limited(1024, 1024))
wanted = Run(argv).out.split(b",")[0]
check(
    tight.status == 0 and tight.out.split(b",")[0] == wanted,
    f"300 files, hard limit 1024: {tight.out!r} {tight.err!r}",
)
check(tight.stats is not None and tight.stats["mappings_left_to_kernel"] == 0, "… all of them managed")

for engine in ("signal", "thread"):
    argv = [DESCRIPTORS, "locks", directory, "50"]
    held = under(8 << 20, argv, options=["--min-size", "0", "--fault", engine])
    if held.status != 125:
        check(
            held.status == 0 and held.out.count(b": locked") == 2,
            f"record locks, {engine}: {held.out!r} {held.err[-300:]!r}",
        )

argv = [DESCRIPTORS, "remap", directory, str(REMAPS)]
first = os.path.join(directory, "0")
native = Run(argv)
os.truncate(first, 0)
again = under(16 << 20, argv, options=["--min-size", "0"])
os.truncate(first, 0)
native = Run(argv)
check(again.status == 0 and again.out == native.out, f"remap: {again.out!r}, natively {native.out!r}")
read = again.stats["page_in_bytes"] if again.stats else None
size = os.path.getsize(first)
check(read is not None and read <= 2 * size, f"remap: {read} bytes read of {size}, {REMAPS} times mapped")
pair = re.search(rb"([0-9.]+) us a pair", again.err)
check(pair is not None and float(pair[1]) < PAIR_US, f"remap: {again.err!r} natively {native.err!r}")

# A file that is not mapped for a moment: changes of other programs and stores are visible, it may be
# executed, and it ends when it is unlinked.
ANEW = """import mmap,os,subprocess,sys,time
p='file'
open(p,'wb').write(b'a'*1000000)
def peek():
    with open(p,'r+b') as f:
        m=mmap.mmap(f.fileno(),0); c=m[500000:500004], len(m); m.close(); return c
print(peek(), peek())
subprocess.run(['dd','if=/dev/zero','of='+p,'bs=1','seek=500001','count=2','conv=notrunc'],stderr=subprocess.DEVNULL)
print(peek())
subprocess.run(['truncate','-s','600000',p]); print(peek())
with open(p,'r+b') as f:
    for i in range(5):
        m=mmap.mmap(f.fileno(),0); m[5]=65+i; m.close()
    print(subprocess.run(['head','-c','7',p],capture_output=True).stdout)
    for i in range(5):
        m=mmap.mmap(f.fileno(),0); m[5]=75+i; m.close()
r=os.open(p,os.O_RDONLY); print(os.pread(r,7,0)); os.close(r)
e='./program'; d=open('/bin/true','rb').read()
with open(e,'w+b') as f:
    os.fchmod(f.fileno(),0o755); f.truncate(len(d)); m=mmap.mmap(f.fileno(),0); m[:]=d; m.close()
print(subprocess.run([e]).returncode)
big='big'
with open(big,'w+b') as f:
    f.truncate(50<<20); m=mmap.mmap(f.fileno(),0); m[:]=b'x'*(50<<20); m.close(); os.fsync(f.fileno())
os.unlink(big)
def open_still():
    names = []
    for fd in os.listdir('/proc/self/fd'):
        try: names.append(os.readlink('/proc/self/fd/' + fd))
        except OSError: pass
    return any(name.endswith('/big (deleted)') for name in names)
end = time.monotonic() + 10
while open_still() and time.monotonic() < end: time.sleep(0.1)
print('freed', not open_still())
"""
argv = [PYTHON, "-c", ANEW]
native = Run(argv, cwd=directory)
check(
    native.status == 0 and native.out.endswith(b"freed True\n"),
    f"idle natively: {native.out!r} {native.err[-300:]!r}",
)
for engine in ("signal", "thread"):
    idle = under(16 << 20, argv, options=["--min-size", "0", "--fault", engine], cwd=directory)
    if idle.status != 125:
        same(f"idle, {engine}", native, idle, 16 << 20)
finish()
