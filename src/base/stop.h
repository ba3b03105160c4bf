/* stop.h - signals that ask a program to end.
 *
 * HUP, INT, QUIT, TERM, USR1, USR2 and XCPU end it with one line on stderr and exit code 75:
 *
 *   at once     where nothing can be finished: what is unfinished on disk is removed first
 *   in order    from lt_stop_arm on, where the run looks at lt_stop_asked: after the present step,
 *               at once if that takes longer than 8 s, for a second INT a second later, for QUIT
 *
 * A run arms as its folder is made, and looks between steps, clips, and slices of weights.
 *
 * A line at once says what will happen. Ranks of a job first look for the reason, since a launcher
 * sends SIGTERM when a rank died: there the detector decides (parallel/liveness). XFSZ is
 * ignored, so that a write gives EFBIG and its own line. What the parent ignores (nohup) stays
 * ignored. A time limit (lt_stop_limit) acts like a signal, of the run's own clock. All functions
 * are Local, and but for lt_stop_check none fails; those marked H are for signal handlers too. */
#ifndef LT_STOP_H
#define LT_STOP_H

#include <stddef.h>

#include "base/status.h"

/* Call once, as the program starts. prints: this rank prints the lines. */
void lt_stop_catch(int prints);
/* From here on all has been said and done: a signal ends the process with this exit code. */
void lt_stop_finish(int exit_code);

/* What the run is at, for the line: "start", "text", "load", ...; NULL: nothing. Must live as
 * long. */
void lt_stop_stage(const char *stage);
/* This run folder can be gone on with (lt_stop_resumes), or holds whole latents (lt_stop_keeps);
 * NULL: nothing is kept. Copied. */
void lt_stop_resumes(const char *run);
void lt_stop_keeps(const char *run);
/* The command that goes on, or makes a film of them; "" if nothing is kept. H */
const char *lt_stop_hint(void);
/* What must not be cut off is under way: the 8 s last until it is not. */
void lt_stop_shield(int on);

/* The signal that came, 0: none. H */
int lt_stop_signal(void);
/* From here on the run looks at lt_stop_asked, or the process ends soon: a signal may wait. */
void lt_stop_arm(int prints);
int lt_stop_is_armed(void);
/* 1 if the run shall end now, in order. */
int lt_stop_asked(void);
/* The same as a status, for an agreement: asked between two pieces of work. Errors: LT_ETEMP in
 * lt_stop_words' words, with lt_stop_hint. */
lt_status lt_stop_check(void);
/* It shall, for this signal: lt_stop_asked says so from here on, and the 8 s begin. H */
void lt_stop_ask(int signal_number);
/* The 8 s are over, or a second signal came. */
int lt_stop_is_late(void);
/* The stop has been agreed on and the process ends: what comes now is a launcher's, which ends
 * those that are late, and no second signal. */
void lt_stop_ends(void);

/* All shall have ended so many seconds after the program's start: LT_STOP_GRACE_S before that, or
 * at half of it, the run is asked to stop as by a signal. 0: no limit. */
enum { LT_STOP_GRACE_S = 10 };
void lt_stop_limit(double seconds);
/* A step that took so long has ended: is there time for one more? If not, the run is asked to stop
 * now. */
void lt_stop_step(double seconds);
/* Somebody else decides what a signal means (1), or it means what it says (0, at the start). */
void lt_stop_hold(int held);

/* "SIGTERM", "the time limit"; "a signal" for those that are none of the above. H */
const char *lt_stop_name(int signal_number);
/* "stopped by SIGTERM while the text is encoded: nothing is kept", the line's words. H */
const char *lt_stop_words(int signal_number, char *out, size_t bytes);

#endif
