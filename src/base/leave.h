/* leave.h - how a process ends before its time: one line, then gone.
 *
 * What ends a process prints one line here and leaves here: a signal (stop.h), the failure
 * detector, the start's limit, and, through lt_world_abort, a rank that failed alone. The caller
 * decides which of several ranks prints. How long each waits is here in one table, since the times
 * only make sense together:
 *
 *     what                              waits    because
 *     a signal, nothing to finish       -        no other rank has to print
 *     the rank that prints              0.3 s    its line and its last heartbeats travel
 *     the others                        1.5 s    a launcher ends all when the first one is gone:
 *                                                the printing rank must be it
 *     a signal that all ranks have      2 s      rank 0 prints; if it cannot, another one does
 *     a start without all ranks         + 2 s    above rank 0: it may be rank 0 that is missing
 *     its own failure, in an agreement  3 s      others may be where they cannot come to it;
 *                                                + 0.1 s a rank, so that not all print at once
 *     a peer's failure, there           10 s     the rank with the cause prints and goes first
 *     a signal, in order                8 s      the present step ends; launchers kill later
 *
 * Functions marked H are for signal handlers too. Local, never fail. Tested: tests/faults. */
#ifndef LT_LEAVE_H
#define LT_LEAVE_H

/* sysexits' EX_TEMPFAIL: the same command goes on, or begins again. */
enum { LT_EXIT_RESUMABLE = 75 };

enum {
    LT_LEAVE_PRINTER_MS = 300,
    LT_LEAVE_SILENT_MS = 1500,
    LT_LEAVE_SIGNAL_LATER_MS = 2000,
    LT_LEAVE_START_LATER_S = 2,
    LT_LEAVE_OWN_MS = 3000,
    LT_LEAVE_OWN_TURN_MS = 100,
    LT_LEAVE_HEARD_MS = 10000,
    LT_LEAVE_IN_ORDER_S = 8
};

enum { LT_LEAVE_LINE_BYTES = 2048 };

/* "longtake: error: LINE MORE" and, if hint is not "", "longtake: hint: HINT", in one write, to
 * stderr and the log; the run's record gets line, with exit code 75. H */
void lt_leave_say(const char *line, const char *more, const char *hint);

/* This thread's error with its hint, and with its trace if verbose, in one write, to stderr and the
 * log. */
void lt_leave_say_error(int verbose);

/* Removes what is unfinished on disk, waits, and ends the process at once: other threads may be
 * stuck where nothing reaches them. Does not return. H */
_Noreturn void lt_leave(int wait_ms, int exit_code);

#endif
