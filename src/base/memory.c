/* memory.c - how much memory this process may still take.
 * Sources: Documentation/filesystems/proc.rst (MemAvailable) and Documentation/admin-guide/
 * cgroup-v1/memory.rst and cgroup-v2.rst of Linux.
 *
 * A batch system limits a job by a control group at some level of the path that /proc/self/cgroup
 * names, so each level up to the root is asked and the smallest answer counts. In a container the
 * path may be the host's and lead nowhere below our mount; the walk then ends at the mount's root,
 * which is the container's own group. Pages of the inactive file list count as free: reading
 * weights fills it, and the kernel drops those pages before it refuses memory. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

enum { SMALL_FILE_BYTES = 1 << 16 };

/* The files of one version of control groups. */
typedef struct group_files {
    const char *limit, *used, *inactive;
} group_files;

static const group_files v1 = {"memory.limit_in_bytes", "memory.usage_in_bytes",
                               "total_inactive_file "};
static const group_files v2 = {"memory.max", "memory.current", "inactive_file "};

/* A small file's text, or NULL; no error trace: absent files are the normal case here. */
static char *text_of(const char *folder, const char *name)
{
    char path[LT_PATH_BYTES];
    const int n = snprintf(path, sizeof path, "%s/%s", folder, name);
    if (n < 0 || (size_t)n >= sizeof path)
        return NULL;
    FILE *file = fopen(path, "re");
    char *text = file != NULL ? malloc(SMALL_FILE_BYTES) : NULL;
    if (text != NULL)
        text[fread(text, 1, SMALL_FILE_BYTES - 1, file)] = '\0';
    if (file != NULL)
        (void)fclose(file);
    return text;
}

/* The number after key at the beginning of a line (or of the text, where key is ""); -1 if none:
 * "max" is no number. */
static int64_t number_after(const char *text, const char *key)
{
    const size_t n = strlen(key);
    for (const char *line = text; line != NULL && *line != '\0';) {
        if (strncmp(line, key, n) == 0) {
            char *end = NULL;
            const long long value = strtoll(line + n, &end, 10);
            return end != line + n && value >= 0 ? (int64_t)value : -1;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    return -1;
}

static int64_t number_in(const char *folder, const char *name, const char *key)
{
    char *text = text_of(folder, name);
    const int64_t value = text != NULL ? number_after(text, key) : -1;
    free(text);
    return value;
}

/* The smaller of two, where -1 is "not known". */
static int64_t smaller(int64_t a, int64_t b)
{
    if (a < 0 || b < 0)
        return a < 0 ? b : a;
    return a < b ? a : b;
}

/* What the group at mount/path and its parents leave, or -1. path begins with '/'. */
static int64_t group_left(const char *mount, const char *path, const group_files *files)
{
    char folder[LT_PATH_BYTES];
    int64_t least = -1;
    const size_t root = strlen(mount);
    const int n = snprintf(folder, sizeof folder, "%s%s", mount, path);
    if (n < 0 || (size_t)n >= sizeof folder)
        return -1;
    for (;;) {
        const int64_t limit = number_in(folder, files->limit, "");
        const int64_t used = number_in(folder, files->used, "");
        const int64_t inactive = number_in(folder, "memory.stat", files->inactive);
        if (limit >= 0 && used >= 0) {
            const int64_t held = inactive > 0 && inactive < used ? used - inactive : used;
            least = smaller(least, limit > held ? limit - held : 0);
        }
        char *slash = strrchr(folder, '/');
        if (slash == NULL || (size_t)(slash - folder) < root)
            return least;
        *slash = '\0';
    }
}

/* line is "id:controllers:/path" of /proc/self/cgroup, its newline cut off. */
static int64_t line_left(const char *root, char *line)
{
    char mount[LT_PATH_BYTES];
    char *controllers = strchr(line, ':');
    char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
    if (path == NULL || path[1] != '/' || strlen(root) > sizeof mount - 64)
        return -1;
    *path++ = '\0';
    if (controllers[1] == '\0') { /* version 2, alone or beside version 1 */
        (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup", root);
        const int64_t alone = group_left(mount, path, &v2);
        (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/unified", root);
        return smaller(alone, group_left(mount, path, &v2));
    }
    for (char *save = NULL, *c = strtok_r(controllers + 1, ",", &save); c != NULL;
         c = strtok_r(NULL, ",", &save))
        if (strcmp(c, "memory") == 0) {
            (void)snprintf(mount, sizeof mount, "%s/sys/fs/cgroup/memory", root);
            return group_left(mount, path, &v1);
        }
    return -1;
}

int64_t lt_memory_available_under(const char *root)
{
    assert(root != NULL);
    char folder[LT_PATH_BYTES];
    const int n = snprintf(folder, sizeof folder, "%s/proc", root);
    if (n < 0 || (size_t)n >= sizeof folder)
        return -1;
    const int64_t kib = number_in(folder, "meminfo", "MemAvailable:");
    int64_t least = kib >= 0 && kib < INT64_MAX / 1024 ? kib * 1024 : -1;
    char *groups = text_of(folder, "self/cgroup");
    char *save = NULL;
    for (char *line = groups != NULL ? strtok_r(groups, "\n", &save) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &save))
        least = smaller(least, line_left(root, line));
    free(groups);
    return least;
}

int64_t lt_memory_available_bytes(void) { return lt_memory_available_under(""); }
