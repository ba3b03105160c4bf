/* layer_home.h - where the bytes of layers are kept that take turns (layers.h).
 *
 *   peers   each rank of a group that computes with the same weights keeps a share of each layer;
 *           the others' shares come over the comm queue
 *   host    beside a device: pinned host memory, by the copy queue
 *   file    beside a CPU: layer_file.h, by its thread
 *
 * A layer has an index among those that are kept, and a place (0 or 1) where its bytes come to: a
 * view of whole words, `bytes` long. On dry, memory is counted and exchanges are too. Peers:
 * bring and check are Collective on mesh->tokens, in the same order. All else is Local. */
#ifndef LT_LAYER_HOME_H
#define LT_LAYER_HOME_H

#include "model/weights/layer_file.h"
#include "parallel/context.h"

/* Of what a place has and waits for. */
typedef struct lt_layer_events {
    lt_event came; /* the bytes are there */
    lt_event left; /* what computed with the place's last layer has run */
} lt_layer_events;

typedef struct lt_layer_home lt_layer_home;

/* For `count` layers of `bytes` each, a multiple of 64; peers are taken where engine says so and
 * there are some. what: for messages, a literal. Errors: LT_ENOMEM, LT_ECREATE. */
lt_status lt_layer_home_new(lt_engine *engine, const char *what, size_t bytes, int64_t count,
                            lt_layer_home **out);
/* The next layer's bytes, which are in `layer`. Blocking. Errors: LT_EIO, the backend's. */
lt_status lt_layer_home_keep(lt_layer_home *home, const lt_tensor *layer);
/* Have the ranks kept the same bytes? Once all have kept all. Blocking. Errors: LT_EUNAVAIL. */
lt_status lt_layer_home_check(lt_layer_home *home);

/* Layer `index` begins to come to `to` at this place, once events->left has happened. */
lt_status lt_layer_home_bring(lt_layer_home *home, int64_t index, int place, const lt_tensor *to,
                              lt_layer_events *events);
/* What is queued on compute from here on finds what was brought to the place last. Errors: LT_EIO,
 * the backend's, the transport's. */
lt_status lt_layer_home_wait(lt_layer_home *home, int place, const lt_layer_events *events);
/* Is what is brought ahead over the end of a round allowed to be under way between two rounds? */
int lt_layer_home_may_wait(const lt_layer_home *home);

/* Waits for what is under way. NULL is fine. Blocking. */
void lt_layer_home_close(lt_layer_home **home);

#endif
