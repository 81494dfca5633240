/*
 * faultline.c: the command `faultline`.
 *
 *   faultline run --memory 64M … -- PROGRAM ARGS… ─▶ checks ─▶ LD_PRELOAD, FAULTLINE_* ─▶ execve
 *
 * It becomes the program: exit status and signals are the program's own. Errors that can be
 * found beforehand are reported here, in one line that names the remedy: wrong arguments
 * (2), a program that is not found (127) or cannot be run with a preloaded library (126).
 * The shim reports what only the new process can find out: no userfaultfd (125).
 */
#include <argp.h>
#include <elf.h>
#include <errno.h>
#include <faultline/faultline.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define EXIT_USAGE          2
#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND      127
#define SCRIPT_DEPTH        5  /* as the kernel follows #! lines */
#define COMPRESS_PERCENT    75 /* of --compress alone */

static _Noreturn void fail(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

static _Noreturn void fail(int status, const char *format, ...)
{
    va_list args;

    fputs("faultline: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(status);
}

/* ---- the command line ------------------------------------------------------------------------------ */

struct run_options {
    size_t memory_bytes, min_size_bytes;
    const char *fault;
    const char *stats;
    const char *swap;
    size_t swap_bytes;
    unsigned compress_percent;
    bool anon, verbose;
    char **program; /* argv of the program, NULL-terminated */
};

/* Bytes with an optional K, M or G. */
static bool parse_size(const char *text, size_t *bytes)
{
    static const char units[] = "KMG";
    unsigned long long value;
    unsigned shift = 0;
    char *end;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    value = strtoull(text, &end, 10);
    if (*end != '\0') {
        const char *unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);

        if (unit == NULL || end[1] != '\0')
            return false;
        shift = 10 * (unsigned)(unit - units + 1);
    }
    *bytes = (size_t)value << shift;
    return errno == 0 && value <= (SIZE_MAX >> 1) >> shift;
}

static size_t option_size(const char *option, const char *text)
{
    size_t bytes;

    if (!parse_size(text, &bytes))
        fail(EXIT_USAGE, "--%s '%s' is not a size: give a number of bytes, with K, M or G behind it, as 64M",
             option, text);
    return bytes;
}

static unsigned option_percent(const char *text)
{
    char *end;
    unsigned long value;

    if (text == NULL)
        return COMPRESS_PERCENT;
    value = strtoul(text, &end, 10);
    if (*text < '1' || *text > '9' || (*end != '\0' && strcmp(end, "%") != 0) || value > FL_COMPRESS_MAX)
        fail(EXIT_USAGE, "--compress '%s' is not a share of the memory: give percent from 1 to %d", text,
             FL_COMPRESS_MAX);
    return (unsigned)value;
}

enum run_option {
    OPTION_MEMORY = 'm',
    OPTION_VERBOSE = 'v',
    OPTION_FAULT = 256,
    OPTION_MIN_SIZE,
    OPTION_STATS,
    OPTION_ANON,
    OPTION_SWAP,
    OPTION_SWAP_SIZE,
    OPTION_COMPRESS,
};

static const struct argp_option run_option_list[] = {
    {"memory", OPTION_MEMORY, "SIZE", 0,
     "Memory that the program's file mappings, and with --anon its heap, may use together (at least 1M)", 0},
    {"min-size", OPTION_MIN_SIZE, "SIZE", 0, "Leave smaller mappings to the kernel (default 1M)", 0},
    {"fault", OPTION_FAULT, "ENGINE", 0,
     "How page faults are served: 'signal' in the faulting thread (the fastest), 'thread' by other threads "
     "(needs root or vm.unprivileged_userfaultfd=1), or 'auto' (default: signal)",
     0},
    {"swap", OPTION_SWAP, "FILE", 0,
     "Where written pages of private mappings go: a new file, or a directory in which it gets no name "
     "(default: "
     "$TMPDIR, else /var/tmp). It is gone when the program ends",
     0},
    {"swap-size", OPTION_SWAP_SIZE, "SIZE", 0,
     "How much may go to swap at most (default 16G); 0: nothing, written private pages stay in memory", 0},
    {"compress", OPTION_COMPRESS, "PERCENT", OPTION_ARG_OPTIONAL,
     "Keep written private pages compressed before they go to swap, in at most PERCENT of the memory (75, if "
     "not given; up to 90)",
     0},
    {"anon", OPTION_ANON, NULL, 0,
     "Put anonymous memory and the heap under the limit, too. malloc comes from " FAULTLINE_ALLOCATOR " then",
     0},
    {"stats", OPTION_STATS, "FILE", 0,
     "When the program exits, write what happened to FILE, as one JSON object", 0},
    {"verbose", OPTION_VERBOSE, NULL, 0,
     "Say on standard error which mappings are left to the kernel, and the stats", 0},
    {0},
};

static const char run_doc[] =
    "Runs PROGRAM with its file mappings under a memory limit: they may be far larger than SIZE."
    "\vSizes take K, M or G. The exit status is PROGRAM's own; else 2 for bad usage, 125 when page faults "
    "cannot be served here, 126 when PROGRAM cannot be run, 127 when it is not found.\n\n"
    "Example: faultline run --memory 64M -- rg --mmap needle haystack.txt\n\n"
    "Executable memory, small mappings, what children of a fork map, and without --anon anonymous memory "
    "stay "
    "the kernel's. "
    "Programs that PROGRAM starts get a limit of their own, of the same size.";

static error_t run_parse(int key, char *arg, struct argp_state *state)
{
    struct run_options *options = state->input;

    switch (key) {
    case OPTION_MEMORY:
        options->memory_bytes = option_size("memory", arg);
        return 0;
    case OPTION_MIN_SIZE:
        options->min_size_bytes = option_size("min-size", arg);
        return 0;
    case OPTION_FAULT:
        if (strcmp(arg, "auto") != 0 && strcmp(arg, "signal") != 0 && strcmp(arg, "thread") != 0)
            fail(EXIT_USAGE, "--fault '%s' is unknown: give signal, thread or auto", arg);
        options->fault = arg;
        return 0;
    case OPTION_STATS:
        options->stats = arg;
        return 0;
    case OPTION_SWAP:
        options->swap = arg;
        return 0;
    case OPTION_SWAP_SIZE:
        options->swap_bytes = option_size("swap-size", arg);
        return 0;
    case OPTION_COMPRESS:
        options->compress_percent = option_percent(arg);
        return 0;
    case OPTION_ANON:
        options->anon = true;
        return 0;
    case OPTION_VERBOSE:
        options->verbose = true;
        return 0;
    case ARGP_KEY_ARG: /* the program; the arguments behind it are its own */
        options->program = &state->argv[state->next - 1];
        state->next = state->argc;
        return 0;
    case ARGP_KEY_ERROR:
        fail(EXIT_USAGE, "option '%s' is unknown or lacks its value: see faultline run --help",
             state->argv[state->next - 1]);
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static struct run_options run_options(int argc, char **argv)
{
    static const struct argp argp = {
        run_option_list, run_parse, "-- PROGRAM [ARGS...]", run_doc, NULL, NULL, NULL};
    struct run_options options = {
        .memory_bytes = SIZE_MAX, .min_size_bytes = (size_t)1 << 20, .fault = "auto", .swap_bytes = SIZE_MAX};
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-?") == 0 ||
                             strcmp(argv[1], "--usage") == 0);

    /* --help prints and exits. Errors are reported by run_parse, in one line. */
    (void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER | (help ? 0u : ARGP_NO_ERRS), NULL, &options);
    if (options.memory_bytes == SIZE_MAX)
        fail(EXIT_USAGE, "--memory is missing: say how much the file mappings may use, as --memory 64M");
    if (options.memory_bytes < FL_MEMORY_MIN)
        fail(EXIT_USAGE, "--memory of %zu bytes is too small to run: give at least %zuM",
             options.memory_bytes, FL_MEMORY_MIN >> 20);
    if (options.swap_bytes == 0 && (options.swap != NULL || options.compress_percent != 0))
        fail(EXIT_USAGE, "--swap-size 0 leaves nothing for --%s: leave out one of the two",
             options.swap != NULL ? "swap" : "compress");
    if (options.program == NULL)
        fail(EXIT_USAGE, "no program to run: faultline run --memory SIZE -- PROGRAM ARGS...");
    return options;
}

/* ---- the program ----------------------------------------------------------------------------------- */

/* The file that execvp would run. */
static const char *find_program(const char *name)
{
    static char path[PATH_MAX];
    const char *dir = getenv("PATH");
    bool forbidden = false;

    if (strchr(name, '/') != NULL) {
        if (access(name, F_OK) != 0)
            fail(EXIT_NOT_FOUND, "program '%s' not found: check the path", name);
        return name;
    }
    for (dir = dir != NULL ? dir : "/usr/bin:/bin"; dir != NULL;
         dir = strchr(dir, ':') != NULL ? strchr(dir, ':') + 1 : NULL) {
        int len = (int)strcspn(dir, ":");
        struct stat st;

        if (snprintf(path, sizeof path, "%.*s/%s", len, len > 0 ? dir : ".", name) >= (int)sizeof path ||
            stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (access(path, X_OK) == 0)
            return path;
        forbidden = true;
    }
    if (forbidden)
        fail(EXIT_NOT_EXECUTABLE, "program '%s' is not executable: chmod +x it", name);
    fail(EXIT_NOT_FOUND, "program '%s' not found: check its name and PATH", name);
}

/* ld.so ignores LD_PRELOAD when the kernel gives the program more rights than its starter has. */
static void check_rights(const char *path, int fd)
{
    struct stat st;

    if (fstat(fd, &st) != 0)
        fail(EXIT_NOT_EXECUTABLE, "program '%s' cannot be examined: %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || access(path, X_OK) != 0)
        fail(EXIT_NOT_EXECUTABLE, "program '%s' is not executable: give an executable file", path);
    if (((st.st_mode & S_ISUID) != 0 && st.st_uid != geteuid()) ||
        ((st.st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) && st.st_gid != getegid()) ||
        (geteuid() != 0 && fgetxattr(fd, "security.capability", NULL, 0) > 0))
        fail(EXIT_NOT_EXECUTABLE,
             "program '%s' is setuid or has capabilities, and so takes no preloaded library: run a copy "
             "without them",
             path);
}

/* A 64-bit program that names a dynamic loader. */
static void check_elf(const char *path, int fd, const Elf64_Ehdr *header)
{
    if (header->e_ident[EI_CLASS] != ELFCLASS64 || header->e_machine != EM_X86_64)
        fail(EXIT_NOT_EXECUTABLE, "program '%s' is not for x86-64: only such programs can be run", path);
    for (unsigned i = 0; i < header->e_phnum; i++) {
        Elf64_Phdr segment;

        if (pread(fd, &segment, sizeof segment, (off_t)(header->e_phoff + i * header->e_phentsize)) !=
            sizeof segment)
            break;
        if (segment.p_type == PT_INTERP)
            return;
    }
    fail(EXIT_NOT_EXECUTABLE,
         "program '%s' is statically linked, and so takes no preloaded library: link it dynamically", path);
}

/* The interpreter that the #! line names. */
static const char *script_interpreter(const char *line)
{
    static char interpreter[256];
    size_t start = strspn(line, " \t");
    size_t name = strcspn(line + start, " \t\n");

    snprintf(interpreter, sizeof interpreter, "%.*s", (int)name, line + start);
    return interpreter;
}

static void check_program(const char *path)
{
    for (int depth = 0; depth < SCRIPT_DEPTH; depth++) {
        union {
            Elf64_Ehdr elf;
            char text[257];
        } head = {.text = {0}};
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t len;

        if (fd < 0 && errno == EACCES && access(path, X_OK) == 0)
            return; /* executable, but not readable: execve may still succeed */
        if (fd < 0)
            fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, "program '%s' cannot be opened: %s",
                 path, strerror(errno));
        check_rights(path, fd);
        len = read(fd, &head, sizeof head - 1);
        if (len >= (ssize_t)sizeof head.elf && memcmp(head.elf.e_ident, ELFMAG, SELFMAG) == 0) {
            check_elf(path, fd, &head.elf);
            close(fd);
            return;
        }
        close(fd);
        if (len < 2 || head.text[0] != '#' || head.text[1] != '!')
            return; /* neither ELF nor a script: execve reports the error */
        path = script_interpreter(head.text + 2);
    }
}

/* ---- the environment ------------------------------------------------------------------------------- */

static void set_env(const char *name, const char *value)
{
    if (setenv(name, value, 1) != 0)
        fail(EXIT_USAGE, "no memory for the environment");
}

static void set_env_number(const char *name, size_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%zu", value);
    set_env(name, text);
}

/* The shim, in this program's directory or where it is installed. */
static const char *find_shim(void)
{
    static char path[PATH_MAX + 32];
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash;

    path[len > 0 ? len : 0] = '\0';
    slash = strrchr(path, '/');
    if (slash != NULL) {
        strcpy(slash + 1, "libfaultline-run.so");
        if (access(path, R_OK) == 0)
            return path;
    }
    strcpy(path, FAULTLINE_LIBDIR "/libfaultline-run.so");
    if (access(path, R_OK) != 0)
        fail(EXIT_USAGE, "libfaultline-run.so is neither in this program's directory nor in " FAULTLINE_LIBDIR
                         ": install it there");
    return path;
}

/* The allocator that makes the heap of mappings. */
static const char *find_allocator(void)
{
    static const char *const directories[] = {"/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib",
                                              "/usr/local/lib"};
    static char path[64];

    for (size_t i = 0; i < sizeof directories / sizeof directories[0]; i++) {
        snprintf(path, sizeof path, "%s/" FAULTLINE_ALLOCATOR, directories[i]);
        if (access(path, R_OK) == 0)
            return path;
    }
    fail(EXIT_USAGE, "--anon needs " FAULTLINE_ALLOCATOR ": install it (Debian: libjemalloc2)");
}

/* The shim comes first, so that it sees the mappings that the allocator makes. */
static void preload(const char *shim, const char *allocator)
{
    const char *others = getenv("LD_PRELOAD");
    char *list;

    if (strpbrk(shim, ": ") != NULL)
        fail(EXIT_USAGE, "'%s' cannot be preloaded: move Faultline to a path without spaces and colons",
             shim);
    if (asprintf(&list, "%s%s%s%s%s", shim, allocator != NULL ? ":" : "", allocator != NULL ? allocator : "",
                 others != NULL && *others != '\0' ? ":" : "", others != NULL ? others : "") < 0)
        fail(EXIT_USAGE, "no memory for the environment");
    set_env("LD_PRELOAD", list);
    free(list);
}

/*
 * Sets the variable to the path of a file in a directory that can be written to. The path becomes absolute,
 * since the program may change its directory before it is used.
 */
static void set_path(const char *option, const char *variable, const char *file)
{
    char *directory = strdup(file);
    char *slash = directory != NULL ? strrchr(directory, '/') : NULL;
    char path[PATH_MAX];
    const char *base = slash != NULL ? slash + 1 : file;
    char *resolved;

    if (slash != NULL)
        slash[slash == directory] = '\0';
    resolved = realpath(slash != NULL ? directory : ".", path);
    if (resolved == NULL || access(path, W_OK) != 0 || *base == '\0' ||
        strlen(path) + strlen(base) + 2 > sizeof path)
        fail(EXIT_USAGE, "--%s '%s' cannot be written: %s: name a file in a directory that you can write to",
             option, file, strerror(errno));
    strcat(strcat(path, "/"), base);
    set_env(variable, path);
    free(directory);
}

/* A directory, or a file that does not exist yet: what is in an old one would be lost. */
static void set_swap(const char *place)
{
    char path[PATH_MAX];
    struct stat st;

    if (stat(place, &st) != 0) {
        set_path("swap", "FAULTLINE_SWAP", place);
        return;
    }
    if (!S_ISDIR(st.st_mode))
        fail(EXIT_USAGE, "--swap '%s' exists: name a new file, or a directory", place);
    if (realpath(place, path) == NULL || access(path, W_OK | X_OK) != 0)
        fail(EXIT_USAGE, "--swap '%s' cannot be written: %s: name a directory that you can write to", place,
             strerror(errno));
    set_env("FAULTLINE_SWAP", path);
}

/* The variables that were set for another program are not for this one. */
static void set_environment(const struct run_options *options)
{
    static const char *const optional[] = {"FAULTLINE_ANON",      "FAULTLINE_STATS",    "FAULTLINE_SWAP",
                                           "FAULTLINE_SWAP_SIZE", "FAULTLINE_COMPRESS", "FAULTLINE_VERBOSE"};

    for (size_t i = 0; i < sizeof optional / sizeof *optional; i++)
        unsetenv(optional[i]);
    set_env_number("FAULTLINE_STATS_PID", (size_t)getpid()); /* it becomes the program */
    set_env_number("FAULTLINE_MEMORY", options->memory_bytes);
    set_env_number("FAULTLINE_MIN_SIZE", options->min_size_bytes);
    set_env("FAULTLINE_FAULT", options->fault);
    if (options->stats != NULL)
        set_path("stats", "FAULTLINE_STATS", options->stats);
    if (options->swap != NULL)
        set_swap(options->swap);
    if (options->swap_bytes != SIZE_MAX)
        set_env_number("FAULTLINE_SWAP_SIZE", options->swap_bytes != 0 ? options->swap_bytes : SIZE_MAX);
    if (options->compress_percent != 0)
        set_env_number("FAULTLINE_COMPRESS", options->compress_percent);
    if (options->anon)
        set_env("FAULTLINE_ANON", "1");
    if (options->verbose)
        set_env("FAULTLINE_VERBOSE", "1");
}

static int run(int argc, char **argv)
{
    struct run_options options = run_options(argc, argv);
    const char *path = find_program(options.program[0]);

    check_program(path);
    set_environment(&options);
    preload(find_shim(), options.anon ? find_allocator() : NULL);
    execv(path, options.program);
    fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE, "program '%s' cannot be run: %s", path,
         strerror(errno));
}

int main(int argc, char **argv)
{
    static char run_name[] = "faultline run";

    if (argc > 1 && strcmp(argv[1], "run") == 0) {
        argv[1] = run_name;
        return run(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        return puts("faultline " FAULTLINE_VERSION) == EOF;
    if (argc > 1 && strcmp(argv[1], "--help") == 0)
        return puts("Usage: faultline run --memory SIZE [OPTION...] -- PROGRAM [ARGS...]\n"
                    "Runs PROGRAM with its file mappings under a memory limit. See faultline run --help.") ==
               EOF;
    if (argc == 1)
        fail(EXIT_USAGE, "no command given: faultline run --memory SIZE -- PROGRAM ARGS...");
    fail(EXIT_USAGE, "command '%s' is unknown: faultline run --memory SIZE -- PROGRAM ARGS...", argv[1]);
}
