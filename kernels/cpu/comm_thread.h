/* comm_thread.h - work for the host, in order, on a thread of its own.
 *
 * What a backend whose ops finish at once (cpu) makes its comm queue of: collectives then run while
 * the main thread computes. Who waits for a piece of work that nobody has begun runs it himself, so
 * that a wait that follows at once costs no change of threads.
 *
 * The first failure is kept: nothing runs after it, and every wait returns it with its text.
 * All functions are Local; one thread pushes, any may wait. */
#ifndef LT_COMM_THREAD_H
#define LT_COMM_THREAD_H

#include "kernels/backend.h"

typedef struct lt_comm_thread lt_comm_thread;

/* begin (may be NULL) is called first on the new thread, which takes no signals.
 * Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_comm_thread_open(void (*begin)(void), lt_comm_thread **out);
/* Runs what is left, then ends the thread. Blocking. */
void lt_comm_thread_close(lt_comm_thread **queue);

/* work [bytes] is copied. Blocking where too much is queued already, until that has run. Errors:
 * LT_ENOMEM: more than half of the room for queued work. */
lt_status lt_comm_thread_push(lt_comm_thread *queue, lt_host_fn fn, const void *work, size_t bytes);
/* The thread may begin with what was pushed. Until then only waits, drains and close run it. Any
 * thread. */
void lt_comm_thread_begin(lt_comm_thread *queue);
/* How many have run. Any thread, takes no lock. */
uint64_t lt_comm_thread_done(const lt_comm_thread *queue);
/* How many pieces were pushed so far: what a wait for all of them names. */
uint64_t lt_comm_thread_last(lt_comm_thread *queue);
/* Until the first seq pieces have run. Blocking. Errors: the kept failure. */
lt_status lt_comm_thread_wait(lt_comm_thread *queue, uint64_t seq);
/* 1: all has run. */
int lt_comm_thread_idle(lt_comm_thread *queue);
/* Until all has run, whatever comes of it: keeps the error text. Blocking. */
void lt_comm_thread_drain(lt_comm_thread *queue);
/* As backend.h's give_up. */
void lt_comm_thread_give_up(lt_comm_thread *queue);

#endif
