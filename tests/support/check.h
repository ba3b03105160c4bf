/* check.h - what a test of one rank asks of a result: OK, and distances that a NaN fails.
 * It brings cmocka and what cmocka wants before it. Tests under mpirun take ranks.h's OK, which
 * ends all ranks. */
#ifndef LT_TEST_CHECK_H
#define LT_TEST_CHECK_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/status.h"
#include "tests/support/distance.h"

/* It must succeed: what the library said is the test's message. */
static inline void check_ok(lt_status st, const char *what)
{
    if (st != LT_OK)
        fail_msg("%s: %s: %s", what, lt_status_name(st), lt_error_text());
}
#define OK(expr) check_ok((expr), #expr)

#endif
