/* test_json.c - limits, messages with paths, getters, and writing.
 * Goal: bad text and bad values are refused with the place. Method: texts with the words that their
 * message must hold. Ranks: 1. Needs: a folder in /tmp. */
#include "tests/support/scratch.h"

#include "base/file.h"
#include "base/json.h"

static lt_status parse(const char *text, size_t bytes, json_t **out)
{
    return lt_json_parse(text, bytes, "file.json", out);
}

static void bad_text_is_refused_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *name, *text;
        size_t bytes;
        const char *says;
    } cases[] = {
        {"empty", "", 0, "file.json:1:0: not JSON"},
        {"two values", "{} {}", 5, "file.json:1:4"},
        {"broken on line 2", "{\n \"a\": }", 9, "file.json:2:7"},
        {"key twice", "{\"a\": 1, \"a\": 2}", 16, "duplicate object key"},
        {"NUL byte", "[1,\n \0]", 7, "file.json:2:2: a NUL byte"},
        {"escaped NUL", "[\"\\u0000\"]", 10, "file.json:1:"},
        {"bad UTF-8", "[\"\xff\"]", 5, "file.json:1:"},
        {"lone surrogate", "[\"\\ud800\"]", 10, "file.json:1:"},
        {"NaN, as Python writes it", "[NaN]", 5, "file.json:1:"},
        {"past 64 bits", "[9223372036854775808]", 21, "file.json:1:"},
        {"past f64", "[1e999]", 7, "file.json:1:"},
        {"open string", "[\"abc", 5, "file.json:1:"},
        {"ends in a backslash", "[\"abc\\", 6, "file.json:1:"},
        {"closed once too often", "[1]]", 4, "file.json:1:4"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = (json_t *)&cases; /* must become NULL */
        const lt_status st = parse(cases[i].text, cases[i].bytes, &value);
        if (st != LT_EDATA || value != NULL || strstr(lt_error_text(), cases[i].says) == NULL)
            fail_msg("%s: %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
    }
}

static void depth_is_limited_outside_strings(void **state)
{
    (void)state;
    char text[256];
    json_t *value = NULL;
    for (int depth = 64; depth <= 65; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        const lt_status st = parse(text, 2 * (size_t)depth, &value);
        assert_int_equal(st, depth == 64 ? LT_OK : LT_EDATA);
        json_decref(value);
    }
    assert_non_null(strstr(lt_error_text(), "file.json:1:65: nested deeper than 64"));
    memset(text, '[', 200); /* brackets in a string are text */
    text[0] = text[198] = '"';
    assert_int_equal(parse(text, 199, &value), LT_OK);
    assert_int_equal(json_string_length(value), 197);
    json_decref(value);
    static const char quoted[] = "\"\\\"[[\""; /* an escaped quote does not end the string */
    assert_int_equal(parse(quoted, sizeof quoted - 1, &value), LT_OK);
    json_decref(value);
}

/* Three bytes of text become 225 of memory. */
static void memory_is_limited(void **state)
{
    static const char *const items[] = {"{},", "[],", "0,", "\"{[,\","};
    enum { BYTES = 12 << 20 };
    char *text = malloc(BYTES);
    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof items / sizeof *items; i++) {
        json_t *value = NULL;
        const size_t n = strlen(items[i]), bytes = BYTES / n * n;
        memset(text, ' ', BYTES);
        text[0] = '[';
        for (size_t at = 1; at + n <= bytes; at += n)
            memcpy(text + at, items[i], n);
        text[bytes - n] = text[bytes - 1] = ']'; /* never parsed, or not JSON */
        const lt_status st = parse(text, bytes, &value);
        if (st != LT_EDATA || (strstr(lt_error_text(), "of memory") != NULL) != (n < 5))
            fail_msg("%s: %s: %s", items[i], lt_status_name(st), lt_error_text());
        lt_error_clear();
    }
    free(text);
}

