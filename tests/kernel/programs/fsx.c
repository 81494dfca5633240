/*
 * fsx.c: fsx FILE SEED OPERATIONS [PAGES]: random operations on a file, and on a copy of its bytes in memory.
 *
 *   pwrite pread truncate · stores to and reads of a shared mapping · stores to a private one, which nobody
 *   else sees · a hole · fsync, msync · the file closed and opened again
 *
 * After each operation that shows bytes they must be those of the copy; at the end the whole file is. Prints
 * the hash of the file and its length. The file stays, for whoever looks at the disk.
 */
#include "program.h"
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *path;
static int fd;
static unsigned char *image, *scratch; /* image: bytes past the length are 0 */
static size_t length, max_len;
static uint64_t seed;
static unsigned long operation;

static size_t below(size_t limit)
{
    return (size_t)(random_next(&seed) % limit);
}

static void compare(const unsigned char *found, size_t offset, size_t len, const char *how)
{
    for (size_t i = 0; i < len; i++)
        if (found[i] != image[offset + i]) {
            printf("operation %lu, %s: byte %zu is %02x and should be %02x\n", operation, how, offset + i,
                   found[i], image[offset + i]);
            fflush(stdout);
            _Exit(EXIT_FAILURE);
        }
}

static void fill(unsigned char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(random_next(&seed) >> 32);
}

/* A place in [0, max_len) and a length from there: often small, sometimes of many pages. */
static size_t place(size_t limit, size_t *len)
{
    size_t offset = below(limit), most = limit - offset;
    size_t want = 1 + below(below(4) == 0 ? 16 * PAGE : 300);

    *len = want < most ? want : most;
    return offset;
}

static void do_write(void)
{
    size_t len, offset = place(max_len, &len);

    fill(image + offset, len);
    must(pwrite(fd, image + offset, len, (off_t)offset) == (ssize_t)len);
    length = offset + len > length ? offset + len : length;
}

static void do_read(void)
{
    size_t len, offset = place(max_len, &len);
    size_t there = offset >= length ? 0 : length - offset < len ? length - offset : len;

    must(pread(fd, scratch, len, (off_t)offset) == (ssize_t)there);
    compare(scratch, offset, there, "pread");
}

static void do_truncate(void)
{
    size_t to = below(max_len);

    must(ftruncate(fd, (off_t)to) == 0);
    if (to < length)
        memset(image + to, 0, length - to);
    length = to;
}

/* A mapping of a part of the file, from a page on; *len bytes at *bytes are within the file. */
static unsigned char *map_part(int flags, unsigned char **bytes, size_t *len, size_t *offset, size_t *map_len)
{
    *offset = place(length, len);
    size_t lead = *offset % PAGE;
    *map_len = lead + *len;
    unsigned char *map = mmap(NULL, *map_len, PROT_READ | PROT_WRITE, flags, fd, (off_t)(*offset - lead));

    must(map != MAP_FAILED);
    *bytes = map + lead;
    return map;
}

static void do_map(int flags, int store)
{
    unsigned char *bytes, *map;
    size_t len, offset, map_len;

    if (length == 0)
        return;
    map = map_part(flags, &bytes, &len, &offset, &map_len);
    compare(bytes, offset, len, "mapping");
    if (store) {
        fill(scratch, len);
        memcpy(bytes, scratch, len);
        if (flags == MAP_SHARED)
            memcpy(image + offset, scratch, len);
        must(memcmp(bytes, scratch, len) == 0);
        if (flags == MAP_SHARED && below(4) == 0)
            must(msync(map, map_len, MS_SYNC) == 0);
    }
    must(munmap(map, map_len) == 0);
}

static void do_punch(void)
{
    size_t len, offset;

    if (length == 0)
        return;
    offset = place(length, &len);
    memset(image + offset, 0, len);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len) == 0)
        return;
    /* A file system without holes to punch: the bytes are the same, with zeros. */
    must(errno == EOPNOTSUPP || errno == ENOSYS);
    must(pwrite(fd, image + offset, len, (off_t)offset) == (ssize_t)len);
}

static void do_reopen(void)
{
    must(below(2) != 0 || fsync(fd) == 0);
    must(close(fd) == 0);
    fd = open(path, O_RDWR);
    must(fd >= 0);
}

static void step(void)
{
    struct stat st;

    switch (below(16)) {
    case 0 ... 3:
        do_write();
        break;
    case 4 ... 6:
        do_read();
        break;
    case 7:
        do_truncate();
        break;
    case 8 ... 9:
        do_map(MAP_SHARED, 0);
        break;
    case 10 ... 12:
        do_map(MAP_SHARED, 1);
        break;
    case 13:
        do_map(MAP_PRIVATE, 1);
        break;
    case 14:
        do_punch();
        break;
    case 15:
        do_reopen();
        break;
    }
    must(fstat(fd, &st) == 0 && (size_t)st.st_size == length);
}

int main(int argc, char **argv)
{
    must(argc >= 4);
    path = argv[1];
    seed = strtoull(argv[2], NULL, 10) * UINT64_C(0x9e3779b97f4a7c15) + 1;
    unsigned long wanted = strtoul(argv[3], NULL, 10);
    max_len = (argc > 4 ? strtoul(argv[4], NULL, 10) : 64) * PAGE;
    image = calloc(1, max_len);
    scratch = malloc(max_len);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    must(image != NULL && scratch != NULL && fd >= 0);
    for (operation = 0; operation < wanted; operation++)
        step();
    must(pread(fd, scratch, max_len, 0) == (ssize_t)length);
    compare(scratch, 0, length, "the end");
    must(fsync(fd) == 0 && close(fd) == 0);
    printf("%zu bytes, hash %016llx\n", length, (unsigned long long)hash_bytes(HASH_START, image, length));
    return ok();
}
