/* test_arena.c - blocks, marks, peaks, and what a full arena says.
 * Goal: aligned blocks that do not overlap; given back by marks; numbers that a plan can rely on.
 * Method: a memory of the test's own counts calls. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

typedef struct counted {
    int allocs, releases, discards;
    void *discarded;
    size_t discarded_bytes;
} counted;

static lt_status counted_alloc(void *ctx, size_t bytes, void **out)
{
    ((counted *)ctx)->allocs++;
    if (bytes > 1 << 20)
        LT_FAIL(LT_ENOMEM, "counted: %zu bytes are too many", bytes);
    *out = aligned_alloc(64, bytes > 0 ? bytes : 64);
    return LT_OK;
}

static void counted_release(void *ctx, void *p, size_t bytes)
{
    (void)bytes;
    ((counted *)ctx)->releases++;
    free(p);
}

static void counted_discard(void *ctx, void *p, size_t bytes)
{
    counted *c = ctx;
    c->discards++;
    c->discarded = p;
    c->discarded_bytes = bytes;
}

static void blocks_are_aligned_and_apart(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 63, 64, 65, 0, 4096, 7};
    char *p[sizeof sizes / sizeof *sizes];
    lt_arena *a = NULL;
    assert_int_equal(lt_arena_new("test", &lt_memory_host, 1 << 16, &a), LT_OK);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        void *out = NULL;
        assert_int_equal(lt_arena_alloc(a, "piece", sizes[i], &out), LT_OK);
        assert_int_equal((uintptr_t)out % 64, 0);
        p[i] = out;
        memset(p[i], (int)i + 1, sizes[i]);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t j = 0; j < sizes[i]; j++)
            assert_int_equal(p[i][j], (int)i + 1);
    /* 64 + 64 + 64 + 128 + 0 + 4096 + 64: the same with and without AddressSanitizer's gaps */
    assert_int_equal(lt_arena_used(a), 4480);
    assert_int_equal(lt_arena_capacity(a), 1 << 16);
    assert_true(lt_arena_is_host(a));
    lt_arena_free(&a);
    assert_null(a);
}

static void marks_give_back(void **state)
{
    (void)state;
    counted c = {0};
    const lt_memory mem = {"counted", &c, counted_alloc, counted_release, counted_discard, 0, 0};
    lt_arena *a = NULL;
    void *first, *second, *again;
    assert_int_equal(lt_arena_new("test", &mem, 1024, &a), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "first", 100, &first), LT_OK);
    const lt_mark mark = lt_arena_mark(a);
    assert_int_equal(lt_arena_alloc(a, "second", 500, &second), LT_OK);
    assert_int_equal(lt_arena_peak(a), 128 + 512);
    lt_arena_release(a, mark);
    assert_int_equal(c.discards, 1);
    assert_ptr_equal(c.discarded, second);
    assert_int_equal(c.discarded_bytes, 512);
    assert_int_equal(lt_arena_used(a), 128);
    assert_int_equal(lt_arena_peak(a), 640);
    lt_arena_peak_reset(a);
    assert_int_equal(lt_arena_peak(a), 128);
    assert_int_equal(lt_arena_alloc(a, "third", 1, &again), LT_OK);
    assert_ptr_equal(again, second);
    lt_arena_release(a, lt_arena_mark(a)); /* nothing after the mark: nothing to discard */
    assert_int_equal(c.discards, 1);
    lt_arena_free(&a);
    assert_int_equal(c.allocs, 1);
    assert_int_equal(c.releases, 1);
}

