/* hash_list.c - a shard against the list of hashes that lies beside it.           Level 3: model */
#include "model/hash_list.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "kernels/cpu/sha256.h"

enum { SHARD_BYTES_MAX = 64 << 20, BLOCK_BYTES = 1 << 20, FOLDERS_UP = 3 };

/* The file's hash in the list of one of its folders, "" if none has it. */
static lt_status wanted_hash(const char *path, char out[65], char *list, size_t list_bytes)
{
    char folder[LT_PATH_BYTES], above[LT_PATH_BYTES];
    out[0] = '\0';
    LT_TRY(lt_path_folder(folder, sizeof folder, path));
    for (int i = 0; i < FOLDERS_UP && out[0] == '\0'; i++) {
        json_t *json = NULL;
        LT_TRY(lt_path_join(list, list_bytes, folder, "hashes.json"));
        if (lt_source_exists(list)) {
            LT_TRY(lt_source_json(list, &json));
            const char *text = json_string_value(json_object_get(json, path + strlen(folder) + 1));
            if (text != NULL && strlen(text) == 64)
                memcpy(out, text, 65);
            json_decref(json);
        }
        LT_TRY(lt_path_folder(above, sizeof above, folder));
        if (strlen(above) >= strlen(folder) || strncmp(above, path, strlen(above)) != 0)
            break; /* the root, or a relative path's end */
        memcpy(folder, above, sizeof folder);
    }
    return LT_OK;
}

static lt_status found_hash(const lt_source_file *file, const char *path, char out[65])
{
    lt_sha256 s;
    lt_status st = LT_OK;
    char *block = malloc(BLOCK_BYTES);
    if (block == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory to hash it", path);
    lt_sha256_begin(&s);
    for (int64_t at = 0; at < file->bytes && st == LT_OK; at += BLOCK_BYTES) {
        const int64_t left = file->bytes - at;
        const size_t n = (size_t)(left < BLOCK_BYTES ? left : BLOCK_BYTES);
        st = lt_source_pread(file, path, block, n, at);
        if (st == LT_OK)
            lt_sha256_add(&s, block, n);
    }
    lt_sha256_end(&s, out);
    free(block);
    return st;
}

lt_status lt_hash_list_check(const lt_source_file *file, const char *path)
{
    char wanted[65], found[65], list[LT_PATH_BYTES];
    if (file->fd < 0 || file->bytes > SHARD_BYTES_MAX)
        return LT_OK;
    LT_TRY(wanted_hash(path, wanted, list, sizeof list));
    if (wanted[0] == '\0')
        return LT_OK;
    LT_TRY(found_hash(file, path, found));
    if (strcmp(wanted, found) == 0)
        return LT_OK;
    lt_hint("fetch that file again; or, where it was changed on purpose, remove it from %s", list);
    LT_FAIL(LT_EDATA, "%s: sha256: want %s as %s says, found %s", path, wanted, list, found);
}
