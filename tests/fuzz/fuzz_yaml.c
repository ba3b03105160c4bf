/* fuzz_yaml.c - any bytes as YAML: a tree within the limits or an error, never a crash or a leak.
 */
#include "fuzz_main.h"

#include "base/yaml.h"

static void require(int truth)
{
    if (!truth)
        abort();
}

static size_t count_of(const json_t *value, int depth)
{
    size_t n = 1, i;
    const char *key;
    json_t *member;
    require(depth <= 17); /* 16 containers and the scalar inside */
    json_object_foreach ((json_t *)value, key, member)
        n += count_of(member, depth + 1);
    json_array_foreach (value, i, member)
        n += count_of(member, depth + 1);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_t *value = NULL, *lines = NULL;
    const char *key;
    json_t *line;
    const lt_status st = lt_yaml_parse((const char *)data, size, "input", &value, &lines);
    require((st == LT_OK) == (value != NULL) && (st == LT_OK) == (lines != NULL));
    if (st != LT_OK) {
        require(st == LT_EDATA && lt_error_text()[0] != '\0');
        return 0;
    }
    require(count_of(value, 1) <= 10000);
    json_object_foreach (lines, key, line) {
        require(json_object_get(value, key) != NULL);
        require(json_integer_value(line) >= 1);
    }
    json_decref(value);
    json_decref(lines);
    return 0;
}

static const fuzz_seed seeds[] = {
    FUZZ_SEED("model: /models/h3\nprompt: a red ball bounces\nframes: 39\nsize: 640x384\n"),
    FUZZ_SEED("# comment\nseed: 7\nquiet: true\nguidance: 3.5\nprompt: \"two\\nlines \\u00e4\"\n"),
    FUZZ_SEED(
        "shots:\n  - {seconds: 2, prompt: 'one'}\n  - seconds: 3\n    prompt: |\n      two\n"),
    FUZZ_SEED("a: &x [1, 2]\nb: *x\n"),
    FUZZ_SEED("a: !!str 1\n"),
    FUZZ_SEED("? [complex]\n: value\n"),
    FUZZ_SEED("[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]"),
    FUZZ_SEED("a: 0x7fffffffffffffff\nb: 0o17\nc: .5\nd: -1e-3\ne: ~\nf:\n"),
    FUZZ_SEED("%YAML 1.2\n---\na: >-\n  folded\n  text\n...\n---\nb: 1\n"),
    FUZZ_SEED(""),
};

FUZZ_MAIN("yaml", seeds, 4096)
