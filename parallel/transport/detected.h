/* detected.h - what the failure detector has found, for whoever waits for a peer.
 *
 * The detector writes; a transport, and a rank that failed, read, and need not know it.
 * All functions are Local, never fail, and may be called from any thread. */
#ifndef LT_DETECTED_H
#define LT_DETECTED_H

/* ---- the detector ---- */

/* It is at work: a peer that says nothing for silence_s is dead to it. */
void lt_detected_begin(double silence_s);
void lt_detected_end(void);
/* A rank got on, at this time (lt_seconds). */
void lt_detected_moved(double now);
/* The job ends, and the detector ends this process. */
void lt_detected_ending(void);

/* ---- others ---- */

/* For how long no rank that is watched has begun a collective, a message or a step; very long where
 * nothing is watched. */
double lt_detected_since_progress_s(void);
/* The library behind the transport failed: a rank may be dead. Waits for the detector to find out,
 * in which case it ends the process; returns after the silence, or at once if nothing is watched.
 */
void lt_detected_wait_for_verdict(void);
/* Does not return if the job is ending already. */
void lt_detected_stay(void);

#endif
