/* test_slurm_script.c - the text of Slurm's batch scripts.
 * Goal: limits of time and names are taken or refused as sbatch has them, a run stops by its own
 * clock before Slurm's signal comes, words are quoted to the letter and leave the script clean
 * text, and what scripts of one role have in common is what stands in slurm/. Method: tables; what
 * bash makes of quoted words, film/test_submit runs. Ranks: 1. Needs: the source tree. */
#include "run/slurm_script.h"
#include "tests/support/run.h"

static const struct {
    const char *text;
    int64_t seconds; /* 0: refused */
} times[] = {{"90", 5400},
             {"1", 60},
             {"90:30", 5430},
             {"4:00:00", 14400},
             {"0:01:00", 60},
             {"2-12", 216000},
             {"2-12:30", 217800},
             {"2-12:30:05", 217805},
             {"365-00:00:00", 31536000},
             {"366-0", 0}, /* more than a year */
             {"0:59", 0},  /* Slurm counts minutes */
             {"0", 0},     /* Slurm's "no limit": leave --time out */
             {"", 0},
             {"-5", 0},
             {"5-", 0},
             {"1:2:3:4", 0},
             {"1-2:3:4:5", 0},
             {"4h", 0},
             {"1:", 0},
             {"1 2", 0},
             {"1-2-3", 0},
             {"1:2-3", 0},
             {"+5", 0},
             {"1.5", 0},
             {"999999", 0},
             {"UNLIMITED", 0}};

static void times_are_sbatchs(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++) {
        int64_t seconds = 0;
        const lt_status st = lt_slurm_seconds("--time", times[i].text, &seconds);
        if (times[i].seconds > 0 ? st != LT_OK || seconds != times[i].seconds : st != LT_EUSAGE)
            fail_msg("'%s': want %lld s, found %lld and %s", times[i].text,
                     (long long)times[i].seconds, (long long)seconds, lt_status_name(st));
        if (st != LT_OK)
            assert_non_null(strstr(lt_error_text(), "--time: want minutes, H:MM:SS"));
    }
}

static void names_are_plain(void **state)
{
    (void)state;
    static const char *const good[] = {"main", "gpu-long,cpu_2", "a.b+c@d", "0"};
    static const char *const bad[] = {"",    "-x",  "a b",      "a\nb", "a'b",
                                      "a$b", "a=b", "\xc3\xa9", "a;b"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_int_equal(lt_slurm_check_name("--qos", good[i]), LT_OK);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (lt_slurm_check_name("--qos", bad[i]) != LT_EUSAGE)
            fail_msg("'%s' was taken", bad[i]);
        assert_non_null(strstr(lt_error_text(), "--qos: want letters"));
    }
}

/* Of every limit: the run's clock, then Slurm's signal, then the limit; and some time to work. */
static void the_runs_clock_is_first(void **state)
{
    (void)state;
    for (int64_t limit = 60; limit < 1000000; limit += limit < 7200 ? 1 : 977) {
        int64_t own = 0, before = 0;
        lt_slurm_margins(limit, &own, &before);
        if (!(own > limit / 2 && own < limit - before && before >= 10 && before <= 60))
            fail_msg("%lld s: the run stops after %lld s, the signal comes %lld s before the end",
                     (long long)limit, (long long)own, (long long)before);
    }
    int64_t own = 0, before = 0;
    lt_slurm_margins(14400, &own, &before);
    assert_int_equal(own, 14250);
    assert_int_equal(before, 60);
}

static char *quoted(const char *word)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lt_slurm_quote(to, word);
    assert_int_equal(fclose(to), 0);
    return text;
}

static const struct {
    const char *word, *as;
} words[] = {
    {"", "''"},
    {"plain", "'plain'"},
    {"$(reboot) `x` \"y\" \\ !z *", "'$(reboot) `x` \"y\" \\ !z *'"},
    {"it's", "'it'\\''s'"},
    {"\xc3\xa9", "'\xc3\xa9'"},              /* UTF-8 stays as it is */
    {"a\nb", "$'a\\x0ab'"},                  /* no second line */
    {"\xff\x80", "$'\\xff\\x80'"},           /* bytes that are no UTF-8 */
    {"\x1b[2J'\\", "$'\\x1b[2J\\x27\\x5c'"}, /* what a terminal obeys */
    {"\xe2\x80\xae", "$'\\xe2\\x80\\xae'"},  /* turns the direction of writing */
};

