/* mesh.h - ranks as axes: win x cfg x ring x uly x tp, outer to inner.
 * A spec is text, "win=2,ring=1,uly=2,tp=2"; axes left out are 1. "auto" is resolved by the caller
 * (the planner). A place in the mesh's count is a position:
 *
 *     position = (((win*CFG + cfg)*RING + ring)*ULY + uly)*TP + tp
 *
 * The placement decides which rank stands there (placement.h), so a rank is not its position: ask
 * the mesh. */
#ifndef LT_MESH_H
#define LT_MESH_H

#include "parallel/nodes.h"

typedef enum {
    LT_AXIS_WIN,
    LT_AXIS_CFG,
    LT_AXIS_RING,
    LT_AXIS_ULY,
    LT_AXIS_TP,
    LT_AXIS_COUNT
} lt_axis;
extern const char *const lt_axis_names[LT_AXIS_COUNT];

typedef struct lt_mesh_spec {
    int size[LT_AXIS_COUNT];
} lt_mesh_spec;

/* Errors: LT_EUSAGE naming --mesh, the word, wanted, found; also for an empty text, an axis that
 * stands twice, a product above 65,536. Local. */
lt_status lt_mesh_parse(const char *text, lt_mesh_spec *out);
int lt_mesh_ranks(const lt_mesh_spec *spec); /* product */
/* The spec with all five axes, into a buffer of the caller (64 bytes suffice). */
const char *lt_mesh_text(const lt_mesh_spec *spec, char *buffer, size_t bytes);
/* Coordinates of a position. Local. */
void lt_mesh_coordinates(const lt_mesh_spec *spec, int position, int out[LT_AXIS_COUNT]);

/* How ranks get their positions. nodes: tp, then uly, then ring inside a node where its ranks
 * suffice (placement.h); ranks: position = rank. Results are the same. */
typedef enum { LT_PLACEMENT_NODES, LT_PLACEMENT_RANKS } lt_placement_mode;

/* The algorithm of attention over ring (attention.h); auto: by bytes. */
typedef enum { LT_ATTENTION_AUTO, LT_ATTENTION_RING, LT_ATTENTION_2D } lt_attention_algorithm;

/* One group per axis (never NULL: a group of one where the axis is 1); group[axis]'s rank order is
 * the coordinate's. `tokens` joins ring and uly (ring outer): the ranks that share one window's
 * rows. */
typedef struct lt_mesh {
    lt_mesh_spec spec;
    int position, at[LT_AXIS_COUNT]; /* mine, and its coordinates */
    int *rank_at;                    /* [ranks]: the rank in world of each position; 0 at 0 */
    lt_nodes nodes;                  /* of world's ranks */
    lt_placement_mode placement;
    lt_group *world; /* borrowed */
    lt_group *axis[LT_AXIS_COUNT];
    lt_group *tokens;
    lt_attention_algorithm attention; /* lt_mesh_open says auto; the opener may say otherwise */
    /* 1: DiT results have the same bits on every mesh (fixed_tree.h); lt_mesh_open says 0; the
     * opener may say otherwise, before anything is made with it */
    int deterministic;
} lt_mesh;

/* Placed by nodes. Collective on world, Blocking. Errors: LT_EUSAGE "impossible mesh" when the
 * product isn't the world's size (hint: which meshes fit), lt_group_nodes'. After an error nothing
 * is open. */
lt_status lt_mesh_open(lt_group *world, const lt_mesh_spec *spec, lt_mesh *out);
/* The same, placed as asked. */
lt_status lt_mesh_open_placed(lt_group *world, const lt_mesh_spec *spec, lt_placement_mode mode,
                              lt_mesh *out);
/* Collective on world. A zeroed mesh is allowed. */
void lt_mesh_close(lt_mesh *mesh);

#endif
