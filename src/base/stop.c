/* stop.c - signals that ask a program to end.
 * A handler may do next to nothing: it stores, writes what it puts together here by hand, and
 * leaves (leave.h). */
#include "base/stop.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/leave.h"
#include "base/log.h"
#include "base/text.h"

enum { HINT_BYTES = 1200, SECOND_MS = 1000 };

static atomic_int came, asked, armed, held, shielded, again, ends, says = 1, on_terminal, has_hint;
static atomic_int keeps, resumes;
static _Atomic double limit_s, longest_s; /* 0: none */
static atomic_int exit_code = -1;
static _Atomic int64_t came_ms, asked_ms;
static _Atomic(const char *) at_stage;
static char hint[HINT_BYTES];

static const struct {
    int number;
    const char *name;
} signals[] = {{SIGHUP, "SIGHUP"},   {SIGINT, "SIGINT"},           {SIGQUIT, "SIGQUIT"},
               {SIGTERM, "SIGTERM"}, {SIGUSR1, "SIGUSR1"},         {SIGUSR2, "SIGUSR2"},
               {SIGXCPU, "SIGXCPU"}, {SIGVTALRM, "the time limit"}};
enum { BY_TIME = SIGVTALRM }; /* nobody else sends it */
enum { SIGNAL_COUNT = sizeof signals / sizeof *signals };

static int64_t now_ms(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void add(char *out, size_t bytes, const char *text)
{
    const size_t used = strlen(out), more = strlen(text);
    const size_t fits = used + more < bytes ? more : bytes - 1 - used;
    memcpy(out + used, text, fits);
    out[used + fits] = '\0';
}

static void say(const char *text)
{
    if (atomic_load(&says))
        lt_log_text(text, strlen(text));
}

const char *lt_stop_name(int signal_number)
{
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        if (signals[i].number == signal_number)
            return signals[i].name;
    return "a signal";
}

const char *lt_stop_words(int signal_number, char *out, size_t bytes)
{
    static const struct {
        const char *stage, *words;
    } stages[] = {
        {"text", " while the text is encoded"},   {"load", " while weights are loaded"},
        {"denoise", " while it denoises"},        {"store", " while latents are stored"},
        {"sound", " while the sound is decoded"}, {"decode", " while the film is decoded"}};
    const char *stage = atomic_load(&at_stage);
    assert(bytes > 0);
    out[0] = '\0';
    add(out, bytes, "stopped by ");
    add(out, bytes, lt_stop_name(signal_number));
    for (size_t i = 0; stage != NULL && i < sizeof stages / sizeof *stages; i++)
        if (strcmp(stages[i].stage, stage) == 0)
            add(out, bytes, stages[i].words);
    if (atomic_load(&keeps))
        add(out, bytes, ": the latents are kept");
    else if (atomic_load(&resumes))
        add(out, bytes, ": what is whole is kept");
    else if (stage != NULL && strcmp(stage, "start") == 0)
        add(out, bytes, " before all ranks had come: launchers send it when one of them ended");
    else if (stage != NULL)
        add(out, bytes, ": nothing is kept, the same command begins again");
    return out;
}

static _Noreturn void leave(int signal_number, const char *more)
{
    char words[256];
    (void)lt_stop_words(signal_number, words, sizeof words);
    if (atomic_load(&on_terminal))
        say("\n"); /* behind the terminal's ^C */
    if (atomic_load(&says))
        lt_leave_say(words, more, lt_stop_hint());
    lt_leave(0, LT_EXIT_RESUMABLE);
}

static void late(int signal_number)
{
    (void)signal_number;
    if (atomic_load(&held))
        return;
    if (atomic_load(&shielded)) {
        (void)alarm(1);
        return;
    }
    leave(atomic_load(&came), " (its present step had not ended 8 s later)");
}

static void on_signal(int signal_number)
{
    const int saved = errno;
    int none = 0;
    if (atomic_load(&exit_code) >= 0)
        lt_leave(0, atomic_load(&exit_code));
    const int is_first = atomic_compare_exchange_strong(&came, &none, signal_number);
    if (is_first)
        atomic_store(&came_ms, now_ms());
    const int is_second =
        !is_first && !atomic_load(&ends) && now_ms() - atomic_load(&came_ms) >= SECOND_MS;
    if (is_second || (is_first && signal_number == SIGQUIT))
        atomic_store(&again, 1);
    if (!atomic_load(&held)) {
        if (is_first && atomic_load(&armed) && signal_number != SIGQUIT)
            lt_stop_ask(signal_number);
        else if (atomic_load(&shielded))
            lt_stop_ask(signal_number);
        else if (is_first || !atomic_load(&armed) || is_second)
            leave(atomic_load(&came), "");
    }
    errno = saved;
}

void lt_stop_ask(int signal_number)
{
    char line[160] = "";
    int none = 0;
    if (atomic_compare_exchange_strong(&came, &none, signal_number))
        atomic_store(&came_ms, now_ms());
    none = 0;
    if (!atomic_compare_exchange_strong(&asked, &none, 1))
        return;
    atomic_store(&asked_ms, now_ms());
    if (!atomic_load(&held))
        (void)alarm(LT_LEAVE_IN_ORDER_S);
    const char *stage = atomic_load(&at_stage);
    if (stage == NULL) /* it ends already */
        return;
    if (atomic_load(&on_terminal))
        add(line, sizeof line, "\n");
    add(line, sizeof line, "longtake: ");
    add(line, sizeof line, lt_stop_name(signal_number));
    add(line, sizeof line, ": stopping after this ");
    add(line, sizeof line, strcmp(stage, "denoise") != 0 ? "piece" : "step");
    add(line, sizeof line, ", in 8 s at the latest\n");
    say(line);
}

void lt_stop_catch(int prints)
{
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    atomic_store(&says, prints);
    atomic_store(&on_terminal, isatty(STDERR_FILENO));
    for (size_t i = 0; i < SIGNAL_COUNT; i++)
        if (sigaction(signals[i].number, NULL, &before) != 0 || before.sa_handler != SIG_IGN)
            (void)sigaction(signals[i].number, &action, NULL);
    action.sa_handler = late;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)signal(SIGXFSZ, SIG_IGN);
}

