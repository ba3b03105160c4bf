/* test_hosts.c - several hosts: the same film as on one, and what a cut link does.
 * Goal: ranks on two and four hosts, which reach each other by tcp only, make the film of one host
 * with the same mesh, byte by byte, and tp stays inside a host however mpirun counts; a cut link
 * ends the job within 10 s with one line that names host, rank, step and collective. Method:
 * network namespaces as hosts (hosts.sh); mpirun started on the first, with the keepalive options
 * without which it never notices. Ranks: 2 and 4. Needs: root, iproute2, namespaces; skipped where
 * they are not to be had. */
#include "tests/support/film.h"

/* Slow under a sanitizer with full stacks: one film of four ranks is enough there. */
#ifdef __SANITIZE_ADDRESS__
enum { LIMIT_S = 120, FULL_STACKS = 1 };
#else
enum { LIMIT_S = 60, FULL_STACKS = 0 };
#endif
/* 10 s from the cut on, and one for a slow machine. */
static const double seconds_max = 10 + 1;

static scratch s;
static char name[32]; /* of the hosts, without their numbers */

static int hosts(const char *verb, const char *arg)
{
    const char *const argv[] = {"bash", LT_SOURCE_DIR "/tests/faults/hosts.sh", verb, s.folder, arg,
                                NULL};
    run_result r = run_argv(&s, argv, LIMIT_S);
    const int code = r.code;
    run_free(&r);
    return code;
}

static int setup(void **state)
{
    (void)state;
    char path[600];
    scratch_new(&s);
    run_tell_sanitizers(2);
    run_tell_mpirun();
    if (geteuid() != 0 || hosts("up", "4") != 0) {
        (void)hosts("down", NULL);
        return 0;
    }
    (void)snprintf(path, sizeof path, "%s/name", s.folder);
    char *text = run_text(path);
    assert_non_null(text);
    (void)snprintf(name, sizeof name, "%.*s", (int)strcspn(text, "\n"), text);
    free(text);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (name[0] != '\0')
        (void)hosts("down", NULL);
    scratch_free(&s);
    return 0;
}

/* One thread a rank: x264 writes the number of its threads into the film. */
#define RENDER(mesh)                                                                               \
    LT_PROGRAM, "render", "--model", LT_SOURCE_DIR "/models/demo", "--frames", "39", "--size",     \
        "128x64", "--mesh", mesh, "--threads", "1", "--quiet", "--prompt",                         \
        "A red rubber ball bounces."
#define HOSTS_SH LT_SOURCE_DIR "/tests/faults/hosts.sh"

typedef struct {
    const char *name;
    int hosts, ranks; /* round robin over the hosts */
    const char *mesh, *order;
} row;
static const row two_hosts = {"two hosts", 2, 2, "ring=2", "[0,1]"},
                 two_each = {"two ranks on each of two hosts", 2, 4, "ring=2,tp=2", "[0,2,1,3]"},
                 four_hosts = {"four hosts", 4, 4, "ring=2,tp=2", "[0,1,2,3]"};

/* mpirun on the first host. */
static void launch(const char **argv, const row *of, const char *steps, const char *file)
{
    static char agent[1200], list[200], ranks[16];
    (void)snprintf(agent, sizeof agent, "bash " HOSTS_SH " rsh %s", s.folder);
    (void)snprintf(ranks, sizeof ranks, "%d", of->ranks);
    list[0] = '\0';
    for (int i = 1; i <= of->hosts; i++)
        (void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s%d:%d",
                       i > 1 ? "," : "", name, i, of->ranks / of->hosts);
    const char *const words[] = {"bash",
                                 HOSTS_SH,
                                 "run",
                                 s.folder,
                                 "1",
                                 "mpirun",
                                 "--bind-to",
                                 "none",
                                 "--mca",
                                 "plm_rsh_agent",
                                 agent,
                                 "--mca",
                                 "oob_tcp_keepalive_time",
                                 "2",
                                 "--mca",
                                 "oob_tcp_keepalive_intvl",
                                 "1",
                                 "--mca",
                                 "oob_tcp_keepalive_probes",
                                 "3",
                                 "--map-by",
                                 "node",
                                 "-H",
                                 list,
                                 "-n",
                                 ranks,
                                 RENDER(of->mesh),
                                 "--steps",
                                 steps,
                                 "-o",
                                 file,
                                 NULL};
    assert_true(sizeof words / sizeof *words <= RUN_WORDS_MAX);
    memcpy(argv, words, sizeof words);
}

static void need_hosts(void)
{
    if (name[0] == '\0') {
        print_message("no network namespaces here\n");
        skip();
    }
}

static void same_bytes(const char *a, const char *b)
{
    const char *const argv[] = {"cmp", a, b, NULL};
    run_result r = run_argv(&s, argv, LIMIT_S);
    if (r.code != 0)
        fail_msg("%s and %s differ: %s%s", a, b, r.out, r.err);
    run_free(&r);
}

