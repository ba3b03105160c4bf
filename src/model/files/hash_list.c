/* hash_list.c - a shard against the list of hashes that lies beside it. */
#include "model/files/hash_list.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"

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

static lt_status hash_whole(const lt_source_file *file, const char *path, EVP_MD_CTX *digest,
                            char *block, char out[65])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned count = 0;
    int good = EVP_DigestInit_ex(digest, EVP_sha256(), NULL);
    for (int64_t at = 0; at < file->bytes && good; at += BLOCK_BYTES) {
        const int64_t left = file->bytes - at;
        const size_t n = (size_t)(left < BLOCK_BYTES ? left : BLOCK_BYTES);
        LT_TRY(lt_source_pread(file, path, block, n, at));
        good = EVP_DigestUpdate(digest, block, n);
    }
    if (!good || !EVP_DigestFinal_ex(digest, bytes, &count) || count != 32)
        LT_FAIL(LT_ENOMEM, "%s: OpenSSL cannot hash it", path);
    for (unsigned i = 0; i < count; i++)
        (void)snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return LT_OK;
}

static lt_status found_hash(const lt_source_file *file, const char *path, char out[65])
{
    lt_status st = LT_ENOMEM;
    char *block = malloc(BLOCK_BYTES);
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (block == NULL || digest == NULL)
        (void)lt_fail(st, __FILE__, __LINE__, "%s: no memory to hash it", path);
    else
        st = hash_whole(file, path, digest, block, out);
    EVP_MD_CTX_free(digest);
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
