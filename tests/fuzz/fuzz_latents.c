/* fuzz_latents.c - any bytes as a latents.h5, through decode and inspect.
 * The first byte of an input says whether our seal is put behind the rest (0: sealed, as who forges
 * a file would; 1: not, and read with --unsealed); the rest is HDF5's file. Seeds are a run of the
 * tiny model as it is written today, and in HDF5's oldest format. The film is decoded to its end
 * where the file passes. */
#include "fuzz_strangers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    (void)fuzz_begin();
    const int unsealed = data[0] & 1;
    fuzz_write_latents("latents.h5", data + 1, size - 1, !unsealed);
    fuzz_inspect(fuzz_path("latents.h5"), unsealed);
    fuzz_decode(fuzz_path("latents.h5"), unsealed);
    return 0;
}

static fuzz_seed seeds[4];

__attribute__((constructor)) static void seeds_make(void)
{
    free(fuzz_seed_run());
    fuzz_seed_old(fuzz_path("seed.run/latents.h5"), fuzz_path("latents.h5"));
    for (int i = 0; i < 2; i++) {
        const char head = (char)i;
        seeds[i] = fuzz_seed_file(&head, 1, fuzz_path("seed.run/latents.h5"), LT_H5_SEAL_BYTES);
        seeds[2 + i] = fuzz_seed_file(&head, 1, fuzz_path("latents.h5"), 0);
    }
}

FUZZ_MAIN("latents", seeds, 1 << 16)
