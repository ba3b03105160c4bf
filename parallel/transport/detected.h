/* detected.h - what the failure detector has found, for the code that waits for a peer.
 *
 * The detector writes; a transport, and a rank that failed, read without knowing the detector.
 * All functions are Local, never fail, and may be called from any thread. */
#ifndef LT_DETECTED_H
#define LT_DETECTED_H

/* ---- the detector ---- */

/* The detector is at work: a peer whose heartbeats stay away for silence_s counts as dead. */
void lt_detected_begin(double silence_s);
void lt_detected_end(void);
/* A rank made progress, at this time (lt_seconds). */
void lt_detected_moved(double now);
/* The job ends, and the detector ends this process. */
void lt_detected_ending(void);

/* ---- others ---- */

/* Time since progress: since a watched rank began a collective, a message or a step; very long
 * where none is watched. */
double lt_detected_since_progress_s(void);
/* The library behind the transport failed: a rank may be dead. Waits until the detector knows,
 * which then ends the process; returns after the silence, or at once if no rank is watched. */
void lt_detected_wait_for_verdict(void);
/* Does not return if the job is ending already. */
void lt_detected_stay(void);

#endif