static const char document[] =
    "{\"text_config\": {\"rope\": {\"section\": [24, 20, -1], \"theta\": 1e6, \"n\": 5},"
    " \"tied\": true, \"act\": \"silu\", \"none\": null, \"mean\": [0.5, 1]}}";

static void getters_check_and_name_the_path(void **state)
{
    (void)state;
    json_t *value = NULL;
    lt_json_at config, rope, at;
    int64_t n = 0, section[4];
    double x = 0;
    float mean[2];
    int tied = 0;
    const char *act = NULL;
    size_t count = 3;
    assert_int_equal(parse(document, sizeof document - 1, &value), LT_OK);
    const lt_json_at root = lt_json_root(value, "file.json");
    assert_int_equal(lt_json_member(&root, "text_config", &config), LT_OK);
    assert_int_equal(lt_json_member(&config, "rope", &rope), LT_OK);
    assert_int_equal(lt_json_int(&rope, "n", 0, 5, &n), LT_OK);
    assert_int_equal(n, 5);
    assert_int_equal(lt_json_real(&rope, "theta", 0, 1e9, &x), LT_OK);
    assert_true(x == 1e6);
    assert_int_equal(lt_json_real(&rope, "n", 0, 10, &x), LT_OK); /* an integer is a number */
    assert_true(x == 5);
    assert_int_equal(lt_json_bool(&config, "tied", &tied), LT_OK);
    assert_int_equal(tied, 1);
    assert_int_equal(lt_json_string(&config, "act", &act), LT_OK);
    assert_string_equal(act, "silu");
    assert_int_equal(lt_json_ints(&rope, "section", -1, 99, section, 4, &count), LT_OK);
    assert_int_equal(section[0] + section[1] + section[2], 43);
    count = 0; /* any number up to 4 */
    assert_int_equal(lt_json_ints(&rope, "section", -1, 99, section, 4, &count), LT_OK);
    assert_int_equal(count, 3);
    count = 2;
    assert_int_equal(lt_json_reals(&config, "mean", mean, 2, &count), LT_OK);
    assert_true(mean[0] == 0.5f && mean[1] == 1.0f);
    assert_int_equal(lt_json_has(&config, "none"), 0);
    assert_int_equal(lt_json_has(&config, "act"), 1);
    assert_int_equal(lt_json_has(&config, "nope"), 0);
    assert_int_equal(lt_json_element(&rope, 0, &at), LT_EDATA); /* an object is no array */
    json_decref(value);
}

typedef enum { INT, REAL, BOOL, STRING, INTS_3, INTS_ANY, MEMBER } getter;

static lt_status get(const lt_json_at *at, getter g, const char *key)
{
    int64_t n = 0, ints[4];
    double x = 0;
    int truth = 0;
    const char *text = NULL;
    lt_json_at member;
    size_t count = g == INTS_3 ? 3 : 0;
    switch (g) {
    case INT:
        return lt_json_int(at, key, 0, 4, &n);
    case REAL:
        return lt_json_real(at, key, 0, 4, &x);
    case BOOL:
        return lt_json_bool(at, key, &truth);
    case STRING:
        return lt_json_string(at, key, &text);
    case MEMBER:
        return lt_json_member(at, key, &member);
    default:
        return lt_json_ints(at, key, 0, 99, ints, g == INTS_3 ? 3 : 2, &count);
    }
}

