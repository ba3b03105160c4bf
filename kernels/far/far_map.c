/* far_map.c - memory whose public address no code can follow. */
#include "kernels/far/far_map.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void lt_far_unmap(size_t bytes, char *shown, char *alias)
{
    if (shown != MAP_FAILED)
        (void)munmap(shown, bytes);
    if (alias != MAP_FAILED)
        (void)munmap(alias, bytes);
}

lt_status lt_far_map(size_t bytes, char **shown, char **alias)
{
    const int fd = memfd_create("longtake-far", MFD_CLOEXEC);
    if (fd < 0)
        LT_FAIL(LT_ENOMEM, "far: memfd_create: %s", strerror(errno));
    *shown = *alias = MAP_FAILED;
    if (ftruncate(fd, (off_t)bytes) == 0) {
        *shown = mmap(NULL, bytes, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0);
        *alias = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    }
    const int error = errno;
    (void)close(fd); /* the mappings keep the file */
    if (*shown == MAP_FAILED || *alias == MAP_FAILED) {
        lt_far_unmap(bytes, *shown, *alias);
        LT_FAIL(LT_ENOMEM, "far: want %zu bytes mapped twice: %s", bytes, strerror(error));
    }
    return LT_OK;
}
