/* resident.c - how much memory this process has now and had at most. */
#include "base/resident.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "VmRSS:     1234 kB" */
static void take(const char *line, const char *key, int64_t *to)
{
    const size_t n = strlen(key);
    if (strncmp(line, key, n) == 0)
        *to = strtoll(line + n, NULL, 10) * 1024;
}

lt_resident lt_resident_now(void)
{
    lt_resident r = {0};
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        take(line, "VmRSS:", &r.now);
        take(line, "VmHWM:", &r.peak);
        take(line, "RssAnon:", &r.anon);
        take(line, "RssFile:", &r.file);
        take(line, "RssShmem:", &r.shared);
        take(line, "VmSize:", &r.addresses);
        take(line, "VmData:", &r.data);
    }
    if (file != NULL)
        (void)fclose(file);
    return r;
}
