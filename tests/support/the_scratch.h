/* the_scratch.h - one temporary folder, s, for all tests of a program, as their group's fixture.
 * Included last: other headers have an s of their own in their functions.
 *     cmocka_run_group_tests_name("film", tests, scratch_setup, scratch_teardown) */
#ifndef LT_TEST_THE_SCRATCH_H
#define LT_TEST_THE_SCRATCH_H

#include "tests/support/scratch.h"

static scratch s;

static inline int scratch_setup(void **state)
{
    (void)state;
    scratch_new(&s);
    return 0;
}

static inline int scratch_teardown(void **state)
{
    (void)state;
    scratch_free(&s);
    return 0;
}

#endif
