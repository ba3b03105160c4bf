/* versions.h - which build this is: commit, compiler, libraries.
 * For --version, manifests and doctor. Local, never fail, but for memory. Tested:
 * tests/film/test_record.c. */
#ifndef LT_VERSIONS_H
#define LT_VERSIONS_H

#include <jansson.h>

/* "longtake 0.1.0 (7c9eacf)": version and `git describe --always --dirty` of the sources when the
 * build was configured (at each commit); without git the version alone. Lives for ever. */
const char *lt_version_software(void);

/* {"commit": "7c9eacf" or null, "compiler": "gcc 12.2.0", "libraries": {"FFmpeg": ..., "HDF5": ...,
 * "zstd": ..., "MPI": ..., "oneDNN": ..., "jansson": ...}}: those that run, not those that were
 * compiled against. The caller owns it; NULL: no memory. */
json_t *lt_versions(void);

#endif
