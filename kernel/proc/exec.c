/*
 * exec.c: a process becomes another program.
 *
 *   exec_resolve    the file; "#!" files name another, and become its arguments
 *   exec_args       strings of the old program
 *   exec_load       a new space: segments, heap, stack. Until here an error leaves the old program as it was
 *   exec_alone      the other threads end
 *   exec_switch     the old space goes, signals and descriptors are reset: the point of no return
 *   exec_start      zeros behind the file's bytes, the stack's words, registers. An error ends the process
 *
 *   space:  image | heap → …        ← mappings | gap | ← stack | strings
 *           0x400000, or ELF_PIE_BASE      mmap_base            stack_top
 *
 * The places are the same in every run: nothing is random.
 *
 * Locks: (P), in exec_alone and exec_switch.
 * Does not do: dynamic linking (-ENOEXEC), set-user-id bits, -ETXTBSY, descriptor tables that are shared
 * between processes (they stay shared).
 */
#include <linux/auxvec.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/stat.h>

#include "fs/file.h"
#include "kernel.h"
#include "lib/copy.h"
#include "kmem.h"
#include "lib/random.h"
#include "string.h"
#include "proc/calls.h"
#include "proc/elf.h"
#include "proc/exec_args.h"
#include "proc/proc.h"

#define STACK_TOP      (USER_END - VM_PAGE_SIZE)
#define STACK_FIRST    UINT64_C(0x21000) /* beside the strings, mapped from the start */
#define MMAP_GAP_MIN   (UINT64_C(128) << 20)
#define MMAP_GAP_MAX   (USER_END / 6 * 5)
#define RLIMIT_STACK   3
#define SCRIPT_LEVELS  4
#define HEADER_BYTES   256 /* of the file; a "#!" line is not longer (BINPRM_BUF_SIZE, Linux) */
#define CLOCKS_PER_SEC 100

struct exec {
    const char *path; /* as the caller gave it */
    struct file *file;
    struct exec_args args;
    struct elf_image image;
    Elf64_Phdr *phdr;
    struct vmspace *vm;
    uint64_t mmap_base;
    /* Of scripts: what comes before the caller's arguments, the last one first. */
    const char *front[2 * SCRIPT_LEVELS + 1];
    uint32_t nfront, level;
    union {
        char text[HEADER_BYTES + 1];
        Elf64_Ehdr elf;
    } header;
    char line[SCRIPT_LEVELS][HEADER_BYTES + 1];
};

/* ---- the file -------------------------------------------------------------------------------------- */

