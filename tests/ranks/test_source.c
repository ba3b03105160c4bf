/* test_source.c - a model's files on ranks that don't have them.
 * Goal: whoever has the folder, all ranks see the same names, sizes and bytes under the same path;
 * copies that differ are refused, naming both ranks and the file; a file server whose file is cut,
 * changed or gone is an error with its name at the rank that asked, never wrong bytes; asks for
 * what is not served are refused. Method: each rank works in a folder of its own, which holds a
 * copy or does not; readers wait in a barrier while the others read. Ranks: as launched (4: all
 * cases). Needs: nothing. */
#include "parallel/transport/host_collectives.h"
#include "tests/support/ranks.h"

#include <errno.h>
#include <fcntl.h>

#include "base/file.h"
#include "base/new_file.h"
#include "model/files/checkpoint.h"
#include "model/files/remote/source_internal.h"
#include "tests/support/scratch.h"

static scratch s;
static int rank, ranks;

enum { ROWS = 3000, WIDTH = 700, CONFIG_BYTES = 5 << 20 }; /* 8.4 MB: several asks */
#define SHARD "m/part/model.safetensors"

static float value_at(int64_t i) { return (float)(hash(i, 3, 5) >> 8) / 8388608.0f - 1.0f; }

static int setup(void **state)
{
    char own[80];
    (void)state;
    rank = lt_group_rank(world);
    ranks = lt_group_size(world);
    if (rank == 0)
        scratch_new(&s);
    OK(lt_broadcast(world, 0, s.folder, sizeof s.folder));
    (void)snprintf(own, sizeof own, "%s/%d", s.folder, rank);
    WANT(mkdir(own, 0777) == 0 && chdir(own) == 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    WANT(chdir("/") == 0);
    OK(lt_barrier(world));
    if (rank == 0)
        scratch_free(&s);
    return 0;
}

/* ---- a model in this rank's folder ---- */

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "wb");
    WANT(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void write_model(void)
{
    float *data = malloc((size_t)(ROWS * WIDTH) * sizeof *data);
    char *text = malloc(CONFIG_BYTES + 1);
    WANT(data != NULL && text != NULL);
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        data[i] = value_at(i);
    const lt_tensor t = lt_tensor_wrap(data, "w", LT_F32, LT_DIMS(ROWS, WIDTH));
    WANT(mkdir("m", 0777) == 0 && mkdir("m/part", 0777) == 0 && mkdir("m/part/deep", 0777) == 0);
    WANT(mkdir("m/part-b", 0777) == 0); /* between "part" and "part/" in the order of bytes */
    OK(lt_safetensors_write(SHARD, &t, 1, LT_REPLACE));
    write_text("m/part/config.json", "{\"width\": 700}");
    write_text("m/part/deep/more.json", "{}");
    write_text("m/part-b/config.json", "[1, 2]");
    write_text("m/README.md", "not a model's file");
    memset(text, 'a', CONFIG_BYTES);
    text[CONFIG_BYTES] = '\0';
    write_text("m/words.txt", text);
    free(text);
    free(data);
}

static void remove_model(void)
{
    if (lt_file_is_dir("m"))
        WANT(nftw("m", scratch_remove_one, 8, FTW_DEPTH | FTW_PHYS) == 0);
}

/* ---- everything is seen ---- */

typedef struct names {
    char text[256];
} names;

static lt_status take_name(void *ctx, const char *name)
{
    names *n = ctx;
    const size_t at = strlen(n->text);
    (void)snprintf(n->text + at, sizeof n->text - at, "%s ", name);
    return LT_OK;
}

static void look_at_names(int has)
{
    names list = {""};
    WANT(lt_source_is_dir("m") && lt_source_is_dir("m/") && lt_source_is_dir("m/part"));
    WANT(lt_source_is_dir("m/part/../part/./deep"));
    WANT(!lt_source_is_dir("m/par") && !lt_source_is_dir("m/words.txt"));
    WANT(lt_source_exists("m/part-b") && lt_source_exists("m/part/../words.txt"));
    WANT(!lt_source_exists("m/none.json") && !lt_source_exists("mm") &&
         !lt_source_exists("m/../m2"));
    OK(lt_source_list("m", take_name, &list));
    WANT(strstr(list.text, "part ") && strstr(list.text, "part-b ") && strstr(list.text, "words"));
    WANT(strlen(list.text) == strlen("part part-b words.txt ") + (has ? strlen("README.md ") : 0));
    list.text[0] = '\0';
    OK(lt_source_list("m/part", take_name, &list));
    WANT(strlen(list.text) == strlen("config.json deep model.safetensors "));
    WANT(lt_source_list("m/none", take_name, &list) == LT_ENOINPUT || !has);
    lt_error_clear();
}

static void look_at_files(void)
{
    char *text = NULL;
    size_t bytes = 0;
    json_t *json = NULL;
    lt_checkpoint *c = NULL;
    OK(lt_source_read("m/words.txt", CONFIG_BYTES, &text, &bytes));
    WANT(bytes == CONFIG_BYTES && text[0] == 'a' && text[CONFIG_BYTES - 1] == 'a');
    free(text);
    WANT(lt_source_read("m/words.txt", CONFIG_BYTES - 1, &text, &bytes) == LT_EDATA);
    WANT(lt_source_read("m/none.txt", 10, &text, &bytes) == LT_ENOINPUT);
    OK(lt_source_json("m/part/config.json", &json));
    WANT(json_integer_value(json_object_get(json, "width")) == WIDTH);
    json_decref(json);
    float *found = malloc((size_t)(ROWS * WIDTH) * sizeof *found);
    WANT(found != NULL);
    const lt_dims dims = LT_DIMS(ROWS, WIDTH);
    OK(lt_checkpoint_open("m/part", NULL, &c));
    OK(lt_checkpoint_read(c, "w", dims, lt_slice_whole(dims), LT_F32, found));
    for (int64_t i = 0; i < ROWS * WIDTH; i++)
        WANT(found[i] == value_at(i));
    lt_checkpoint_close(&c);
    free(found);
    lt_error_clear();
}

static void all_see_the_same(void **state)
{
    (void)state;
    for (int mask = 1; mask < 1 << ranks; mask++) { /* bit r: rank r has a copy */
        const int has = mask >> rank & 1;
        const uint64_t before = lt_source_bytes_served();
        if (has)
            write_model();
        else if (mask % 3 == 0)
            WANT(mkdir("m", 0777) == 0); /* an empty folder is none */
        OK(lt_source_share(world, mask % 2 ? "m" : "m/"));
        look_at_names(has);
        if (!has || mask % 5 == 0)
            look_at_files();
        OK(lt_barrier(world)); /* the readers are here at once and serve from within */
        const uint64_t served = lt_source_bytes_served() - before;
        lt_source_end();
        uint64_t all[RANKS_MAX], sum = 0;
        OK(lt_all_gather_host(world, &served, sizeof served, all));
        uint64_t clients = 0, most = 0;
        for (int r = 0; r < ranks; r++) {
            clients += (uint64_t) !(mask >> r & 1);
            sum += all[r];
            most += (uint64_t)(all[r] > 0);
        }
        const uint64_t each = CONFIG_BYTES + ROWS * WIDTH * sizeof(float);
        WANT(sum >= clients * each && sum <= clients * (each + 4096));
        const uint64_t servers = (uint64_t)ranks - clients;
        WANT(most == (clients < servers ? clients : servers)); /* spread */
        remove_model();
        OK(lt_barrier(world));
    }
}

static void missing_everywhere_is_as_ever(void **state)
{
    (void)state;
    lt_checkpoint *c = NULL;
    OK(lt_source_share(world, "m"));
    WANT(lt_checkpoint_open("m/part", NULL, &c) == LT_ENOINPUT);
    WANT(strstr(lt_error_text(), "m/part: no such file or folder") != NULL);
    lt_source_end();
    lt_error_clear();
}

/* A pipe in the folder that nobody writes to must not be waited for. */
static void a_pipe_is_refused_at_once(void **state)
{
    (void)state;
    lt_source_file file;
    char *text = NULL;
    size_t bytes = 0;
    json_t *json = NULL;
    WANT(mkdir("m", 0777) == 0 && mkfifo("m/a.json", 0666) == 0);
    WANT(lt_source_open("m/a.json", &file) == LT_ENOINPUT && file.fd < 0);
    WANT(lt_source_read("m/a.json", 10, &text, &bytes) == LT_ENOINPUT && text == NULL);
    WANT(lt_source_json("m/a.json", &json) == LT_ENOINPUT && json == NULL);
    WANT(strstr(lt_error_text(), "m/a.json: want a regular file") != NULL);
    lt_error_clear();
    remove_model();
}

/* ---- copies that differ ---- */

static const struct {
    const char *file, *text, *words;
} differences[] = {
    {"m/part/config.json", "{\"width\": 701}", "part/config.json: want hash"},
    {"m/part/config.json", "{\"width\": 7000}", "part/config.json: want 14 bytes, found 15"},
    {"m/part/more.json", "{}", "part/more.json is there too"},
    {"m/words.txt", NULL, "words.txt is missing"},
    {SHARD, "cut", "part/model.safetensors: want 84000"},
};

static void other_copies_are_refused(void **state)
{
    (void)state;
    if (ranks < 2)
        return;
    for (size_t i = 0; i < sizeof differences / sizeof *differences; i++) {
        char both[64];
        const int odd = ranks - 1, first = ranks > 2 ? 1 : 0; /* rank 0 of more has none */
        if (rank >= first)
            write_model();
        if (rank == odd && differences[i].text != NULL)
            write_text(differences[i].file, differences[i].text);
        else if (rank == odd)
            WANT(unlink(differences[i].file) == 0);
        const lt_status st = lt_source_share(world, "m");
        WANT(st == (rank == odd ? LT_EDATA : LT_EPEER));
        (void)snprintf(both, sizeof both, "found another on rank %d than on rank %d: ", odd, first);
        if (strstr(lt_error_text(), both) == NULL ||
            strstr(lt_error_text(), differences[i].words) == NULL)
            stop(differences[i].words, lt_error_text(), __LINE__);
        lt_error_clear();
        remove_model();
        OK(lt_barrier(world));
    }
}

/* ---- a file server's file changes ---- */

static void cut_shard(void) { WANT(truncate(SHARD, 100000) == 0); }
static void grow_shard(void) { WANT(truncate(SHARD, 90000000) == 0); }
static void lose_shard(void) { WANT(unlink(SHARD) == 0); }
static void make_a_folder(void) { WANT(unlink(SHARD) == 0 && mkdir(SHARD, 0777) == 0); }
/* Of the same size: only the time tells. */
static void write_again(void)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
    WANT(utimensat(AT_FDCWD, SHARD, times, 0) == 0);
}
/* Of the same size and time. */
static void replace_shard(void)
{
    char *data = NULL;
    size_t bytes = 0;
    struct stat then;
    OK(lt_file_read(SHARD, (size_t)1 << 30, &data, &bytes));
    WANT(stat(SHARD, &then) == 0);
    OK(lt_new_file_write(SHARD, data, bytes, LT_REPLACE));
    free(data);
    const struct timespec times[2] = {then.st_atim, then.st_mtim};
    WANT(utimensat(AT_FDCWD, SHARD, times, 0) == 0);
}
static void make_a_pipe(void) { WANT(unlink(SHARD) == 0 && mkfifo(SHARD, 0666) == 0); }

