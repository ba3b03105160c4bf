/* test_resident.c - what this process holds, as the system counts it.
 * Goal: parts and whole agree, touching memory shows, the peak stays when it is given back. Method:
 * maps 64 MiB and fills it. Ranks: 1. Needs: /proc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <sys/mman.h>

#include "base/resident.h"

static void touched_memory_shows(void **state)
{
    (void)state;
    const size_t bytes = 64 << 20;
    const lt_resident before = lt_resident_now();
    assert_true(before.now > 0 && before.peak >= before.now && before.addresses >= before.now);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(p != MAP_FAILED);
    const lt_resident mapped = lt_resident_now();
    memset(p, 1, bytes);
    const lt_resident filled = lt_resident_now();
    assert_int_equal(munmap(p, bytes), 0);
    const lt_resident after = lt_resident_now();
    const int64_t most = (int64_t)bytes / 10 * 9; /* the counters may lag by some pages */
    assert_true(mapped.addresses - before.addresses >= (int64_t)bytes);
    assert_true(mapped.data - before.data >= (int64_t)bytes);
    assert_true(mapped.now - before.now < most);
    assert_true(filled.now - mapped.now >= most && filled.anon - mapped.anon >= most);
    assert_true(filled.now - after.now >= most && after.peak - before.now >= most);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(touched_memory_shows)};
    return cmocka_run_group_tests_name("resident", tests, NULL, NULL);
}
