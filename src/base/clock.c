/* clock.c - what time it is. */
#include "base/clock.h"

#include <pthread.h>
#include <stdint.h>
#include <time.h>

#include "base/text.h"

static pthread_once_t start_once = PTHREAD_ONCE_INIT;
static struct timespec start;

static void start_set(void) { (void)clock_gettime(CLOCK_MONOTONIC, &start); }

double lt_seconds(void)
{
    struct timespec now;
    (void)pthread_once(&start_once, start_set);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start.tv_sec) + 1e-9 * (double)(now.tv_nsec - start.tv_nsec);
}

/* Days since 1970 to year, month, day, with years that begin in March; gmtime_r takes a lock.
 * Source: Howard Hinnant, "chrono-compatible low-level date algorithms", civil_from_days. */
static char *put_date(char *at, int64_t days)
{
    const int64_t z = days + 719468, era = z / 146097, doe = z - era * 146097;
    const int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    const int64_t day = doy - (153 * mp + 2) / 5 + 1, month = mp < 10 ? mp + 3 : mp - 9;
    at = lt_text_digits(at, yoe + era * 400 + (month <= 2), 4);
    *at++ = '-';
    at = lt_text_digits(at, month, 2);
    *at++ = '-';
    return lt_text_digits(at, day, 2);
}

const char *lt_utc_now(char out[LT_UTC_BYTES])
{
    struct timespec now = {0, 0};
    (void)clock_gettime(CLOCK_REALTIME, &now);
    const int64_t s = now.tv_sec > 0 ? now.tv_sec : 0; /* a clock before 1970 is no clock */
    char *at = put_date(out, s / 86400);
    *at++ = 'T';
    at = lt_text_digits(at, s / 3600 % 24, 2);
    *at++ = ':';
    at = lt_text_digits(at, s / 60 % 60, 2);
    *at++ = ':';
    at = lt_text_digits(at, s % 60, 2);
    *at++ = '.';
    at = lt_text_digits(at, now.tv_nsec / 1000000, 3);
    *at++ = 'Z';
    *at = '\0';
    return out;
}
