/* folder.c - the run folder. */
#include "run/folder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "run/state/state_folder.h"

/* Everything that a run writes; --overwrite removes these and nothing else. */
static const char *const own_files[] = {
    "job.yaml",   "plan.json",  "manifest.json", "events.ndjson", "latents.h5",
    "sound.part", "trace.json", "out.mp4",       "out.mkv",       "out.mov"};

lt_status lt_folder_path(const lt_plan *plan, const char *name, char *out, size_t bytes)
{
    return lt_path_join(out, bytes, plan->run, name);
}

/* The first of a run's names that is in RUN, NULL if none. */
static const char *holds_any(const lt_plan *plan)
{
    char file[LT_PATH_BYTES];
    struct stat info;
    for (size_t i = 0; i < sizeof own_files / sizeof *own_files; i++)
        if (lt_folder_path(plan, own_files[i], file, sizeof file) == LT_OK &&
            lstat(file, &info) == 0)
            return own_files[i];
    return NULL;
}

static int holds(const lt_plan *plan, const char *name)
{
    char file[LT_PATH_BYTES];
    return lt_folder_path(plan, name, file, sizeof file) == LT_OK && lt_file_exists(file);
}

/* A lease of ours, or a plan.json that we wrote. */
static int is_run(const lt_plan *plan)
{
    char file[LT_PATH_BYTES];
    json_t *value = NULL;
    if (lt_lease_marks(plan->run))
        return 1;
    const int read = lt_folder_path(plan, "plan.json", file, sizeof file) == LT_OK &&
                     lt_file_exists(file) && lt_json_read(file, &value) == LT_OK;
    const char *format = json_string_value(json_object_get(value, "format"));
    const int ours = read && format != NULL && strcmp(format, "longtake-plan") == 0;
    json_decref(value);
    lt_error_clear();
    return ours;
}

/* Began the same job here, and left neither latents nor a step that counts? Then to begin again
 * loses nothing, and a job that was stopped early runs again by the same words. */
static int same_job_again(const lt_plan *plan, const char *job_yaml)
{
    static const char *const results[] = {"latents.h5", "out.mp4", "out.mkv", "out.mov"};
    char file[LT_PATH_BYTES];
    char *text = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (holds(plan, results[i]))
            return 0;
    if (lt_state_any(plan->run))
        return 0;
    const int same = lt_folder_path(plan, "job.yaml", file, sizeof file) == LT_OK &&
                     lt_file_read_regular(file, strlen(job_yaml), &text, &bytes) == LT_OK &&
                     bytes == strlen(job_yaml) && memcmp(text, job_yaml, bytes) == 0;
    free(text);
    lt_error_clear();
    return same;
}

/* was_run: known from before our own lease was in it; -1: look. */
static lt_status check_content(const lt_plan *plan, const char *job_yaml, int overwrite,
                               int was_run)
{
    const char *found = holds_any(plan);
    char run[LT_PATH_BYTES];
    if (found == NULL)
        return LT_OK;
    const int ours = was_run >= 0 ? was_run : is_run(plan);
    if (holds(plan, "job.yaml") && !overwrite) {
        if (ours && same_job_again(plan, job_yaml))
            return LT_OK;
        if (holds(plan, "latents.h5"))
            lt_hint("--overwrite starts anew; --run names another folder; `longtake decode %s -o "
                    "OUT` makes its film again",
                    lt_text_quoted(plan->run, run, sizeof run));
        else if (lt_state_any(plan->run))
            lt_hint("`longtake render --resume %s` goes on from the last step that is kept; "
                    "--overwrite starts anew; --run names another folder",
                    lt_text_quoted(plan->run, run, sizeof run));
        else
            lt_hint("--overwrite starts anew (it has not denoised: nothing is lost); --run names "
                    "another folder");
        LT_FAIL(LT_ECREATE, "--run %s: holds a run already (job.yaml)", plan->run);
    }
    if (!ours) { /* what was written by hand is no old run */
        lt_hint("--run names another folder");
        LT_FAIL(LT_ECREATE, "--run %s: holds %s, which is no run's: no plan.json of ours",
                plan->run, found);
    }
    return LT_OK;
}

/* Whose a file is that we make there tells who "this user" is on that file system, and its mode
 * whether it keeps any (vfat and the like do not). A group may write if it is the process's own, as
 * under umask 002. */
