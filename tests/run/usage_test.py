"""Bad input gets one clear line that names the value and the remedy, and a status; good input keeps the
program's own status."""

from harness import *

directory = scratch()


def one_line(text):
    return text.startswith("faultline: ") and text.count("\n") == 1 and text.endswith("\n")


def told(arguments, status, *words, **more):
    run = Run([FAULTLINE, *arguments], **more)
    line = run.err.decode()
    name = " ".join(arguments)[:70]
    check(run.status == status, f"{name}: status {run.status}, {status} wanted")
    check(one_line(line), f"{name}: one line: {line!r}")
    for word in words:
        check(word in line, f"{name}: says '{word}'")
    check(run.out == b"", f"{name}: nothing on standard output")


def script(name, text, mode=0o755):
    path = os.path.join(directory, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


told([], 2, "faultline run")
told(["walk"], 2, "walk", "faultline run")
told(["run"], 2, "--memory")
told(["run", "--memory", "64M"], 2, "no program")
told(["run", "--memory", "64Q", "--", "true"], 2, "64Q", "64M")
told(["run", "--memory", "-5", "--", "true"], 2, "-5")
told(["run", "--memory", "99999999999G", "--", "true"], 2, "99999999999G")
told(["run", "--memory", "512K", "--", "true"], 2, "524288", "at least 1M")
told(["run", "--memory", "0", "--", "true"], 2, "at least 1M")
told(["run", "--memory", "64M", "--min-size", "x", "--", "true"], 2, "--min-size", "'x'")
told(["run", "--memory", "64M", "--fault", "magic", "--", "true"], 2, "magic", "signal, thread or auto")
told(["run", "--memory", "64M", "--swap", script("taken", "text"), "--", "true"], 2, "/taken", "exists", "new file")
told(["run", "--memory", "64M", "--swap", "/nonexistent/x", "--", "true"], 2, "--swap", "/nonexistent/x")
told(["run", "--memory", "64M", "--swap", "", "--", "true"], 2, "--swap ''", "name a file")
told(["run", "--memory", "64M", "--swap-size", "lots", "--", "true"], 2, "--swap-size", "'lots'")
told(["run", "--memory", "64M", "--swap-size", "0", "--compress", "--", "true"], 2, "--swap-size 0", "--compress")
for percent in ("0", "91", "x", "50x", "-5"):
    told(["run", "--memory", "64M", f"--compress={percent}", "--", "true"], 2, f"'{percent}'", "1 to 90")
told(["run", "--memory", "1M", "--compress=1", "--", "true"], 125, "1 % of 1048576", "raise the memory limit")
told(["run", "--memory", "64M", "--swap-size", "32P", "--", "true"], 2, "32P")
told(["run", "--memory", "64M", "--swap-size", "20000G", "--", "true"], 125, "21474836480000")
told(["run", "--memory", "64M", "--frobnicate", "--", "true"], 2, "--frobnicate", "--help")
told(["run", "--memory"], 2, "--memory", "--help")
told(["run", "--memory", "64M", "--stats", "/nonexistent/x.json", "--", "true"], 2, "/nonexistent/x.json")
told(["run", "--memory", "64M", "--", "no-such-program-here"], 127, "no-such-program-here", "not found")
told(["run", "--memory", "64M", "--", "/no/such/program"], 127, "/no/such/program", "not found")
told(["run", "--memory", "64M", "--", script("plain", "text", 0o644)], 126, "plain", "not executable")
told(["run", "--memory", "64M", "--", directory], 126, directory, "not executable")
lost = script("lost", "#!/no/such/interpreter\n")
told(["run", "--memory", "64M", "--", lost], 127, "/no/such/interpreter")

source = script("static.c", "int main(void) { return 0; }\n")
static = os.path.join(directory, "static")
subprocess.run([os.environ.get("CC", "gcc"), "-static", "-o", static, source], check=True)
told(["run", "--memory", "64M", "--", static], 126, static, "statically linked")
by_static = script("by-static", f"#!{static} -x\n")
told(["run", "--memory", "64M", "--", by_static], 126, static, "statically linked")
if os.geteuid() == 0:
    setuid = os.path.join(directory, "setuid")
    shutil.copyfile("/bin/true", setuid)
    os.chown(setuid, 65534, 65534)
    os.chmod(setuid, 0o4755)
    told(["run", "--memory", "64M", "--", setuid], 126, setuid, "setuid")

# userfaultfd forbidden, as in many containers
FORBID = """
import ctypes, os, struct, sys
SYS_prctl, SYS_seccomp = 157, 317
def stmt(code, k): return struct.pack("HBBI", code, 0, 0, k)
def jump(k, t, f): return struct.pack("HBBI", 0x15, t, f, k)
code = stmt(0x20, 0) + jump(int(sys.argv[1]), 0, 1) + stmt(0x06, 0x00050001) + stmt(0x06, 0x7fff0000)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxQ", 4, ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.syscall(SYS_seccomp, 1, 0, program) == 0
os.execv(sys.argv[2], sys.argv[2:])
"""
for engine in ("signal", "thread"):
    argv = [FAULTLINE, "run", "--memory", "64M", "--fault", engine, "--", "true"]
    run = Run([PYTHON, "-c", FORBID, "323", *argv])
    line = run.err.decode()
    if engine == "thread" and run.status == 0:
        continue  # root opens /dev/userfaultfd
    check(run.status in (0, 125), f"userfaultfd forbidden, {engine}: status {run.status}")
    if run.status == 125:
        check(one_line(line) and "userfaultfd" in line, f"one line: {line!r}")

# It works for an unprivileged user too, who is told what the thread engine needs.
if os.geteuid() == 0 and shutil.which("setpriv"):
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    data = os.path.join(directory, "data")
    write_text(data, 8 << 20)
    os.chmod(directory, 0o755)
    program = """if True:
        import mmap, os, sys
        m = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, prot=mmap.PROT_READ)
        print(sum(m[::4096]), os.write(1, memoryview(m)[:70000]))"""
    argv = [PYTHON, "-c", program, data]
    readable = all(os.stat(p).st_mode & 0o5 == 0o5 for p in (FAULTLINE, *map(os.path.dirname, (FAULTLINE,))))
    run = Run(nobody + [FAULTLINE, "run", "--memory", "2M", "--", *argv])
    if readable and b"Permission denied" not in run.err:
        native = Run(argv)
        good = run.status == 0 and run.out == native.out
        check(good, f"without privilege: {run.status} {run.err[-200:]!r}")
        run = Run(nobody + [FAULTLINE, "run", "--memory", "2M", "--fault", "thread", "--", *argv])
        with open("/proc/sys/vm/unprivileged_userfaultfd", encoding="ascii") as file:
            if file.read().strip() == "0":
                line = run.err.decode()
                good = run.status == 125 and one_line(line)
                check(good, f"thread engine without privilege: {run.status} {line!r}")

# With no place for swap, more written pages of private mappings than the limit end the process.
source = os.path.join(directory, "private")
write_text(source, 16 << 20)
program = """if True:
    import mmap, os, sys
    m = mmap.mmap(os.open(sys.argv[1], os.O_RDONLY), 0, access=mmap.ACCESS_COPY)
    for at in range(0, len(m), 4096):
        m[at] = 1
    print("impossible")"""
run = under("4M", [PYTHON, "-c", program, source], env=dict(os.environ, TMPDIR="/nonexistent"))
line = run.err.decode()
check(run.status == -9 and run.out == b"", f"private pages beyond the limit: status {run.status}")
check(one_line(line) and "raise --memory" in line, f"private pages beyond the limit: {line!r}")

# No room for the window of addresses.
run = Run(
    ["sh", "-c", 'ulimit -v 4000000; exec "$@"', "sh", FAULTLINE, "run", "--memory", "4M", "--", "true"]
)
check(run.status == 125 and one_line(run.err.decode()), f"ulimit -v: {run.status} {run.err.decode()!r}")

help_text = Run([FAULTLINE, "run", "--help"])
check(help_text.status == 0 and b"--memory" in help_text.out and b"--stats" in help_text.out, "--help")
for option in ("--help", "--version"):
    check(Run([FAULTLINE, option]).status == 0, option)

for status in (0, 1, 7, 255):
    check(under("4M", ["sh", "-c", f"exit {status}"]).status == status, f"status {status} is the program's")
for number in (15, 9, 6):
    run = under("4M", ["sh", "-c", f"kill -{number} $$"])
    check(run.status == -number, f"signal {number} is the program's")
check(under("4M", [script("script", "#!/bin/sh\nexec sh -c 'exit 9'\n")]).status == 9, "scripts and exec")
argv = [FAULTLINE, "run", "--memory", "4M", "--stats", "here.json", "--", "sh", "-c", "cd /; exit 0"]
Run(argv, cwd=directory)
check(os.path.exists(os.path.join(directory, "here.json")), "--stats is where the command was called")
with open(os.path.join(directory, "here.json"), encoding="ascii") as file:
    stats = json.load(file)
KEYS = (
    "memory_limit_bytes peak_resident_bytes faults faults_minor faults_cow page_ins page_in_bytes evictions "
    "write_backs io_errors mappings_peak"
)
for key in KEYS.split():
    check(isinstance(stats.get(key), int), f"stats: {key}")
finish()
