/* run_status.c - where a run stands, from its folder alone.
 * Leases say who holds it, events what it does, names of commit records what counts: none of them
 * is locked, all are whole or not there, so a run at work is not disturbed. Of the events the end
 * is read, as much as holds the last start of any but the longest runs. */
#include "run/resume/run_status.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "run/lease.h"
#include "run/state/state_folder.h"

enum { EVENTS_BYTES_MAX = 1 << 20 };

typedef struct seen {
    char stage[32];
    int64_t done, total;       /* of that stage; total 0: unknown */
    int64_t durable;           /* step that the events say is on the disk; 0: none */
    char last[16], error[512]; /* last: of "start", "end", "stop", "error" */
    char time[48];             /* of the last event */
} seen;

static void take_event(const json_t *event, seen *s)
{
    const char *name = json_string_value(json_object_get(event, "event"));
    const char *stage = json_string_value(json_object_get(event, "stage"));
    const char *time = json_string_value(json_object_get(event, "time"));
    const char *text = json_string_value(json_object_get(event, "text"));
    if (name == NULL)
        return;
    if (time != NULL)
        (void)snprintf(s->time, sizeof s->time, "%s", time);
    if (strcmp(name, "start") == 0)
        *s = (seen){.last = "start", .durable = s->durable};
    if (strcmp(name, "stage") == 0 && stage != NULL) {
        (void)snprintf(s->stage, sizeof s->stage, "%s", stage);
        s->done = 0;
        s->total = json_integer_value(json_object_get(event, "total"));
    }
    const int64_t step = json_integer_value(json_object_get(event, "step"));
    if (strcmp(name, "durable") == 0 || (strcmp(name, "resume") == 0 && step < s->durable))
        s->durable = step; /* a run that goes on further back has lost what was behind */
    if (strcmp(name, "step") == 0 && stage != NULL && strcmp(stage, s->stage) == 0)
        s->done = json_integer_value(json_object_get(event, "done"));
    if (strcmp(name, "end") == 0 || strcmp(name, "stop") == 0 || strcmp(name, "error") == 0) {
        (void)snprintf(s->last, sizeof s->last, "%s", name);
        (void)snprintf(s->error, sizeof s->error, "%s", text != NULL ? text : "");
    }
}

static void read_events(const char *run, seen *s)
{
    char path[LT_PATH_BYTES];
    if (lt_path_join(path, sizeof path, run, "events.ndjson") != LT_OK)
        return;
    const int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    const off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    const off_t from = end > EVENTS_BYTES_MAX ? end - EVENTS_BYTES_MAX : 0;
    char *text = end > 0 ? malloc((size_t)(end - from) + 1) : NULL;
    const ssize_t n = text != NULL ? pread(fd, text, (size_t)(end - from), from) : -1;
    if (n > 0) {
        text[n] = '\0';
        char *rest = text;
        for (char *line = strtok_r(text, "\n", &rest); line != NULL;
             line = strtok_r(NULL, "\n", &rest)) { /* a line that was cut is no JSON */
            json_t *event = json_loads(line, 0, NULL);
            take_event(event, s);
            json_decref(event);
        }
    }
    free(text);
    if (fd >= 0)
        (void)close(fd);
}

