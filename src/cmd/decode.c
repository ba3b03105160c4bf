/* decode.c - longtake decode: latents of a run become a film again. */
#include "cmd/outcome.h"
#include "cmd/verbs.h"

static lt_status run(const lt_job *job, const lt_options *options, const char *const *words,
                     size_t word_count, lt_group *world)
{
    if (word_count != 1)
        LT_FAIL(LT_EUSAGE, "decode: want one run folder or latents.h5, found %zu words",
                word_count);
    lt_outcome out;
    LT_TRY(lt_decode_run(job, options, words[0], world, &out));
    return lt_outcome_say(job, "longtake-decode", world, &out);
}

const lt_verb lt_verb_decode = {
    .name = "decode",
    .bit = LT_VERB_DECODE,
    .collective = 1,
    .reads_latents = 1,
    .run = run,
    .summary = "the latents of a run become a film again",
    .usage = "longtake decode RUN -o FILE [options]",
    .intro = "Decodes RUN/latents.h5 into a film, in any codec, on any "
             "number of ranks. Nothing is denoised again.",
    .examples = "  longtake render -p \"A steel ball drops on wood.\" --seconds 1 -o steel.mp4\n"
                "  longtake decode steel.run --codec prores -o steel.mov\n"
                "  mpirun -n 2 longtake decode steel.run --codec hevc -o steel.mkv\n"};
