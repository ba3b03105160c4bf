/* latents_hash.c - one line a dataset of a latents.h5: name, shape, a hash of its values; with a
 * second file in place of the hash how far its values are off, as a share of the largest.
 * For tools/same_bits and tools/elsewhere, which compare what two programs wrote: it shares no code
 * with either, and looks at values, so that attributes, chunks and compression may differ. Knows
 * zstd chunks (filter 32015), which HDF5 may lack. */
#include <hdf5.h>
#include <inttypes.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

typedef struct values {
    hsize_t dims[DIMS_MAX], count;
    int ndim;
    float *data;
} values;

static int values_read(hid_t file, const char *name, values *v)
{
    const hid_t dataset = H5Dopen2(file, name, H5P_DEFAULT);
    const hid_t space = dataset >= 0 ? H5Dget_space(dataset) : -1;
    *v = (values){.ndim = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1};
    const hssize_t count = space >= 0 ? H5Sget_simple_extent_npoints(space) : -1;
    if (v->ndim < 0 || v->ndim > DIMS_MAX || count < 0 ||
        H5Sget_simple_extent_dims(space, v->dims, NULL) < 0)
        return 1;
    v->count = (hsize_t)count;
    v->data = malloc(count > 0 ? (size_t)count * sizeof *v->data : 1);
    return v->data == NULL ||
           H5Dread(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, v->data) < 0;
}

/* The largest difference as a share of a's largest value; NaN: a NaN among them, another shape. */
static double apart(const values *a, const values *b)
{
    double worst = 0, largest = 0;
    if (a->ndim != b->ndim || memcmp(a->dims, b->dims, sizeof a->dims) != 0)
        return NAN;
    for (hsize_t i = 0; i < a->count; i++) {
        const double d = fabs((double)a->data[i] - (double)b->data[i]);
        if (!(d < INFINITY))
            return NAN;
        worst = d > worst ? d : worst;
        const double size = fabs((double)a->data[i]);
        largest = size > largest ? size : largest;
    }
    return worst / (largest > 0 ? largest : 1);
}

typedef struct visit {
    hid_t other; /* below 0: none */
    int wrong;
} visit;

/* A storyboard has a group each shot. */
static int is_group(hid_t file, const char *name)
{
    const hid_t object = H5Oopen(file, name, H5P_DEFAULT);
    const int group = object >= 0 && H5Iget_type(object) == H5I_GROUP;
    if (object >= 0)
        (void)H5Oclose(object);
    return group;
}

static herr_t each(hid_t file, const char *name, const H5L_info_t *info, void *data)
{
    (void)info;
    visit *v = data;
    values a = {0}, b = {0};
    if (is_group(file, name))
        return 0;
    const int bad =
        values_read(file, name, &a) || (v->other >= 0 && values_read(v->other, name, &b));
    if (!bad) {
        printf("%s", name);
        for (int i = 0; i < a.ndim; i++)
            printf("%c%llu", i == 0 ? ' ' : 'x', (unsigned long long)a.dims[i]);
        if (v->other >= 0)
            printf(" %.2e\n", apart(&a, &b));
        else
            printf(" %016" PRIx64 "\n",
                   (uint64_t)XXH64(a.data, (size_t)a.count * sizeof *a.data, 0));
    }
    free(a.data);
    free(b.data);
    v->wrong |= bad;
    return 0;
}

int main(int argc, char **argv)
{
    static const H5Z_class2_t zstd = {H5Z_CLASS_T_VERS, FILTER_ZSTD, 0,    1,
                                      "zstd",           NULL,        NULL, unpack};
    visit v = {-1, 0};
    if (argc < 2 || argc > 3 || H5Zregister(&zstd) < 0) {
        (void)fputs("usage: latents_hash LATENTS.h5 [OTHER.h5]\n", stderr);
        return 64;
    }
    const hid_t file = H5Fopen(argv[1], H5F_ACC_RDONLY, H5P_DEFAULT);
    if (argc == 3 && (v.other = H5Fopen(argv[2], H5F_ACC_RDONLY, H5P_DEFAULT)) < 0)
        v.wrong = 1;
    if (file < 0 || v.wrong || H5Lvisit(file, H5_INDEX_NAME, H5_ITER_INC, each, &v) < 0 ||
        v.wrong) {
        (void)fprintf(stderr, "latents_hash: %s: cannot be read\n", argv[argc - 1]);
        return 65;
    }
    return 0;
}
