/* test_two_at_once.c - two jobs on one output or one run folder: one is whole, the other refused.
 * Goal: whoever comes second is refused before work (73) and harms nothing; who owns a place is
 * named; a killed owner's place is taken over at once; nothing stays behind. Method: the program
 * twice at the same moment, LONGTAKE_ROUNDS times each (2 unless given); one long job that others
 * meet, and that is killed. Ranks: 1. Needs: tests/parity/nano. */
#include <dirent.h>

#include "tests/support/film.h"
#include "tests/support/the_scratch.h"

#define NANO LT_SOURCE_DIR "/tests/parity/nano"
enum { FRAMES = 22, LIMIT_S = 60 };

static int setup(void **state)
{
    (void)scratch_setup(state);
    run_tell_sanitizers(1);
    const char *const words[] = {
        "render",   "--model", NANO,      "-p", "A ball.", "--size", "64x64",
        "--frames", "22",      "--steps", "3",  "-q",      "-o",     scratch_path(&s, "first.mp4"),
        NULL};
    run_well(&s, 1, words);
    return 0;
}

static const struct {
    const char *name;
    const char *verb[2], *out[2], *run[2]; /* run: of a render */
} pairs[] = {
    {"two renders, one output", {"render", "render"}, {"a.mp4", "a.mp4"}, {"a.run", "a.run"}},
    {"two renders, one output, two run folders",
     {"render", "render"},
     {"b.mp4", "b.mp4"},
     {"b1.run", "b2.run"}},
    {"two renders, one run folder", {"render", "render"}, {"c1.mp4", "c2.mp4"}, {"c.run", "c.run"}},
    {"two decodes, one output", {"decode", "decode"}, {"d.mp4", "d.mp4"}, {NULL, NULL}},
    {"a render and a decode, one output",
     {"render", "decode"},
     {"e.mp4", "e.mp4"},
     {"e.run", NULL}},
};

static pid_t start(const char *verb, const char *out, const char *run, const char *steps, int which,
                   int overwrite)
{
    char made[300], folder[300], said[300], err[300];
    (void)snprintf(made, sizeof made, "%s/%s", s.folder, out);
    (void)snprintf(folder, sizeof folder, "%s/%s", s.folder, run != NULL ? run : "first.run");
    (void)snprintf(said, sizeof said, "%s/.out%d", s.folder, which);
    (void)snprintf(err, sizeof err, "%s/.err%d", s.folder, which);
    const char *const render[] = {
        LT_PROGRAM, "render", "--model",  NANO, "-p",      "A ball.",
        "--size",   "64x64",  "--frames", "22", "--steps", steps,
        "-q",       "--run",  folder,     "-o", made,      overwrite ? "--overwrite" : NULL,
        NULL};
    const char *const decode[] = {
        LT_PROGRAM, "decode", folder, "-q", "-o", made, overwrite ? "--overwrite" : NULL, NULL};
    return run_spawn(strcmp(verb, "render") == 0 ? render : decode, said, err);
}

