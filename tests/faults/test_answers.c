/* test_answers.c - what comes of answers that nobody takes, and of readers that have gone.
 * Goal: an answer that could not be delivered is exit code 74 and one line, in every verb; what
 * people read on stderr ends no work. Method: the program under sh, its descriptors full, closed or
 * without a reader. Ranks: 1. Needs: models/demo, /dev/full. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

/* Runs script in a folder of its own; in it $0 is the program. */
static run_result sh(const char *script)
{
    char text[1024];
    (void)snprintf(text, sizeof text, "cd '%s' && rm -rf row && mkdir row && cd row && %s",
                   s.folder, script);
    const char *argv[RUN_WORDS_MAX] = {"sh", "-c", text, LT_PROGRAM, NULL};
    run_tell_sanitizers(1);
    return run_argv(&s, argv, RUN_LIMIT_S);
}

#define TINY "-p 'A red ball.' --frames 5 --size 64x64 --steps 3 -o a.mp4"
#define DEMO LT_SOURCE_DIR "/models/demo"

/* The verbs, each to a full disk and to a closed descriptor. */
static const struct {
    const char *name, *words;
} verbs[] = {
    {"a model for people", "inspect " DEMO},
    {"a model as JSON", "inspect --json " DEMO},
    {"the machine", "doctor"},
    {"the machine as JSON", "doctor --json"},
    {"ids", "probe tokenize --model " DEMO " --text-file words"},
    {"noise levels", "probe sigmas --steps 5 --model " DEMO},
    {"a probe's own words", "probe sigmas --steps 5 --json --model " DEMO},
    {"rows of a table", "bench comm --budget 0.1"},
    {"rows as JSON", "bench comm --budget 0.1 --json"},
    {"help", "--help"},
    {"a verb's help", "render --help"},
    {"help by the other name", "help probe"},
    {"the version", "--version"},
};

/* Verbs that run alone have no world, and keep their lines all the same; inspect has no --log. */
static void every_verb_keeps_a_log(void **state)
{
    (void)state;
    static const char *const words[] = {"doctor",
                                        "metrics nothing.mp4",
                                        "probe sigmas --steps 5 --model " DEMO,
                                        "bench comm --budget 0.1",
                                        "decode nothing.run -o b.mp4",
                                        "stitch nothing.run --run b.run",
                                        "submit nothing.yaml -o b.mp4"};
    char script[512];
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        (void)snprintf(script, sizeof script,
                       "rm -f log; \"$0\" %s --log log > out; code=$?; test -f log && exit $code; "
                       "echo no log; exit 99",
                       words[i]);
        run_result r = sh(script);
        if (r.code != 0 && r.code != 66)
            fail_msg("longtake %s --log log: found %d: %s", words[i], r.code, r.err);
        run_free(&r);
    }
}

static void undelivered_answers_fail(void **state)
{
    (void)state;
    static const char *const ways[] = {"> /dev/full", ">&-"};
    char script[512];
    int wrong = 0;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        for (size_t k = 0; k < sizeof ways / sizeof *ways; k++) {
            (void)snprintf(script, sizeof script, "echo a ball > words; \"$0\" %s %s",
                           verbs[i].words, ways[k]);
            run_result r = sh(script);
            const char *line = strstr(r.err, "longtake: error: ");
            if (r.code != 74 || line == NULL || strstr(line, "stdout") == NULL ||
                strchr(line, '\n') == NULL || strchr(line, '\n')[1] != '\0') {
                print_error("%s %s: want 74 and one line, found %d: %s\n", verbs[i].name, ways[k],
                            r.code, r.err);
                wrong++;
            }
            run_free(&r);
        }
    assert_int_equal(wrong, 0);
}

/* Who asked for JSON gets JSON, also of a failure: the last line of stdout. */
static const struct {
    const char *name, *words;
    int code;
} failures[] = {
    {"a suite that there is not", "bench nothing --json", 64},
    {"a bad flag in front of it", "bench comm --bytes 3 --no-such --json", 64},
    {"a value", "render --json -p x --seconds 0 -o a.mp4", 64},
    {"no film's name", "render --json -p x", 64},
    {"a file that is not there", "inspect --json nowhere", 66},
    {"a run that is not there", "decode nowhere --json -o a.mp4", 66},
    {"a stage without input", "probe text --json", 64},
};

static void failures_are_json_too(void **state)
{
    (void)state;
    char script[512];
    for (size_t i = 0; i < sizeof failures / sizeof *failures; i++) {
        (void)snprintf(script, sizeof script, "\"$0\" %s", failures[i].words);
        run_result r = sh(script);
        json_t *answer = json_loads(r.out, 0, NULL);
        const char *error = json_string_value(json_object_get(answer, "error"));
        if (r.code != failures[i].code || error == NULL || strstr(r.err, error) == NULL ||
            json_integer_value(json_object_get(answer, "exit_code")) != failures[i].code)
            fail_msg("%s: want %d and one object with the error, found %d, %s, %s",
                     failures[i].name, failures[i].code, r.code, r.out, r.err);
        json_decref(answer);
        run_free(&r);
    }
}

