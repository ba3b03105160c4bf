/* owner.c - which process made something, and whether it still runs. */
#include "base/owner.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

uint32_t lt_owner_hash(const char *text)
{
    uint32_t hash = 2166136261u; /* the constants of FNV-1a, 32 bits */
    for (; *text != '\0'; text++)
        hash = (hash ^ (unsigned char)*text) * 16777619u;
    return hash;
}

/* Start time of a process in ticks since boot: the 22nd field of its stat. The 2nd is its name in
 * brackets, which may hold blanks and brackets itself, so counting begins behind the last one.
 * Returns 0 if there is no such process; a zombie has ended too. */
static int start_of(int64_t pid, uint64_t *start)
{
    char path[64], text[1024];
    (void)snprintf(path, sizeof path, "/proc/%" PRId64 "/stat", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return 0;
    const size_t n = fread(text, 1, sizeof text - 1, f);
    (void)fclose(f);
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ' || at[2] == 'Z' || at[2] == 'X')
        return 0;
    at++;
    for (int field = 3; field < 22 && at != NULL; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    *start = strtoull(at, NULL, 10);
    return 1;
}

void lt_owner_me(lt_owner *out)
{
    lt_host_id here;
    lt_host_me(&here);
    memset(out, 0, sizeof *out);
    memcpy(out->host, here.name, sizeof out->host);
    memcpy(out->boot, here.boot, sizeof out->boot);
    out->space = here.processes;
    out->pid = (int64_t)getpid();
    (void)start_of(out->pid, &out->start);
}

static int is_own_name(const char *host)
{
    return host[0] != '\0' && strncmp(host, "localhost", 9) != 0 && strcmp(host, "(none)") != 0;
}

static lt_owner_state look(int same_host, int same_boot, const lt_owner *owner, const lt_owner *me)
{
    uint64_t start = 0;
    if (!same_boot)
        return same_host && is_own_name(me->host) && me->boot[0] != '\0' ? LT_OWNER_GONE
                                                                         : LT_OWNER_UNKNOWN;
    if (me->boot[0] == '\0' || owner->space != me->space || me->start == 0)
        return LT_OWNER_UNKNOWN; /* without /proc no owner can be looked up */
    return start_of(owner->pid, &start) && start == owner->start ? LT_OWNER_RUNS : LT_OWNER_GONE;
}

lt_owner_state lt_owner_look(const lt_owner *owner)
{
    lt_owner me;
    lt_owner_me(&me);
    return look(strcmp(owner->host, me.host) == 0, strcmp(owner->boot, me.boot) == 0, owner, &me);
}

lt_owner_state lt_owner_look_hashed(uint32_t host, uint32_t boot, const lt_owner *rest)
{
    lt_owner me;
    lt_owner_me(&me);
    return look(host == lt_owner_hash(me.host), boot == lt_owner_hash(me.boot), rest, &me);
}
