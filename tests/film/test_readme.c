/* test_readme.c - the commands that README.md and the helps show, run as they are written.
 * Goal: who copies a command gets what the page says, one after the other, in an empty folder.
 * Method: the ```sh blocks of README.md are one script for bash, and so are the examples of each
 * --help. The build is on the PATH only where README puts it there: build/release is a link to it.
 * ./dev stands for a script that only looks whether the real one knows the verb, since building and
 * testing from inside a test would not end. Ranks: up to 4, oversubscribed. Needs: bash, mpirun,
 * models/demo, cmake. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

/* Says which command failed: bash's own name of it. */
static const char head[] = "set -eu\n"
                           "trap 'echo \"command: $BASH_COMMAND\" >&2' ERR\n";

static const char stand_in[] = "#!/bin/sh\n"
                               "grep -q \"^$1) \" '" LT_SOURCE_DIR "/dev' || exit 64\n";

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void append(char **to, const char *text, size_t bytes)
{
    const size_t used = strlen(*to);
    *to = realloc(*to, used + bytes + 1);
    assert_non_null(*to);
    memcpy(*to + used, text, bytes);
    (*to)[used + bytes] = '\0';
}

/* Run the script in an empty folder of this name. */
static void run_script(const char *name, const char *script)
{
    char folder[160], path[200], cd[256];
    (void)snprintf(folder, sizeof folder, "%s/%s", s.folder, name);
    assert_int_equal(mkdir(folder, 0777), 0);
    (void)snprintf(path, sizeof path, "%s/build", folder);
    assert_int_equal(mkdir(path, 0777), 0);
    char build[4096];
    (void)snprintf(build, sizeof build, "%s", LT_PROGRAM);
    *strrchr(build, '/') = '\0';
    (void)snprintf(path, sizeof path, "%s/build/release", folder);
    assert_int_equal(symlink(build, path), 0);
    (void)snprintf(path, sizeof path, "%s/dev", folder);
    write_file(path, stand_in, 0755);
    (void)snprintf(path, sizeof path, "%s/script", folder);
    write_file(path, script, 0644);
    (void)snprintf(cd, sizeof cd, "cd '%s' && HOME=$PWD exec bash script", folder);
    const char *const argv[] = {"bash", "-c", cd, NULL};
    run_tell_sanitizers(4);
    run_result r = run_argv(&s, argv, RUN_LIMIT_S);
    if (r.code != 0)
        fail_msg("%s: exit code %d; it said: %s", name, r.code, r.err);
    run_free(&r);
}

static void readme_runs_as_written(void **state)
{
    (void)state;
    char *text = run_text(LT_SOURCE_DIR "/README.md"), *script = strdup(head);
    assert_non_null(text);
    int blocks = 0, inside = 0;
    for (char *line = text, *end; *line != '\0'; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        if (strncmp(line, "```", 3) == 0) {
            inside = !inside && strncmp(line, "```sh\n", 6) == 0;
            blocks += inside;
        } else if (inside) {
            append(&script, line, (size_t)(end + 1 - line));
        }
    }
    assert_true(blocks >= 3); /* demo, use, build: a changed fence must not pass */
    assert_non_null(strstr(script, "./dev demo\n"));
    assert_non_null(strstr(script, "longtake render"));
    assert_non_null(strstr(script, "mpirun"));
    run_script("readme", script);
    static const char *const made[] = {"ball.mp4", "ball.mov", "shots.mp4", "film.mkv",
                                       "film.png", "film.wav", "four.mp4"};
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        char path[200];
        (void)snprintf(path, sizeof path, "%s/readme/%s", s.folder, made[i]);
        if (!run_exists(path))
            fail_msg("README: want %s made", made[i]);
    }
    free(script);
    free(text);
}

/* ---- the helps ---- */

static const char *const verbs[] = {"",        "render",  "decode", "stitch", "submit", "probe",
                                    "inspect", "metrics", "doctor", "bench",  "status"};

static void helps_run_as_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        const char *const words[] = {verbs[i][0] != '\0' ? verbs[i] : "--help",
                                     verbs[i][0] != '\0' ? "--help" : NULL, NULL};
        run_result r = run_longtake(&s, 1, words);
        assert_int_equal(r.code, 0);
        char *script = strdup(head), name[32];
        append(&script, "PATH=$PWD/build/release:$PATH\n", 30);
        const char *at = strstr(r.out, verbs[i][0] != '\0' ? "\nExamples:\n" : "\nA first film");
        if (at == NULL)
            fail_msg("%s --help: want examples", verbs[i]);
        int commands = 0;
        for (const char *line = strchr(at + 1, '\n') + 1, *end; *line != '\0'; line = end + 1) {
            end = strchr(line, '\n');
            assert_non_null(end);
            if (strncmp(line, "  ", 2) != 0)
                continue;
            append(&script, line, (size_t)(end + 1 - line));
            commands++;
        }
        assert_true(commands > 0);
        (void)snprintf(name, sizeof name, "help-%s", verbs[i]);
        run_script(name, script);
        free(script);
        run_free(&r);
    }
}

/* What stands for ./dev refuses what the real one does not know. */
static void stand_in_knows_verbs(void **state)
{
    (void)state;
    const char *const known[] = {"sh", "-c", "cd \"$0\" && ./dev build && ! ./dev nonsense",
                                 scratch_path(&s, "readme"), NULL};
    run_result r = run_argv(&s, known, RUN_LIMIT_S);
    assert_int_equal(r.code, 0);
    run_free(&r);
}

int main(void)
{
    run_tell_mpirun();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readme_runs_as_written),
        cmocka_unit_test(helps_run_as_written),
        cmocka_unit_test(stand_in_knows_verbs),
    };
    return cmocka_run_group_tests_name("readme", tests, scratch_setup, scratch_teardown);
}