static const struct {
    const char *name;
    void (*change)(void);
    int after_open; /* the header was read: the file server holds it open */
    lt_status status;
    const char *words;
} changes[] = {
    {"cut before it is opened", cut_shard, 0, LT_EDATA, "found 100000"},
    {"cut while it is read", cut_shard, 1, LT_EDATA, "found 100000"},
    {"another download", grow_shard, 1, LT_EDATA, "found 90000000"},
    {"gone before it is opened", lose_shard, 0, LT_ENOINPUT, "cannot be opened any more"},
    {"a folder of that name", make_a_folder, 0, LT_EDATA, "want a regular file"},
    {"written again before it is opened", write_again, 0, LT_EDATA, "found it changed at 1000.0"},
    {"written again while it is read", write_again, 1, LT_EDATA, "found it changed at 1000.0"},
    {"replaced", replace_shard, 0, LT_EDATA, "found another of that name"},
    {"a pipe of that name", make_a_pipe, 0, LT_EDATA, "want a regular file"},
};

static void a_changed_file_is_an_error(void **state)
{
    (void)state;
    if (ranks < 2)
        return;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        lt_checkpoint *c = NULL;
        float row[WIDTH];
        const lt_slice last = {{ROWS - 1, 1}, {0, WIDTH}};
        if (rank == 0)
            write_model();
        OK(lt_source_share(world, "m"));
        if (changes[i].after_open)
            OK(lt_checkpoint_open("m/part", NULL, &c));
        OK(lt_barrier(world));
        if (rank == 0)
            changes[i].change();
        OK(lt_barrier(world));
        if (rank > 0) {
            lt_status st = LT_OK;
            if (!changes[i].after_open)
                st = lt_checkpoint_open("m/part", NULL, &c);
            if (st == LT_OK)
                st = lt_checkpoint_read(c, "w", LT_DIMS(ROWS, WIDTH), last, LT_F32, row);
            if (st != changes[i].status || strstr(lt_error_text(), changes[i].words) == NULL ||
                strncmp(lt_error_text(), "rank 0: " SHARD, strlen("rank 0: " SHARD)) != 0)
                stop(changes[i].name, lt_error_text(), __LINE__);
            lt_error_clear();
        }
        OK(lt_barrier(world));
        lt_source_end();
        lt_checkpoint_close(&c);
        remove_model();
    }
}

