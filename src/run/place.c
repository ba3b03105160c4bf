/* place.c - which processors a rank may use, and what is said of where ranks are.
 *
 * The process keeps to the mask that it was given. Only a launcher's is widened (Open MPI binds two
 * ranks to one core each and more to none, which fits threads badly), and no further than the
 * launcher's own: that is what the user, a container or a batch system gave the job, so that
 * `taskset -c 0,1 mpirun` stays on two processors. srun's tasks keep what Slurm gave each. A
 * launcher behind a script of the user's is not seen, and its mask stays. Ranks of a host that have
 * the same mask share it. */
#include "run/place.h"

#include <assert.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/env.h"
#include "base/host.h"
#include "base/log.h"
#include "parallel/nodes.h"
#include "parallel/placement.h"
#include "parallel/shard.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/launcher.h"
#include "parallel/transport/transport.h"
#include "run/processors.h"

/* A rank's host and mask, to be compared with others'. */
typedef struct {
    lt_host_id host;
    cpu_set_t mask;
} given;

/* The parent's mask, if it is an MPI launcher's process and holds all of ours. */
static void widen(cpu_set_t *mask)
{
    cpu_set_t theirs, both;
    char file[64], name[32] = "";
    static const char *const launchers[] = {"mpirun",  "mpiexec", "orterun",        "orted",
                                            "prterun", "prted",   "hydra_pmi_proxy"};
    int is_launcher = 0;
    (void)snprintf(file, sizeof file, "/proc/%ld/comm", (long)getppid());
    FILE *comm = fopen(file, "re");
    if (comm != NULL && fscanf(comm, "%31[^\n]", name) != 1)
        name[0] = '\0';
    if (comm != NULL)
        (void)fclose(comm);
    for (size_t i = 0; i < sizeof launchers / sizeof *launchers; i++)
        is_launcher |= strncmp(name, launchers[i], 15) == 0; /* comm holds 15 letters */
    if (!is_launcher || sched_getaffinity(getppid(), sizeof theirs, &theirs) != 0)
        return;
    CPU_AND(&both, mask, &theirs);
    if (CPU_EQUAL(&both, mask))
        *mask = theirs;
}

/* How many ranks this host has and this rank's number among them: into out; how many of them have
 * this rank's mask, and its index among those. */
static lt_status sharers(lt_group *world, const given *mine, lt_placed *out, int *count, int *index)
{
    const int size = lt_group_size(world), rank = lt_group_rank(world);
    given *all = calloc((size_t)size, sizeof *all);
    lt_status st = LT_OK;
    out->local_ranks = *count = 1;
    out->local_rank = *index = 0;
    if (all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "place: no memory for %d ranks", size);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_all_gather_host(world, mine, sizeof *mine, all), st, done);
    for (int i = 0; i < size; i++) {
        if (i == rank || !lt_host_same(&all[i].host, &mine->host))
            continue;
        out->local_ranks++;
        out->local_rank += i < rank;
        if (CPU_EQUAL(&all[i].mask, &mine->mask)) {
            (*count)++;
            *index += i < rank;
        }
    }
done:
    free(all);
    return st;
}

/* Bind to this rank's part of a mask. */
static void bind_to(const cpu_set_t *mask, lt_range share)
{
    cpu_set_t mine;
    CPU_ZERO(&mine);
    for (int cpu = 0, index = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, mask))
            continue;
        if (index >= share.first && index < share.first + share.count)
            CPU_SET((size_t)cpu, &mine);
        index++;
    }
    (void)sched_setaffinity(0, sizeof mine, &mine);
}

lt_status lt_place(lt_group *world, int asked, lt_placed *out)
{
    int sharing = 1, index = 0;
    const char *why = "--threads";
    given mine;
    memset(&mine, 0, sizeof mine);
    lt_host_me(&mine.host);
    if (sched_getaffinity(0, sizeof mine.mask, &mine.mask) != 0)
        CPU_SET(0, &mine.mask);
    if (lt_launcher_find().has_mpi)
        widen(&mine.mask);
    LT_TRY(sharers(world, &mine, out, &sharing, &index));
    const int count = CPU_COUNT(&mine.mask);
    const lt_range share = lt_share(count, sharing, index);
    if (lt_group_size(world) > 1 && count >= sharing)
        bind_to(&mine.mask, share);
    out->threads = asked;
    if (asked <= 0)
        out->threads =
            lt_processor_threads((int)share.count, out->local_ranks, lt_processor_quota_under(""),
                                 lt_env("OMP_NUM_THREADS"), lt_env("SLURM_CPUS_PER_TASK"), &why);
    lt_log(2, "place", "%d of %d processors, %d thread%s (%s)", (int)share.count, count,
           out->threads, out->threads == 1 ? "" : "s", why);
    return LT_OK;
}

/* ---- words ---- */

/* Behind what out holds; 0: there was no room for it and a later ", ...", which stands there. */
static int add(char *out, size_t bytes, const char *text)
{
    const size_t used = strlen(out);
    const int fits = used + strlen(text) + sizeof ", ..." <= bytes;
    (void)snprintf(out + used, bytes - used, "%s", fits ? text : ", ...");
    return fits;
}