static int exec_open(struct exec *x, const char *path)
{
    int error = kernel_open(path, O_RDONLY, 0, &x->file);
    int64_t got;

    if (error != 0)
        return error;
    if (x->file->inode == NULL || !S_ISREG(x->file->inode->mode) || (x->file->inode->mode & 0111) == 0 ||
        x->file->vnode == NULL)
        return -EACCES;
    memset(&x->header, 0, sizeof(x->header));
    got = kernel_read(x->file, x->header.text, HEADER_BYTES, 0);
    return got < 0 ? (int)got : 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/*
 * Splits the line behind "#!" into the interpreter's path and its argument, which is all the rest; *argument:
 * NULL, there is none. Returns the path; NULL: there is none.
 */
static char *script_split(char *line, char **argument)
{
    char *end = strchr(line, '\n'), *interpreter;

    if (end == NULL)
        end = line + strlen(line);
    while (end > line && is_blank(end[-1]))
        end--;
    *end = 0;
    while (is_blank(*line))
        line++;
    interpreter = line;
    while (*line != 0 && !is_blank(*line))
        line++;
    while (is_blank(*line))
        *line++ = 0;
    *argument = *line != 0 ? line : NULL;
    return *interpreter != 0 ? interpreter : NULL;
}

/* Opens the program, through scripts if need be. */
static int exec_resolve(struct exec *x)
{
    const char *path = x->path;
    int error = exec_open(x, path);

    while (error == 0 && x->header.text[0] == '#' && x->header.text[1] == '!') {
        char *interpreter, *argument;

        if (x->level == SCRIPT_LEVELS)
            return -ELOOP;
        memcpy(x->line[x->level], x->header.text + 2, HEADER_BYTES - 1);
        interpreter = script_split(x->line[x->level++], &argument);
        if (interpreter == NULL)
            return -ENOEXEC;
        if (x->nfront == 0)
            x->front[x->nfront++] = path;
        if (argument != NULL)
            x->front[x->nfront++] = argument;
        x->front[x->nfront++] = interpreter;
        fput(x->file);
        x->file = NULL;
        error = exec_open(x, path = interpreter);
    }
    return error;
}

/* What scripts put in front of the caller's arguments; then the caller's first one is left out. */
static int exec_front(struct exec *x)
{
    int error = 0;

    for (uint32_t i = x->nfront; error == 0 && i > 0; i--)
        error = args_add_kernel(&x->args, x->front[i - 1]);
    return error;
}

/* ---- the new space --------------------------------------------------------------------------------- */

static int exec_headers(struct exec *x)
{
    size_t len_bytes = x->header.elf.e_phnum * sizeof(Elf64_Phdr);
    int error = elf_check_header(&x->header.elf);
    int64_t got;

    if (error != 0)
        return error;
    x->phdr = kmalloc(len_bytes);
    if (x->phdr == NULL)
        return -ENOMEM;
    got = kernel_read(x->file, x->phdr, len_bytes, x->header.elf.e_phoff);
    if (got != (int64_t)len_bytes)
        return got < 0 ? (int)got : -ENOEXEC;
    return elf_layout(&x->header.elf, x->phdr, USER_START, x->mmap_base, &x->image);
}

/* Errors of fl_sys_mmap. */
static int exec_map_at(struct exec *x, vm_offset_t start, vm_offset_t end, int prot, int flags,
                       const struct fl_file *file, vm_ooffset_t offset)
{
    int64_t at;

    if (start == end)
        return 0;
    at = fl_sys_mmap(x->vm->map, start, end - start, prot, FL_MAP_PRIVATE | FL_MAP_FIXED | flags, file,
                     offset);
    return at < 0 ? (int)at : 0;
}

static int exec_map_segment(struct exec *x, const Elf64_Phdr *phdr)
{
    const struct fl_file file = {
        .vnode = x->file->vnode, .mode = FL_FREAD, .told = fl_vnode_errseq(x->file->vnode)};
    struct elf_segment s;
    int error;

    elf_segment(&x->image, phdr, &s);
    error = exec_map_at(x, s.start, s.file_end, s.prot, 0, &file, s.offset);
    if (error == 0)
        error = exec_map_at(x, s.file_end, s.end, s.prot, FL_MAP_ANONYMOUS, NULL, 0);
    return error;
}

static int exec_map_stack(struct exec *x)
{
    uint64_t len_bytes = round_page(x->args.bytes + (x->args.argc + x->args.envc) * sizeof(uint64_t));
    int prot = VM_PROT_READ | VM_PROT_WRITE | (x->image.executable_stack ? VM_PROT_EXECUTE : 0);

    return exec_map_at(x, STACK_TOP - len_bytes - STACK_FIRST, STACK_TOP, prot,
                       FL_MAP_ANONYMOUS | FL_MAP_GROWSDOWN | FL_MAP_STACK, NULL, 0);
}

/* Linux's mmap_base: a gap below the stack's top that has room for the largest stack. */
static uint64_t exec_mmap_base(void)
{
    uint64_t gap = curproc()->rlimit_cur[RLIMIT_STACK];

    gap = gap < MMAP_GAP_MIN ? MMAP_GAP_MIN : gap > MMAP_GAP_MAX ? MMAP_GAP_MAX : gap;
    return trunc_page(USER_END - gap);
}

static int exec_load(struct exec *x)
{
    int error;

    x->mmap_base = exec_mmap_base();
    error = exec_headers(x);
    if (error != 0)
        return error;
    x->vm = vmspace_create();
    if (x->vm == NULL)
        return -ENOMEM;
    vmspace_limits(curproc(), x->vm->map);
    fl_space_set_mmap_base(x->vm->map, x->mmap_base);
    for (uint32_t i = 0; error == 0 && i < x->image.phnum; i++)
        if (x->phdr[i].p_type == PT_LOAD && x->phdr[i].p_memsz != 0)
            error = exec_map_segment(x, &x->phdr[i]);
    fl_space_set_brk(x->vm->map, x->image.end, x->mmap_base);
    return error != 0 ? error : exec_map_stack(x);
}

/* ---- the point of no return ------------------------------------------------------------------------ */

/* The other threads end. Errors: -EAGAIN, the process ends itself, or is in exec already. */
static int exec_alone(void)
{
    struct thread *self = curthread();
    struct proc *proc = self->td_proc;
    int error = 0;

    machine_lock(&proc_lock);
    if (proc->exiting || proc->exec_thread != NULL) {
        error = -EAGAIN;
    } else {
        proc->exec_thread = self;
        for (struct thread *td = proc->threads; td != NULL; td = td->td_next)
            if (td != self)
                thread_kick(td);
        while (proc->nthreads > 1 && !proc->exiting)
            (void)machine_wait(&proc->nthreads, &proc_lock, UINT64_MAX);
        proc->exec_thread = NULL;
        error = proc->exiting ? -EAGAIN : 0;
    }
    machine_unlock(&proc_lock);
    return error;
}

static void exec_name(struct proc *proc, const char *path)
{
    const char *slash = strrchr(path, '/');

    strlcpy(proc->comm, slash != NULL ? slash + 1 : path, sizeof(proc->comm));
}

static void exec_switch(struct exec *x)
{
    struct thread *self = curthread();
    struct proc *proc = self->td_proc;
    struct vmspace *old;
    struct file *exe = proc->exe;

    machine_lock(&proc_lock);
    old = proc->vmspace;
    proc->vmspace = x->vm;
    proc->map = x->vm->map;
    proc->exe = file_ref(x->file);
    proc->execed = true;
    self->td_tid = proc->pid;
    self->td_altstack_size = 0;
    self->td_altstack_flags = SS_DISABLE;
    self->td_clear_child_tid = 0;
    self->td_robust_list = 0;
    sigacts_exec_locked(proc);
    exec_name(proc, x->path);
    proc->mmap_base = x->mmap_base;
    proc->brk_start = x->image.end;
    proc->stack_top = STACK_TOP;
    proc->dumpable = true;
    thread_set_space(fl_space_machine(proc->map));
    vfork_done_locked(proc);
    machine_unlock(&proc_lock);
    x->vm = NULL;
    if (old != NULL)
        vmspace_put(old);
    if (exe != NULL)
        fput(exe);
    filedesc_close_on_exec(proc->fd);
}

/* ---- the new program's memory and registers -------------------------------------------------------- */

/* What lies behind the file's bytes in their last page is the program's, and zero. */
static int exec_zero_tails(struct exec *x)
{
    int error = 0;

    for (uint32_t i = 0; error == 0 && i < x->image.phnum; i++) {
        struct elf_segment s;

        if (x->phdr[i].p_type != PT_LOAD || (x->phdr[i].p_flags & PF_W) == 0 ||
            x->phdr[i].p_memsz == x->phdr[i].p_filesz)
            continue;
        elf_segment(&x->image, &x->phdr[i], &s);
        if (s.zero_start < s.file_end)
            error = zeroout(s.zero_start, s.file_end - s.zero_start);
    }
    return error;
}

/* Words on their way to the stack, upwards. */
struct stack_words {
    uint64_t at; /* where word[0] goes */
    uint32_t n;
    uint64_t word[64];
    uint32_t argc; /* how many strings are arguments still */
};

static int words_flush(struct stack_words *words)
{
    int error = copyout(words->word, words->at, words->n * sizeof(words->word[0]));

    words->at += words->n * sizeof(words->word[0]);
    words->n = 0;
    return error;
}

static int words_put(struct stack_words *words, uint64_t word)
{
    words->word[words->n++] = word;
    return words->n == sizeof(words->word) / sizeof(words->word[0]) ? words_flush(words) : 0;
}

/* A string's address; behind the last argument's comes a NULL. */
static int words_put_string(void *arg, uint64_t address)
{
    struct stack_words *words = arg;
    int error = words_put(words, address);

    if (error == 0 && words->argc > 0 && --words->argc == 0)
        error = words_put(words, 0);
    return error;
}

/* Where things lie on the new stack. */
struct stack_places {
    uint64_t path, strings, platform, random, sp;
};

#define AUXV_MAX 20 /* entries, AT_NULL among them */

static int exec_put_auxv(const struct exec *x, const struct stack_places *places, struct stack_words *words)
{
    const struct proc *proc = curproc();
    uint32_t regs[4];
    int error = 0;

    cpuid(1, 0, regs);
    const uint64_t auxv[AUXV_MAX][2] = {
        {AT_HWCAP, regs[3]},
        {AT_PAGESZ, VM_PAGE_SIZE},
        {AT_CLKTCK, CLOCKS_PER_SEC},
        {AT_PHDR, x->image.phdr},
        {AT_PHENT, sizeof(Elf64_Phdr)},
        {AT_PHNUM, x->image.phnum},
        {AT_BASE, 0},
        {AT_FLAGS, 0},
        {AT_ENTRY, x->image.entry},
        {AT_UID, proc->uid},
        {AT_EUID, proc->euid},
        {AT_GID, proc->gid},
        {AT_EGID, proc->egid},
        {AT_SECURE, 0},
        {AT_RANDOM, places->random},
        {AT_HWCAP2, 0},
        {AT_EXECFN, places->path},
        {AT_PLATFORM, places->platform},
        {AT_NULL, 0},
    };
    for (uint32_t i = 0; error == 0 && i < AUXV_MAX; i++) {
        error = words_put(words, auxv[i][0]);
        if (error == 0)
            error = words_put(words, auxv[i][1]);
    }
    return error;
}

static int exec_put_words(const struct exec *x, const struct stack_places *places)
{
    struct stack_words words = {.at = places->sp, .argc = x->args.argc};
    int error = words_put(&words, x->args.argc);

    if (error == 0)
        error = args_each(&x->args, places->strings, words_put_string, &words);
    if (error == 0)
        error = words_put(&words, 0);
    if (error == 0)
        error = exec_put_auxv(x, places, &words);
    return error != 0 ? error : words_flush(&words);
}

static int exec_stack(struct exec *x, uint64_t *sp)
{
    static const char platform[16] = "x86_64";
    const uint64_t nwords = 1 + x->args.argc + 1 + x->args.envc + 1 + 2 * AUXV_MAX;
    const size_t path_bytes = strlen(x->path) + 1;
    struct proc *proc = curproc();
    struct stack_places places;
    unsigned char random[16];
    int error;

    places.path = STACK_TOP - sizeof(uint64_t) - path_bytes;
    places.strings = places.path - x->args.bytes;
    places.platform = (places.strings - sizeof(platform)) & ~UINT64_C(15);
    places.random = places.platform - sizeof(random);
    places.sp = (places.random - nwords * sizeof(uint64_t)) & ~UINT64_C(15);
    random_bytes(random, sizeof(random));
    error = copyout(x->path, places.path, path_bytes);
    if (error == 0)
        error = args_copyout(&x->args, places.strings);
    if (error == 0)
        error = copyout(platform, places.platform, sizeof(platform));
    if (error == 0)
        error = copyout(random, places.random, sizeof(random));
    if (error == 0)
        error = exec_put_words(x, &places);
    proc->arg_start = places.strings;
    proc->arg_end = places.strings + x->args.arg_bytes;
    *sp = places.sp;
    return error;
}

static int exec_start(struct exec *x)
{
    _Alignas(16) unsigned char fpu[512];
    struct trapframe *frame = thread_frame(curthread());
    uint64_t sp;
    int error = exec_zero_tails(x);

    if (error == 0)
        error = exec_stack(x, &sp);
    if (error != 0)
        return error;
    fpu_init(fpu);
    fpu_restore(fpu);
    thread_set_fsbase(0);
    thread_set_gsbase(0);
    *frame = (struct trapframe){
        .rip = x->image.entry, .cs = GSEL_UCODE, .rflags = 0x202, .rsp = sp, .ss = GSEL_UDATA};
    return 0;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

/* x->args and x->file are there. */
static int exec_run(struct exec *x)
{
    int error = exec_load(x);

    if (error == 0)
        error = exec_alone();
    if (error != 0)
        return error;
    exec_switch(x);
    if (exec_start(x) != 0) {
        machine_lock(&proc_lock);
        proc_kill_locked(curproc(), SIGKILL); /* there is no program to go back to */
        machine_unlock(&proc_lock);
    }
    return 0;
}

static void exec_free(struct exec *x)
{
    args_free(&x->args);
    if (x->vm != NULL)
        vmspace_put(x->vm);
    if (x->file != NULL)
        fput(x->file);
    kfree(x->phdr);
    kfree(x);
}

/* The strings: those of the kernel, or those of the calling program if kernel_argv is NULL. */
static int exec_collect(struct exec *x, const char *const *kernel_argv, const char *const *kernel_envp,
                        uint64_t argv, uint64_t envp)
{
    const uint32_t skip = x->nfront != 0 ? 1 : 0;
    int error = exec_front(x);

    if (error == 0 && kernel_argv == NULL)
        error = args_add_vector(&x->args, argv, skip, &x->args.argc);
    for (uint32_t i = skip; error == 0 && kernel_argv != NULL && kernel_argv[i] != NULL; i++) {
        error = args_add_kernel(&x->args, kernel_argv[i]);
        x->args.argc++;
    }
    x->args.argc += x->nfront;
    if (error == 0 && x->args.argc == 0) {
        error = args_add_kernel(&x->args, ""); /* a program may rely on its first argument (Linux 5.18) */
        x->args.argc = 1;
    }
    x->args.arg_bytes = x->args.bytes;
    if (error == 0 && kernel_envp == NULL)
        error = args_add_vector(&x->args, envp, 0, &x->args.envc);
    for (uint32_t i = 0; error == 0 && kernel_envp != NULL && kernel_envp[i] != NULL; i++) {
        error = args_add_kernel(&x->args, kernel_envp[i]);
        x->args.envc++;
    }
    return error;
}

static int exec_path(const char *path, const char *const *kernel_argv, const char *const *kernel_envp,
                     uint64_t argv, uint64_t envp)
{
    struct exec *x = kmalloc(sizeof(*x));
    int error;

    if (x == NULL)
        return -ENOMEM;
    x->path = path;
    error = exec_resolve(x);
    if (error == 0)
        error = exec_collect(x, kernel_argv, kernel_envp, argv, envp);
    if (error == 0)
        error = exec_run(x);
    exec_free(x);
    return error;
}

int kernel_exec(const char *path, const char *const *argv, const char *const *envp)
{
    return exec_path(path, argv, envp, 0, 0);
}

int64_t sys_execve(const uint64_t arg[6])
{
    char *path = kmalloc(PATH_LEN_MAX);
    int64_t len_bytes;
    int error;

    if (path == NULL)
        return -ENOMEM;
    len_bytes = copyinstr(arg[0], path, PATH_LEN_MAX);
    if (len_bytes < 0)
        error = (int)len_bytes;
    else
        error = len_bytes == 0 ? -ENOENT : exec_path(path, NULL, NULL, arg[1], arg[2]);
    kfree(path);
    return error;
}
