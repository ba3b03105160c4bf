/* detector_impl.h - what the detector's files share, no other file. */
#ifndef LT_DETECTOR_IMPL_H
#define LT_DETECTOR_IMPL_H

#include "parallel/liveness/detector.h"
#include "parallel/transport/op_record.h"

/* ---- peers (peers.c) ---- */
/* All up to 64 ranks; beyond, those at distances 1, 2, 4, ... */
int lt_detector_is_near(int from, int to, int size);
/* A pidfd of a rank that runs on this host, -1. */
int lt_detector_process(const lt_detector_peer *peer, const lt_detector_peer *me);
/* The name of the detector's thread, by which other ranks of this host find it in /proc. */
#define LT_DETECTOR_THREAD "lt-watch"
/* Is that process' detector runnable, so that it lacks nothing but a processor? 0 where that is
 * not known. Local. */
int lt_detector_is_starved(int pid);

/* ---- words (words.c) ---- */
/* from, cut to bytes. */
void lt_detector_copy(char *to, size_t bytes, const char *from);
/* Text that came from elsewhere, made fit to be printed: it ends within bytes, and what is no
 * plain letter becomes '?'. */
void lt_detector_tame(char *text, size_t bytes);
/* "at step 3 in sum_partials (tp, call 17)" */
void lt_detector_where(const lt_heartbeat *b, char *out, size_t bytes);
#endif
