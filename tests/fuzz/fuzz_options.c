/* fuzz_options.c - any bytes as a command line (words split at LF) and as a job file.
 * What is accepted keeps the table's ranges, and the dump of it, read again, dumps as the same
 * text. */
#include "fuzz_main.h"

#include "base/options.h"

typedef struct knobs {
    int64_t steps, size[2];
    double guidance;
    int quiet, verbose;
    const char *prompt, *mode;
    void *shots;
} knobs;

static const lt_option table[] = {
    {.name = "steps",
     .short_key = 'n',
     .type = LT_OPT_INT,
     .default_text = "50",
     .min = 2,
     .max = 1000,
     .offset = offsetof(knobs, steps),
     .verbs = 1},
    {.name = "size",
     .type = LT_OPT_SIZE,
     .min = 16,
     .max = 8192,
     .offset = offsetof(knobs, size),
     .verbs = 1},
    {.name = "guidance",
     .type = LT_OPT_REAL,
     .default_text = "1.5",
     .min = 0,
     .max = 20,
     .offset = offsetof(knobs, guidance),
     .verbs = 1},
    {.name = "quiet",
     .short_key = 'q',
     .type = LT_OPT_FLAG,
     .offset = offsetof(knobs, quiet),
     .verbs = 1},
    {.name = "verbose",
     .short_key = 'v',
     .type = LT_OPT_FLAG,
     .offset = offsetof(knobs, verbose),
     .verbs = 1,
     .traits = LT_OPT_COUNTED | LT_OPT_NOT_IN_JOB},
    {.name = "prompt",
     .type = LT_OPT_STRING,
     .max = 200,
     .offset = offsetof(knobs, prompt),
     .verbs = 1},
    {.name = "mode",
     .type = LT_OPT_CHOICE,
     .default_text = "auto",
     .choices = "auto|single|windows",
     .offset = offsetof(knobs, mode),
     .verbs = 1},
    {.name = "shots", .type = LT_OPT_LIST, .offset = offsetof(knobs, shots), .verbs = 1},
};

enum { ROWS = sizeof table / sizeof *table, WORDS_MAX = 64 };

static void require(int truth)
{
    if (!truth)
        abort();
}

static void check_ranges(const knobs *k)
{
    require(k->steps >= 2 && k->steps <= 1000);
    require(k->size[0] == 0 || (k->size[0] >= 16 && k->size[0] <= 8192));
    require(k->guidance >= 0 && k->guidance <= 20);
    require(k->quiet == 0 || k->quiet == 1);
    require(k->prompt == NULL || strlen(k->prompt) <= 200);
    require(strcmp(k->mode, "auto") == 0 || strcmp(k->mode, "single") == 0 ||
            strcmp(k->mode, "windows") == 0);
}

static void check_dump(const lt_options *opts)
{
    knobs k;
    lt_options *again = NULL;
    char *text = NULL, *same = NULL;
    require(lt_options_dump_yaml(opts, &text) == LT_OK);
    require(lt_options_new(table, ROWS, 1, &k, &again) == LT_OK);
    if (lt_options_parse_yaml_text(again, text, strlen(text), "dump") != LT_OK) {
        fprintf(stderr, "%s\n%s\n", lt_error_text(), text);
        abort();
    }
    require(lt_options_dump_yaml(again, &same) == LT_OK);
    require(strcmp(text, same) == 0);
    free(text);
    free(same);
    lt_options_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    knobs k;
    lt_options *opts = NULL;
    require(lt_options_new(table, ROWS, 1, &k, &opts) == LT_OK);
    char *text = malloc(size + 1);
    require(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (size > 0 && text[0] != '-') { /* a job file */
        if (lt_options_parse_yaml_text(opts, text, size, "job.yaml") == LT_OK)
            check_dump(opts);
    } else {
        char *argv[WORDS_MAX], *save = NULL;
        const char *words[2];
        size_t count = 0;
        int argc = 0;
        char verb[] = "render";
        argv[argc++] = verb;
        for (char *word = strtok_r(text, "\n", &save); word != NULL && argc < WORDS_MAX;
             word = strtok_r(NULL, "\n", &save))
            argv[argc++] = word;
        if (lt_options_parse_args(opts, argc, argv, words, 2, &count) == LT_OK)
            check_dump(opts);
        require(count <= 2);
    }
    check_ranges(&k);
    free(text);
    lt_options_free(&opts);
    return 0;
}

static const fuzz_seed seeds[] = {
    FUZZ_SEED("--steps\n30\n--size=640x384\n--guidance\n2.5\n-qvv\njob.yaml"),
    FUZZ_SEED("--prompt\na \"quoted\" ball\n--mode\nwindows\n--no-quiet\n--\n--x"),
    FUZZ_SEED("-n30\n-v\n--prompt=\xc3\xa4\xe2\x80\xa8\xf0\x9f\x98\x80"),
    FUZZ_SEED("--step\n3"),
    FUZZ_SEED("steps: 30\nsize: 640x384\nguidance: 2\nquiet: true\nprompt: \"a\\u2028b\\x7f\"\n"),
    FUZZ_SEED("mode: single\nshots:\n  - {seconds: 2.0, prompt: 'one: two'}\n  - [1, {}, null]\n"),
    FUZZ_SEED("prompt: 'true'\nsteps: 2\n"),
    FUZZ_SEED("shots: [{\"a b\": ~, c: 1e300, d: -0.0}]\n"),
    FUZZ_SEED("shots:\n  - {'a,b': 1}\n"), /* a comma in a word needs quotes between braces */
};

FUZZ_MAIN("options", seeds, 2048)