static void full_arena_names_who_filled_it(void **state)
{
    (void)state;
    lt_arena *a = NULL;
    void *p = NULL;
    assert_int_equal(lt_arena_new("step", &lt_memory_host, 1000, &a), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "big.one", 600, &p), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "small.one", 50, &p), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "too.much", 297, &p), LT_ENOMEM); /* 640 + 64 are taken */
    assert_null(p);
    static const char *const words[] = {"step", "too.much", "297", "296", "1000", "big.one", "600"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_non_null(strstr(lt_error_text(), words[i]));
    assert_int_equal(lt_arena_alloc(a, "just.fits", 296, &p), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "nothing", 0, &p), LT_OK);
    assert_non_null(p);
    assert_int_equal(lt_arena_alloc(a, "huge", SIZE_MAX, &p), LT_ENOMEM);
    lt_arena_release(a, (lt_mark){0});
    assert_int_equal(lt_arena_alloc(a, "whole", 1000, &p), LT_OK);
    memset(p, 1, 1000);
    lt_arena_free(&a);
}

static void impossible_arenas_are_refused(void **state)
{
    (void)state;
    counted c = {0};
    const lt_memory mem = {"counted", &c, counted_alloc, counted_release, NULL, 0, 0};
    lt_arena *a = NULL;
    assert_int_equal(lt_arena_new("test", &mem, (size_t)1 << 30, &a), LT_ENOMEM);
    assert_null(a);
    assert_int_equal(c.releases, 0);
    assert_int_equal(lt_arena_new("test", &lt_memory_host, SIZE_MAX, &a), LT_ENOMEM);
    assert_null(a);
    lt_arena_free(&a); /* as free(NULL) */
    assert_int_equal(lt_arena_new("test", &lt_memory_host, 0, &a), LT_OK);
    void *p = NULL;
    assert_int_equal(lt_arena_alloc(a, "x", 1, &p), LT_ENOMEM);
    lt_arena_free(&a);
}

static void capacity_costs_nothing_until_used(void **state)
{
    (void)state;
    lt_arena *a = NULL;
    void *p = NULL;
    char strict = '0'; /* with overcommit_memory = 2 the system grants no more than it has */
    FILE *policy = fopen("/proc/sys/vm/overcommit_memory", "r");
    if (policy != NULL) {
        if (fread(&strict, 1, 1, policy) != 1)
            strict = '0';
        (void)fclose(policy);
    }
    if (strict == '2')
        skip();
    /* 64 GiB of address space; a build that touched it would be killed or take seconds */
    assert_int_equal(lt_arena_new("test", &lt_memory_host, (size_t)64 << 30, &a), LT_OK);
    assert_int_equal(lt_arena_alloc(a, "far", (size_t)63 << 30, &p), LT_OK);
    ((char *)p)[((size_t)63 << 30) - 1] = 1;
    lt_arena_free(&a);
}

/* A model of ten thousand layers; the table of blocks grows under them. */
static void many_blocks_keep_their_places(void **state)
{
    (void)state;
    enum { BLOCKS = 10000 };
    lt_arena *a = NULL;
    void *p = NULL, *first = NULL;
    lt_mark mark = {0};
    assert_int_equal(lt_arena_new("test", &lt_memory_host, (size_t)BLOCKS * 64, &a), LT_OK);
    for (int i = 0; i < BLOCKS; i++) {
        if (i == 100)
            mark = lt_arena_mark(a);
        assert_int_equal(lt_arena_alloc(a, "piece", 1, &p), LT_OK);
        first = i == 0 ? p : first;
        assert_int_equal((uintptr_t)p % 64, 0);
    }
    assert_int_equal(lt_arena_used(a), BLOCKS * 64);
    lt_arena_release(a, mark);
    assert_int_equal(lt_arena_used(a), 100 * 64);
    assert_int_equal(lt_arena_alloc(a, "again", 1, &p), LT_OK);
    lt_arena_release(a, (lt_mark){0});
    assert_int_equal(lt_arena_alloc(a, "again", 1, &p), LT_OK);
    assert_ptr_equal(p, first);
    lt_arena_free(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_apart),
        cmocka_unit_test(marks_give_back),
        cmocka_unit_test(full_arena_names_who_filled_it),
        cmocka_unit_test(impossible_arenas_are_refused),
        cmocka_unit_test(capacity_costs_nothing_until_used),
        cmocka_unit_test(many_blocks_keep_their_places),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