static int end_of(pid_t pid)
{
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static char *said_by(int which)
{
    char err[300];
    (void)snprintf(err, sizeof err, "%s/.err%d", s.folder, which);
    char *text = run_text(err);
    assert_non_null(text);
    return text;
}

/* No file of ours that is not meant to stay, here and in the run folders. */
static void want_no_leftovers(const char *name, const char *folder, int depth)
{
    DIR *all = opendir(folder);
    assert_non_null(all);
    for (struct dirent *e = readdir(all); e != NULL; e = readdir(all)) {
        char path[600];
        assert_true(snprintf(path, sizeof path, "%s/%s", folder, e->d_name) < (int)sizeof path);
        if (strncmp(e->d_name, ".longtake", 9) == 0)
            fail_msg("%s: left %s", name, path);
        if (e->d_name[0] != '.' && e->d_type == DT_DIR && depth > 0)
            want_no_leftovers(name, path, depth - 1);
    }
    (void)closedir(all);
}

static void want_whole(const char *name, const char *out)
{
    film f = {0};
    film_read(scratch_path(&s, out), &f);
    if (f.frames != FRAMES)
        fail_msg("%s: want %d frames, found %lld", name, FRAMES, (long long)f.frames);
    film_free(&f);
}

static void remove_all(const char *name)
{
    const char *const rm[] = {"rm", "-rf", scratch_path(&s, name), NULL};
    run_result r = run_argv(&s, rm, LIMIT_S);
    run_free(&r);
}

static void one_is_whole_the_other_refused(void **state)
{
    (void)state;
    const char *asked = getenv("LONGTAKE_ROUNDS");
    const int rounds = asked != NULL ? atoi(asked) : 2;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        int in_use = 0;
        for (int round = 0; round < rounds; round++) {
            pid_t pid[2];
            int code[2];
            for (int k = 0; k < 2; k++)
                pid[k] = start(pairs[i].verb[k], pairs[i].out[k], pairs[i].run[k], "3", k, 0);
            for (int k = 0; k < 2; k++)
                code[k] = end_of(pid[k]);
            char *err[2] = {said_by(0), said_by(1)};
            const int won = code[0] == 0 ? 0 : 1;
            if (code[won] != 0 || code[1 - won] != 73)
                fail_msg("%s, round %d: exit codes %d and %d: %s%s", pairs[i].name, round, code[0],
                         code[1], err[0], err[1]);
            if (strstr(err[1 - won], "in use by process ") != NULL)
                in_use++;
            else if (strstr(err[1 - won], " is there") == NULL && /* it had ended just before */
                     strstr(err[1 - won], "found a folder of that name") == NULL && /* just made */
                     strstr(err[1 - won], "holds a run already") == NULL)
                fail_msg("%s: the other was refused with: %s", pairs[i].name, err[1 - won]);
            want_whole(pairs[i].name, pairs[i].out[won]);
            want_no_leftovers(pairs[i].name, s.folder, 2);
            if (strcmp(pairs[i].out[0], pairs[i].out[1]) != 0)
                assert_false(run_exists(scratch_path(&s, pairs[i].out[1 - won])));
            else if (pairs[i].run[1 - won] != NULL && /* refused before work */
                     (pairs[i].run[won] == NULL || strcmp(pairs[i].run[0], pairs[i].run[1]) != 0))
                assert_false(run_exists(scratch_path(&s, pairs[i].run[1 - won])));
            for (int k = 0; k < 2; k++) {
                free(err[k]);
                remove_all(pairs[i].out[k]);
                if (pairs[i].run[k] != NULL)
                    remove_all(pairs[i].run[k]);
            }
        }
        print_message("%s: %d rounds, %d met\n", pairs[i].name, rounds, in_use);
    }
}

/* A long job meets a second one with --overwrite, another decode on its film, and is killed; the
 * next one takes its place. */
static void a_killed_owner_gives_way(void **state)
{
    (void)state;
    char events[300], want[100];
    (void)snprintf(events, sizeof events, "%s/long.run/events.ndjson", s.folder);
    const pid_t owner = start("render", "long.mp4", "long.run", "10000", 0, 0);
    const double began = run_now();
    for (int denoises = 0; !denoises && run_now() - began < LIMIT_S;) {
        char *text = run_text(events);
        denoises = text != NULL && strstr(text, "\"denoise\"") != NULL;
        free(text);
        (void)nanosleep(&(struct timespec){0, 10000000}, NULL);
    }
    (void)snprintf(want, sizeof want, "in use by process %d on ", (int)owner);
    static const struct {
        const char *verb, *out, *run;
    } others[] = {{"render", "long.mp4", "long.run"},
                  {"render", "other.mp4", "long.run"},
                  {"render", "long.mp4", "other.run"},
                  {"decode", "long.mp4", NULL},
                  {"decode", "long.run/out.mp4", NULL}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const int code = end_of(start(others[i].verb, others[i].out, others[i].run, "3", 1, 1));
        char *err = said_by(1);
        if (code != 73 || strstr(err, want) == NULL)
            fail_msg("%s -o %s: want exit code 73 and \"%s\", found %d: %s", others[i].verb,
                     others[i].out, want, code, err);
        free(err);
    }
    assert_false(run_exists(scratch_path(&s, "other.run")));
    assert_int_equal(kill(owner, SIGKILL), 0);
    assert_int_equal(end_of(owner), 128 + SIGKILL);
    assert_false(run_exists(scratch_path(&s, "long.run/out.mp4")));
    if (end_of(start("render", "long.mp4", "long.run", "3", 1, 1)) != 0)
        fail_msg("%s", said_by(1));
    want_whole("after a kill", "long.mp4");
    want_no_leftovers("after a kill", s.folder, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_whole_the_other_refused),
        cmocka_unit_test(a_killed_owner_gives_way),
    };
    return cmocka_run_group_tests_name("two_at_once", tests, setup, scratch_teardown);
}
