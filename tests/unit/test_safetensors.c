/* test_safetensors.c - headers that must be refused, and files that come back as they were.
 * Goal: no header, however made, is believed; what is written is read. Method: a table of raw
 * files, each with one fault and the words that its message must hold. Ranks: 1. Needs: nothing. */
#include "tests/support/scratch.h"

#include "base/file.h"
#include "model/files/checkpoint.h"
#include "model/files/safetensors.h"

#define A_OK "\"a\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}"

static const struct {
    const char *name; /* why */
    const char *header;
    size_t data_bytes;
    int64_t length; /* what stands in the first 8 bytes; -1: the truth */
    lt_status want;
    const char *words; /* in the message */
} cases[] = {
    {"one tensor", "{" A_OK "}", 16, -1, LT_OK, ""},
    {"metadata and trailing spaces", "{\"__metadata__\":{\"format\":\"pt\"}," A_OK "}   ", 16, -1,
     LT_OK, ""},
    {"no tensor at all", "{}", 0, -1, LT_OK, ""},
    {"a tensor of no elements",
     "{" A_OK ",\"e\":{\"dtype\":\"F32\",\"shape\":[0,3],\"data_offsets\":[16,16]}}", 16, -1, LT_OK,
     ""},
    {"a single value", "{\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, -1,
     LT_OK, ""},
    {"header longer than the file", "{" A_OK "}", 16, 4096, LT_EDATA, "header length"},
    {"header length 2^63", "{" A_OK "}", 16, INT64_MAX, LT_EDATA, "header length"},
    {"header length past the format's limit", "{" A_OK "}", 16, 100000001, LT_EDATA,
     "header length"},
    {"header of no bytes", "{" A_OK "}", 16, 0, LT_EDATA, "'{'"},
    {"header cut inside its JSON", "{" A_OK "}", 16, 20, LT_EDATA, "JSON"},
    {"not an object", "[1]", 0, -1, LT_EDATA, "'{'"},
    {"a name that stands twice", "{" A_OK "," A_OK "}", 16, -1, LT_EDATA, "duplicate"},
    {"file cut short", "{" A_OK "}", 15, -1, LT_EDATA, "cut short"},
    {"file too long", "{" A_OK "}", 17, -1, LT_EDATA, "found 17 bytes"},
    {"unknown dtype", "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4, -1,
     LT_EDATA, "F8_E4M3"},
    {"dtype that is no string", "{\"a\":{\"dtype\":3,\"shape\":[4],\"data_offsets\":[0,4]}}", 4, -1,
     LT_EDATA, "dtype"},
    {"shape against range", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,16]}}",
     16, -1, LT_EDATA, "24 bytes"},
    {"product that wraps to 16 bytes",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967297],\"data_offsets\":[0,16]}}", 16,
     -1, LT_EDATA, "2^60"},
    {"a zero beside a product that wraps",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[0,4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     -1, LT_EDATA, "2^60"},
    {"negative dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-2,-2],\"data_offsets\":[0,16]}}", 16,
     -1, LT_EDATA, "shape[0]"},
    {"fractional dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4.0],\"data_offsets\":[0,16]}}", 16,
     -1, LT_EDATA, "shape[0]"},
    {"nine dims", "{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}",
     1, -1, LT_EDATA, "shape"},
    {"range backwards", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[16,0]}}", 16, -1,
     LT_EDATA, "data_offsets"},
    {"range past the end",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[9223372036854775791,"
     "9223372036854775807]}}",
     16, -1, LT_EDATA, "offsets are wrong"},
    {"three offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16,32]}}", 16,
     -1, LT_EDATA, "data_offsets"},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4]}}", 16, -1, LT_EDATA, "data_offsets"},
    {"two tensors overlap",
     "{" A_OK ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[12,20]}}", 20, -1,
     LT_EDATA, "overlaps"},
    {"two tensors share",
     "{" A_OK ",\"b\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 16, -1, LT_EDATA,
     "overlaps"},
    {"a hole between",
     "{" A_OK ",\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[20,28]}}", 28, -1,
     LT_EDATA, "a hole"},
    {"a hole at the start", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}", 12,
     -1, LT_EDATA, "a hole"},
    {"tensor that is no object", "{\"a\":7}", 0, -1, LT_EDATA, "a"},
    {"metadata that is no object", "{\"__metadata__\":3}", 0, -1, LT_EDATA, "__metadata__"},
    {"metadata with a number", "{\"__metadata__\":{\"k\":3}}", 0, -1, LT_EDATA, "__metadata__.k"},
};

