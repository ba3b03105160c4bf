/* render.c - longtake render: a prompt becomes a film.                            Level 5: cmd */
#include <stdlib.h>

#include "base/file.h"
#include "cmd/outcome.h"
#include "cmd/verbs.h"
#include "parallel/comm.h"

enum { JOB_BYTES_MAX = 1 << 20 };

/* Rank 0 reads the job file; the others get its text, so that all parse the same bytes. */
static lt_status read_job(lt_options *options, const char *path, lt_group *world)
{
    char *text = NULL;
    size_t bytes = 0;
    lt_status st = LT_OK;
    if (lt_group_rank(world) == 0)
        st = lt_file_read(path, JOB_BYTES_MAX, &text, &bytes);
    LT_TRY(lt_agree(world, st));
    st = lt_broadcast_text(world, 0, &text, &bytes);
    if (st == LT_OK)
        st = lt_options_parse_yaml_text(options, text, bytes, path);
    free(text);
    LT_TRY(lt_agree(world, st));
    return LT_OK;
}

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    if (word_count > 1)
        LT_FAIL(LT_EUSAGE, "render: want at most one job file, found also '%s'", words[1]);
    if (word_count == 1)
        LT_TRY(read_job((lt_options *)(uintptr_t)options, words[0], world));
    lt_outcome out;
    LT_TRY(lt_render(job, options, world, &out));
    return lt_outcome_say(job, "longtake-render", world, &out);
}

const lt_verb lt_verb_render = {
    .name = "render",
    .bit = LT_VERB_RENDER,
    .collective = 1,
    .run = run,
    .summary = "a prompt becomes a film with sound",
    .usage = "longtake render [JOB.yaml] -p TEXT -o FILE [options]",
    .intro = "Renders picture and sound of a prompt and writes them as one film. A job file is "
             "YAML with the same\n"
             "names as the long options; flags win. Under mpirun or srun all ranks work on the "
             "same film.",
    .examples =
        "  longtake render -p \"A green glass ball drops on a stone floor.\" -o glass.mp4\n"
        "  longtake render glass.run/job.yaml --seed 2 --codec hevc --sheet two.png --wav two.wav "
        "-o two.mkv\n"
        "  mpirun --oversubscribe -n 4 longtake render glass.run/job.yaml --mesh uly=2,tp=2 -o "
        "three.mp4\n"};
