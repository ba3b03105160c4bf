/* job_model.c - which model a job means: its own, or the one that comes along. */
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "run/pipeline.h"

lt_status lt_job_model(const lt_job *job, char *out, size_t bytes)
{
    if (job->model == NULL)
        return lt_default_model(out, bytes);
    const int n = snprintf(out, bytes, "%s", job->model);
    if (n < 0 || (size_t)n >= bytes)
        LT_FAIL(LT_EUSAGE, "--model %.200s...: the path is too long", job->model);
    if (n == 0)
        LT_FAIL(LT_EUSAGE, "--model: want a folder, found an empty path");
    return LT_OK;
}

lt_status lt_default_model(char *out, size_t bytes)
{
    static const char *const places[] = {"models/demo", "../share/longtake/models/demo",
                                         "../models/demo", "../../models/demo",
                                         "../../../models/demo"};
    char exe[LT_PATH_BYTES], folder[LT_PATH_BYTES], place[LT_PATH_BYTES], file[LT_PATH_BYTES];
    const ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n > 0) {
        exe[n] = '\0';
        LT_TRY(lt_path_folder(folder, sizeof folder, exe));
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
            LT_TRY(lt_path_join(place, sizeof place, folder, places[i]));
            LT_TRY(lt_path_join(file, sizeof file, place, "transformer/config.json"));
            if (lt_file_exists(file) && realpath(place, exe) != NULL) {
                const int length = snprintf(out, bytes, "%s", exe);
                if (length < 0 || (size_t)length >= bytes)
                    LT_FAIL(LT_EUSAGE, "%s: the name is too long", exe);
                return LT_OK;
            }
        }
    }
    lt_hint("--model DIR names a checkpoint");
    LT_FAIL(LT_ENOINPUT,
            "the demo model is neither beside the program nor in a source tree above it");
}