static void headers(void **state)
{
    (void)state;
    scratch s;
    char data[64] = {0};
    scratch_new(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        lt_safetensors *file = NULL;
        scratch_safetensors(&s, "x.safetensors", cases[i].length, cases[i].header, data,
                            cases[i].data_bytes);
        lt_error_clear();
        const lt_status st = lt_safetensors_open(scratch_path(&s, "x.safetensors"), &file);
        if (st != cases[i].want)
            fail_msg("%s: want %s, found %s: %s", cases[i].name, lt_status_name(cases[i].want),
                     lt_status_name(st), lt_error_text());
        if (st != LT_OK && (strstr(lt_error_text(), cases[i].words) == NULL ||
                            strstr(lt_error_text(), "x.safetensors") == NULL))
            fail_msg("%s: want the file's name and \"%s\" in: %s", cases[i].name, cases[i].words,
                     lt_error_text());
        assert_true((file != NULL) == (st == LT_OK));
        lt_safetensors_close(&file);
    }
    scratch_free(&s);
}

static void no_file(void **state)
{
    (void)state;
    lt_safetensors *file = NULL;
    scratch s;
    scratch_new(&s);
    assert_int_equal(lt_safetensors_open(scratch_path(&s, "absent"), &file), LT_ENOINPUT);
    assert_int_equal(lt_safetensors_open(s.folder, &file), LT_ENOINPUT);
    scratch_text(&s, "empty", "");
    assert_int_equal(lt_safetensors_open(scratch_path(&s, "empty"), &file), LT_EDATA);
    scratch_text(&s, "seven", "1234567");
    assert_int_equal(lt_safetensors_open(scratch_path(&s, "seven"), &file), LT_EDATA);
    scratch_free(&s);
}

/* Every dtype there and back, with a name that JSON must escape; wide elements come first in the
 * file. */
static void written_is_read(void **state)
{
    (void)state;
    scratch s;
    uint8_t bytes[3] = {1, 2, 255};
    float floats[6] = {1, -2, 3.5f, 0, 1e-40f, 3e38f};
    int64_t longs[2] = {-5, INT64_MAX};
    uint16_t halves[4] = {0x3f80, 0xbf80, 0, 0x4049};
    const lt_tensor tensors[] = {
        lt_tensor_wrap(bytes, "bytes", LT_U8, LT_DIMS(3)),
        lt_tensor_wrap(floats, "a \"quoted\"\nname", LT_F32, LT_DIMS(1, 2, 3)),
        lt_tensor_wrap(longs, "longs", LT_I64, LT_DIMS(2)),
        lt_tensor_wrap(halves, "halves", LT_BF16, LT_DIMS(4, 1)),
        lt_tensor_wrap(NULL, "none", LT_F32, LT_DIMS(0, 7)),
    };
    scratch_new(&s);
    const char *path = scratch_path(&s, "out.safetensors");
    assert_int_equal(lt_safetensors_write(path, tensors, 5, LT_REPLACE), LT_OK);
    lt_checkpoint *c = NULL;
    if (lt_checkpoint_open(path, NULL, &c) != LT_OK)
        fail_msg("%s", lt_error_text());
    assert_int_equal(lt_checkpoint_count(c), 5);
    assert_string_equal(lt_checkpoint_at(c, 0).name, "longs");
    for (int i = 0; i < 5; i++) {
        char back[64];
        lt_dims dims = {.ndim = tensors[i].ndim};
        memcpy(dims.dim, tensors[i].dim, sizeof dims.dim);
        memset(back, 0xA5, sizeof back);
        if (lt_checkpoint_read(c, tensors[i].name, dims, lt_slice_whole(dims), tensors[i].dtype,
                               back) != LT_OK)
            fail_msg("%s", lt_error_text());
        const size_t n = lt_tensor_bytes(&tensors[i]);
        if (n > 0)
            assert_memory_equal(back, tensors[i].data, n);
        assert_int_equal((unsigned char)back[n], 0xA5);
    }
    assert_int_equal(lt_checkpoint_all_used(c, NULL), LT_OK);
    lt_checkpoint_close(&c);
    scratch_free(&s);
}

static void write_fails_cleanly(void **state)
{
    (void)state;
    scratch s;
    float x[1] = {1};
    const lt_tensor same[] = {lt_tensor_wrap(x, "x", LT_F32, LT_DIMS(1)),
                              lt_tensor_wrap(x, "x", LT_F32, LT_DIMS(1))};
    scratch_new(&s);
    assert_int_equal(lt_safetensors_write(scratch_path(&s, "no/such/folder"), same, 1, LT_REPLACE),
                     LT_ECREATE);
    assert_int_equal(lt_safetensors_write(scratch_path(&s, "twice"), same, 2, LT_REPLACE),
                     LT_EINTERNAL);
    assert_false(lt_file_exists(scratch_path(&s, "twice")));
    scratch_folder(&s, "taken");
    assert_int_equal(lt_safetensors_write(scratch_path(&s, "taken"), same, 1, LT_REPLACE),
                     LT_ECREATE);
    /* "taken" is all that is there: no temporary file was left. */
    assert_int_equal(rmdir(scratch_path(&s, "taken")), 0);
    assert_int_equal(rmdir(s.folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers),
        cmocka_unit_test(no_file),
        cmocka_unit_test(written_is_read),
        cmocka_unit_test(write_fails_cleanly),
    };
    return cmocka_run_group_tests_name("safetensors", tests, NULL, NULL);
}
