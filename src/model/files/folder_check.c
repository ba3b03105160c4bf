/* folder_check.c - what a folder lacks to be a model, said at once. */
#include "model/files/folder_check.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/files/checkpoint_internal.h"
#include "model/files/lfs_pointer.h"
#include "model/files/remote/source.h"

static void add_part(lt_folder_lack *lack, const char *format, const char *name)
{
    const size_t used = strlen(lack->parts);
    const size_t more = used > 0 ? 2 : 0;
    if (used + more + strlen(format) + strlen(name) >= sizeof lack->parts)
        return;
    memcpy(lack->parts + used, ", ", more);
    (void)snprintf(lack->parts + used + more, sizeof lack->parts - used - more, "%s%s", format,
                   name);
}

static void look_shard(const char *path, lt_folder_lack *lack)
{
    lack->shards++;
    if (!lt_source_exists(path)) {
        /* the first by name: a map has no order */
        if (lack->missing++ == 0 || strcmp(path, lack->first) < 0)
            (void)snprintf(lack->first, sizeof lack->first, "%s", path);
    } else if (lt_is_lfs_pointer(path) && lack->pointers++ == 0) {
        (void)snprintf(lack->pointer, sizeof lack->pointer, "%s", path);
    }
}

/* Each file that the weight map names, once; a map that is wrong is its reader's business. */
static void look_index(const char *folder, const char *index, lt_folder_lack *lack)
{
    json_t *json = NULL, *seen = json_object(), *value;
    const char *tensor;
    char path[LT_PATH_BYTES];
    if (lt_source_json(index, &json) != LT_OK)
        lt_error_clear();
    json_object_foreach (json_object_get(json, "weight_map"), tensor, value) {
        const char *name = json_string_value(value);
        if (name == NULL || strchr(name, '/') != NULL || json_object_get(seen, name) != NULL)
            continue;
        (void)json_object_set_new(seen, name, json_true());
        if (lt_path_join(path, sizeof path, folder, name) == LT_OK)
            look_shard(path, lack);
    }
    json_decref(seen);
    json_decref(json);
}

void lt_folder_look(const char *folder, const lt_name_map *map, const char *name,
                    lt_folder_lack *lack)
{
    char file[LT_PATH_BYTES];
    int is_index = 0;
    const lt_status st = lt_checkpoint_file(folder, map, file, sizeof file, &is_index);
    if (st != LT_OK) { /* what could not be looked at is told by who opens it */
        lt_error_clear();
        if (st == LT_ENOINPUT)
            add_part(lack, "no weights in ", name);
    } else if (is_index) {
        look_index(folder, file, lack);
    } else {
        look_shard(file, lack);
    }
}

void lt_folder_look_file(const char *path, const char *what, lt_folder_lack *lack)
{
    if (!lt_source_exists(path))
        add_part(lack, "", what);
    else if (lt_is_lfs_pointer(path) && lack->pointers++ == 0)
        (void)snprintf(lack->pointer, sizeof lack->pointer, "%s", path);
}

lt_status lt_folder_say(const char *root, const lt_folder_lack *lack)
{
    if (lack->missing > 0 || lack->parts[0] != '\0')
        lt_hint("`longtake inspect %s` tells what is there", root);
    if (lack->missing > 0)
        LT_FAIL(LT_ENOINPUT, "%s: not whole: %d of %d shards are missing (first: %s)%s%s", root,
                lack->missing, lack->shards, lack->first, lack->parts[0] != '\0' ? ", " : "",
                lack->parts);
    if (lack->parts[0] != '\0')
        LT_FAIL(LT_ENOINPUT, "%s: not whole: %s", root, lack->parts);
    if (lack->pointers > 0)
        return lt_lfs_pointer_fail(lack->pointer);
    return LT_OK;
}

/* ---- paths that are no model ---- */

typedef struct choice {
    const char *begins;
    char name[256];
} choice;

static lt_status choose(void *ctx, const char *name)
{
    choice *c = ctx;
    const int fits = strncmp(name, c->begins, strlen(c->begins)) == 0;
    if (fits && strlen(name) < sizeof c->name && strcmp(name, c->name) > 0)
        (void)snprintf(c->name, sizeof c->name, "%s", name);
    return LT_OK;
}

/* The last name in a folder that begins so, "" if there is none. */
static choice last_in(const char *folder, const char *begins)
{
    choice c = {.begins = begins, .name = ""};
    if (lt_source_list(folder, choose, &c) != LT_OK)
        lt_error_clear();
    return c;
}

/* "organisation/model", and nothing of that name here. */
static int looks_like_a_hub_name(const char *path)
{
    const char *slash = strchr(path, '/');
    const size_t n = strspn(path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-./");
    return slash != NULL && slash != path && slash[1] != '\0' && strchr(slash + 1, '/') == NULL &&
           path[n] == '\0' && path[0] != '.' && slash[1] != '.';
}

void lt_folder_hint(const char *path)
{
    char folder[LT_PATH_BYTES];
    if (!lt_source_exists(path) && looks_like_a_hub_name(path)) {
        lt_hint("nothing is downloaded: if %s is a hub's name, fetch it first (`hf download %s "
                "--local-dir DIR`, or git clone with git-lfs) and give --model DIR",
                path, path);
        return;
    }
    if (!lt_source_is_dir(path) || lt_path_join(folder, sizeof folder, path, "snapshots") != LT_OK)
        return;
    if (lt_source_is_dir(folder)) {
        const choice snapshot = last_in(folder, "");
        if (snapshot.name[0] != '\0')
            lt_hint("this is a hub's cache: the model is the folder %s/%s", folder, snapshot.name);
        return;
    }
    const choice cached = last_in(path, "models--");
    if (cached.name[0] != '\0')
        lt_hint("this is a hub's cache: a model is a folder below %s/%s/snapshots", path,
                cached.name);
}
