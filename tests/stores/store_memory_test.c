/*
 * store_memory_test.c: the store in memory beside an array of bytes:
 * random transfers, a size that is no multiple of a page.
 */
#include <faultline/faultline.h>
#include <faultline/store.h>
#include <faultline/types.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define LEN_BYTES (37 * 4096 + 123)
#define NPAGES    38

static int last_error;
static unsigned done_calls;

static void done(struct store_request *request, int error)
{
    (void)request;
    last_error = error;
    done_calls++;
}

static void transfer(struct store *store, enum store_op op, uint64_t page, uint32_t npages,
                     unsigned char *bytes)
{
    void *addr[NPAGES];
    for (uint32_t i = 0; i < npages; i++)
        addr[i] = bytes + ptoa(i);
    struct store_request request = {.op = op,
                                    .offset = ptoa(page),
                                    .len_bytes = ptoa(npages),
                                    .npages = npages,
                                    .addr = addr,
                                    .done = done};
    done_calls = 0;
    store->ops->submit(store, &request);
    assert_int_equal(done_calls, 1);
    assert_int_equal(last_error, 0);
}

static void random_transfers_match_an_array(void **state)
{
    (void)state;
    static unsigned char model[NPAGES * 4096], pages[NPAGES * 4096];
    unsigned seed = (unsigned)time(NULL);
    struct store *store;
    printf("seed %u\n", seed);
    memset(model, 0, sizeof(model));
    assert_int_equal(fl_store_memory(LEN_BYTES, &store), 0);
    for (int step = 0; step < 20000; step++) {
        uint64_t page = (uint64_t)rand_r(&seed) % NPAGES;
        uint32_t npages = 1 + (uint32_t)rand_r(&seed) % (uint32_t)(NPAGES - page);
        if (rand_r(&seed) % 2 == 0) {
            memset(pages, 1 + rand_r(&seed) % 255, ptoa(npages));
            transfer(store, STORE_WRITE, page, npages, pages);
            memcpy(model + ptoa(page), pages, ptoa(npages));
            memset(model + LEN_BYTES, 0, sizeof(model) - LEN_BYTES); /* nothing is kept beyond the end */
        } else {
            memset(pages, 0xee, ptoa(npages));
            transfer(store, STORE_READ, page, npages, pages);
            assert_memory_equal(pages, model + ptoa(page), ptoa(npages));
        }
    }
    store->ops->close(store);
}

static void it_says_its_size_and_refuses_none(void **state)
{
    (void)state;
    struct store *store;
    uint64_t len_bytes = 0;
    assert_int_equal(fl_store_memory(0, &store), -EINVAL);
    assert_int_equal(fl_store_memory(SIZE_MAX, &store), -EINVAL);
    assert_int_equal(fl_store_memory(LEN_BYTES, &store), 0);
    assert_int_equal(store->ops->size(store, &len_bytes), 0);
    assert_int_equal(len_bytes, LEN_BYTES);
    assert_int_equal(store->ops->flush(store), 0);
    assert_null(store->ops->wait);
    assert_false(store->read_only);
    assert_int_equal(store->key[0] | store->key[1], 0);
    store->ops->close(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_transfers_match_an_array),
        cmocka_unit_test(it_says_its_size_and_refuses_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
