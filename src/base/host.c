/* host.c - where this process runs.
 * Texts are compared as they are, never by a hash, so that no two nodes can be taken for one. */
#include "base/host.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/env.h"

void lt_host_me(lt_host_id *out)
{
    struct stat space;
    memset(out, 0, sizeof *out);
    if (gethostname(out->name, sizeof out->name - 1) != 0 || out->name[0] == '\0') {
        memset(out->name, 0, sizeof out->name);
        (void)snprintf(out->name, sizeof out->name, "localhost");
    }
    const size_t used = strlen(out->name); /* a kernel may write behind the name's end */
    memset(out->name + used, 0, sizeof out->name - used);
    if (stat("/proc/self/ns/pid", &space) == 0)
        out->processes = (uint64_t)space.st_ino;
    char boot[LT_HOST_BOOT_BYTES] = "";
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (f == NULL)
        return;
    if (fgets(boot, sizeof boot, f) != NULL)
        memcpy(out->boot, boot, strcspn(boot, "\n"));
    (void)fclose(f);
}

int lt_host_same(const lt_host_id *a, const lt_host_id *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->boot, b->boot) == 0;
}

int lt_host_shares_processes(const lt_host_id *a, const lt_host_id *b)
{
    return lt_host_same(a, b) && a->processes == b->processes;
}

lt_status lt_node_me(lt_node_id *out)
{
    const char *given = lt_env("LONGTAKE_NODE");
    memset(out, 0, sizeof *out);
    if (given == NULL) {
        lt_host_id here;
        lt_host_me(&here);
        memcpy(out->name, here.name, sizeof out->name);
        memcpy(out->boot, here.boot, sizeof out->boot);
        return LT_OK;
    }
    const size_t bytes = strlen(given);
    if (bytes >= LT_NODE_TEXT_BYTES)
        LT_FAIL(LT_EUSAGE, "LONGTAKE_NODE=%.*s...: want at most %d bytes, found %zu", 20, given,
                LT_NODE_TEXT_BYTES - 1, bytes);
    memcpy(out->name, given, bytes);
    out->given = 1;
    return LT_OK;
}

int lt_node_same(const lt_node_id *a, const lt_node_id *b)
{
    return a->given == b->given && strcmp(a->name, b->name) == 0 && strcmp(a->boot, b->boot) == 0;
}