static void bad_values_are_refused_with_their_path(void **state)
{
    (void)state;
    static const char text[] = "{\"a\": {\"n\": 5, \"s\": \"five\", \"x\": 1.5, \"l\": [1, 2, 3],"
                               " \"m\": [1, -2, 3], \"o\": {}, \"z\": null, \"t\": [1, true, 3]}}";
    static const struct {
        const char *name, *key;
        getter g;
        const char *says;
    } cases[] = {
        {"past the range", "n", INT, "file.json: a.n: want an integer from 0 to 4, found 5"},
        {"a real is no integer", "x", INT, "a.x: want an integer from 0 to 4, found 1.5"},
        {"a string is no integer", "s", INT, "found \"five\""},
        {"absent", "q", INT, "file.json: a.q: missing"},
        {"past the range, real", "n", REAL, "a.n: want a number from 0 to 4, found 5"},
        {"null is no number", "z", REAL, "found null"},
        {"1 is no truth value", "n", BOOL, "want true or false, found 5"},
        {"an object is no string", "o", STRING, "want a string, found an object"},
        {"wrong count", "o", INTS_3, "want an array of 3, found an object"},
        {"too many", "l", INTS_ANY, "want an array of at most 2, found an array of 3"},
        {"element past the range", "m", INTS_3, "a.m[1]: want an integer from 0 to 99, found -2"},
        {"element of another type", "t", INTS_3,
         "a.t[1]: want an integer from 0 to 99, found true"},
    };
    json_t *value = NULL;
    lt_json_at a;
    assert_int_equal(parse(text, sizeof text - 1, &value), LT_OK);
    const lt_json_at root = lt_json_root(value, "file.json");
    assert_int_equal(lt_json_member(&root, "a", &a), LT_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const lt_status st = get(&a, cases[i].g, cases[i].key);
        if (st != LT_EDATA || strstr(lt_error_text(), cases[i].says) == NULL)
            fail_msg("%s: %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
    }
    lt_json_at n;
    assert_int_equal(lt_json_member(&a, "n", &n), LT_OK);
    assert_int_equal(get(&n, MEMBER, "deeper"), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "a.n: want an object with \"deeper\", found 5"));
    json_decref(value);
}

static void long_paths_are_cut(void **state)
{
    (void)state;
    json_t *value = NULL;
    char key[121], text[260];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    (void)snprintf(text, sizeof text, "{\"%s\": {\"%s\": 1}}", key, key);
    assert_int_equal(parse(text, strlen(text), &value), LT_OK);
    lt_json_at at = lt_json_root(value, "f");
    assert_int_equal(lt_json_member(&at, key, &at), LT_OK);
    assert_int_equal(lt_json_member(&at, key, &at), LT_OK);
    const size_t n = strlen(at.path);
    assert_int_equal(n, sizeof at.path - 1);
    assert_string_equal(at.path + n - 3, "...");
    json_decref(value);
}

static void files_are_read_and_written(void **state)
{
    (void)state;
    scratch s;
    json_t *value = NULL, *again = NULL;
    char *text = NULL;
    size_t bytes = 0;
    scratch_new(&s);
    const char *path = scratch_path(&s, "a.json");
    assert_int_equal(lt_json_read(path, &value), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), path));
    assert_int_equal(parse(document, sizeof document - 1, &value), LT_OK);
    assert_int_equal(lt_json_write(path, value), LT_OK);
    assert_int_equal(lt_json_read(path, &again), LT_OK);
    assert_true(json_equal(value, again));
    json_decref(again);
    json_decref(value);
    value = json_pack("{s:f, s:s}", "x", 0.1, "word", "\xc3\xa4");
    assert_int_equal(lt_json_write(path, value), LT_OK);
    assert_int_equal(lt_file_read(path, 1000, &text, &bytes), LT_OK);
    assert_string_equal(text, "{\n  \"x\": 0.10000000000000001,\n  \"word\": \"\xc3\xa4\"\n}\n");
    free(text);
    assert_int_equal(lt_json_write(scratch_path(&s, "no/a.json"), value), LT_ECREATE);
    json_decref(value);
    scratch_text(&s, "bad.json", "{\n  x");
    assert_int_equal(lt_json_read(scratch_path(&s, "bad.json"), &value), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "bad.json:2:"));
    scratch_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_text_is_refused_with_its_place),
        cmocka_unit_test(depth_is_limited_outside_strings),
        cmocka_unit_test(memory_is_limited),
        cmocka_unit_test(getters_check_and_name_the_path),
        cmocka_unit_test(bad_values_are_refused_with_their_path),
        cmocka_unit_test(long_paths_are_cut),
        cmocka_unit_test(files_are_read_and_written),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
