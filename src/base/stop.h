/* stop.h - signals that ask a run to end in order.                                Level 0: base
 *
 * SIGTERM, SIGINT and SIGUSR1 end a program as ever until somebody can do better: the ranks of a
 * job first look for the reason (a launcher sends SIGTERM when a rank died), and a denoising ends
 * after its present step. All functions are Local and never fail. */
#ifndef LT_STOP_H
#define LT_STOP_H

/* From here on the three signals only set a flag, which somebody must read. Call once. */
void lt_stop_catch(void);
/* The signal that came, 0: none. */
int lt_stop_signal(void);
/* Between these two calls somebody looks at lt_stop_asked, so that a signal may wait for it; if the
 * process still lives 8 s later, it leaves with exit code 75 and, on the rank that speaks, one
 * line. */
void lt_stop_arm(int speaks);
void lt_stop_disarm(void);
/* It was so when the first signal came. */
int lt_stop_was_armed(void);
/* 1 if the run shall end now, in order. */
int lt_stop_asked(void);
/* A signal turned out to be the user's own: lt_stop_asked says so, and the 8 s begin. */
void lt_stop_ask(void);
/* Somebody else decides what a signal means and calls lt_stop_ask (1), or it means what it says
 * (0, at the start). */
void lt_stop_hold(int held);
/* "SIGTERM" */
const char *lt_stop_name(int signal_number);

#endif