void lt_stop_finish(int code) { atomic_store(&exit_code, code); }
void lt_stop_stage(const char *stage) { atomic_store(&at_stage, stage); }

/* "`before RUN after", fit for a terminal. */
static void set_hint(const char *before, const char *run, const char *after)
{
    char word[HINT_BYTES - 80];
    atomic_store(&has_hint, 0);
    hint[0] = '\0';
    add(hint, sizeof hint, before);
    add(hint, sizeof hint, lt_text_quoted(run, word, sizeof word));
    add(hint, sizeof hint, after);
    for (char *p = hint; *p != '\0'; p++)
        if ((*p > 0 && *p < ' ') || *p == 0x7f)
            *p = '?';
    atomic_store(&has_hint, 1);
}

void lt_stop_resumes(const char *run)
{
    atomic_store(&resumes, run != NULL);
    if (run != NULL)
        set_hint("`longtake render --resume ", run, "` goes on");
    else
        atomic_store(&has_hint, 0);
}

void lt_stop_keeps(const char *run)
{
    atomic_store(&keeps, run != NULL);
    if (run != NULL && !atomic_load(&resumes))
        set_hint("`longtake decode ", run, " -o OUT` makes the film of its latents");
    else if (run == NULL && !atomic_load(&resumes))
        atomic_store(&has_hint, 0);
}

const char *lt_stop_hint(void) { return atomic_load(&has_hint) ? hint : ""; }
void lt_stop_shield(int on) { atomic_store(&shielded, on); }
int lt_stop_signal(void) { return atomic_load(&came); }
int lt_stop_asked(void) { return atomic_load(&asked); }
void lt_stop_hold(int on) { atomic_store(&held, on); }

lt_status lt_stop_check(void)
{
    char words[256];
    if (!atomic_load(&asked))
        return LT_OK;
    if (lt_stop_hint()[0] != '\0')
        lt_hint("%s", lt_stop_hint());
    LT_FAIL(LT_ETEMP, "%s", lt_stop_words(atomic_load(&came), words, sizeof words));
}

int lt_stop_is_armed(void) { return atomic_load(&armed); }

int lt_stop_is_late(void)
{
    return atomic_load(&asked) && !atomic_load(&shielded) && !atomic_load(&ends) &&
           (atomic_load(&again) || now_ms() - atomic_load(&asked_ms) > 1000 * LT_LEAVE_IN_ORDER_S);
}

void lt_stop_ends(void) { atomic_store(&ends, 1); }

void lt_stop_limit(double seconds)
{
    timer_t timer;
    struct sigevent event;
    struct itimerspec when;
    const double grace = seconds > 2 * LT_STOP_GRACE_S ? LT_STOP_GRACE_S : seconds / 2;
    const double in = seconds - grace - lt_seconds();
    if (!(seconds > 0))
        return;
    atomic_store(&limit_s, seconds - grace);
    memset(&event, 0, sizeof event);
    memset(&when, 0, sizeof when);
    event.sigev_notify = SIGEV_SIGNAL;
    event.sigev_signo = BY_TIME;
    when.it_value.tv_sec = in > 0 ? (time_t)in : 0;
    when.it_value.tv_nsec = in > 0 ? (long)((in - (double)(time_t)in) * 1e9) : 0;
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0)
        when.it_value.tv_nsec = 1;
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &when, NULL) != 0)
        lt_warn("--time-limit: no timer (%s): the run looks at the clock after its steps alone",
                strerror(errno));
}

void lt_stop_step(double seconds)
{
    const double limit = atomic_load(&limit_s), longest = atomic_load(&longest_s);
    if (seconds > longest)
        atomic_store(&longest_s, seconds);
    if (limit > 0 && lt_seconds() + (seconds > longest ? seconds : longest) > limit)
        lt_stop_ask(BY_TIME);
}

void lt_stop_arm(int prints)
{
    atomic_store(&says, prints);
    atomic_store(&armed, 1);
}