lt_status lt_folder_check_owner(const lt_plan *plan)
{
    struct stat folder, file;
    lt_new_file probe;
    char path[LT_PATH_BYTES];
    LT_TRY(lt_folder_path(plan, "job.yaml", path, sizeof path));
    if (stat(plan->run, &folder) != 0)
        LT_FAIL(LT_ECREATE, "--run %s: %s", plan->run, strerror(errno));
    LT_TRY(lt_new_file_open(path, &probe));
    const int known = fstat(probe.fd, &file) == 0;
    lt_new_file_drop(&probe);
    if (!known)
        LT_FAIL(LT_ECREATE, "--run %s: %s", plan->run, strerror(errno));
    if (folder.st_uid != file.st_uid)
        LT_FAIL(LT_ECREATE, "--run %s: want a folder of user %ld, found one of user %ld", plan->run,
                (long)file.st_uid, (long)folder.st_uid);
    const int by_all = (folder.st_mode & S_IWOTH) != 0;
    const int by_group = (folder.st_mode & S_IWGRP) != 0 && folder.st_gid != getegid();
    if ((file.st_mode & 0111) == 0 && (by_all || by_group)) {
        lt_hint("`chmod %s %s` closes it",
                by_all && by_group ? "go-w"
                : by_all           ? "o-w"
                                   : "g-w",
                lt_text_quoted(plan->run, path, sizeof path));
        LT_FAIL(LT_ECREATE, "--run %s: want a folder that no other user writes in, found mode %04o",
                plan->run, (unsigned)(folder.st_mode & 07777));
    }
    return LT_OK;
}

/* RUN is not there yet: its folder must take it. */
static lt_status check_new(const lt_plan *plan)
{
    char folder[LT_PATH_BYTES], name[LT_PATH_BYTES];
    LT_TRY(lt_path_folder(folder, sizeof folder, plan->run));
    if (!lt_file_is_dir(folder))
        LT_FAIL(LT_ECREATE, "--run %s: cannot be made: the folder %s is not there", plan->run,
                folder);
    (void)snprintf(name, sizeof name, "%s", plan->run);
    for (size_t n = strlen(name); n > 1 && name[n - 1] == '/'; n--)
        name[n - 1] = '\0';
    LT_TRY(lt_new_file_try("--run", name, LT_KEEP));
    LT_TRY(lt_folder_path(plan, "events.ndjson.000000", name, sizeof name)); /* the longest */
    return LT_OK;
}

lt_status lt_folder_check(const lt_plan *plan, const char *job_yaml, int overwrite)
{
    struct stat info;
    if (plan->run[0] == '\0')
        LT_FAIL(LT_EUSAGE, "--run: want a folder's name, found an empty one");
    if (lstat(plan->run, &info) != 0)
        return check_new(plan);
    if (!lt_file_is_dir(plan->run))
        LT_FAIL(LT_ECREATE, "--run %s: want a folder, found %s", plan->run,
                S_ISLNK(info.st_mode) ? "a link to none" : "a file");
    LT_TRY(lt_folder_check_owner(plan));
    LT_TRY(lt_lease_run_free(plan->run));
    LT_TRY(check_content(plan, job_yaml, overwrite, -1));
    return LT_OK;
}

/* RUN/preview, but for what is no preview of ours. */
static void remove_previews(const lt_plan *plan)
{
    char folder[LT_PATH_BYTES], file[LT_PATH_BYTES];
    int step = 0, end = 0;
    DIR *list =
        lt_folder_path(plan, "preview", folder, sizeof folder) == LT_OK ? opendir(folder) : NULL;
    if (list == NULL)
        return;
    for (const struct dirent *e = readdir(list); e != NULL; e = readdir(list)) {
        end = 0;
        if (sscanf(e->d_name, "step-%9d.png%n", &step, &end) == 1 && end > 0 &&
            e->d_name[end] == '\0' && lt_path_join(file, sizeof file, folder, e->d_name) == LT_OK)
            (void)unlink(file);
    }
    (void)closedir(list);
    (void)rmdir(folder);
}

static void remove_own_files(const lt_plan *plan)
{
    char file[LT_PATH_BYTES];
    remove_previews(plan);
    for (size_t i = 0; i < sizeof own_files / sizeof *own_files; i++)
        if (lt_folder_path(plan, own_files[i], file, sizeof file) == LT_OK)
            (void)unlink(file);
    lt_state_clear(plan->run);
}

static lt_status write_first(const lt_plan *plan, const char *job_yaml)
{
    char file[LT_PATH_BYTES];
    assert(plan->text != NULL);
    LT_TRY(lt_folder_path(plan, "job.yaml", file, sizeof file));
    LT_TRY(lt_new_file_write(file, job_yaml, strlen(job_yaml), LT_KEEP));
    LT_TRY(lt_folder_path(plan, "plan.json", file, sizeof file));
    LT_TRY(lt_new_file_write(file, plan->text, strlen(plan->text), LT_REPLACE));
    return LT_OK;
}

/* A folder that we made goes again, with our lease, as long as nothing else is in it. The failure
 * that ends it keeps its words, whatever cannot be looked at on the way. */
