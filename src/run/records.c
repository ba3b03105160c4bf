/* records.c - what a run folder keeps of how its film was made. */
#include "run/records.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/env.h"
#include "base/json.h"
#include "base/new_file.h"
#include "base/record.h"
#include "base/text.h"
#include "kernels/backend.h"
#include "run/device_facts.h"
#include "run/folder.h"
#include "run/resume/model_files.h"
#include "run/resume/model_hash.h"
#include "run/versions.h"

/* ---- events ---- */

static lt_status open_events(const lt_plan *plan, int is_render, int *fd)
{
    char path[LT_PATH_BYTES];
    LT_TRY(lt_folder_path(plan, "events.ndjson", path, sizeof path));
    if (!is_render)
        LT_TRY(lt_folder_check_owner(plan));
    if (!lt_file_exists(path))
        LT_TRY(lt_new_file_write(path, "", 0, LT_KEEP));
    LT_TRY(lt_own_file_append(path, fd));
    char last = '\n';
    const off_t end = lseek(*fd, 0, SEEK_END);
    if (end > 0 && pread(*fd, &last, 1, end - 1) == 1 && last != '\n')
        (void)!write(*fd, "\n", 1); /* its writer was killed in mid-line */
    return LT_OK;
}

lt_status lt_records_events(const lt_plan *plan, int is_render, int *fd)
{
    *fd = -1;
    if (!is_render && !lt_file_is_dir(plan->run))
        return LT_OK;
    const lt_status st = open_events(plan, is_render, fd);
    if (st == LT_OK || is_render)
        return st;
    lt_error_clear(); /* RUN may be read-only, or another user's */
    return LT_OK;
}

/* ---- Slurm ---- */

json_t *lt_records_slurm(void)
{
    const char *job = lt_env("SLURM_JOB_ID"), *nodes = lt_env("SLURM_JOB_NODELIST");
    const char *restarts = lt_env("SLURM_RESTART_COUNT");
    if (job == NULL || !lt_utf8_valid(job, strlen(job)))
        return NULL;
    return json_pack("{s:s, s:s?, s:I}", "job_id", job, "nodes",
                     nodes != NULL && lt_utf8_valid(nodes, strlen(nodes)) ? nodes : NULL,
                     "restarts", (json_int_t)(restarts != NULL ? strtoll(restarts, NULL, 10) : 0));
}

/* ---- the film ---- */

enum { HASHED_BYTES = 1 << 20 };

json_t *lt_records_film(const char *path)
{
    static char buffer[HASHED_BYTES];
    char hash[24];
    int64_t bytes = 0;
    ssize_t n = -1;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    XXH64_state_t *state = XXH64_createState();
    if (fd >= 0 && state != NULL && XXH64_reset(state, 0) == XXH_OK)
        while ((n = read(fd, buffer, sizeof buffer)) > 0) {
            (void)XXH64_update(state, buffer, (size_t)n);
            bytes += n;
        }
    (void)snprintf(hash, sizeof hash, "%016llx",
                   (unsigned long long)(state != NULL ? XXH64_digest(state) : 0));
    (void)XXH64_freeState(state);
    if (fd >= 0)
        (void)close(fd);
    return n == 0 ? json_pack("{s:o, s:I, s:s}", "file", lt_json_of_path(path), "bytes",
                              (json_int_t)bytes, "xxh64", hash)
                  : NULL;
}

/* ---- the manifest ---- */

static json_t *hosts_by_rank(const lt_nodes *nodes)
{
    json_t *hosts = json_array();
    for (int rank = 0; rank < nodes->ranks; rank++)
        (void)json_array_append_new(hosts, json_string(nodes->name[nodes->of_rank[rank]]));
    return hosts;
}

/* A process makes one film. */
static char began[LT_UTC_BYTES];
static json_t *model_files, *earlier; /* starts that an older manifest tells of */

/* The first manifest of this process: what the one before it said of earlier starts. */
static void begin(const lt_plan *plan)
{
    char file[LT_PATH_BYTES];
    json_t *old = NULL;
    if (began[0] != '\0')
        return;
    (void)lt_utc_now(began);
    model_files = lt_model_files(plan->model);
    lt_model_hash_begin(plan->model, model_files);
    if (lt_folder_path(plan, "manifest.json", file, sizeof file) == LT_OK && lt_file_exists(file) &&
        lt_json_read(file, &old) == LT_OK)
        earlier = json_incref(json_object_get(old, "epochs"));
    json_decref(old);
    lt_error_clear(); /* one that is not whole was named, and says nothing */
}

/* latents.h5, by its seal (store_hdf5.h): its last 24 bytes. NULL: it is not there. */
static json_t *latents_of(const lt_plan *plan)
{
    enum { SEAL_BYTES = 24, WORD_BYTES = 8 };
    char path[LT_PATH_BYTES], seal[SEAL_BYTES + 1] = "";
    struct stat info;
    if (lt_folder_path(plan, "latents.h5", path, sizeof path) != LT_OK)
        return NULL;
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return NULL;
    const int whole = fstat(fd, &info) == 0 && info.st_size > SEAL_BYTES &&
                      pread(fd, seal, SEAL_BYTES, info.st_size - SEAL_BYTES) == SEAL_BYTES;
    (void)close(fd);
    return whole ? json_pack("{s:s, s:I, s:s}", "file", "latents.h5", "bytes",
                             (json_int_t)info.st_size, "xxh64", seal + WORD_BYTES)
                 : NULL;
}

