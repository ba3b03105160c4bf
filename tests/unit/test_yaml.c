/* test_yaml.c - types of plain words, limits, refusals with their places.
 * Goal: the same tree as JSON would give, YAML 1.2's types, nothing clever. Method: texts beside
 * the JSON that they mean. Ranks: 1. Needs: a folder in /tmp. */
#include "tests/support/scratch.h"

#include "base/json.h"
#include "base/yaml.h"

static lt_status parse(const char *text, json_t **out, json_t **lines)
{
    return lt_yaml_parse(text, strlen(text), "job.yaml", out, lines);
}

static void texts_mean_their_json(void **state)
{
    (void)state;
    static const struct {
        const char *name, *yaml, *json;
    } cases[] = {
        {"empty", "", "{}"},
        {"only a comment", "# nothing\n", "{}"},
        {"null words", "[null, Null, NULL, ~, nULL]", "[null, null, null, null, \"nULL\"]"},
        {"absent value", "a:\nb: 1\n", "{\"a\": null, \"b\": 1}"},
        {"truth", "[true, True, FALSE, tRUE]", "[true, true, false, \"tRUE\"]"},
        {"YAML 1.1's truth is text", "[yes, no, on, off, y]",
         "[\"yes\", \"no\", \"on\", \"off\", \"y\"]"},
        {"integers", "[0, -5, +7, 007, 0o17, 0xff, 9223372036854775807]",
         "[0, -5, 7, 7, 15, 255, 9223372036854775807]"},
        {"not integers", "[0o8, 0xg, 1_000, 1:30, '-', +]",
         "[\"0o8\", \"0xg\", \"1_000\", \"1:30\", \"-\", \"+\"]"},
        {"reals", "[1.0, .5, 5., 1e3, -1.5E-3, +.25e+1]", "[1.0, 0.5, 5.0, 1000.0, -0.0015, 2.5]"},
        {"not reals", "[., 1e, e3, 1.2.3, 0.5x]", "[\".\", \"1e\", \"e3\", \"1.2.3\", \"0.5x\"]"},
        {"quotes make strings", "['1', \"true\", 'null', \"\\u00e4\\n\"]",
         "[\"1\", \"true\", \"null\", \"\xc3\xa4\\n\"]"},
        {"block scalars", "a: |\n  1\n  2\nb: >-\n  x\n  y\n",
         "{\"a\": \"1\\n2\\n\", \"b\": \"x y\"}"},
        {"sizes are words", "size: 640x384\n", "{\"size\": \"640x384\"}"},
        {"nested", "shots:\n  - {seconds: 2, prompt: a ball}\n  - seconds: 3\n    cut: [x]\n",
         "{\"shots\": [{\"seconds\": 2, \"prompt\": \"a ball\"}, {\"seconds\": 3, \"cut\": "
         "[\"x\"]}]}"},
        {"JSON is YAML", "{\"a\": [1, {\"b\": null}], \"c\": \"d\"}",
         "{\"a\": [1, {\"b\": null}], \"c\": \"d\"}"},
        {"directive and end", "%YAML 1.2\n---\na: 1\n...\n", "{\"a\": 1}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *found = NULL, *want = NULL;
        assert_int_equal(lt_json_parse(cases[i].json, strlen(cases[i].json), "case", &want), LT_OK);
        if (parse(cases[i].yaml, &found, NULL) != LT_OK)
            fail_msg("%s: %s", cases[i].name, lt_error_text());
        if (!json_equal(found, want)) {
            char *text = json_dumps(found, JSON_ENCODE_ANY);
            fail_msg("%s: found %s", cases[i].name, text);
        }
        json_decref(found);
        json_decref(want);
    }
}

static void refusals_name_the_place(void **state)
{
    (void)state;
    static const struct {
        const char *name, *yaml, *says;
    } cases[] = {
        {"anchor", "a: 1\nb: &x 2\n", "job.yaml:2:4: anchors"},
        {"anchor of a mapping", "a: &x {b: 1}\n", "job.yaml:1:4: anchors"},
        {"alias", "a: *x\n", "job.yaml:1:4: aliases"},
        {"tag", "a: !!str 1\n", "job.yaml:1:4: tags"},
        {"tag of a list", "a: !mine [1]\n", "job.yaml:1:4: tags"},
        {"key twice", "steps: 1\nsize: 1x1\nsteps: 2\n",
         "job.yaml:3:1: key \"steps\" is given twice"},
        {"key twice inside", "a:\n  b: 1\n  b: 2\n", "job.yaml:3:3: key \"b\""},
        {"list as key", "? [a]\n: 1\n", "job.yaml:1:3: want a word as key"},
        {"two documents", "a: 1\n---\nb: 2\n", "job.yaml:2:1: want one document"},
        {"infinity", "a: .inf\n", "job.yaml:1:4: .inf: want a finite number"},
        {"minus infinity", "a: -.INF\n", "want a finite number"},
        {"not a number", "a: .nan\n", "want a finite number"},
        {"past 64 bits", "a: 9223372036854775808\n", "want an integer of 64 bits"},
        {"past f64", "a: 1e999\n", "want a number that fits f64"},
        {"NUL", "a: \"x\\0y\"\n", "job.yaml:1:4: a NUL character"},
        {"bad indent", "a: 1\n  b: 2\n", "job.yaml:2:4: not YAML"},
        {"tab", "a:\n\tb: 1\n", "job.yaml:2:1: not YAML"},
        {"open bracket", "a: [1, 2\n", "job.yaml:2:1: not YAML"},
        {"bad UTF-8", "a: \xff\n", "job.yaml: byte 3: not YAML"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *found = NULL, *lines = NULL;
        const lt_status st = parse(cases[i].yaml, &found, &lines);
        if (st != LT_EDATA || found != NULL || lines != NULL ||
            strstr(lt_error_text(), cases[i].says) == NULL)
            fail_msg("%s: %s: %s", cases[i].name, lt_status_name(st), lt_error_text());
    }
}

static void limits_hold(void **state)
{
    (void)state;
    json_t *found = NULL;
    char deep[64];
    for (int depth = 16; depth <= 17; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        deep[2 * depth] = '\0';
        assert_int_equal(parse(deep, &found, NULL), depth == 16 ? LT_OK : LT_EDATA);
        json_decref(found);
    }
    assert_non_null(strstr(lt_error_text(), "job.yaml:1:17: nested deeper than 16"));
    char *many = malloc(3 * 10001);
    assert_non_null(many);
    for (int nodes = 10000; nodes <= 10001; nodes++) { /* the list itself is one */
        char *at = many;
        *at++ = '[';
        for (int i = 1; i < nodes; i++) {
            *at++ = '1';
            *at++ = i + 1 < nodes ? ',' : ']';
        }
        *at = '\0';
        assert_int_equal(parse(many, &found, NULL), nodes == 10000 ? LT_OK : LT_EDATA);
        json_decref(found);
    }
    free(many);
    char *large = malloc((1 << 20) + 1);
    assert_non_null(large);
    memset(large, '#', (1 << 20) + 1);
    assert_int_equal(lt_yaml_parse(large, 1 << 20, "job.yaml", &found, NULL), LT_OK);
    json_decref(found);
    assert_int_equal(lt_yaml_parse(large, (1 << 20) + 1, "job.yaml", &found, NULL), LT_EDATA);
    free(large);
}

static void lines_of_the_top_keys(void **state)
{
    (void)state;
    scratch s;
    json_t *found = NULL, *lines = NULL;
    scratch_new(&s);
    scratch_text(&s, "job.yaml", "# a job\nsteps: 3\n\nshots:\n  - inner: 1\nsize: 1x1\n");
    assert_int_equal(lt_yaml_read(scratch_path(&s, "job.yaml"), &found, &lines), LT_OK);
    assert_int_equal(json_object_size(lines), 3);
    assert_int_equal(json_integer_value(json_object_get(lines, "steps")), 2);
    assert_int_equal(json_integer_value(json_object_get(lines, "shots")), 4);
    assert_int_equal(json_integer_value(json_object_get(lines, "size")), 6);
    json_decref(found);
    json_decref(lines);
    assert_int_equal(lt_yaml_read(scratch_path(&s, "none.yaml"), &found, &lines), LT_ENOINPUT);
    assert_null(found);
    assert_int_equal(lt_yaml_read(s.folder, &found, NULL), LT_ENOINPUT); /* a folder */
    scratch_free(&s);
}

static void plain_words_read_as_themselves(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int plain;
    } cases[] = {
        {"windows", 1}, {"640x384", 0},  {"a/b-c_d.mp4", 1}, {"ring=2", 1},
        {"true", 0},    {"null", 0},     {"no", 0},          {"", 0},
        {"a b", 0},     {"a: b", 0},     {"-x", 0},          {"x#", 0},
        {"12", 0},      {"\xc3\xa4", 0}, {"e3", 1},          {"Null", 0},
        {"a,", 0},      {"a,b", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *found = NULL;
        if (lt_yaml_is_plain(cases[i].text) != cases[i].plain)
            fail_msg("\"%s\"", cases[i].text);
        if (!cases[i].plain)
            continue;
        char line[64]; /* on its own and between braces, where more signs mean something */
        (void)snprintf(line, sizeof line, "key: %s\nmap: {%s: x}\n", cases[i].text, cases[i].text);
        assert_int_equal(parse(line, &found, NULL), LT_OK);
        assert_string_equal(json_string_value(json_object_get(found, "key")), cases[i].text);
        assert_non_null(json_object_get(json_object_get(found, "map"), cases[i].text));
        json_decref(found);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_mean_their_json),
        cmocka_unit_test(refusals_name_the_place),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(lines_of_the_top_keys),
        cmocka_unit_test(plain_words_read_as_themselves),
    };
    return cmocka_run_group_tests_name("yaml", tests, NULL, NULL);
}