/* The film of one host on this mesh, made once: its path without .mp4 and .run. */
static void one_host(const row *of, char *path, size_t bytes)
{
    char file[700];
    const char *argv[RUN_WORDS_MAX];
    (void)snprintf(path, bytes, "%s/one-%d", s.folder, of->ranks);
    (void)snprintf(file, sizeof file, "%s.mp4", path);
    if (run_exists(file))
        return;
    const char *const words[] = {RENDER(of->mesh), "--steps", "5", "-o", file, NULL};
    const int n = run_launcher(of->ranks, argv);
    memcpy(argv + n, words, sizeof words);
    run_result r = run_argv(&s, argv, LIMIT_S);
    if (r.code != 0)
        fail_msg("one host: exit code %d: %s", r.code, r.err);
    run_free(&r);
}

static void same_film(const row *of)
{
    char one[600], file[700], run[700], file_one[700], run_one[700];
    const char *argv[RUN_WORDS_MAX];
    need_hosts();
    one_host(of, one, sizeof one);
    (void)snprintf(file_one, sizeof file_one, "%s.mp4", one);
    (void)snprintf(run_one, sizeof run_one, "%s.run", one);
    (void)snprintf(file, sizeof file, "%s/%d-%d.mp4", s.folder, of->hosts, of->ranks);
    (void)snprintf(run, sizeof run, "%s/%d-%d.run", s.folder, of->hosts, of->ranks);
    launch(argv, of, "5", file);
    run_result r = run_argv(&s, argv, LIMIT_S);
    if (r.code != 0)
        fail_msg("%s: exit code %d: %s", of->name, r.code, r.err);
    print_message("%s: %.1f s with the start\n", of->name, r.seconds);
    run_free(&r);
    latents a, b;
    latents_read(run_one, &a);
    latents_read(run, &b);
    const double differ = latents_differ(&a, &b);
    latents_free(&a);
    latents_free(&b);
    if (!(differ == 0)) /* same mesh, same bits */
        fail_msg("%s: latents differ by %.3g", of->name, differ);
    same_bytes(file_one, file);
    want_order(run, "nodes", of->order);
}

static void film_of_two_hosts(void **state)
{
    (void)state;
    same_film(&two_hosts);
}

static void tp_stays_inside_a_host(void **state)
{
    (void)state;
    if (FULL_STACKS)
        skip();
    same_film(&two_each);
}

static void film_of_four_hosts(void **state)
{
    (void)state;
    same_film(&four_hosts);
}

static void cut_link(void **state)
{
    (void)state;
    char file[600], out[600], err[600], events[600], want[128];
    const char *argv[RUN_WORDS_MAX];
    int status = 0;
    need_hosts();
    (void)snprintf(file, sizeof file, "%s/cut.mp4", s.folder);
    (void)snprintf(out, sizeof out, "%s/cut.out", s.folder);
    (void)snprintf(err, sizeof err, "%s/cut.err", s.folder);
    (void)snprintf(events, sizeof events, "%s/cut.run/events.ndjson", s.folder);
    launch(argv, &two_hosts, "1000", file);
    const double start = run_now();
    const pid_t pid = run_spawn(argv, out, err);
    for (int begun = 0; !begun && run_now() - start < LIMIT_S;) {
        char *text = run_text(events);
        begun = text != NULL && strstr(text, "\"stage\":\"denoise\",\"done\":2,") != NULL;
        free(text);
        (void)nanosleep(&(struct timespec){0, 20000000}, NULL);
    }
    assert_int_equal(hosts("cut", "2"), 0);
    const double cut = run_now();
    pid_t gone = 0;
    while (gone == 0 && run_now() - cut < LIMIT_S) {
        gone = waitpid(pid, &status, WNOHANG);
        (void)nanosleep(&(struct timespec){0, 5000000}, NULL);
    }
    const double took = run_now() - cut;
    if (gone == 0)
        (void)kill(-pid, SIGKILL);
    char *said = run_text(err);
    assert_non_null(said);
    const char *line = strstr(said, "longtake: error: ");
    if (line == NULL)
        fail_msg("no line: %s", said);
    print_message("link cut: %.1f s, exit code %d: %.*s\n", took, WEXITSTATUS(status),
                  (int)strcspn(line, "\n"), line);
    assert_null(strstr(line + 1, "longtake: error: "));
    (void)snprintf(want, sizeof want, "error: rank 1 on %s2 is lost (silent for ", name);
    assert_non_null(strstr(line, want));
    (void)snprintf(want, sizeof want, "rank 0 on %s1 ", name);
    assert_non_null(strstr(line, want));
    assert_non_null(strstr(line, " at step "));
    assert_non_null(strstr(line, "call ")); /* agree belongs to no axis: no comma */
    if (!(took <= seconds_max))
        fail_msg("want an end within %.0f s, found %.1f", seconds_max, took);
    /* 75: a rank was first; 205: mpirun's own, as it lost its daemon */
    assert_true(WEXITSTATUS(status) == 75 || WEXITSTATUS(status) == 205);
    free(said);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(film_of_two_hosts),
        cmocka_unit_test(tp_stays_inside_a_host),
        cmocka_unit_test(film_of_four_hosts),
        cmocka_unit_test(cut_link),
    };
    return cmocka_run_group_tests_name("hosts", tests, setup, teardown);
}
