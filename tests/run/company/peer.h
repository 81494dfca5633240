/*
 * peer.h: the peer is a small process that obeys commands on its standard
 * input, one a line, and answers with a line each. A test starts several, under
 * Faultline and natively, and so controls exactly which process does what when.
 *
 *   open f PATH rw  ─▶ 3          map m f 2097152 rw shared 0  ─▶ 0        load m 10 4  ─▶ 4 2e2e2e2e
 *   load m 99999999 1 ─▶ SIGBUS   fcntl taken: take setlk f 0  ─▶ EAGAIN
 *
 * A command is NAME ARGUMENT…; the answer is a number and bytes in hexadecimal, or the error's name. Open
 * files and mappings have names of one letter.
 */
#ifndef TESTS_RUN_COMPANY_PEER_H
#define TESTS_RUN_COMPANY_PEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define PEER_ARGS    8         /* at most, the command's name included */
#define PEER_MORE    (1 << 18) /* bytes of text behind the number, the NUL included */
#define PEER_SIGBUS  (-4096L)  /* the answer where an access was answered with SIGBUS */
#define PEER_SIGSEGV (-4097L)

struct peer_map {
    unsigned char *at;
    size_t len_bytes;
};

/* The object called `name`; if there is none, the process ends with a message. */
int peer_fd(const char *name);
struct peer_map *peer_map(const char *name);

/* peer_locks.c. KIND OBJECT AT: a descriptor, or a mapping and an offset in it. 0 or a negative errno. */
long peer_lock_init(char **arg);
long peer_lock_take(char **arg);
long peer_lock_drop(char **arg);

/* peer_work.c: commands of many steps. Returns the answer, and puts text into `more`. */
long peer_count(char **arg, char *more);
long peer_watch(char **arg, char *more);
long peer_threads(char **arg, char *more);

/* peer.c. `len_bytes` at `at`, one byte at a time: 0, PEER_SIGBUS or PEER_SIGSEGV. */
long peer_load(const volatile unsigned char *at, unsigned char *to, size_t len_bytes);
long peer_store(volatile unsigned char *at, const unsigned char *from, size_t len_bytes);
size_t peer_unhex(const char *text, unsigned char *to);
void peer_hex(const unsigned char *from, size_t len_bytes, char *text);

#endif
