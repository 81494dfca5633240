"""calls_mix.c: every call on files, mixed at random with mappings of them, does what it does natively."""


from harness import *

OPERATIONS = 2500
MIX = os.path.join(os.path.dirname(CALLS), "calls_mix")
directory = scratch()
base = os.path.join(directory, "base")
write_pages(base, 250)
work = os.path.join(directory, "work")


def prepared(seed):
    shutil.rmtree(work, True)
    os.mkdir(work)
    for i in range(3):
        shutil.copyfile(base, os.path.join(work, f"mix{i}"))
        os.truncate(os.path.join(work, f"mix{i}"), 1000000 - 1000 * i)
    return [MIX, str(seed), str(OPERATIONS), work]


def digests():
    return [digest(os.path.join(work, f"mix{i}")) for i in range(3)]


seeds = (
    [int(os.environ["FAULTLINE_SEED"])]
    if "FAULTLINE_SEED" in os.environ
    else [1, 2, 3, random.randrange(10**9)]
)
for seed in seeds:
    native = Run(prepared(seed))
    after = digests()
    check(native.status == 0, f"seed {seed} natively: {native.status} {native.out[-200:]!r}")
    for memory, engine in ((1 << 20, "signal"), (8 << 20, "signal"), (2 << 20, "thread")):
        run = under(memory, prepared(seed), options=["--fault", engine, "--min-size", "4K"])
        if engine == "thread" and run.status == 125:
            continue
        same(f"seed {seed} with {memory >> 20}M, {engine}", native, run, memory)
        check(digests() == after, f"seed {seed} with {memory >> 20}M, {engine}: the files are the same")
        if native.out != run.out:
            mine, theirs = run.out.split(b"\n"), native.out.split(b"\n")
            at = next(
                (i for i, (a, b) in enumerate(zip(mine, theirs)) if a != b), min(len(mine), len(theirs))
            )
            print(f"      line {at}: {mine[at:at + 2]}, natively {theirs[at:at + 2]}")
finish()
