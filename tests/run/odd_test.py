"""odd.c: odd arguments: calls on managed files return, move and leave alone what calls on other files do."""

from harness import *

ODD = os.path.join(os.path.dirname(CALLS), "odd")
CASES = (
    "sendfile copy_file_range splice splice_waits buffers vectors messages masks self remap mmap lockall "
    "descriptors"
).split()
ENGINES = ((2 << 20, "signal"), (4 << 20, "thread"))
directory = scratch()


def prepared(case):
    work = os.path.join(directory, "work")
    shutil.rmtree(work, True)
    os.mkdir(work)
    return [ODD, case, work]


def content():
    for name in "a", "b":
        with open(os.path.join(directory, "work", name), "rb") as file:
            yield file.read()


def differences(native, run):
    """The first lines that differ."""
    pairs = zip(
        native.out.decode(errors="replace").splitlines(), run.out.decode(errors="replace").splitlines()
    )
    return [f"      natively {a}\n      managed  {b}" for a, b in pairs if a != b]


for case in CASES:
    native = Run(prepared(case))
    after = list(content())
    check(native.status == 0, f"{case} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ENGINES:
        run = under(memory, prepared(case), options=["--min-size", "0", "--fault", engine])
        if engine == "thread" and run.status == 125:
            continue
        same(f"{case}, {engine}", native, run, memory)
        different = differences(native, run)
        if different:
            print(f"      {len(different)} lines differ", *different[:20], sep="\n")
        check(list(content()) == after, f"{case}, {engine}: the files are the same")
finish()
