/* records.c - what a run folder keeps of how its film was made. */
#include "run/records.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/env.h"
#include "base/json.h"
#include "base/new_file.h"
#include "base/record.h"
#include "base/text.h"
#include "kernels/backend.h"
#include "run/folder.h"
#include "run/resume/model_files.h"
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

static json_t *facts(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes)
{
    char mesh[96];
    struct utsname host = {.sysname = ""};
    lt_device cpu;
    (void)uname(&host);
    lt_backend_cpu.describe(0, &cpu);
    return json_pack(
        "{s:s, s:i, s:s, s:o, s:o, s:s, s:i, s:o, s:i, s:s, s:s, s:s, s:s, s:b, s:o, s:s, s:s}",
        "format", "longtake-manifest", "version", 1, "software", "longtake " LT_VERSION, "model",
        lt_json_of_path(plan->model), "model_files", lt_model_files(plan->model), "mesh",
        lt_mesh_text(&plan->mesh, mesh, sizeof mesh), "ranks", lt_group_size(world), "hosts",
        hosts_by_rank(nodes), "threads", plan->threads, "transport", lt_group_transport(world),
        "device", plan->device, "isa", cpu.isa, "dtype", plan->dtype == LT_BF16 ? "bf16" : "f32",
        "deterministic", plan->deterministic, "seed", lt_json_of_u64(plan->seed), "system",
        host.sysname, "machine", host.machine);
}

lt_status lt_records_manifest(const lt_plan *plan, const lt_group *world, const lt_nodes *nodes,
                              json_t *film, json_t *stage_seconds, json_t *memory)
{
    static char began[LT_UTC_BYTES]; /* a process makes one film */
    char file[LT_PATH_BYTES], now[LT_UTC_BYTES];
    if (began[0] == '\0')
        (void)lt_utc_now(began);
    const int done = stage_seconds != NULL;
    json_t *json = facts(plan, world, nodes), *versions = lt_versions();
    json_t *times = json_pack("{s:s, s:s?, s:O?, s:O?, s:O?}", "date", began, "finished",
                              done ? lt_utc_now(now) : NULL, "output", film, "stage_seconds",
                              stage_seconds, "memory", memory);
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
