# make · make run · make check · make bench · make kernel: thin; CMake and Ninja do it (CMakePresets.json).
BUILD ?= build
PACKAGES = cmake ninja-build gcc g++ clang clang-format binutils pkg-config python3 python3-lmdb python3-numpy \
           lmdb-utils sqlite3 e2fsprogs gdb rsync systemd systemd-journal-remote ripgrep git time \
           libcmocka-dev libjemalloc2 liburing-dev libzstd-dev libc6-dev valgrind \
           qemu-system-x86 musl-tools busybox-static libsqlite3-dev

.PHONY: all deps run check company soak bench bench-programs walkthroughs core-names \
        kernel kernel-run kernel-check kernel-bench clean

all: deps
	cmake --preset gcc -B $(BUILD) >/dev/null
	cmake --build $(BUILD)

# What is missing is installed, by Debian's names; as root, or through sudo.
deps:
	@tools/install-deps $(PACKAGES)

run: all
	tools/demo $(BUILD)

check: deps
	tests/check

# Programs that share files, in every mixture of under Faultline and not, RUNS times each: hours.
# ONLY: a part of the scenarios' names.
RUNS ?= 50
ONLY ?=
company: all
	cd $(BUILD) && ../tests/run/company/run --faultline faultline --peer company_peer --runs $(RUNS) --only '$(ONLY)'

# Threads that use several times the limit of private memory, with a swap file in $TMPDIR: ten minutes.
# Half of the time a part of the limit holds compressed pages.
SOAK_SECONDS ?= 600
soak: all
	$(BUILD)/anon_soak $$(($(SOAK_SECONDS) / 2)) 4 0
	$(BUILD)/anon_soak $$(($(SOAK_SECONDS) / 2)) 4 30

# docs/walkthroughs/*.md from runs of the tracing build; `make check` fails when they drift.
walkthroughs: deps
	cmake --preset trace >/dev/null
	cmake --build --preset trace
	tools/walkthroughs build-trace/walkthrough_record .

# core/core_names.h from the core's objects; `make check` fails when it drifts.
core-names: deps
	cmake --preset gcc -B $(BUILD) >/dev/null
	cmake --build $(BUILD) --target core_names

# ONLY: some of the measures, as `make bench ONLY="sort writes"`; bench/main.c lists them.
bench: all
	bench/run $(BUILD) $(ONLY)

# Real programs on files larger than memory, beside the kernel in a memory cgroup; as root. About ten minutes.
bench-programs: all
	@tools/install-deps lrzip
	bench/programs/run $(BUILD)

# The kernel on bare metal (build/kernel.elf), its programs, and its two disks: an ext2 root and swap.
kernel: deps
	cmake --preset gcc -B $(BUILD) >/dev/null
	cmake --build $(BUILD) --target kernel kernel_programs
	tools/kernel-image --build $(BUILD) $(BUILD)/kernel-root

# Boots it in QEMU in this terminal: a shell on the console; `poweroff` ends it. tools/kernel-run has options.
kernel-run: kernel
	tools/kernel-run --build $(BUILD)

# Every test on 1, 2 and 4 CPUs, with 16, 64 and 512 MiB; `make check` runs a short form.
# ONLY: a part of the tests' names.
kernel-check: kernel
	tests/kernel/run --build $(BUILD) --only '$(ONLY)'

# The kernel beside Debian's Linux 6.1 in the same QEMU, in emulated instructions: a table.
kernel-bench: kernel
	bench/kernel/linux/fetch $(BUILD)
	bench/kernel/run --build $(BUILD)

clean:
	rm -rf build build-*
