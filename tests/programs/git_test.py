"""git over a repository with one pack of more than 64 MiB."""

from harness import *

directory = scratch()
rng = random.Random(3)
environment = {
    **os.environ,
    "HOME": directory,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_DATE": "1700000000 +0000",
    "GIT_COMMITTER_DATE": "1700000000 +0000",
    "GIT_PAGER": "cat",
}
more = {"cwd": directory, "env": environment}

subprocess.run(["git", "init", "-q", "-b", "main"], check=True, **more)
# Not compressed: the pack is as large as the blobs, and the time goes to reading it.
subprocess.run(["git", "config", "core.compression", "0"], check=True, **more)
with subprocess.Popen(["git", "fast-import", "--quiet"], stdin=subprocess.PIPE, **more) as importer:
    for i in range(66):
        data = rng.randbytes(800_000) + b"line %d\n" % i * 40000
        head = b"commit refs/heads/main\nmark :%d\n" % (i + 1)
        head += b"committer A <a@b> %d +0000\ndata 7\nblob %02d\n" % (1700000000 + i, i)
        if i:
            head += b"from :%d\n" % i
        importer.stdin.write(head + b"M 100644 inline f%d\ndata %d\n" % (i % 7, len(data)) + data + b"\n")
    importer.stdin.close()
packs = os.path.join(directory, ".git/objects/pack")
size = sum(os.path.getsize(os.path.join(packs, name)) for name in os.listdir(packs) if name.endswith(".pack"))
check(size > 64 << 20, f"a pack of {size} bytes")

listed = subprocess.run(["git", "rev-list", "--objects", "--all"], capture_output=True, check=True, **more)
names = b"".join(line.split()[0] + b"\n" for line in listed.stdout.splitlines())
commands = [
    (["git", "fsck", "--full", "--no-progress"], {}),
    (["git", "cat-file", "--batch"], {"input": names}),
    (["git", "log", "-p", "--stat", "main"], {}),
    (["git", "-c", "core.packedGitWindowSize=2m", "log", "--stat", "--text", "main"], {}),
]
for argv, extra in commands:
    native = Run(argv, **more, **extra)
    check(native.status == 0, f"{' '.join(argv)} natively")
    for part in (2, 8, 32):
        run = under(size // part, argv, **more, **extra)
        name = f"{' '.join(argv)} with 1/{part}"
        same(name, native, run, size // part)
        kept = run.stats is not None and run.stats["peak_resident_bytes"] <= size // part
        check(kept, f"{name}: limit kept")
finish()
