/* mesh.c - ranks as axes.
 * The coordinates are digits of the position in a mixed radix, tp the fastest; an axis' group holds
 * the ranks whose positions differ in that digit alone, in ascending order of it, so that a rank's
 * place in the group is its coordinate, whatever the placement. */
#include "parallel/mesh.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parallel/placement.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/transport.h"

const char *const lt_axis_names[LT_AXIS_COUNT] = {"win", "cfg", "ring", "uly", "tp"};

enum { AXIS_SIZE_MAX = 65536 };

static lt_status parse_item(const char *text, const char *item, size_t length, lt_mesh_spec *out)
{
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        const size_t name = strlen(lt_axis_names[axis]);
        if (length <= name + 1 || strncmp(item, lt_axis_names[axis], name) != 0 ||
            item[name] != '=')
            continue;
        char *end = NULL;
        const long value = strtol(item + name + 1, &end, 10);
        const int digit =
            item[name + 1] >= '0' && item[name + 1] <= '9'; /* strtol takes " 2", "+2" */
        if (!digit || end != item + length || value < 1 || value > AXIS_SIZE_MAX)
            LT_FAIL(LT_EUSAGE, "--mesh %s: %s: want 1 to %d, found '%.*s'", text,
                    lt_axis_names[axis], AXIS_SIZE_MAX, (int)(length - name - 1), item + name + 1);
        if (out->size[axis] != 0)
            LT_FAIL(LT_EUSAGE, "--mesh %s: %s stands twice", text, lt_axis_names[axis]);
        out->size[axis] = (int)value;
        return LT_OK;
    }
    LT_FAIL(LT_EUSAGE, "--mesh %s: want win=, cfg=, ring=, uly= or tp= with a number, found '%.*s'",
            text, (int)length, item);
}

lt_status lt_mesh_parse(const char *text, lt_mesh_spec *out)
{
    memset(out, 0, sizeof *out);
    const char *item = text;
    for (;;) {
        const size_t length = strcspn(item, ",");
        LT_TRY(parse_item(text, item, length, out));
        if (item[length] == '\0')
            break;
        item += length + 1;
    }
    int64_t product = 1;
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        if (out->size[axis] == 0)
            out->size[axis] = 1;
        product *= out->size[axis];
        if (product > AXIS_SIZE_MAX)
            LT_FAIL(LT_EUSAGE, "--mesh %s: want at most %d ranks in all", text, AXIS_SIZE_MAX);
    }
    return LT_OK;
}

int lt_mesh_ranks(const lt_mesh_spec *spec)
{
    int ranks = 1;
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
        ranks *= spec->size[axis];
    return ranks;
}

const char *lt_mesh_text(const lt_mesh_spec *spec, char *buffer, size_t bytes)
{
    (void)snprintf(buffer, bytes, "win=%d,cfg=%d,ring=%d,uly=%d,tp=%d", spec->size[0],
                   spec->size[1], spec->size[2], spec->size[3], spec->size[4]);
    return buffer;
}

void lt_mesh_coordinates(const lt_mesh_spec *spec, int position, int out[LT_AXIS_COUNT])
{
    assert(position >= 0 && position < lt_mesh_ranks(spec));
    for (int axis = LT_AXIS_COUNT - 1; axis >= 0; axis--) {
        out[axis] = position % spec->size[axis];
        position /= spec->size[axis];
    }
}

/* My group of those that vary the masked axes: its leader has 0 there. All groups of the mask open
 * in the one split, so a mesh costs six of them, however many ranks there are. member: space for
 * all. */
static lt_status open_group(lt_group *world, const lt_mesh *mesh, unsigned varies, int *member,
                            lt_group **out)
{
    const int ranks = lt_mesh_ranks(&mesh->spec);
    int count = 0;
    for (int position = 0; position < ranks; position++) {
        int at[LT_AXIS_COUNT], same = 1;
        lt_mesh_coordinates(&mesh->spec, position, at);
        for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
            same &= ((varies >> axis) & 1u) || at[axis] == mesh->at[axis];
        if (same)
            member[count++] = mesh->rank_at[position];
    }
    return lt_group_split(world, member, count, out);
}

static lt_status open_groups(lt_group *world, int *member, lt_mesh *out)
{
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++) {
        LT_TRY(open_group(world, out, 1u << axis, member, &out->axis[axis]));
        lt_group_name(out->axis[axis], lt_axis_names[axis]);
    }
    LT_TRY(
        open_group(world, out, (1u << LT_AXIS_RING) | (1u << LT_AXIS_ULY), member, &out->tokens));
    lt_group_name(out->tokens, "tokens");
    return LT_OK;
}

/* rank_at, position, at. Local. */
static lt_status place(lt_mesh *mesh)
{
    const int size = mesh->nodes.ranks, me = lt_group_rank(mesh->world);
    mesh->rank_at = malloc((size_t)size * sizeof *mesh->rank_at);
    if (mesh->rank_at == NULL)
        LT_FAIL(LT_ENOMEM, "mesh: no memory for %d ranks", size);
    for (int i = 0; i < size; i++)
        mesh->rank_at[i] = i;
    if (mesh->placement == LT_PLACEMENT_NODES)
        LT_TRY(lt_placement_make(&mesh->spec, mesh->nodes.of_rank, mesh->rank_at));
    while (mesh->rank_at[mesh->position] != me)
        mesh->position++;
    lt_mesh_coordinates(&mesh->spec, mesh->position, mesh->at);
    return LT_OK;
}

static lt_status open_here(lt_mesh *mesh)
{
    const int size = lt_group_size(mesh->world);
    LT_TRY(lt_group_nodes(mesh->world, &mesh->nodes));
    lt_status st = place(mesh);
    int *member = malloc((size_t)size * sizeof *member);
    if (st == LT_OK && member == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "mesh: no memory for %d ranks", size);
    st = lt_agree(mesh->world, st); /* the splits need all ranks */
    if (st == LT_OK)
        st = open_groups(mesh->world, member, mesh);
    free(member);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_mesh_open_placed(lt_group *world, const lt_mesh_spec *spec, lt_placement_mode mode,
                              lt_mesh *out)
{
    memset(out, 0, sizeof *out);
    const int size = lt_group_size(world);
    if (lt_mesh_ranks(spec) != size) {
        char text[96];
        lt_hint("the product of the axes must be the number of ranks; e.g. --mesh uly=%d or --mesh "
                "tp=%d",
                size, size);
        LT_FAIL(LT_EUSAGE, "--mesh %s: impossible mesh: wants %d ranks, found %d",
                lt_mesh_text(spec, text, sizeof text), lt_mesh_ranks(spec), size);
    }
    out->spec = *spec;
    out->world = world;
    out->placement = mode;
    const lt_status st = open_here(out);
    if (st != LT_OK)
        lt_mesh_close(out);
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_mesh_open(lt_group *world, const lt_mesh_spec *spec, lt_mesh *out)
{
    return lt_mesh_open_placed(world, spec, LT_PLACEMENT_NODES, out);
}

void lt_mesh_close(lt_mesh *mesh)
{
    for (int axis = 0; axis < LT_AXIS_COUNT; axis++)
        lt_group_free(&mesh->axis[axis]); /* of a mesh that never opened: NULL */
    lt_group_free(&mesh->tokens);
    lt_nodes_free(&mesh->nodes);
    free(mesh->rank_at);
    mesh->rank_at = NULL;
}