static void words_are_quoted(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char *text = quoted(words[i].word);
        assert_string_equal(text, words[i].as);
        free(text);
    }
}

static char *script(const lt_slurm_job *job, lt_slurm_role role)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *to = open_memstream(&text, &bytes);
    assert_non_null(to);
    lt_slurm_script(job, role, to);
    assert_int_equal(fclose(to), 0);
    return text;
}

static const lt_slurm_job whole = {.program = "/opt/longtake",
                                   .folder = "/films",
                                   .job_file = "/films/job.yaml",
                                   .run = "/films/a b.run",
                                   .output = "/films/a b.mp4",
                                   .partition = "gpu",
                                   .account = "art",
                                   .qos = "low",
                                   .nodes = 4,
                                   .ranks_per_node = 8,
                                   .cpus_per_rank = 12,
                                   .requeues = 7,
                                   .seconds = 3 * 86400 + 3661,
                                   .more = (const char *const[]){"--steps", "20"},
                                   .more_count = 2};

static void a_script_says_what_was_asked(void **state)
{
    (void)state;
    static const char *const lines[] = {"#!/bin/bash\n",
                                        "\n#SBATCH --job-name=a_b\n",
                                        "\n#SBATCH --partition=gpu\n",
                                        "\n#SBATCH --account=art\n",
                                        "\n#SBATCH --qos=low\n",
                                        "\n#SBATCH --nodes=4\n",
                                        "\n#SBATCH --ntasks-per-node=8\n",
                                        "\n#SBATCH --cpus-per-task=12\n",
                                        "\n#SBATCH --time=3-01:02:00\n", /* whole minutes */
                                        "\n#SBATCH --signal=USR1@60\n",
                                        "\n#SBATCH --requeue\n",
                                        "\n#SBATCH --open-mode=append\n",
                                        "\ncd -- '/films' || exit 66\n",
                                        "\nrun='/films/a b.run'\n",
                                        "\nrequeues=7 shots=0 overwrite=\n",
                                        "\nset -- --time-limit 262711 '--steps' '20'\n",
                                        "srun --mpi=pmix",
                                        "render \"$job\" --resume \"$run\" -o \"$out\" \"$@\"\n"};
    char *text = script(&whole, LT_SLURM_RENDER);
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (strstr(text, lines[i]) == NULL)
            fail_msg("want \"%s\" in\n%s", lines[i], text);
    free(text);
    const lt_slurm_job bare = {
        .program = "/p", .folder = "/", .job_file = "/j", .run = "/r.run", .output = "/r.mp4"};
    text = script(&bare, LT_SLURM_RENDER);
    static const char *const absent[] = {"--partition", "--account", "--qos",       "--nodes",
                                         "--time",      "--signal",  "--time-limit"};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        if (strstr(text, absent[i]) != NULL)
            fail_msg("want no %s in\n%s", absent[i], text);
    free(text);
}

/* Every #SBATCH line is ASCII of ours, whatever the film is called. */
static void a_name_cannot_leave_its_line(void **state)
{
    (void)state;
    lt_slurm_job job = whole;
    job.run = "/films/x\n#SBATCH --uid=0 \xff'.run/";
    char *text = script(&job, LT_SLURM_RENDER);
    assert_non_null(strstr(text, "\n#SBATCH --job-name=x__SBATCH_--uid_0___\n"));
    assert_null(strstr(text, "\n#SBATCH --uid"));
    free(text);
}

static void slurms_folder_has_the_same_lines(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        lt_slurm_role role;
    } files[] = {{LT_SOURCE_DIR "/slurm/render.sbatch", LT_SLURM_RENDER},
                 {LT_SOURCE_DIR "/slurm/array.sbatch", LT_SLURM_ARRAY}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *text = script(&whole, files[i].role), *file = run_text(files[i].file);
        assert_non_null(file);
        const char *made = strstr(text, LT_SLURM_SAME), *kept = strstr(file, LT_SLURM_SAME);
        assert_non_null(made);
        assert_non_null(kept);
        assert_string_equal(made, kept);
        free(text);
        free(file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_sbatchs),
        cmocka_unit_test(names_are_plain),
        cmocka_unit_test(the_runs_clock_is_first),
        cmocka_unit_test(words_are_quoted),
        cmocka_unit_test(a_script_says_what_was_asked),
        cmocka_unit_test(a_name_cannot_leave_its_line),
        cmocka_unit_test(slurms_folder_has_the_same_lines),
    };
    return cmocka_run_group_tests_name("slurm_script", tests, NULL, NULL);
}
