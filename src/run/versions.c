/* versions.c - which build this is. */
#include "run/versions.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>

#include "kernels/backend.h"
#include "media/mux.h"
#include "parallel/transport/transport.h"
#include "parallel/world.h"
#include "run/store_hdf5.h"

/* LT_COMMIT is this file's alone (CMakeLists.txt): a commit compiles one file again. */
#ifndef LT_COMMIT
#define LT_COMMIT ""
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

const char *lt_version_software(void)
{
    return LT_COMMIT[0] != '\0' ? "longtake " LT_VERSION " (" LT_COMMIT ")"
                                : "longtake " LT_VERSION;
}

json_t *lt_versions(void)
{
    /* "HDF5 1.10.8, zstd 1.5.4" */
    const char *store = lt_latents_library(), *hdf5 = store + strcspn(store, " ");
    lt_device cpu; /* libraries: "oneDNN 2.6.3" */
    lt_backend_cpu.describe(0, &cpu);
    char number[32], xxhash[32];
    hdf5 += *hdf5 == ' ';
    (void)snprintf(number, sizeof number, "%.*s", (int)strcspn(hdf5, ","), hdf5);
    const unsigned x = XXH_versionNumber();
    (void)snprintf(xxhash, sizeof xxhash, "%u.%u.%u", x / 10000, x / 100 % 100, x % 100);
    return json_pack("{s:s?, s:s, s:{s:s, s:s, s:s, s:s, s:s, s:s, s:s}}", "commit",
                     LT_COMMIT[0] != '\0' ? LT_COMMIT : NULL, "compiler", COMPILER, "libraries",
                     "FFmpeg", lt_mux_library(), "HDF5", number, "zstd", ZSTD_versionString(),
                     "MPI", lt_transport_library(), "oneDNN", cpu.libraries + strlen("oneDNN "),
                     "jansson", jansson_version_str(), "xxHash", xxhash);
}
