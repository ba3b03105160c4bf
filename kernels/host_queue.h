/* host_queue.h - work for the host, in order, on a thread of its own.             Level 1: kernels
 *
 * What a backend whose ops finish at once (cpu) makes its comm queue of: collectives then run while
 * the main thread computes. Who waits for a piece of work that nobody has begun runs it himself, so
 * that a wait that follows at once costs no change of threads.
 *
 * The first failure is kept: nothing runs after it, and every wait returns it with its text.
 * All functions are Local; one thread pushes, any may wait. */
#ifndef LT_HOST_QUEUE_H
#define LT_HOST_QUEUE_H

#include "kernels/backend.h"

typedef struct lt_host_queue lt_host_queue;

/* begin (may be NULL) is called first on the new thread, which takes no signals.
 * Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_host_queue_open(void (*begin)(void), lt_host_queue **out);
/* Runs what is left, then ends the thread. Blocking. */
void lt_host_queue_close(lt_host_queue **queue);

/* Takes work, which is malloc'ed, also when it fails: freed after fn. Errors: LT_ENOMEM. */
lt_status lt_host_queue_push(lt_host_queue *queue, lt_host_fn fn, void *work);
/* How many pieces were pushed so far: what a wait for all of them names. */
uint64_t lt_host_queue_last(lt_host_queue *queue);
/* Until the first seq pieces have run. Blocking. Errors: the kept failure. */
lt_status lt_host_queue_wait(lt_host_queue *queue, uint64_t seq);
/* 1: all has run. */
int lt_host_queue_idle(lt_host_queue *queue);
/* Until all has run, whatever comes of it: keeps the error text. Blocking. */
void lt_host_queue_drain(lt_host_queue *queue);
/* As backend.h's give_up. */
void lt_host_queue_give_up(lt_host_queue *queue);

#endif
