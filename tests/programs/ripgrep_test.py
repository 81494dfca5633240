"""ripgrep --mmap over a file 2, 8 and 32 times the limit finds what it finds natively."""

from harness import *

SIZE = 48 << 20
directory = scratch()
text = os.path.join(directory, "text")
write_text(text, SIZE)

SEARCHES = (
    ["-c", "abc"],
    ["-n", "--sort", "path", "-o", "x[a-f]+ [k-z]+y"],
    ["--multiline", "-c", r"abc\n"],
)
for what in SEARCHES:
    argv = ["rg", "--mmap", *what, text]
    native = Run(argv)
    check(native.status in (0, 1), f"rg {what} natively")
    for part in (2, 8, 32):
        run = under(SIZE // part, argv)
        same(f"rg {' '.join(what)} with 1/{part}", native, run, SIZE // part, SIZE)

argv = ["rg", "--mmap", "-c", "abc", text]
run = under("6M", argv, options=["--fault", "thread"])
if run.status == 125:
    print("skip  thread engine: not permitted here")
else:
    same("rg with the thread engine", Run(argv), run, 6 << 20, SIZE)
finish()
