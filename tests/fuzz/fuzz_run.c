/* fuzz_run.c - any run folder, through decode and inspect.
 * An input is a byte as fuzz_latents has it, then plan.json, job.yaml and manifest.json with a byte
 * 0x1e behind each, then latents.h5's bytes. An empty part is a file that is not there. */
#include "fuzz_strangers.h"

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
    fuzz_inspect(fuzz_path("run"), unsealed);
    fuzz_decode(fuzz_path("run"), unsealed);
    return 0;
}

static fuzz_seed seeds[5];

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
}

FUZZ_MAIN("run", seeds, 1 << 16)