/* ---- asks that nobody should make ---- */

static const struct {
    int index;
    int64_t offset;
    size_t bytes;
    const char *words; /* NULL: is served */
} asks[] = {
    {1, 0, 14, NULL},
    {-1, 0, 14, "file -1"},
    {5, 0, 14, "file 5"},
    {1, 1, 14, "14 bytes at 1 of 14"},
    {1, -1, 1, "1 bytes at -1 of 14"},
    {1, INT64_MAX, 14, "of 14"},
    {1, INT64_MIN, 14, "of 14"},
    {1, 0, 14, NULL}, /* a refused ask leaves nothing under way */
};

/* Half an ask, in the words of source_serve.c: tags 1 and 2, 4 bytes of status, 508 of text. */
static void a_short_ask_is_answered(lt_group *group)
{
    static const char half[12] = "?-tl";
    static char text[513];
    lt_request *answer = NULL, *sent = NULL;
    int32_t status = 0;
    OK(lt_request_recv(group, 0, 2, text, 512, &answer));
    OK(lt_request_send(group, 0, 1, half, sizeof half, &sent));
    OK(lt_request_wait(&sent));
    OK(lt_request_wait(&answer));
    memcpy(&status, text, sizeof status);
    WANT(status == LT_EINTERNAL && strncmp(text + 4, "rank 0: ", 8) == 0);
    WANT(strstr(text + 4, "12") != NULL);
}

