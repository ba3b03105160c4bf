/* folder.c - the run folder.                                                      Level 4: run */
#include "run/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/json.h"
#include "kernels/cpu/cpu.h"
#include "model/source.h"

/* Everything that a run writes; --overwrite removes these and nothing else. */
static const char *const own_files[] = {"job.yaml",      "plan.json",  "manifest.json",
                                        "events.ndjson", "latents.h5", "sound.part",
                                        "out.mp4",       "out.mkv",    "out.mov"};

lt_status lt_folder_path(const lt_plan *plan, const char *name, char *out, size_t bytes)
{
    return lt_path_join(out, bytes, plan->run, name);
}

/* Is the folder that shall hold path there, and may we write in it? A probe file says it better
 * than permission bits: read-only file systems, full quotas and /proc all show. */
static lt_status check_parent(const char *path, const char *option)
{
    char folder[LT_PATH_BYTES], probe[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(folder, sizeof folder, path));
    if (!lt_file_is_dir(folder))
        LT_FAIL(LT_ECREATE, "%s %s: cannot be made: the folder %s is not there", option, path,
                folder);
    LT_TRY(lt_path_join(probe, sizeof probe, folder, ".longtake-probe-XXXXXX"));
    const int fd = mkstemp(probe);
    if (fd < 0)
        LT_FAIL(LT_ECREATE, "%s %s: cannot be made: %s: %s", option, path, folder, strerror(errno));
    (void)close(fd);
    (void)unlink(probe);
    return LT_OK;
}

lt_status lt_folder_check_output(const lt_plan *plan)
{
    LT_TRY(check_parent(plan->output, "-o"));
    if (lt_file_is_dir(plan->output))
        LT_FAIL(LT_ECREATE, "-o %s: cannot be made: there is a folder of that name", plan->output);
    return LT_OK;
}

lt_status lt_folder_check(const lt_plan *plan, int overwrite)
{
    char file[LT_PATH_BYTES];
    LT_TRY(lt_folder_check_output(plan));
    if (!lt_file_exists(plan->run)) {
        LT_TRY(check_parent(plan->run, "--run"));
        return LT_OK;
    }
    if (!lt_file_is_dir(plan->run))
        LT_FAIL(LT_ECREATE, "--run %s: want a folder, found a file", plan->run);
    LT_TRY(lt_folder_path(plan, "job.yaml", file, sizeof file));
    if (lt_file_exists(file) && !overwrite) {
        char latents[LT_PATH_BYTES];
        LT_TRY(lt_folder_path(plan, "latents.h5", latents, sizeof latents));
        if (lt_file_exists(latents))
            lt_hint("--overwrite starts anew; --run names another folder; `longtake decode '%s' -o "
                    "OUT` makes its film again",
                    plan->run);
        else
            lt_hint("--overwrite starts anew (it has not denoised: nothing is lost); --run names "
                    "another folder");
        LT_FAIL(LT_ECREATE, "--run %s: holds a run already (job.yaml)", plan->run);
    }
    if (lt_file_exists(file)) { /* a job that somebody wrote by hand is no old run */
        LT_TRY(lt_folder_path(plan, "plan.json", file, sizeof file));
        if (!lt_file_exists(file)) {
            lt_hint("--run names another folder");
            LT_FAIL(LT_ECREATE, "--run %s: holds a job.yaml that is no run's: no plan.json",
                    plan->run);
        }
    }
    LT_TRY(lt_path_join(file, sizeof file, plan->run, "probe"));
    LT_TRY(check_parent(file, "--run"));
    return LT_OK;
}