/* The newest commit record by its name: highest step, then epoch. */
static json_t *newest_commit(const char *run)
{
    char path[LT_PATH_BYTES];
    struct stat info;
    lt_state_name best = {.step = -1}, name;
    double age = 0;
    DIR *all = lt_path_join(path, sizeof path, run, "state") == LT_OK ? opendir(path) : NULL;
    for (const struct dirent *e = all != NULL ? readdir(all) : NULL; e != NULL; e = readdir(all)) {
        if (!lt_state_name_parse(e->d_name, &name) || name.part >= 0 || name.step < best.step ||
            (name.step == best.step && name.epoch < best.epoch) ||
            fstatat(dirfd(all), e->d_name, &info, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        struct timespec now;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        best = name;
        age = (double)(now.tv_sec - info.st_mtim.tv_sec) +
              1e-9 * (double)(now.tv_nsec - info.st_mtim.tv_nsec);
    }
    if (all != NULL)
        (void)closedir(all);
    return best.step < 0 ? json_null()
                         : json_pack("{s:I, s:I, s:f}", "step", (json_int_t)best.step, "epoch",
                                     (json_int_t)best.epoch, "age_seconds", age > 0 ? age : 0.0);
}

static int is_in(const char *run, const char *name)
{
    char file[LT_PATH_BYTES];
    return lt_path_join(file, sizeof file, run, name) == LT_OK && lt_file_exists(file);
}

/* The film that the manifest tells of, where it lies as it says; NULL: none. */
static json_t *film_of(const char *run)
{
    char file[LT_PATH_BYTES];
    json_t *manifest = NULL, *path = NULL;
    if (lt_path_join(file, sizeof file, run, "manifest.json") == LT_OK && lt_file_exists(file) &&
        lt_json_read(file, &manifest) == LT_OK)
        path = json_incref(json_object_get(json_object_get(manifest, "output"), "file"));
    json_decref(manifest);
    lt_error_clear();
    return path;
}

static const char *owner_word(const lt_lease_holder *holder)
{
    return holder->epoch == 0               ? "nobody"
           : holder->state == LT_OWNER_RUNS ? "runs"
           : holder->state == LT_OWNER_GONE ? "ended"
                                            : "unknown";
}

static const char *state_word(const lt_lease_holder *holder, const seen *s, const json_t *film)
{
    if (holder->state == LT_OWNER_RUNS && holder->epoch > 0)
        return "running";
    if (film != NULL && strcmp(s->last, "end") == 0)
        return "finished";
    return holder->epoch > 0 && holder->state == LT_OWNER_UNKNOWN ? "unknown" : "stopped";
}

static void print(const char *run, const json_t *a, FILE *to)
{
    char word[LT_PATH_BYTES], shown[1024];
    const json_t *commit = json_object_get(a, "commit"), *owner = json_object_get(a, "owner");
    const json_t *film = json_object_get(a, "film"), *error = json_object_get(a, "error");
    const char *stage = json_string_value(json_object_get(a, "stage"));
    const long long total = json_integer_value(json_object_get(a, "total"));
    (void)snprintf(shown, sizeof shown, "%s", run);
    (void)fprintf(to, "run     %s: %s", lt_text_printable(shown),
                  json_string_value(json_object_get(a, "state")));
    if (stage != NULL)
        (void)fprintf(to, ", %s", stage);
    if (total > 0)
        (void)fprintf(to, " %lld of %lld",
                      (long long)json_integer_value(json_object_get(a, "done")), total);
    (void)fprintf(to, "\nowner   epoch %lld",
                  (long long)json_integer_value(json_object_get(a, "epoch")));
    if (json_is_object(owner)) {
        (void)snprintf(shown, sizeof shown, "%s",
                       json_string_value(json_object_get(owner, "host")));
        (void)fprintf(to, ": process %lld on %s, %s",
                      (long long)json_integer_value(json_object_get(owner, "pid")),
                      lt_text_printable(shown), json_string_value(json_object_get(owner, "state")));
    }
    if (json_is_object(commit))
        (void)fprintf(to, "\ncommit  step %lld of epoch %lld, %.0f s ago",
                      (long long)json_integer_value(json_object_get(commit, "step")),
                      (long long)json_integer_value(json_object_get(commit, "epoch")),
                      json_real_value(json_object_get(commit, "age_seconds")));
    if (json_is_integer(json_object_get(a, "durable")))
        (void)fprintf(to, "\ndurable step %lld, even if the power fails",
                      (long long)json_integer_value(json_object_get(a, "durable")));
    (void)fprintf(to, "\nlatents %s",
                  json_is_true(json_object_get(a, "latents")) ? "whole" : "not yet whole");
    if (json_is_string(film)) {
        (void)snprintf(shown, sizeof shown, "%s", json_string_value(film));
        (void)fprintf(to, "\nfilm    %s", lt_text_printable(shown));
    }
    if (json_is_string(error)) {
        (void)snprintf(shown, sizeof shown, "%s", json_string_value(error));
        (void)fprintf(to, "\nended   %s", lt_text_printable(shown));
    }
    (void)fputc('\n', to);
    if (strcmp(json_string_value(json_object_get(a, "state")), "stopped") == 0)
        (void)fprintf(to, "`longtake render --resume %s` goes on\n",
                      lt_text_quoted(run, word, sizeof word));
}

lt_status lt_run_status(const char *run, FILE *to, json_t **out)
{
    lt_lease_holder holder;
    seen s = {.last = ""};
    *out = NULL;
    if (!lt_file_is_dir(run) || (!is_in(run, "job.yaml") && !lt_lease_marks(run))) {
        lt_hint("a render's --run, or its film's name with .run");
        LT_FAIL(LT_ENOINPUT, "%s: want a run folder, found %s", run,
                lt_file_is_dir(run)   ? "a folder without job.yaml and leases"
                : lt_file_exists(run) ? "a file"
                                      : "nothing");
    }
    LT_TRY(lt_lease_look(run, &holder));
    read_events(run, &s);
    json_t *film = film_of(run);
    json_t *owner = holder.epoch == 0
                        ? json_null()
                        : json_pack("{s:s, s:I, s:s}", "host", holder.owner.host, "pid",
                                    (json_int_t)holder.owner.pid, "state", owner_word(&holder));
    *out = json_pack(
        "{s:s, s:i, s:o, s:s, s:s?, s:I, s:I, s:I, s:o, s:o, s:o, s:b, s:O?, s:s?, "
        "s:s?}",
        "format", "longtake-status", "version", 1, "run", lt_json_of_path(run), "state",
        state_word(&holder, &s, film), "stage", s.stage[0] != '\0' ? s.stage : NULL, "done",
        (json_int_t)s.done, "total", (json_int_t)s.total, "epoch", (json_int_t)holder.epoch,
        "owner", owner, "commit", newest_commit(run), "durable",
        s.durable > 0 ? json_integer((json_int_t)s.durable) : json_null(), "latents",
        is_in(run, "latents.h5"), "film", film, "error", s.error[0] != '\0' ? s.error : NULL,
        "last_event", s.time[0] != '\0' ? s.time : NULL);
    json_decref(film);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for its status", run);
    if (to != NULL)
        print(run, *out, to);
    return LT_OK;
}