static json_t *step_json(int64_t step)
{
    return step >= 0 ? json_integer((json_int_t)step) : json_null();
}

/* This start, of what the manifest says of all. */
static json_t *epoch_json(const json_t *facts, const json_t *versions, const lt_epoch *epoch)
{
    static const char *const keys[] = {"software",  "ranks",  "hosts", "mesh",     "threads",
                                       "transport", "device", "isa",   "exchanges"};
    char now[LT_UTC_BYTES];
    json_t *mine =
        json_pack("{s:I, s:s, s:s?, s:o, s:o, s:s?, s:O?}", "epoch", (json_int_t)epoch->number,
                  "date", began, "finished", epoch->ended != NULL ? lt_utc_now(now) : NULL,
                  "from_step", step_json(epoch->from_step), "to_step", step_json(epoch->to_step),
                  "ended", epoch->ended, "commit", json_object_get(versions, "commit"));
    for (size_t i = 0; mine != NULL && i < sizeof keys / sizeof *keys; i++)
        (void)json_object_set(mine, keys[i], json_object_get(facts, keys[i]));
    return mine;
}

static json_t *epochs_json(const json_t *facts, const json_t *versions, const lt_epoch *epoch)
{
    json_t *all = json_array();
    size_t i;
    json_t *one;
    json_array_foreach (earlier, i, one)
        (void)json_array_append_new(all, json_deep_copy(one));
    (void)json_array_append_new(all, epoch_json(facts, versions, epoch));
    json_array_foreach (all, i, one) { /* of one that was killed counts what the next one took */
        json_t *next = json_object_get(json_array_get(all, i + 1), "from_step");
        if (json_is_integer(next) && !json_is_integer(json_object_get(one, "to_step")))
            (void)json_object_set(one, "to_step", next);
    }
    return all;
}

static json_t *facts(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                     json_t *exchanges)
{
    char mesh[96], whole[LT_MODEL_HASH_BYTES];
    struct utsname host = {.sysname = ""};
    lt_device cpu;
    lt_model_hash_tell(model_files);
    (void)uname(&host);
    lt_backend_cpu.describe(0, &cpu);
    return json_pack(
        "{s:s, s:i, s:s, s:o, s:o, s:s*, s:s, s:i, s:o, s:i, s:s, s:s, s:s, s:s, s:b, s:o, s:s, "
        "s:s, s:o, s:o}",
        "format", "longtake-manifest", "version", 1, "software", "longtake " LT_VERSION, "model",
        lt_json_of_path(plan->model), "model_files", json_incref(model_files), "model_xxh64",
        lt_model_hash_text(whole)[0] != '\0' ? whole : NULL, "mesh",
        lt_mesh_text(&plan->mesh, mesh, sizeof mesh), "ranks", lt_group_size(world), "hosts",
        hosts_by_rank(nodes), "threads", plan->threads, "transport", lt_group_transport(world),
        "device", plan->device, "isa", cpu.isa, "dtype", plan->dtype == LT_BF16 ? "bf16" : "f32",
        "deterministic", plan->deterministic, "seed", lt_json_of_u64(plan->seed), "system",
        host.sysname, "machine", host.machine, "gpu", lt_device_facts(plan->device), "exchanges",
        exchanges != NULL ? json_incref(exchanges) : json_object());
}

lt_status lt_records_manifest(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                              const lt_epoch *epoch, const lt_made *made)
{
    static const lt_made nothing;
    const lt_made *m = made != NULL ? made : &nothing;
    char file[LT_PATH_BYTES], now[LT_UTC_BYTES];
    begin(plan);
    json_t *json = facts(plan, world, nodes, epoch->exchanges), *versions = lt_versions();
    json_t *times =
        json_pack("{s:s, s:s?, s:O?, s:O*, s:O*, s:O?, s:O?, s:o?, s:o}", "date", began, "finished",
                  made != NULL ? lt_utc_now(now) : NULL, "output", m->film, "sheet", m->sheet,
                  "wav", m->wav, "stage_seconds", m->stage_seconds, "memory", m->memory, "latents",
                  latents_of(plan), "epochs", epochs_json(json, versions, epoch));
    lt_status st = LT_OK;
    if (json == NULL || versions == NULL || times == NULL || json_object_update(json, versions) ||
        json_object_update(json, times))
        st = lt_fail(lt_json_starved() ? LT_ENOMEM : LT_EINTERNAL, __FILE__, __LINE__,
                     "manifest: cannot be written as JSON");
    if (st == LT_OK)
        st = lt_folder_path(plan, "manifest.json", file, sizeof file);
    if (st == LT_OK)
        st = lt_json_write(file, json);
    json_decref(json);
    json_decref(versions);
    json_decref(times);
    return st;
}

void lt_records_ended(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                      const lt_epoch *epoch)
{
    char text[1024], hint[1024];
    const lt_status was = lt_error_status();
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    (void)snprintf(hint, sizeof hint, "%s", lt_hint_text());
    if (lt_records_manifest(plan, world, nodes, epoch, NULL) == LT_OK || was == LT_OK)
        return;
    lt_error_clear();
    if (hint[0] != '\0')
        lt_hint("%s", hint);
    (void)lt_fail(was, __FILE__, __LINE__, "%s", text);
}
