/* same_reads.c - did all ranks read the same bytes?
 * Lists of (key, hash), sorted by key, meet on all ranks; each rank looks for its own keys in those
 * of the ranks below it. Some thousand slices a part: 16 bytes each and rank. */
#include "model/files/same_reads.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/host.h"
#include "parallel/transport/agree.h"
#include "parallel/transport/host_collectives.h"
#include "parallel/transport/transport.h"

typedef struct mark {
    uint64_t key, value;
} mark;

typedef struct noted {
    mark mark; /* first: by_key looks at it alone */
    char *what;
} noted;

static struct {
    int on;
    noted *list;
    size_t count, room;
} reads;

static void forget(void)
{
    for (size_t i = 0; i < reads.count; i++)
        free(reads.list[i].what);
    free(reads.list);
    reads.list = NULL;
    reads.count = reads.room = 0;
}

void lt_same_reads_set(int on)
{
    reads.on = on;
    if (!on)
        forget();
}

int lt_same_reads_is_on(void) { return reads.on; }

lt_status lt_same_reads_add(uint64_t key, uint64_t value, const char *file, const char *name)
{
    if (reads.count == reads.room) {
        const size_t room = reads.room > 0 ? 2 * reads.room : 256;
        noted *more = realloc(reads.list, room * sizeof *more);
        if (more == NULL)
            LT_FAIL(LT_ENOMEM, "%s: no memory to note what was read", file);
        reads.list = more;
        reads.room = room;
    }
    const size_t bytes = strlen(file) + strlen(name) + sizeof ": tensor ";
    char *what = malloc(bytes);
    if (what == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to note what was read", file);
    (void)snprintf(what, bytes, "%s: tensor %s", file, name);
    reads.list[reads.count++] = (noted){{key, value}, what};
    return LT_OK;
}

static int by_key(const void *a, const void *b)
{
    const uint64_t x = ((const mark *)a)->key, y = ((const mark *)b)->key;
    return (x > y) - (x < y);
}

/* Mine against another rank's: both by key. The first of mine that differs, or NULL. */
static const noted *differing(const mark *theirs, uint64_t count)
{
    uint64_t k = 0;
    for (size_t i = 0; i < reads.count; i++) {
        const mark *mine = &reads.list[i].mark;
        while (k < count && theirs[k].key < mine->key)
            k++;
        if (k < count && theirs[k].key == mine->key && theirs[k].value != mine->value)
            return &reads.list[i];
    }
    return NULL;
}

static lt_status compare(lt_group *world, const uint64_t *counts, const mark *all, uint64_t most)
{
    const int rank = lt_group_rank(world);
    lt_host_id here;
    for (int r = 0; r < rank; r++) {
        const noted *bad = differing(all + (uint64_t)r * most, counts[r]);
        if (bad == NULL)
            continue;
        lt_host_me(&here);
        lt_hint("the hosts' copies of the model differ: copy that file again");
        LT_FAIL(LT_EDATA,
                "%s: want the same values on all ranks, found others on rank %d (%s) than on rank "
                "%d",
                bad->what, rank, here.name, r);
    }
    return LT_OK;
}

lt_status lt_same_reads_check(lt_group *world)
{
    const int size = lt_group_size(world);
    if (!reads.on || size == 1)
        return LT_OK;
    lt_status st = LT_OK;
    mark *all = NULL, *mine = NULL;
    uint64_t count = reads.count, most = 0, *counts = calloc((size_t)size, sizeof *counts);
    if (counts == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for %d ranks", size);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    LT_TRY_GOTO(lt_all_gather_host(world, &count, sizeof count, counts), st, done);
    for (int r = 0; r < size; r++)
        most = counts[r] > most ? counts[r] : most;
    if (most == 0)
        goto done;
    mine = calloc((size_t)most, sizeof *mine);
    all = calloc((size_t)most * (size_t)size, sizeof *all);
    if (mine == NULL || all == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for hashes of %llu slices",
                     (unsigned long long)most);
    LT_TRY_GOTO(lt_agree(world, st), st, done);
    assert(mine != NULL && all != NULL);
    if (count > 0)
        qsort(reads.list, reads.count, sizeof *reads.list, by_key);
    for (size_t i = 0; i < reads.count; i++)
        mine[i] = reads.list[i].mark;
    LT_TRY_GOTO(lt_all_gather_host(world, mine, (size_t)most * sizeof *mine, all), st, done);
    st = lt_agree(world, compare(world, counts, all, most));
done:
    free(counts);
    free(mine);
    free(all);
    forget();
    return st;
}