lt_status lt_folder_make(const lt_plan *plan, const char *job_yaml, int overwrite)
{
    char file[LT_PATH_BYTES];
    LT_TRY(lt_dir_make(plan->run));
    for (size_t i = 0; overwrite && i < sizeof own_files / sizeof *own_files; i++) {
        LT_TRY(lt_folder_path(plan, own_files[i], file, sizeof file));
        (void)unlink(file);
    }
    LT_TRY(lt_folder_path(plan, "job.yaml", file, sizeof file));
    LT_TRY(lt_file_write_atomic(file, job_yaml, strlen(job_yaml)));
    json_t *json = NULL;
    LT_TRY(lt_plan_to_json(plan, &json));
    lt_status st = lt_folder_path(plan, "plan.json", file, sizeof file);
    if (st == LT_OK)
        st = lt_json_write(file, json);
    json_decref(json);
    LT_TRY(st);
    return LT_OK;
}

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

lt_status lt_folder_manifest(const lt_plan *plan, const lt_group *world, json_t *more)
{
    char file[LT_PATH_BYTES], mesh[96];
    struct utsname host;
    (void)uname(&host);
    listing all = {json_object(), plan->model, ""};
    if (lt_source_list(plan->model, add_file, &all) != LT_OK)
        lt_error_clear(); /* what can be told of the files is told; they were opened before */
    json_t *json = json_pack(
        "{s:s, s:i, s:s, s:s, s:o, s:s, s:i, s:s, s:s, s:s, s:o, s:s}", "format",
        "longtake-manifest", "version", 1, "software", "longtake " LT_VERSION, "model", plan->model,
        "model_files", all.files, "mesh", lt_mesh_text(&plan->mesh, mesh, sizeof mesh), "ranks",
        lt_group_size(world), "transport", lt_group_transport(world), "device", plan->device, "isa",
        lt_cpu_isa_now()->name, "seed", lt_json_of_u64(plan->seed), "system", host.sysname);
    if (json == NULL)
        LT_FAIL(LT_EINTERNAL, "manifest: cannot be written as JSON");
    if (more != NULL)
        (void)json_object_update(json, more);
    lt_status st = lt_folder_path(plan, "manifest.json", file, sizeof file);
    if (st == LT_OK)
        st = lt_json_write(file, json);
    json_decref(json);
    LT_TRY(st);
    return LT_OK;
}

static lt_status copy_bytes(const char *from, int in, const char *to, int out)
{
    static char buffer[1 << 20];
    for (;;) {
        const ssize_t n = read(in, buffer, sizeof buffer);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            LT_FAIL(LT_EIO, "%s: %s", from, strerror(errno));
        LT_TRY(lt_file_write_full(out, to, buffer, (size_t)n));
    }
    if (fdatasync(out) != 0)
        LT_FAIL(LT_EIO, "%s: %s", to, strerror(errno));
    return LT_OK;
}

static lt_status copy_file(const char *from, const char *to)
{
    const int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        LT_FAIL(LT_EIO, "%s: %s", from, strerror(errno));
    const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (out < 0) {
        const int error = errno;
        (void)close(in);
        LT_FAIL(LT_ECREATE, "%s: %s", to, strerror(error));
    }
    lt_status st = copy_bytes(from, in, to, out);
    (void)close(in);
    if (close(out) != 0 && st == LT_OK)
        st = lt_fail(LT_EIO, __FILE__, __LINE__, "%s: %s", to, strerror(errno));
    if (st != LT_OK)
        (void)unlink(to);
    return st;
}

lt_status lt_folder_publish(const lt_plan *plan, const char *film)
{
    char part[LT_PATH_BYTES];
    const int n = snprintf(part, sizeof part, "%s.part", plan->output);
    if (n < 0 || (size_t)n >= sizeof part)
        LT_FAIL(LT_EUSAGE, "-o %s: the name is too long", plan->output);
    if (strcmp(film, part) != 0) {
        (void)unlink(part);
        if (link(film, part) != 0)
            LT_TRY(copy_file(film, part));
    }
    if (rename(part, plan->output) != 0) {
        const int error = errno;
        (void)unlink(part);
        LT_FAIL(LT_ECREATE, "%s: %s", plan->output, strerror(error));
    }
    (void)unlink(part); /* rename does nothing where both names are one file: -o RUN/out.mp4 */
    return LT_OK;
}