const char *lt_place_ranks(const int *ranks, int count, char *out, size_t bytes)
{
    (void)snprintf(out, bytes, "rank%s", count == 1 ? "" : "s");
    for (int i = 0, last; i < count; i = last + 1) {
        char text[48];
        const char *comma = i > 0 ? "," : "";
        for (last = i; last + 1 < count && ranks[last + 1] == ranks[last] + 1;)
            last++;
        if (last > i + 1)
            (void)snprintf(text, sizeof text, "%s %d to %d", comma, ranks[i], ranks[last]);
        else if (last == i + 1)
            (void)snprintf(text, sizeof text, "%s %d, %d", comma, ranks[i], ranks[last]);
        else
            (void)snprintf(text, sizeof text, "%s %d", comma, ranks[i]);
        if (!add(out, bytes, text))
            break;
    }
    return out;
}

/* The nodes of a group of an axis, each once, in the order in which its members meet them. */
static void node_names(const lt_mesh *mesh, lt_axis axis, int first, char *out, size_t bytes)
{
    int stride = 1, go = 1;
    for (int inner = (int)axis + 1; inner < LT_AXIS_COUNT; inner++)
        stride *= mesh->spec.size[inner];
    out[0] = '\0';
    for (int i = 0; i < mesh->spec.size[axis] && go; i++) {
        const int node = mesh->nodes.of_rank[mesh->rank_at[first + i * stride]];
        char text[LT_HOST_NAME_BYTES + 2];
        int known = 0;
        for (int k = 0; k < i; k++)
            known |= mesh->nodes.of_rank[mesh->rank_at[first + k * stride]] == node;
        if (known)
            continue;
        (void)snprintf(text, sizeof text, "%s%s", i > 0 ? ", " : "", mesh->nodes.name[node]);
        go = add(out, bytes, text);
    }
}

/* option: what the user said; remedy: what helps where the placement does what it can. */
static void warn_crossing(const lt_mesh *mesh, lt_axis axis, const char *option, const char *moves,
                          const char *remedy)
{
    char names[160];
    const lt_crossing c =
        lt_placement_crossing(&mesh->spec, axis, mesh->nodes.of_rank, mesh->rank_at);
    if (c.crossing == 0)
        return;
    node_names(mesh, axis, c.first, names, sizeof names);
    lt_warn("%s: %d of %d %s groups cross%s hosts (%s): the %s go over the network; %s", option,
            c.crossing, c.groups, lt_axis_names[axis], c.crossing == 1 ? "es" : "", names, moves,
            mesh->placement == LT_PLACEMENT_RANKS
                ? "--placement nodes keeps as many as it can inside a host"
                : remedy);
}

/* Positions from `busy` on have nothing to do: their ranks in words, and how many they are. */
static lt_status idle_ranks(const lt_mesh *mesh, int busy, char *words, size_t bytes, int *count)
{
    const int ranks = lt_mesh_ranks(&mesh->spec);
    char *works = calloc((size_t)ranks, 1);
    int *idle = calloc((size_t)ranks, sizeof *idle);
    lt_status st = LT_OK;
    assert(busy >= 0 && busy <= ranks);
    *count = 0;
    if (works == NULL || idle == NULL)
        LT_FAIL_GOTO(LT_ENOMEM, st, done, "mesh: no memory for %d ranks", ranks);
    for (int i = 0; i < busy; i++)
        works[mesh->rank_at[i]] = 1;
    for (int rank = 0; rank < ranks; rank++)
        if (!works[rank])
            idle[(*count)++] = rank;
    (void)lt_place_ranks(idle, *count, words, bytes);
done:
    free(works);
    free(idle);
    return st;
}

lt_status lt_place_warn_dit(const lt_mesh *mesh)
{
    static const char remedy[] =
        "uly times tp should divide each host's ranks, and ring or win go across";
    char text[64], option[80], words[128];
    const int *size = mesh->spec.size, ranks = lt_mesh_ranks(&mesh->spec);
    const int busy = ranks / (size[LT_AXIS_WIN] * size[LT_AXIS_CFG]); /* the outermost axes */
    int idle = 0;
    (void)snprintf(option, sizeof option, "--mesh %s",
                   lt_mesh_text(&mesh->spec, text, sizeof text));
    warn_crossing(mesh, LT_AXIS_TP, option, "sums of every layer", remedy);
    warn_crossing(mesh, LT_AXIS_ULY, option, "rows of every attention", remedy);
    if (busy == ranks)
        return LT_OK;
    LT_TRY(idle_ranks(mesh, busy, words, sizeof words, &idle));
    lt_warn("%s: the clip is one window without guidance: %s compute%s nothing while it is "
            "denoised",
            option, words, idle > 1 ? "" : "s");
    return LT_OK;
}

lt_status lt_place_warn_decode(const lt_mesh *mesh, int64_t chunks)
{
    char option[32], words[128];
    const int each = mesh->spec.size[LT_AXIS_TP], groups = lt_mesh_ranks(&mesh->spec) / each;
    int idle = 0;
    if (each == 1)
        return LT_OK;
    (void)snprintf(option, sizeof option, "--decode-tp %d", each);
    warn_crossing(mesh, LT_AXIS_TP, option, "sums of every layer",
                  "it should divide each host's ranks");
    if (chunks >= groups)
        return LT_OK;
    LT_TRY(idle_ranks(mesh, (int)chunks * each, words, sizeof words, &idle));
    lt_warn("%s: the film has %lld piece%s for %d groups: %s decode%s no picture", option,
            (long long)chunks, chunks == 1 ? "" : "s", groups, words, idle > 1 ? "" : "s");
    return LT_OK;
}
