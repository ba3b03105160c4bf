/* lfs_pointer.h - what git-lfs leaves in place of a file that was not fetched.
 * A clone without its large files has some lines of text where weights should be. Local, Blocking.
 * Tested: tests/faults/test_folders.c. */
#ifndef LT_LFS_POINTER_H
#define LT_LFS_POINTER_H

#include "base/status.h"

/* 1 if the file is what git-lfs leaves in place of a file that was not fetched. */
int lt_is_lfs_pointer(const char *path);
/* Fail for such a file, with the hint how to have it. */
lt_status lt_lfs_pointer_fail(const char *path);

#endif
