/* device.c - what the processor is.
 * Source of the name: Documentation/filesystems/proc.rst of Linux, /proc/cpuinfo. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/linear_dnnl.h"

/* "model name" of the first processor; where there is none (aarch64), what kind it is. */
static void processor(char *out, size_t bytes)
{
    char *text = NULL;
    size_t length = 0;
    struct utsname system;
    (void)snprintf(out, bytes, "a processor of kind %s",
                   uname(&system) == 0 ? system.machine : "unknown");
    if (lt_file_read("/proc/cpuinfo", 16 << 20, &text, &length) != LT_OK) {
        lt_error_clear();
        return;
    }
    const char *line = strstr(text, "model name");
    const char *colon = line != NULL ? strchr(line, ':') : NULL;
    if (colon != NULL) {
        const char *start = colon + 1 + strspn(colon + 1, " \t");
        (void)snprintf(out, bytes, "%.*s", (int)strcspn(start, "\n"), start);
    }
    free(text);
}

void lt_cpu_describe(int device, lt_device *out)
{
    (void)device;
    *out = (lt_device){.has_bf16 = lt_cpu_has_bf16(), .row_block = 1024, .query_chunk = 2048};
    processor(out->name, sizeof out->name);
    (void)snprintf(out->isa, sizeof out->isa, "%s", lt_cpu_isa_now()->name);
    (void)snprintf(out->libraries, sizeof out->libraries, "%s", lt_cpu_dnnl_version());
    out->memory_bytes = (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);
    out->left_bytes = lt_memory_available_bytes();
}
