/* model_files.c - which model it is: header, size and time of each file. */
#include "run/resume/model_files.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/file.h"
#include "model/files/remote/source.h"

enum { HASHED_BYTES = 1 << 20 };

/* Files of the model, one level of folders deep. */
typedef struct listing {
    json_t *files;
    const char *root, *below; /* below: "" or a folder's name */
} listing;

/* One file of the model: its size, its time of change and the XXH64 of its first MiB, which holds
 * configs whole and a shard's header. Tens of gigabytes of values are not read for it. */
static json_t *file_facts(const char *path)
{
    static char buffer[HASHED_BYTES];
    lt_source_file file;
    char hash[24] = "";
    if (lt_source_open(path, &file) != LT_OK) { /* a pipe, say */
        lt_error_clear();
        return NULL;
    }
    const int64_t bytes = file.bytes, wanted = bytes < HASHED_BYTES ? bytes : HASHED_BYTES;
    if (lt_source_pread(&file, path, buffer, (size_t)wanted, 0) == LT_OK)
        (void)snprintf(hash, sizeof hash, "%016llx",
                       (unsigned long long)XXH64(buffer, (size_t)wanted, 0));
    lt_source_close(&file);
    return json_pack("{s:I, s:I, s:s, s:I}", "bytes", (json_int_t)bytes, "changed",
                     (json_int_t)lt_source_changed(path), "xxh64", hash, "hashed_bytes",
                     (json_int_t)wanted);
}

static lt_status add_file(void *ctx, const char *name)
{
    listing *l = ctx;
    char shown[LT_PATH_BYTES], path[LT_PATH_BYTES];
    if (snprintf(shown, sizeof shown, "%s%s%s", l->below, l->below[0] != '\0' ? "/" : "", name) >=
        (int)sizeof shown)
        return LT_OK;
    LT_TRY(lt_path_join(path, sizeof path, l->root, shown));
    if (lt_source_is_dir(path)) {
        listing inside = {l->files, l->root, name};
        return l->below[0] == '\0' ? lt_source_list(path, add_file, &inside) : LT_OK;
    }
    json_t *facts = file_facts(path);
    if (facts != NULL)
        (void)json_object_set_new(l->files, shown, facts);
    return LT_OK;
}

json_t *lt_model_files(const char *model)
{
    listing all = {json_object(), model, ""};
    if (lt_source_list(model, add_file, &all) != LT_OK)
        lt_error_clear(); /* what can be told is told; the files were opened before */
    return all.files;
}