static lt_status unmake(const lt_plan *plan, lt_lease *lease, lt_status why)
{
    char file[LT_PATH_BYTES], text[1024];
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    remove_own_files(plan);
    lt_lease_end(lease);
    if (lt_path_join(file, sizeof file, plan->run, "lease/000001") == LT_OK)
        (void)unlink(file);
    if (lt_path_join(file, sizeof file, plan->run, "lease/000001.ended") == LT_OK)
        (void)unlink(file);
    if (lt_folder_path(plan, "lease", file, sizeof file) == LT_OK)
        (void)rmdir(file);
    (void)rmdir(plan->run);
    return strcmp(lt_error_text(), text) == 0 ? why : lt_fail(why, __FILE__, __LINE__, "%s", text);
}

lt_status lt_folder_make(const lt_plan *plan, const char *job_yaml, int overwrite, lt_lease *lease)
{
    memset(lease, 0, sizeof *lease);
    const int made = mkdir(plan->run, 0775) == 0; /* what all could write in is refused later */
    const int error = errno;
    if (!made && (error != EEXIST || !lt_file_is_dir(plan->run)))
        LT_FAIL(LT_ECREATE, "--run %s: the folder cannot be made: %s", plan->run, strerror(error));
    const int was_run = !made && is_run(plan);
    lt_status st = LT_OK;
    if (!made)
        st = lt_folder_check_owner(plan);
    if (st == LT_OK)
        st = lt_lease_run(plan->run, lease);
    if (st == LT_OK)
        st = check_content(plan, job_yaml, overwrite, was_run);
    if (st == LT_OK) {
        remove_own_files(plan);
        st = write_first(plan, job_yaml);
    }
    if (st != LT_OK && made && lease->held)
        st = unmake(plan, lease, st);
    else if (st != LT_OK)
        lt_lease_end(lease);
    return st;
}

lt_status lt_folder_go_on(const lt_plan *plan, lt_lease *lease)
{
    char file[LT_PATH_BYTES];
    assert(plan->text != NULL);
    LT_TRY(lt_folder_check_owner(plan));
    LT_TRY(lt_lease_run_over(plan->run, lease));
    lt_status st = lt_folder_path(plan, "plan.json", file, sizeof file);
    if (st == LT_OK)
        st = lt_new_file_write(file, plan->text, strlen(plan->text), LT_REPLACE);
    if (st != LT_OK)
        lt_lease_end(lease);
    return st;
}

/* The bytes of one file into another: shared blocks where the file system has that, else the
 * kernel's copy, else ours. */
static lt_status copy_bytes(const char *from, int in, lt_new_file *to)
{
    static char buffer[1 << 20];
    ssize_t n = 0;
#ifdef FICLONE
    if (ioctl(to->fd, FICLONE, in) == 0)
        return LT_OK;
#endif
    do
        n = copy_file_range(in, NULL, to->fd, NULL, sizeof buffer * 64, 0);
    while (n > 0);
    if (n == 0 && lseek(in, 0, SEEK_CUR) > 0)
        return LT_OK;
    if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
        LT_FAIL(LT_EIO, "%s: %s", to->path, strerror(errno));
    for (;;) { /* goes on where the kernel gave up */
        n = read(in, buffer, sizeof buffer);
        if (n == 0)
            return LT_OK;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            LT_FAIL(LT_EIO, "%s: %s", from, strerror(errno));
        LT_TRY(lt_file_write_full(to->fd, to->path, buffer, (size_t)n));
    }
}

static lt_status copy_film(const char *film, const char *path, lt_replace replace)
{
    lt_new_file to;
    const int in = open(film, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (in < 0)
        LT_FAIL(LT_EIO, "%s: %s", film, strerror(errno));
    lt_status st = lt_new_file_open(path, &to);
    if (st == LT_OK)
        st = copy_bytes(film, in, &to);
    if (st == LT_OK)
        st = lt_new_file_done(&to, replace);
    lt_new_file_drop(&to);
    (void)close(in);
    return st;
}

lt_status lt_folder_publish(const lt_plan *plan, const char *film, lt_replace replace)
{
    struct stat mine, there;
    if (lstat(film, &mine) == 0 && lstat(plan->output, &there) == 0 &&
        mine.st_dev == there.st_dev && mine.st_ino == there.st_ino)
        return LT_OK; /* -o RUN/out.mp4 */
    const lt_status st = copy_film(film, plan->output, replace);
    if (st != LT_OK && st != LT_EIO)
        lt_hint("the film is whole: '%s'", film);
    if (st != LT_EIO)
        return st;
    char text[512];
    (void)snprintf(text, sizeof text, "%s", lt_error_text());
    if (lt_new_file_move(film, plan->output, replace) != LT_OK) {
        lt_hint("the film is whole: '%s'", film);
        LT_FAIL(LT_EIO, "%s", text);
    }
    lt_error_clear();
    lt_warn("%s: moved from the run folder: there is no room for two (%s)", plan->output, text);
    return LT_OK;
}
