/* comm_thread.h - work items for the host, run in order by a thread of its own.
 *
 * What a backend whose ops finish at once (cpu) makes its comm queue of: collectives then run while
 * the main thread computes. A thread that waits for a work item which has not begun runs it itself,
 * so that a wait that follows at once costs no change of threads.
 *
 * The first failure is kept: nothing runs after it, and every wait returns it with its text.
 * All functions are Local; one thread pushes, any may wait (docs/design.md 4, threads of a rank).
 * Tested: tests/unit/test_comm_thread.c. */
#ifndef LT_COMM_THREAD_H
#define LT_COMM_THREAD_H

#include "kernels/backend.h"

typedef struct lt_comm_thread lt_comm_thread;

/* begin (may be NULL) is called first on the new thread, which takes no signals.
 * Errors: LT_ENOMEM, LT_EUNAVAIL (no thread). */
lt_status lt_comm_thread_open(void (*begin)(void), lt_comm_thread **out);
/* Runs what is left, then ends the thread. Blocking. */
void lt_comm_thread_close(lt_comm_thread **queue);

/* Queue fn with a copy of context [bytes]. Blocking where the ring of work items is full, until
 * enough of them have run. Errors: LT_ENOMEM: more than half of the ring. */
lt_status lt_comm_thread_push(lt_comm_thread *queue, lt_host_fn fn, const void *context,
                              size_t bytes);
/* The thread may begin with what was pushed. Until then only waits, drains and close run it. Any
 * thread. */
void lt_comm_thread_begin(lt_comm_thread *queue);
/* How many have run. Any thread, takes no lock. */
uint64_t lt_comm_thread_done(const lt_comm_thread *queue);
/* How many work items were pushed so far: what a wait for all of them names. As done. */
uint64_t lt_comm_thread_last(const lt_comm_thread *queue);
/* Until the first seq work items have run. Blocking. Errors: the kept failure. */
lt_status lt_comm_thread_wait(lt_comm_thread *queue, uint64_t seq);
/* 1: all has run. */
int lt_comm_thread_idle(lt_comm_thread *queue);
/* Until all has run, whatever comes of it: keeps the error text. Blocking. */
void lt_comm_thread_drain(lt_comm_thread *queue);
/* As backend.h's cancel. */
void lt_comm_thread_cancel(lt_comm_thread *queue);

#endif
