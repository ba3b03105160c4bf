/* fuzz_run.c - any run folder, through decode, inspect, and what metrics reads of its plan.
 * An input is a byte as fuzz_latents has it, then plan.json, job.yaml and manifest.json with a byte
 * 0x1e behind each, then latents.h5's bytes. An empty part is a file that is not there. */
#include "fuzz_strangers.h"

#include "cmd/metrics_subject.h"

static void part(const uint8_t **at, size_t *left, const char *name)
{
    const uint8_t *end = *left > 0 ? memchr(*at, 0x1e, *left) : NULL;
    const size_t n = end != NULL ? (size_t)(end - *at) : *left;
    if (n > 0)
        fuzz_write(name, *at, n);
    else
        (void)unlink(fuzz_path(name));
    *at += n + (end != NULL);
    *left -= n + (end != NULL);
}

/* What `metrics` makes of plan.json, where a film is there. */
static void read_subject(void)
{
    lt_metrics_subject subject = {.run = NULL};
    fuzz_write("run/out.mkv", (const uint8_t *)"", 0);
    require_ended_well(lt_metrics_subject_run(fuzz_path("run"), &subject));
    for (size_t i = 1; i < subject.join_count; i++)
        require(subject.joins[i] > subject.joins[i - 1]);
    for (size_t i = 1; i < subject.cut_count; i++)
        require(subject.cuts[i] > subject.cuts[i - 1]);
    for (size_t i = 1; i < subject.column_count; i++)
        require(subject.columns[i] > subject.columns[i - 1]);
    lt_metrics_subject_free(&subject);
    (void)unlink(fuzz_path("run/out.mkv"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    (void)fuzz_begin();
    (void)mkdir(fuzz_path("run"), 0700);
    const int unsealed = data[0] & 1;
    const uint8_t *at = data + 1;
    size_t left = size - 1;
    part(&at, &left, "run/plan.json");
    part(&at, &left, "run/job.yaml");
    part(&at, &left, "run/manifest.json");
    if (left > 0)
        fuzz_write_latents("run/latents.h5", at, left, !unsealed);
    else
        (void)unlink(fuzz_path("run/latents.h5"));
    read_subject();
    fuzz_inspect(fuzz_path("run"), unsealed);
    fuzz_decode(fuzz_path("run"), unsealed);
    return 0;
}

static fuzz_seed seeds[7];

/* A storyboard; and one with tiles, as a plan of refine has them, without latents. */
static void board_seeds(void)
{
    static char head[1 << 16];
    static const char tiled[] =
        "\0{\"format\": \"longtake-plan\", \"version\": 1, \"frames\": 90, \"width\": 256, "
        "\"height\": 256, \"suffix\": \"mkv\", \"output\": \"a.mkv\", \"windows\": "
        "[{\"first_frame\": 0, \"frames\": 60}, {\"first_frame\": 30, \"frames\": 60}], "
        "\"joins\": [45], \"period\": 17, \"cell\": 32, \"tile_columns\": [{\"first\": 0, "
        "\"pixels\": 160, \"own\": 0}, {\"first\": 96, \"pixels\": 160, \"own\": 128}], "
        "\"shots\": [{\"first_frame\": 0, \"frames\": 50}, {\"first_frame\": 50, "
        "\"frames\": 40}]}\x1e\x1e\x1e";
    char *plan = fuzz_seed_board();
    const int n =
        snprintf(head, sizeof head, "a%s\x1eshots: [{prompt: A ball., frames: 5}]\n\x1e\x1e", plan);
    free(plan);
    require(n > 0 && (size_t)n < sizeof head);
    head[0] = 0;
    seeds[5] = fuzz_seed_file(head, (size_t)n, fuzz_path("board.run/latents.h5"), LT_H5_SEAL_BYTES);
    seeds[6] = (fuzz_seed){(const uint8_t *)tiled, sizeof tiled - 1};
}

__attribute__((constructor)) static void seeds_make(void)
{
    static char head[1 << 16], empty[] = "\0\x1e\x1e\x1e";
    char *plan = fuzz_seed_run();
    fuzz_seed_old(fuzz_path("seed.run/latents.h5"), fuzz_path("latents.h5"));
    const int n = snprintf(head, sizeof head,
                           "%c%s\x1eprompt: A ball.\nframes: 5\nsize: 32x32\n\x1e{\"format\": "
                           "\"longtake-manifest\", \"version\": 1}\n\x1e",
                           'a', plan);
    free(plan);
    require(n > 0 && (size_t)n < sizeof head);
    for (int i = 0; i < 2; i++) {
        head[0] = (char)i;
        seeds[i] =
            fuzz_seed_file(head, (size_t)n, fuzz_path("seed.run/latents.h5"), LT_H5_SEAL_BYTES);
        seeds[2 + i] = fuzz_seed_file(head, (size_t)n, fuzz_path("latents.h5"), 0);
    }
    seeds[4] = fuzz_seed_file(empty, 4, fuzz_path("seed.run/latents.h5"), LT_H5_SEAL_BYTES);
    board_seeds();
}

FUZZ_MAIN("run", seeds, 1 << 16)