/* What the shell sees of the program is written to `code`, since $? is the reader's. */
static const struct {
    const char *name, *script;
    int code, film;
} readers[] = {
    {"progress and answer read by one who leaves",
     "{ \"$0\" render " TINY " 2>&1; echo $? > code; } | true; exit $(cat code)", 0, 1},
    {"progress without a reader",
     "{ \"$0\" render -v " TINY " 2>&1 >/dev/null; echo $? > code; } | true; exit $(cat code)", 0,
     1},
    {"progress to a full disk", "\"$0\" render -v " TINY " 2>/dev/full", 0, 1},
    {"progress to nowhere", "\"$0\" render -v " TINY " 2>&-", 0, 1},
    {"no descriptor at all", "\"$0\" render -v " TINY " <&- >&- 2>&-", 74, 1},
    {"the film's name to a full disk", "\"$0\" render " TINY " > /dev/full", 74, 1},
    {"the film's facts to a full disk", "\"$0\" render --json " TINY " > /dev/full", 74, 1},
    {"a report whose reader leaves",
     "{ \"$0\" inspect " DEMO "; echo $? > code; } | true; exit $(cat code)", 0, 0},
};

static void gone_readers_end_no_work(void **state)
{
    (void)state;
    char film[1024];
    int wrong = 0;
    (void)snprintf(film, sizeof film, "%s/row/a.mp4", s.folder);
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        run_result r = sh(readers[i].script);
        struct stat info;
        const int there = stat(film, &info) == 0 && info.st_size > 1000;
        if (r.code != readers[i].code || there != readers[i].film) {
            print_error("%s: want %d and a film %d, found %d and %d: %s\n", readers[i].name,
                        readers[i].code, readers[i].film, r.code, there, r.err);
            wrong++;
        }
        run_free(&r);
    }
    assert_int_equal(wrong, 0);
}

/* Text from outside that a terminal would obey, by every way in. ESC, BEL, U+009B and U+202E are
 * made by printf, so that the words stay readable. */
static const struct {
    const char *name, *script;
} raw[] = {
    {"a prompt's warning", "\"$0\" render -p \"A $x ball $x\" --frames 5 --size 64x64 --steps 3 "
                           "-o a.mp4 && \"$0\" inspect a.run && \"$0\" inspect --json a.run"},
    {"a verb", "\"$0\" \"$x\""},
    {"an option", "\"$0\" render \"--$x\""},
    {"a short option", "\"$0\" render \"-$x\""},
    {"a value", "\"$0\" render --steps \"$x\""},
    {"a choice", "\"$0\" render --dtype \"$x\""},
    {"a word", "\"$0\" render a b \"$x\""},
    {"a file's name", "\"$0\" render -p ball -o \"$x\""},
    {"a film's name, on a terminal; a pipe gets its bytes",
     "cat > run <<'E'\n\"$0\" render -v -p ball --frames 5 --size 64x64 --steps 3 -o "
     "\"$x.mp4\"\nE\n"
     "export x; script -qec \"sh -c '. ./run' $0\" /dev/null 2>&1 | sed 's/.*\\r.*\\[K//' | tr -d "
     "'\\r'"},
    {"a model", "\"$0\" render -p ball -o a.mp4 --model \"$x\""},
    {"a job file's name", "\"$0\" render \"$x.yaml\""},
    {"a job file's key", "printf 'a\\x9b\\033[2J: 1\\n' > j; \"$0\" render j"},
    {"a job file's value",
     "printf '\"steps\": \"\\302\\233\\342\\200\\256\"\\n' > j; \"$0\" render j"},
    {"a path to inspect", "\"$0\" inspect \"$x\""},
    {"a folder to inspect", "mkdir \"$x\"; cp -r " DEMO "/. \"$x\"; \"$0\" inspect \"$x\""},
    {"a config's words",
     "cp -r " DEMO " m && sed -i \"s/MiniMaxH3Transformer3DModel/A$(printf '\\302\\233')B/\" "
     "m/transformer/config.json && \"$0\" inspect m/transformer; \"$0\" inspect --json m"},
    {"a node's name",
     "LONGTAKE_NODE=\"$x\" \"$0\" doctor; LONGTAKE_NODE=\"$x\" \"$0\" doctor --json"},
    {"a probe's stage", "\"$0\" probe \"$x\""},
    {"a bench's suite", "\"$0\" bench \"$x\""},
};

/* What may not be seen: controls but newline, C1 and turned writing in UTF-8, and bare bytes. */
static const char *unsafe(const char *text)
{
    for (const char *p = text; *p != '\0'; p++) {
        const unsigned char *u = (const unsigned char *)p;
        if ((u[0] < 0x20 && u[0] != '\n') || u[0] == 0x7f)
            return p;
        if ((u[0] == 0xc2 && u[1] < 0xa0) || (u[0] == 0xe2 && u[1] == 0x80 && u[2] == 0xae))
            return p;
        if (u[0] >= 0x80 && (p == text || u[-1] < 0x80) && u[0] < 0xc2)
            return p;
    }
    return NULL;
}

static void text_from_outside_is_made_safe(void **state)
{
    (void)state;
    char script[900];
    int wrong = 0;
    for (size_t i = 0; i < sizeof raw / sizeof *raw; i++) {
        (void)snprintf(script, sizeof script,
                       "x=$(printf 'a\\033]0;b\\007\\302\\2332J\\342\\200\\256'); %s",
                       raw[i].script);
        run_result r = sh(script);
        if (unsafe(r.err) != NULL || unsafe(r.out) != NULL ||
            (r.err[0] == '\0' && r.out[0] == '\0')) {
            print_error("%s: want text that is safe, found \"%s\" and \"%s\"\n", raw[i].name, r.out,
                        r.err);
            wrong++;
        }
        run_free(&r);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_verb_keeps_a_log),
        cmocka_unit_test(undelivered_answers_fail),
        cmocka_unit_test(failures_are_json_too),
        cmocka_unit_test(gone_readers_end_no_work),
        cmocka_unit_test(text_from_outside_is_made_safe),
    };
    return cmocka_run_group_tests_name("answers", tests, scratch_setup, scratch_teardown);
}
