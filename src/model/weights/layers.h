/* layers.h - layers of a network that take turns in memory.
 *
 * A network of many equal layers may be larger than the memory that it has. Then its first
 * `resident` layers stay and the others share two slots:
 *
 *     phase arena   | layer 0 | ... | layer R-1 |  slot 0  |  slot 1  |
 *                                                R, R+2, ..  R+1, R+3, ..
 *
 * Each layer is prepared once, in the slot where it will compute; its bytes, as the backend packed
 * them, are kept and come back to the same addresses, so that a prepared layer stays what it was
 * and bits do not depend on what is resident. They are kept
 *
 *   by the ranks of mesh->tokens, who compute with the same weights: each has a share in its phase
 *   arena, and they gather each layer from each other (engine->layers_at_peers, several ranks);
 *   else beside a device in (pinned) host memory, beside a CPU in a file (layer_file.h).
 *
 * While layer i computes, the bytes of the next one come, by the comm queue, the copy queue, or a
 * thread. Layer 0 always stays: while it computes, the first one that does not comes back. So at
 * least three layers' room is needed, and of a network whose layers are not more than that all
 * stay.
 *
 *     use(i) -> queue what layer i computes on `compute` -> done(i), i = 0, 1, ... count - 1, again
 *
 * Layers of one object are of one size. Where they are gathered, check and use are Collective on
 * mesh->tokens, called alike there; between two rounds nothing of it is under way. All else is
 * Local. On dry, memory is counted. Tested: tests/unit/test_layers.c, tests/ranks/test_fit.c. */
#ifndef LT_LAYERS_H
#define LT_LAYERS_H

#include "model/weights/weights.h"

typedef struct lt_layers lt_layers;

/* `count` layers that weights will prepare; engine->resident_layers of them stay (0: all). what:
 * for messages, a literal. weights are borrowed and outlive this. Errors: LT_ENOMEM. */
lt_status lt_layers_new(lt_weights *weights, const char *what, int64_t count, lt_layers **out);
/* How many stay. */
int64_t lt_layers_resident(const lt_layers *layers);

/* What weights prepare in between is layer i's; i = 0, 1, ... in order. end is Blocking where the
 * layer does not stay. Local. Errors: LT_ENOMEM, LT_ECREATE, LT_EIO. */
lt_status lt_layers_begin(lt_layers *layers, int64_t i);
lt_status lt_layers_end(lt_layers *layers, int64_t i);
/* Once all are loaded, on all ranks: those that gather layers have prepared them alike. Errors:
 * LT_EUNAVAIL (processors of two kinds). */
lt_status lt_layers_check(lt_layers *layers);

/* Layer i's bytes are there for what comes next on the compute queue. On a device Queued; beside a
 * CPU Blocking until they are. Errors: LT_EIO, LT_EDEVICE, the transport's. */
lt_status lt_layers_use(lt_layers *layers, int64_t i);
/* All that computes with layer i has been queued on the compute queue. */
lt_status lt_layers_done(lt_layers *layers, int64_t i);

/* Before the weights. Waits for the queues. NULL is fine. Blocking. */
void lt_layers_close(lt_layers **layers);

#endif
