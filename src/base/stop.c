/* stop.c - signals that ask a run to end in order.                                Level 0: base
 * A handler may do next to nothing: it stores the number and, where nobody could act on it, gives
 * the signal back its old meaning and sends it again. */
#include "base/stop.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/new_file.h"
#include "base/record.h"

enum { PATIENCE_S = 8, EXIT_RESUMABLE = 75 };

static atomic_int came, came_armed, asked, armed, held, speaks;

static void late(int signal_number)
{
    static const char text[] = "longtake: error: stopped by a signal: its work had not ended 8 s "
                               "later; what the run folder holds is kept\n";
    (void)signal_number;
    if (atomic_load(&speaks))
        lt_record_last(text + strlen("longtake: error: "));
    if (!atomic_load(&speaks)) /* nor may it look like a rank that was lost before one has spoken */
        (void)nanosleep(&(struct timespec){1, 200000000}, NULL);
    else
        lt_log_text(text, sizeof text - 1);
    lt_new_file_abandon();
    _exit(EXIT_RESUMABLE);
}

void lt_stop_ask(void)
{
    atomic_store(&asked, 1);
    (void)alarm(PATIENCE_S);
}

static void on_signal(int signal_number)
{
    if (atomic_load(&came) == 0)
        atomic_store(&came_armed, atomic_load(&armed));
    atomic_store(&came, signal_number);
    if (atomic_load(&held))
        return;
    if (atomic_load(&armed)) {
        lt_stop_ask();
        return;
    }
    lt_new_file_abandon();
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

void lt_stop_catch(void)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGUSR1};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    (void)sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        (void)sigaction(numbers[i], &action, NULL);
    action.sa_handler = late;
    (void)sigaction(SIGALRM, &action, NULL);
}

int lt_stop_signal(void) { return atomic_load(&came); }
int lt_stop_was_armed(void) { return atomic_load(&came_armed); }
int lt_stop_asked(void) { return atomic_load(&asked); }
void lt_stop_hold(int on) { atomic_store(&held, on); }

void lt_stop_arm(int speaks_here)
{
    atomic_store(&speaks, speaks_here);
    atomic_store(&armed, 1);
}

void lt_stop_disarm(void) { atomic_store(&armed, 0); }

const char *lt_stop_name(int signal_number)
{
    return signal_number == SIGTERM   ? "SIGTERM"
           : signal_number == SIGINT  ? "SIGINT"
           : signal_number == SIGUSR1 ? "SIGUSR1"
                                      : "a signal";
}