static void strange_asks_are_refused(void **state)
{
    (void)state;
    int order[RANKS_MAX], server_of[RANKS_MAX];
    lt_group *group = NULL;
    lt_source_table table = {0};
    if (ranks < 2)
        return;
    for (int r = 0; r < ranks; r++) {
        order[r] = r;
        server_of[r] = r == 1 ? 0 : -1; /* rank 0 serves rank 1 and no other */
    }
    if (rank == 0)
        write_model();
    OK(lt_group_split(world, order, ranks, &group));
    OK(lt_source_table_scan("m", &table));
    WANT(table.count == (rank == 0 ? 5 : 0));
    if (rank == 0)
        OK(lt_source_serve(group, &table, server_of));
    for (size_t i = 0; i < sizeof asks / sizeof *asks && rank > 0; i++) {
        char bytes[32] = "";
        const lt_status st =
            lt_source_ask(group, 0, asks[i].index, bytes, asks[i].bytes, asks[i].offset);
        const char *want = rank == 1 ? asks[i].words : "no such thing is served";
        if (want == NULL)
            WANT(st == LT_OK && strcmp(bytes, "{\"width\": 700}") == 0);
        else if (st != LT_EDATA || strstr(lt_error_text(), want) == NULL)
            stop(want, lt_error_text(), __LINE__);
        if (rank == 1 && i == 0)
            a_short_ask_is_answered(group);
    }
    lt_error_clear();
    OK(lt_barrier(world));
    lt_source_serve_stop();
    lt_source_table_free(&table);
    lt_group_free(&group);
    remove_model();
}

/* ---- lists that nobody should send ---- */

static const struct {
    const char *text, *words; /* NULL: taken */
} lists[] = {
    {"[]", NULL},
    {"[{\"path\":\"a.json\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", NULL},
    {"{}", "want a list"},
    {"[1]", "path"},
    {"[{\"path\":\"../a.json\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", "below the model's"},
    {"[{\"path\":\"/a.json\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", "below the model's"},
    {"[{\"path\":\"a/../../b\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", "below the model's"},
    {"[{\"path\":\"a//b\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", "below the model's"},
    {"[{\"path\":\"\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]", "below the model's"},
    {"[{\"path\":\"a\",\"bytes\":-1,\"changed\":0,\"hash\":\"0\"}]", "bytes"},
    {"[{\"path\":\"b\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"},"
     "{\"path\":\"a\",\"bytes\":1,\"changed\":0,\"hash\":\"0\"}]",
     "in order"},
};

static void strange_lists_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        lt_source_table table;
        const lt_status st =
            lt_source_table_parse(lists[i].text, strlen(lists[i].text), "m", &table);
        if (lists[i].words == NULL)
            WANT(st == LT_OK);
        else if (st != LT_EDATA || strstr(lt_error_text(), lists[i].words) == NULL)
            stop(lists[i].text, lt_error_text(), __LINE__);
        lt_source_table_free(&table);
    }
    lt_error_clear();
}

int main(void)
{
    if (ranks_open() != 0)
        return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_see_the_same),
        cmocka_unit_test(missing_everywhere_is_as_ever),
        cmocka_unit_test(a_pipe_is_refused_at_once),
        cmocka_unit_test(other_copies_are_refused),
        cmocka_unit_test(a_changed_file_is_an_error),
        cmocka_unit_test(strange_asks_are_refused),
        cmocka_unit_test(strange_lists_are_refused),
    };
    const int failed = cmocka_run_group_tests_name("source", tests, setup, teardown);
    ranks_close();
    return failed;
}
