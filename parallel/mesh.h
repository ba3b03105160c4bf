/* mesh.h - ranks as axes: win x cfg x ring x uly x tp, outer to inner.            Level 2: parallel
 * A spec is text, "win=2,ring=1,uly=2,tp=2"; axes left out are 1. "auto" is resolved by the caller
 * (the planner). rank = (((win*CFG + cfg)*RING + ring)*ULY + uly)*TP + tp. */
#ifndef LT_MESH_H
#define LT_MESH_H

#include "parallel/transport.h"

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
/* Coordinates of a rank. Local. */
void lt_mesh_coordinates(const lt_mesh_spec *spec, int rank, int out[LT_AXIS_COUNT]);

/* How attention reaches over ring (attention_dist.h); auto: by bytes. */
typedef enum { LT_ATTENTION_AUTO, LT_ATTENTION_RING, LT_ATTENTION_2D } lt_attention_way;

/* One group per axis (never NULL: a group of one where the axis is 1); group[axis]'s rank order is
 * the coordinate's. `tokens` joins ring and uly (ring outer): the ranks that share one window's
 * rows. */
typedef struct lt_mesh {
    lt_mesh_spec spec;
    int at[LT_AXIS_COUNT];
    lt_group *world; /* borrowed */
    lt_group *axis[LT_AXIS_COUNT];
    lt_group *tokens;
    lt_attention_way attention; /* lt_mesh_open says auto; the opener may say otherwise */
    int deterministic; /* 1: DiT results have the same bits on every mesh (leaves.h); lt_mesh_open
                          says 0; the opener may say otherwise, before anything is made with it */
} lt_mesh;

/* Collective on world, Blocking. Errors: LT_EUSAGE "impossible mesh" when the product isn't the
 * world's size (hint: which meshes fit). After an error nothing is open. */
lt_status lt_mesh_open(lt_group *world, const lt_mesh_spec *spec, lt_mesh *out);
/* Collective on world. A zeroed mesh is allowed. */
void lt_mesh_close(lt_mesh *mesh);

#endif
