/* latents_hash.c - one line a dataset of a latents.h5: its name, shape and a hash of its values.
 * For tools/same_bits, which compares what two commits wrote: it shares no code with either, and
 * hashes values, so that attributes, chunks and compression may differ. Knows zstd chunks (filter
 * 32015), which HDF5 may lack. */
#include <hdf5.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>
#include <zstd.h>

enum { FILTER_ZSTD = 32015, DIMS_MAX = 8 };

static size_t unpack(unsigned flags, size_t values_count, const unsigned values[], size_t bytes,
                     size_t *buffer_bytes, void **buffer)
{
    (void)values_count;
    (void)values;
    const unsigned long long whole = ZSTD_getFrameContentSize(*buffer, bytes);
    if (!(flags & H5Z_FLAG_REVERSE) || whole == ZSTD_CONTENTSIZE_UNKNOWN ||
        whole == ZSTD_CONTENTSIZE_ERROR)
        return 0;
    void *out = malloc(whole > 0 ? whole : 1);
    if (out == NULL || ZSTD_isError(ZSTD_decompress(out, whole, *buffer, bytes))) {
        free(out);
        return 0;
    }
    free(*buffer);
    *buffer = out;
    *buffer_bytes = whole;
    return whole;
}

static int hash_dataset(hid_t file, const char *name)
{
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    const hid_t space = dataset >= 0 ? H5Dget_space(dataset) : -1;
    hsize_t dims[DIMS_MAX] = {0};
    const int ndim = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    const hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (ndim < 0 || ndim > DIMS_MAX || count < 0 ||
        H5Sget_simple_extent_dims(space, dims, NULL) < 0)
        return 1;
    const size_t bytes = (size_t)count * sizeof(float);
    float *values = malloc(bytes > 0 ? bytes : 1);
    if (values == NULL ||
        H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) {
        free(values);
        return 1;
    }
    printf("%s", name);
    for (int i = 0; i < ndim; i++)
        printf("%c%llu", i == 0 ? ' ' : 'x', (unsigned long long)dims[i]);
    printf(" %016" PRIx64 "\n", (uint64_t)XXH64(values, bytes, 0));
    free(values);
    return 0;
}

static herr_t each(hid_t file, const char *name, const H5L_info_t *info, void *wrong)
{
    (void)info;
    *(int *)wrong |= hash_dataset(file, name);
    return 0;
}

int main(int argc, char **argv)
{
    static const H5Z_class2_t zstd = {H5Z_CLASS_T_VERS, FILTER_ZSTD, 0,     1, "zstd",
                                      NULL,             NULL,        unpack};
    int wrong = 0;
    hsize_t at = 0;
    if (argc != 2 || H5Zregister(&zstd) < 0) {
        (void)fputs("usage: latents_hash LATENTS.h5\n", stderr);
        return 64;
    }
    const hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    if (file < 0 || H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, &at, each, &wrong) < 0 || wrong) {
        (void)fprintf(stderr, "latents_hash: %s: cannot be read\n", argv[1]);
        return 65;
    }
    return 0;
}
