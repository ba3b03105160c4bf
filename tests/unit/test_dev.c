/* test_dev.c - ./dev: new files are formatted too, and an unknown verb is refused.
 * Goal: `./dev fmt` touches what is changed or new, and nothing else. Method: a copy of the script
 * in a repository of its own. Ranks: 1. Needs: git, clang-format, dpkg; skipped without. */
#include "tests/support/run.h"
#include "tests/support/the_scratch.h"

static run_result sh(const char *script)
{
    const char *argv[] = {"sh", "-c", script, s.folder, NULL};
    return run_argv(&s, argv, RUN_LIMIT_S);
}

static void formats_changed_and_new_files(void **state)
{
    (void)state;
    run_result r = sh("command -v git clang-format dpkg-query");
    const int is_missing = r.code != 0;
    run_free(&r);
    if (is_missing)
        skip();
    r = sh("set -e; cd \"$0\"; cp " LT_SOURCE_DIR "/dev " LT_SOURCE_DIR "/.clang-format .\n"
           "git init -q .; for f in old changed gone; do echo 'int  a ;' > $f.c; done\n"
           "git add -A; git -c user.name=t -c user.email=t@t commit -qm one\n"
           "echo 'int  b ;' >> changed.c; echo 'int  a ;' > staged.c; git add staged.c; rm gone.c\n"
           "mkdir 'new room'; echo 'int  a ;' > 'new room/a b.h'; echo 'int  a ;' > other.txt\n"
           "./dev fmt >&2; grep -c 'int  ' old.c changed.c staged.c 'new room/a b.h' other.txt; :");
    if (r.code != 0 || strcmp(r.out, "old.c:1\nchanged.c:0\nstaged.c:0\nnew room/a b.h:0\n"
                                     "other.txt:1\n") != 0)
        fail_msg("found %d %s%s", r.code, r.out, r.err);
    run_free(&r);
}

static void refuses_an_unknown_verb(void **state)
{
    (void)state;
    run_result r = sh(LT_SOURCE_DIR "/dev nonsense");
    if (r.code != 64 || strstr(r.err, "unknown verb 'nonsense'") == NULL)
        fail_msg("want 64 and a line, found %d %s", r.code, r.err);
    run_free(&r);
    r = sh(LT_SOURCE_DIR "/dev help");
    if (r.code != 0 || strstr(r.out, "./dev fmt") == NULL)
        fail_msg("want the verbs, found %d %s", r.code, r.out);
    run_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_changed_and_new_files),
        cmocka_unit_test(refuses_an_unknown_verb),
    };
    return cmocka_run_group_tests_name("dev", tests, scratch_setup, scratch_teardown);
}
