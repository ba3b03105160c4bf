/* test_configs.c - every number of every config, changed.
 * Goal: a folder whose numbers don't belong together is refused with LT_EDATA (or the exit code of
 * its kind) before work, or renders a film; it never aborts, never ends in 70, and a refusal is one
 * line. Method: the tiny model with one number of one config set to 0, 1, -1, twice as much, 2^31;
 * and 70 pairs of vae/config.json's clip_length and token_drop. Here every second number meets
 * one of the values in turn; `test_configs all` tries all of them (some minutes). Ranks: 1. Needs:
 * tests/parity/nano. */
#include "tests/support/spoil.h"
#include "tests/support/the_scratch.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"

static char model[SPOIL_PATH];
static int every, broken;

static const char *const configs[] = {
    "transformer/config.json",         "vae/config.json",
    "audio_vae/config.json",           "text_encoder/config.json",
    "scheduler/scheduler_config.json", "audio_scheduler/scheduler_config.json",
};

/* The n-th number below value, NULL if there are fewer; counts *n down. */
static json_t *number_at(json_t *value, int *n)
{
    json_t *found = NULL, *inner;
    const char *key;
    size_t i;
    if (json_is_number(value))
        return (*n)-- == 0 ? value : NULL;
    json_object_foreach (value, key, inner)
        if (found == NULL)
            found = number_at(inner, n);
    json_array_foreach (value, i, inner)
        if (found == NULL)
            found = number_at(inner, n);
    return found;
}

static void number_set(json_t *number, double value)
{
    if (json_is_integer(number))
        (void)json_integer_set(number, (json_int_t)value);
    else
        (void)json_real_set(number, value);
}

/* A film, or one line and a code that is no bug's. */
static void render_ends_well(const char *what)
{
    char film[SPOIL_PATH];
    (void)spoil_join(film, s.folder, "a.mkv");
    run_result r = run_longtake(&s, 1,
                                RUN_WORDS("render", "--model", model, "-p", "A ball.", "--size",
                                          "32x32", "--frames", "5", "--steps", "2", "--codec",
                                          "ffv1", "-q", "--overwrite", "-o", film));
    const char *line = strstr(r.err, "longtake: error: ");
    const int refused = r.code == 65 || r.code == 64 || r.code == 66 || r.code == 69;
    if (!(r.code == 0 && run_exists(film)) &&
        !(refused && line != NULL && strstr(line + 1, "longtake: error: ") == NULL)) {
        print_error("%s: exit code %d: %s", what, r.code, r.err);
        broken++;
    }
    (void)unlink(film);
    run_free(&r);
}

static void each_number(void **state)
{
    (void)state;
    static const double values[] = {0, 1, -1, 2, 2147483648.0}; /* 2: twice as much */
    char path[SPOIL_PATH], what[128];
    int turn = 0;
    broken = 0;
    for (size_t f = 0; f < sizeof configs / sizeof *configs; f++) {
        (void)spoil_join(path, model, configs[f]);
        const bytes old = spoil_read(path);
        for (int n = 0, more = 1; more; n++, turn++)
            for (int v = 0; v < 5 && more; v++) {
                if (!every && (v != turn / 2 % 5 || turn % 2))
                    continue;
                int at = n;
                json_t *json = json_loadb(old.data, old.count, 0, NULL);
                json_t *number = number_at(json, &at);
                more = number != NULL;
                if (more) {
                    number_set(number, v == 3 ? 2 * json_number_value(number) : values[v]);
                    assert_int_equal(json_dump_file(json, path, 0), 0);
                    (void)snprintf(what, sizeof what, "%s: number %d, %s%g", configs[f], n,
                                   v == 3 ? "times " : "", values[v]);
                    render_ends_well(what);
                }
                json_decref(json);
            }
        spoil_write(path, old.data, old.count);
        free(old.data);
    }
    assert_int_equal(broken, 0);
    print_message("%d numbers\n", turn);
}

/* The family's lengths are counted with 17 and 3; whatever else is refused. */
static void clips_and_drops(void **state)
{
    (void)state;
    static const int clips[] = {1, 5, 9, 13, 16, 17, 18, 21, 33, 34};
    char path[SPOIL_PATH], what[128];
    broken = 0;
    (void)spoil_join(path, model, "vae/config.json");
    const bytes old = spoil_read(path);
    for (int i = 0; i < 10; i++)
        for (int drop = 0; drop < 7; drop++) {
            if (!every && (7 * i + drop) % 5 != 0)
                continue;
            json_t *json = json_loadb(old.data, old.count, 0, NULL);
            (void)json_object_set_new(json, "clip_length", json_integer(clips[i]));
            (void)json_object_set_new(json, "token_drop", json_integer(drop));
            assert_int_equal(json_dump_file(json, path, 0), 0);
            json_decref(json);
            (void)snprintf(what, sizeof what, "clip_length %d, token_drop %d", clips[i], drop);
            render_ends_well(what);
        }
    spoil_write(path, old.data, old.count);
    free(old.data);
    assert_int_equal(broken, 0);
}

static int setup(void **state)
{
    (void)scratch_setup(state);
    (void)spoil_join(model, s.folder, "model");
    spoil_copy(NANO, model);
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_number),
        cmocka_unit_test(clips_and_drops),
    };
    every = argc > 1 && strcmp(argv[1], "all") == 0;
    return cmocka_run_group_tests_name("configs", tests, setup, scratch_teardown);
}
