/* store_hdf5.c - latents.h5: what its writer and its readers share.
 *
 * HDF5 prints its error stack unless told otherwise; instead the innermost entry is taken into our
 * own message (it holds errno's text when the disk is full). */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/new_file.h"
#include "run/store_hdf5_internal.h"

lt_h5_axes lt_h5_cut(const lt_latents_stream *s)
{
    lt_h5_axes c = {1, s->dims[s->time_axis], 1};
    for (int i = 0; i < s->ndim; i++) {
        if (i < s->time_axis)
            c.outer *= s->dims[i];
        else if (i > s->time_axis)
            c.inner *= s->dims[i];
    }
    return c;
}

/* The innermost words of HDF5's last failure: taken when it happens, for the next call forgets
 * them. */
static _Thread_local char h5_words[256];
static _Thread_local int h5_no_memory;

/* HDF5 ends its longest sentences in the system's words and heap addresses; the words are what
 * counts, and a text is never cut inside a word. */
static void words_shorten(const char *desc)
{
    static const char key[] = "error message = '";
    const char *said = strstr(desc, key);
    if (said != NULL) {
        said += sizeof key - 1;
        snprintf(h5_words, sizeof h5_words, "%.*s: %.*s", (int)strcspn(desc, ":"), desc,
                 (int)strcspn(said, "'"), said);
        return;
    }
    size_t n = strlen(desc);
    if (n >= sizeof h5_words)
        for (n = sizeof h5_words - 1; n > 0 && desc[n] != ' ';)
            n--;
    snprintf(h5_words, sizeof h5_words, "%.*s", (int)n, desc);
}

static herr_t words_take(unsigned n, const H5E_error2_t *entry, void *data)
{
    (void)data;
    h5_no_memory |= entry->maj_num == H5E_RESOURCE && entry->min_num == H5E_NOSPACE;
    if (n == 0 && entry->desc)
        words_shorten(entry->desc);
    return 0;
}

static herr_t words_keep(hid_t stack, void *data)
{
    return H5Ewalk2(stack, H5E_WALK_UPWARD, words_take, data);
}

void lt_h5_begin(void)
{
    /* Lustre and NFS without locks: HDF5 would refuse to open. Read by HDF5 at each opening. */
    (void)setenv("HDF5_USE_FILE_LOCKING", "BEST_EFFORT", 0);
    /* After a full disk HDF5's own clean-up at exit writes again and crashes; we close all files.
     */
    (void)H5dont_atexit();
    (void)H5Eset_auto2(H5E_DEFAULT, words_keep, NULL);
    h5_words[0] = '\0';
    h5_no_memory = 0;
}

int lt_h5_wanted_memory(void) { return h5_no_memory; }

lt_status lt_h5_fail(lt_status status, const char *path, const char *what)
{
    LT_FAIL(status, "%s: %s: HDF5: %s", path, what, h5_words[0] ? h5_words : "no reason given");
}

lt_status lt_h5_hash(int fd, const char *path, int64_t bytes, uint64_t *out)
{
    enum { BLOCK_BYTES = 1 << 20 };
    void *block = malloc(BLOCK_BYTES);
    XXH64_state_t *state = XXH64_createState();
    lt_status status = LT_OK;
    if (!block || !state)
        LT_FAIL_GOTO(LT_ENOMEM, status, done, "%s: no memory", path);
    (void)XXH64_reset(state, 0);
    for (int64_t at = 0; at < bytes; at += BLOCK_BYTES) {
        const size_t n = (size_t)(bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES);
        LT_TRY_GOTO(lt_file_pread_full(fd, path, block, n, at), status, done);
        (void)XXH64_update(state, block, n);
    }
    *out = XXH64_digest(state);
done:
    free(block);
    XXH64_freeState(state);
    return status;
}

const char *lt_latents_library(void)
{
    static char text[64]; /* the same bytes whoever writes them */
    unsigned major = 0, minor = 0, release = 0;
    lt_h5_begin(); /* HDF5's first call settles what it does at exit */
    (void)H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "HDF5 %u.%u.%u, zstd %s", major, minor, release,
             ZSTD_versionString());
    return text;
}
