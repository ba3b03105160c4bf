/* test_pulse.c - work that tells of itself while a step lasts.
 * Goal: kernels report their operations to whoever listens on their thread, and to nobody else;
 * with them the bar has an ETA before the first unit is done, whole at 40 columns. Method: a linear
 * layer on cpu; a pseudo terminal in the place of stderr. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/log.h"
#include "base/pulse.h"
#include "kernels/kernels.h"
#include "run/progress.h"

static void add(void *ctx, double work) { *(double *)ctx += work; }

static void *elsewhere(void *unused)
{
    (void)unused;
    lt_pulse(1e9);
    return NULL;
}

static void is_heard_on_its_thread(void **state)
{
    (void)state;
    double heard = 0;
    pthread_t thread;
    lt_pulse(1);
    assert_false(lt_pulse_is_heard());
    lt_pulse_listen(add, &heard);
    lt_pulse(2);
    assert_int_equal(pthread_create(&thread, NULL, elsewhere, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    lt_pulse_listen(NULL, NULL);
    lt_pulse(4);
    assert_true(heard == 2);
}

static void kernels_report(void **state)
{
    (void)state;
    enum { ROWS = 3, IN = 8, OUT = 5 };
    double heard = 0;
    float *weights = calloc(IN * OUT, sizeof *weights);
    lt_queue *q = NULL;
    lt_arena *arena = NULL;
    lt_linear *linear = NULL;
    lt_tensor x, y;
    const lt_linear_spec spec = {
        .in = IN, .out = OUT, .weights = weights, .weights_dtype = LT_F32, .compute = LT_F32};
    assert_int_equal(lt_backend_open(&lt_backend_cpu, 0, 1), LT_OK);
    assert_int_equal(lt_backend_cpu.queue_open(LT_QUEUE_COMPUTE, &q), LT_OK);
    assert_int_equal(lt_arena_new("test", lt_backend_cpu.memory, 1 << 16, &arena), LT_OK);
    assert_int_equal(lt_linear_prepare(&lt_backend_cpu, arena, "w", &spec, &linear), LT_OK);
    assert_int_equal(lt_tensor_new(arena, "x", LT_F32, &x, LT_DIMS(ROWS, IN)), LT_OK);
    assert_int_equal(lt_tensor_new(arena, "y", LT_F32, &y, LT_DIMS(ROWS, OUT)), LT_OK);
    assert_int_equal(lt_fill(q, &x, 1), LT_OK);
    lt_pulse_listen(add, &heard);
    assert_int_equal(lt_linear_apply(q, linear, &x, LT_ACT_NONE, &y), LT_OK);
    lt_pulse_listen(NULL, NULL);
    assert_true(heard == 2.0 * ROWS * IN * OUT);
    lt_linear_free(&linear);
    lt_arena_free(&arena);
    lt_backend_cpu.queue_close(&q);
    lt_backend_cpu.close();
    free(weights);
}

/* What came out of the terminal's other side so far. */
static size_t gather(int fd, char *text, size_t used, size_t bytes)
{
    const ssize_t n = read(fd, text + used, bytes - used - 1);
    used += n > 0 ? (size_t)n : 0;
    text[used] = '\0';
    return used;
}

static void bar_has_an_eta_in_the_first_unit(void **state)
{
    (void)state;
    static char text[1 << 16];
    const struct winsize size = {.ws_row = 24, .ws_col = 40};
    const int us = posix_openpt(O_RDWR | O_NOCTTY), before = dup(STDERR_FILENO);
    assert_true(us >= 0 && before >= 0 && grantpt(us) == 0 && unlockpt(us) == 0);
    const int shown = open(ptsname(us), O_RDWR | O_NOCTTY);
    assert_true(shown >= 0 && ioctl(shown, TIOCSWINSZ, &size) == 0);
    assert_int_equal(fcntl(us, F_SETFL, O_NONBLOCK), 0);
    assert_true(dup2(shown, STDERR_FILENO) >= 0);
    lt_progress *p = NULL;
    assert_int_equal(lt_progress_open(-1, 0, &p), LT_OK);
    lt_progress_work(p, "denoise", 1e6);
    lt_progress_stage(p, "denoise", "evaluation", 20);
    size_t used = 0;
    const double began = lt_seconds();
    lt_pulse(1e5);
    while (strstr(text, "ETA") == NULL && lt_seconds() - began < 20) {
        lt_pulse(0); /* it draws by time */
        used = gather(us, text, used, sizeof text);
    }
    lt_progress_close(&p);
    assert_true(dup2(before, STDERR_FILENO) >= 0);
    (void)close(before);
    (void)close(shown);
    (void)close(us);
    const char *eta = strstr(text, "0/20, ETA ");
    if (eta == NULL)
        fail_msg("want 0/20 with an ETA, found: %s", text);
}

/* A line for logs behind the first unit of a stage that takes long: the time left goes by weights,
 * and not by what an earlier start has done. */
static void time_left_goes_by_weights(void **state)
{
    (void)state;
    static char text[1 << 16];
    static const struct {
        const char *name;
        int behind;         /* of 40 */
        double all, weight; /* 0: not told */
        double units;       /* like the first one that are left */
        const char *says;
    } cases[] = {
        {"all alike", 0, 0, 0, 39, "1/40 evaluations, window 2/9, "},
        /* 20 of weight 1, then 20 of weight 9: the first one is a two-hundredth of all */
        {"cheap ones first", 0, 200, 1, 199, "1/40 evaluations, window 2/9, "},
        {"resumed", 15, 0, 0, 24, "16/40 evaluations, window 2/9, "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_progress *p = NULL;
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
        const int before = dup(STDERR_FILENO);
        assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
        assert_int_equal(lt_progress_open(-1, 0, &p), LT_OK);
        const double began = lt_seconds();
        lt_progress_stage(p, "denoise", "evaluation", 40);
        lt_progress_weigh(p, cases[i].all);
        if (cases[i].behind > 0)
            lt_progress_from(p, cases[i].behind);
        lt_progress_weight(p, cases[i].weight);
        lt_progress_window(p, 2, 9);
        (void)usleep(500000);
        lt_progress_step(p, cases[i].behind + 1);
        const double took = lt_seconds() - began; /* all of it, so at least what it counts */
        lt_progress_close(&p);
        assert_true(dup2(before, STDERR_FILENO) >= 0);
        (void)close(before);
        memset(text, 0, sizeof text);
        (void)gather(ends[0], text, 0, sizeof text);
        (void)close(ends[0]);
        (void)close(ends[1]);
        const char *eta = strstr(text, "ETA ");
        if (strstr(text, cases[i].says) == NULL || eta == NULL)
            fail_msg("%s: want \"%s\" and an ETA, found %s", cases[i].name, cases[i].says, text);
        double left = atof(eta + 4);
        if (strncmp(eta + 4 + strspn(eta + 4, "0123456789"), " min", 4) == 0)
            left = 60 * left + atof(strstr(eta, "min ") + 4);
        /* minutes are said in whole seconds */
        if (!(left >= cases[i].units * 0.5 - 1.1 && left <= cases[i].units * took + 1.1))
            fail_msg("%s: a unit took 0.5 to %.3f s: want %g of them left, found %s", cases[i].name,
                     took, cases[i].units, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(is_heard_on_its_thread),
                                       cmocka_unit_test(kernels_report),
                                       cmocka_unit_test(bar_has_an_eta_in_the_first_unit),
                                       cmocka_unit_test(time_left_goes_by_weights)};
    return cmocka_run_group_tests_name("pulse", tests, NULL, NULL);
}
