/* fuzz_json.c - any bytes as JSON: a tree or an error, never a crash, a leak or a long wait.
 * What is accepted must keep the limits (depth 64) and must come back from its own text as an equal
 * tree. The getters are called with keys that the seeds have. */
#include "fuzz_main.h"

#include "base/json.h"

static void require(int truth)
{
    if (!truth)
        abort();
}

static int depth_of(const json_t *value)
{
    int deepest = 0;
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach ((json_t *)value, key, member) {
        const int d = depth_of(member);
        deepest = d > deepest ? d : deepest;
    }
    json_array_foreach (value, i, member) {
        const int d = depth_of(member);
        deepest = d > deepest ? d : deepest;
    }
    return deepest + (json_is_object(value) || json_is_array(value));
}

static void use_getters(const json_t *value)
{
    lt_json_at root = lt_json_root(value, "input"), at;
    int64_t n = 0, numbers[4];
    double x = 0;
    float reals[4];
    int truth = 0;
    size_t count = 0;
    const char *text = NULL;
    if (lt_json_int(&root, "a", -5, 5, &n) == LT_OK)
        require(n >= -5 && n <= 5);
    if (lt_json_real(&root, "a", 0, 1, &x) == LT_OK)
        require(x >= 0 && x <= 1);
    (void)lt_json_bool(&root, "a", &truth);
    if (lt_json_string(&root, "s", &text) == LT_OK)
        require(text != NULL);
    if (lt_json_ints(&root, "l", 0, 9, numbers, 4, &count) == LT_OK)
        require(count <= 4);
    count = 0;
    if (lt_json_reals(&root, "l", reals, 4, &count) == LT_OK)
        require(count <= 4);
    if (lt_json_member(&root, "l", &at) == LT_OK)
        (void)lt_json_element(&at, 1, &at);
    require(lt_json_has(&root, "a") == 0 || json_object_get(value, "a") != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL, *again = NULL;
    const lt_status st = lt_json_parse((const char *)data, size, "input", &value);
    require((st == LT_OK) == (value != NULL));
    if (st != LT_OK) {
        require(st == LT_EDATA && lt_error_text()[0] != '\0');
        return 0;
    }
    require(depth_of(value) <= 64);
    use_getters(value);
    char *text = json_dumps(value, JSON_ENCODE_ANY);
    require(text != NULL);
    require(lt_json_parse(text, strlen(text), "again", &again) == LT_OK);
    require(json_equal(value, again));
    free(text);
    json_decref(again);
    json_decref(value);
    return 0;
}

static const fuzz_seed seeds[] = {
    FUZZ_SEED("{\"a\": 1, \"s\": \"text\", \"l\": [1, 2, 3], \"o\": {\"x\": null, \"y\": 1.5e-3}}"),
    FUZZ_SEED("[[1, [2, [3, []]]], {\"a\": {\"b\": {\"c\": true}}}]"),
    FUZZ_SEED("{\"weight\": {\"dtype\": \"F32\", \"shape\": [2, 3], \"data_offsets\": [0, 24]}}"),
    FUZZ_SEED("\"\\u00e4\\ud83d\\ude00 \\\\ \\\" \\n\""),
    FUZZ_SEED("{\"a\": 9223372036854775807, \"b\": -0.0, \"c\": 1e308}"),
    FUZZ_SEED("{\"a\": 1, \"a\": 2}"),
    FUZZ_SEED(""),
    FUZZ_SEED("{\"nul\": \"\0\"}"),
};

FUZZ_MAIN("json", seeds, 4096)
