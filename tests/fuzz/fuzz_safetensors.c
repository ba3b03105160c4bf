/* fuzz_safetensors.c - any bytes as a .safetensors file, or (beginning with '{') as a folder's
 * index. What is opened must tile its data, every tensor must be found under its name and be
 * readable whole and by a slice, or fail as LT_EDATA (NaN, head width, kind). The part is the
 * DiT's, so names of the original layout are rewritten too. An index may name two shards, which are
 * always the same. */
#include "fuzz_main.h"

#include <sys/mman.h>

#include "model/files/checkpoint.h"
#include "model/files/safetensors.h"
#include "model/h3/names.h"

static void require(int truth)
{
    if (!truth)
        abort();
}

static void read_all(lt_checkpoint *c)
{
    static double to[1024];
    const int64_t count = lt_checkpoint_count(c);
    for (int64_t i = 0; i < count && i < 64; i++) {
        const lt_tensor_info stored = lt_checkpoint_at(c, i);
        lt_tensor_info info;
        if (!lt_checkpoint_is_mapped(c))
            require(lt_checkpoint_find(c, stored.name, &info));
        if (!lt_checkpoint_find(c, stored.name, &info) || info.ndim < 1 || info.ndim > LT_DIMS_MAX)
            continue;
        lt_dims dims = {.ndim = info.ndim};
        memcpy(dims.dim, info.dim, sizeof dims.dim);
        lt_slice slice = lt_slice_whole(dims);
        const int is_float = info.dtype != LT_I32 && info.dtype != LT_I64 && info.dtype != LT_U8 &&
                             info.dtype != LT_U16;
        if (slice.rows.count * slice.columns.count > 1024)
            continue;
        lt_status st =
            lt_checkpoint_read(c, stored.name, dims, slice, is_float ? LT_F64 : info.dtype, to);
        require(st == LT_OK || st == LT_EDATA);
        slice.columns.first = slice.columns.count / 2;
        slice.columns.count -= slice.columns.first;
        st = lt_checkpoint_read(c, stored.name, dims, slice, is_float ? LT_BF16 : info.dtype, to);
        require(st == LT_OK || st == LT_EDATA);
    }
    (void)lt_checkpoint_all_used(c, NULL);
}

static void as_file(const uint8_t *data, size_t size)
{
    char path[64];
    const int fd = memfd_create("safetensors", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    lt_checkpoint *c = NULL;
    const lt_name_map names = lt_h3_names(&lt_h3_dit_names, 2);
    const lt_status st = lt_checkpoint_open(path, &names, &c);
    require((st == LT_OK) == (c != NULL));
    require(st == LT_OK || (st == LT_EDATA && lt_error_text()[0] != '\0'));
    if (c != NULL)
        read_all(c);
    lt_checkpoint_close(&c);
    (void)close(fd);
}

static char folder[64];

static void remove_folder(void)
{
    static const char *const names[] = {"m.safetensors.index.json", "s1.safetensors",
                                        "s2.safetensors"};
    char path[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(folder);
}

static void put(const char *name, const void *data, size_t bytes)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    require(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes);
    (void)close(fd);
}

static void make_folder(void)
{
    const lt_tensor tensors[] = {lt_tensor_wrap((float[2]){1, 2}, "a", LT_F32, LT_DIMS(2)),
                                 lt_tensor_wrap((float[2]){1, 2}, "b", LT_F32, LT_DIMS(2))};
    char path[128];
    (void)snprintf(folder, sizeof folder, "/tmp/longtake-fuzz-XXXXXX");
    require(mkdtemp(folder) != NULL && atexit(remove_folder) == 0);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/s%d.safetensors", folder, i + 1);
        require(lt_safetensors_write(path, &tensors[i], 1, LT_REPLACE) == LT_OK);
    }
}

static void as_index(const uint8_t *data, size_t size)
{
    if (folder[0] == '\0')
        make_folder();
    put("m.safetensors.index.json", data, size);
    lt_checkpoint *c = NULL;
    const lt_status st = lt_checkpoint_open(folder, NULL, &c);
    require(st == LT_OK || st == LT_EDATA || st == LT_ENOINPUT);
    if (c != NULL)
        read_all(c);
    lt_checkpoint_close(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == '{')
        as_index(data, size);
    else
        as_file(data, size);
    return 0;
}

static const fuzz_seed seeds[] = {
    FUZZ_SEED("\x46\0\0\0\0\0\0\0{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}"
              "                \0\0\x80\x3f\0\0\0\x40"),
    FUZZ_SEED("\x82\0\0\0\0\0\0\0"
              "{\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],\"data_offsets\":[0,8]},"
              "\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[8,16]}}"
              "                    \x80\x3f\x80\x3f\x80\x3f\x80\x3f\1\0\0\0\0\0\0\0"),
    FUZZ_SEED("\x5f\0\0\0\0\0\0\0"
              "{\"blocks.0.attn.qkv_proj.weight\":{\"dtype\":\"U8\",\"shape\":[6,1],\"data_"
              "offsets\":[0,6]}}"
              "            abcdef"),
    FUZZ_SEED("{\"metadata\":{\"total_size\":16},\"weight_map\":{\"a\":\"s1.safetensors\",\"b\":"
              "\"s2.safetensors\"}}"),
};

FUZZ_MAIN("safetensors", seeds, 4096)
