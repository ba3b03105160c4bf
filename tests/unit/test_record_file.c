/* test_record_file.c - lines of a run's record.
 * Goal: each line one JSON object with the wall clock's time; warnings that came before the file
 * are in it; last words are whole and safe. Method: a file in a scratch folder, read back. Ranks:
 * 1. Needs: a folder in /tmp. */
#include "tests/support/scratch.h"

#include <fcntl.h>
#include <jansson.h>
#include <time.h>

#include "base/file.h"
#include "base/log.h"
#include "base/record.h"

static json_t *lines[64];
static int count;

/* Reads the file back; every line must be JSON and have the fields of all. */
static void read_lines(const char *path)
{
    char *text = NULL;
    size_t bytes = 0;
    assert_int_equal(lt_file_read(path, 1 << 20, &text, &bytes), LT_OK);
    count = 0;
    for (char *at = text, *end; *at != '\0'; at = end + 1) {
        end = strchr(at, '\n');
        assert_non_null(end);
        json_error_t error;
        json_t *line = json_loadb(at, (size_t)(end - at), 0, &error);
        if (line == NULL)
            fail_msg("line %d: %s: %.*s", count + 1, error.text, (int)(end - at), at);
        const char *when = json_string_value(json_object_get(line, "time"));
        if (when == NULL || strlen(when) != 24 || when[10] != 'T' || when[23] != 'Z')
            fail_msg("line %d: want a time in UTC, found %s", count + 1, when);
        assert_true(json_is_real(json_object_get(line, "seconds")));
        assert_int_equal(json_integer_value(json_object_get(line, "process")), getpid());
        lines[count++] = line;
    }
    free(text);
}

static const char *text_of(int i, const char *key)
{
    const char *text = json_string_value(json_object_get(lines[i], key));
    return text != NULL ? text : "";
}

static void tells_all_of_it(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    char path[256], many[700] = "";
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, "events"));
    for (int i = 0; i < 300; i++)
        memcpy(many + 2 * i, "\303\274", 3); /* cut at an odd byte */
    lt_log_open(0, 1, 0);                    /* --quiet hides it from people alone */
    lt_warn("before the %s", "file");
    lt_warn("before the %s", "file");
    lt_warn("x%s", many);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    lt_record_event("nobody", NULL); /* no record is open */
    lt_record_open(fd);
    lt_record_event("start", json_pack("{s:s}", "prompt", "a \"ball\"\n\033[31m"));
    lt_warn("while it is open");
    lt_record_last("rank 1 on \"h\\ost\" is lost\n(\001\302\205 )");
    lt_record_close();
    lt_record_event("after", NULL);
    assert_int_equal(close(fd), 0);
    read_lines(path);
    assert_int_equal(count, 5);
    assert_string_equal(text_of(0, "event"), "start"); /* whatever came before */
    assert_string_equal(text_of(0, "prompt"), "a \"ball\"\n\033[31m");
    assert_string_equal(text_of(1, "event"), "warning");
    assert_string_equal(text_of(1, "text"), "before the file");
    assert_true(strlen(text_of(2, "text")) > 500);
    assert_string_equal(text_of(3, "text"), "while it is open");
    assert_string_equal(text_of(4, "event"), "error");
    assert_string_equal(text_of(4, "text"), "rank 1 on \"h\\ost\" is lost?(??? )");
    for (int i = 0; i < count; i++)
        json_decref(lines[i]);
    scratch_free(&s);
}

static void last_words_stay_whole(void **state)
{
    (void)state;
    scratch s;
    scratch_new(&s);
    char path[256], words[5000];
    (void)snprintf(path, sizeof path, "%s", scratch_path(&s, "events"));
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    memset(words, '"', sizeof words - 1);
    words[sizeof words - 1] = '\0';
    lt_record_open(fd);
    lt_record_last(words);
    lt_record_last("");
    lt_record_close();
    assert_int_equal(close(fd), 0);
    read_lines(path);
    assert_int_equal(count, 2);
    assert_true(strlen(text_of(0, "text")) > 500);
    assert_string_equal(text_of(1, "text"), "");
    for (int i = 0; i < count; i++)
        json_decref(lines[i]);
    scratch_free(&s);
}

/* Against the C library's own calendar. */
static void knows_the_date(void **state)
{
    (void)state;
    char mine[LT_UTC_BYTES], theirs[LT_UTC_BYTES];
    for (int tries = 0; tries < 3; tries++) { /* a second may pass in between */
        const time_t now = time(NULL);
        struct tm date;
        assert_non_null(gmtime_r(&now, &date));
        assert_int_equal(strftime(theirs, sizeof theirs, "%Y-%m-%dT%H:%M:%S", &date), 19);
        if (strncmp(lt_utc_now(mine), theirs, 19) == 0)
            return;
    }
    fail_msg("want %s, found %s", theirs, mine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_all_of_it),
        cmocka_unit_test(last_words_stay_whole),
        cmocka_unit_test(knows_the_date),
    };
    return cmocka_run_group_tests_name("record_file", tests, NULL, NULL);
}
