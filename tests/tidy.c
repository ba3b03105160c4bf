/* tidy.c - the rules of the house that a compiler does not know.
 * Goal: hold levels, sizes, banned calls, and that every room tells what is in it. Method: reads
 * the tree as text; each broken rule is one line "FILE:LINE: rule". Ranks: 1. Needs: the source
 * tree (argv[1]). */
#include <ctype.h>
#include <fts.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { COLUMNS = 100, FUNCTION_LINES = 70, C_LINES = 600, H_LINES = 400, README_LINES = 60 };

static const char *root = ".";
static int broken;

static void complain(const char *file, int line, const char *rule)
{
    print_error("%s:%d: %s\n", file, line, rule);
    broken++;
}

/* ---- levels: a file may include only its own level and lower ones ---- */

static const struct {
    const char *folder, *include;
    int level;
} rooms[] = {{"src/base/", "base/", 0},       {"kernels/", "kernels/", 1},
             {"parallel/", "parallel/", 2},   {"src/model/", "model/", 3},
             {"scheduler/", "scheduler/", 3}, {"src/media/", "media/", 3},
             {"src/metrics/", "metrics/", 3}, {"src/run/", "run/", 4},
             {"bench/", "bench/", 4},         {"src/cmd/", "cmd/", 5}};
enum { ROOMS = sizeof rooms / sizeof *rooms };

/* Where an outside world may be included: parts of paths, with spaces between. FFmpeg has three
 * places: what makes a film, what reads one, and its transform for spectra. */
static const struct {
    const char *header, *only;
} outside[] = {{"<mpi.h>", "/mpi"},
               {"<hdf5.h>", "src/run/store_hdf5"},
               {"<libav", "src/media/mux src/media/film_read src/media/spectrum"},
               {"<libsw", "src/media/mux src/media/film_read"},
               {"<dnnl.h>", "_dnnl.c"},
               {"<oneapi/", "_dnnl.c"},
               {"<immintrin.h>", "_x86.c"},
               {"<png.h>", "src/media/contact_sheet"},
               {"<ebur128.h>", "src/media/loudness"},
               {"<openssl/", "src/model/files/hash_list"},
               {"<nccl.h>", "parallel/collective/exchange_nccl.c"},
               {"<cuda", "kernels/cuda/"},
               {"<cublas", "kernels/cuda/gemm_lt.c"},
               {"<utf8proc.h>", "src/model/text/bpe"},
               {"<yaml.h>", "src/base/yaml.c"}};

/* Does file hold one of these parts? */
static int holds_one_of(const char *file, const char *parts)
{
    char part[64];
    for (const char *at = parts; *at != '\0'; at += *at == ' ') {
        const size_t n = strcspn(at, " ");
        (void)snprintf(part, sizeof part, "%.*s", (int)n, at);
        if (strstr(file, part) != NULL)
            return 1;
        at += n;
    }
    return 0;
}

static void check_include(const char *file, int number, const char *line)
{
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        if (strstr(line, outside[i].header) != NULL && !holds_one_of(file, outside[i].only) &&
            strncmp(file, "tests/", 6) != 0 && strncmp(file, "bench/", 6) != 0 &&
            strncmp(file, "tools/", 6) != 0)
            complain(file, number, "this library is included in one place only");
    int mine = -1, theirs = -1;
    const char *name = strchr(line, '"');
    for (int i = 0; i < ROOMS; i++) {
        if (strncmp(file, rooms[i].folder, strlen(rooms[i].folder)) == 0)
            mine = i;
        if (name != NULL && strncmp(name + 1, rooms[i].include, strlen(rooms[i].include)) == 0)
            theirs = i;
    }
    if (mine < 0 || theirs < 0)
        return;
    if (rooms[theirs].level > rooms[mine].level)
        complain(file, number, "includes a higher level");
    if (strcmp(rooms[mine].folder, "scheduler/") == 0 && theirs != mine && theirs != 0 &&
        strstr(line, "parallel/shard.h") == NULL)
        complain(file, number, "scheduler knows base and parallel/shard.h only");
    if (strcmp(rooms[mine].folder, "src/media/") == 0 && theirs != mine && theirs != 0)
        complain(file, number, "media knows base only");
    if (strcmp(rooms[mine].folder, "src/metrics/") == 0 && theirs != mine && theirs != 0)
        complain(file, number, "metrics knows base only");
}

/* ---- words ---- */

static const struct {
    const char *word, *allowed_in;
} banned[] = {{"strcpy", ""},
              {"strcat", ""},
              {"sprintf", ""},
              {"atoi", ""},
              {"atof", ""},
              {"rand", ""},
              {"srand", ""},
              {"exit", "src/cmd/main.c"},
              {"system", ""},
              {"popen", ""},
              {"getenv", "src/base/env.c"},
              {"gets", ""},
              {"strtok", ""},
              {"MPI_COMM_WORLD", "parallel/transport/mpi.c"}};

static int is_word(char c)
{
    return c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* tests/retired_words.txt: a word a line, lower case, "_" before and after. */
enum { RETIRED_MAX = 256, RETIRED_BYTES = 64 };
static char retired[RETIRED_MAX][RETIRED_BYTES];
static int retired_count;

static void read_retired(void)
{
    char path[4096], line[512];
    (void)snprintf(path, sizeof path, "%s/tests/retired_words.txt", root);
    FILE *f = fopen(path, "r");
    if (f == NULL)
        fail_msg("%s: not there", path);
    while (fgets(line, sizeof line, f) != NULL) {
        const size_t n = strcspn(line, "\t\n");
        if (line[0] == '#' || line[0] == '-' || line[0] == '\n')
            continue;
        assert_true(line[n] == '\t' && retired_count < RETIRED_MAX); /* a word and what to say */
        (void)snprintf(retired[retired_count++], RETIRED_BYTES, "_%.*s_", (int)n, line);
    }
    (void)fclose(f);
}

/* name: n characters of a line of code. */
static void check_retired(const char *file, int number, const char *name, size_t n)
{
    char padded[256], rule[512];
    if (n + 3 > sizeof padded || strncmp(name, "H5E_", 4) == 0) /* HDF5's own */
        return;
    padded[0] = '_';
    for (size_t i = 0; i < n; i++)
        padded[i + 1] = (char)tolower((unsigned char)name[i]);
    padded[n + 1] = '_';
    padded[n + 2] = '\0';
    for (int i = 0; i < retired_count; i++)
        if (strstr(padded, retired[i]) != NULL) {
            (void)snprintf(rule, sizeof rule, "%.*s: a retired word (tests/retired_words.txt)",
                           (int)n, name);
            complain(file, number, rule);
        }
}

/* Identifiers of a line that is not inside a comment; strings and what a comment holds are passed
 * over, and the line of a test's function, whose name is a sentence. */
static void check_names(const char *file, int number, const char *line)
{
    if (strncmp(file, "tests/", 6) == 0 &&
        (strstr(line, "(void **state)") != NULL || strstr(line, "cmocka_unit_test") != NULL))
        return;
    for (const char *at = line; *at != '\0';) {
        if (at[0] == '/' && (at[1] == '*' || at[1] == '/'))
            return;
        if (*at == '"' || *at == '\'') {
            const char quote = *at++;
            for (; *at != '\0' && *at != quote; at++)
                at += *at == '\\' && at[1] != '\0';
            at += *at != '\0';
            continue;
        }
        size_t n = 0;
        while (is_word(at[n]))
            n++;
        if (n > 0)
            check_retired(file, number, at, n);
        at += n > 0 ? n : 1;
    }
}

static int has_suffix(const char *path, const char *suffix)
{
    const size_t n = strlen(path), m = strlen(suffix);
    return n > m && strcmp(path + n - m, suffix) == 0;
}

/* Inline PTX: in one file, which is what tests/shim has a second form of. */
static void check_asm(const char *file, int number, const char *line)
{
    const int device = has_suffix(file, ".cu") || has_suffix(file, ".cuh");
    if (device && strstr(file, "kernels/cuda/prims.cuh") == NULL && strstr(line, "asm(") != NULL)
        complain(file, number, "inline PTX outside kernels/cuda/prims.cuh");
}

static void check_banned(const char *file, int number, const char *line)
{
    for (size_t i = 0; i < sizeof banned / sizeof *banned; i++) {
        const size_t n = strlen(banned[i].word);
        for (const char *at = strstr(line, banned[i].word); at != NULL;
             at = strstr(at + n, banned[i].word)) {
            const int whole = (at == line || !is_word(at[-1])) && !is_word(at[n]);
            const int call = at[n] == '(' || banned[i].word[0] == 'M';
            if (whole && call &&
                (banned[i].allowed_in[0] == '\0' || strstr(file, banned[i].allowed_in) == NULL))
                complain(file, number, "a banned call");
        }
    }
    static const char *const left[] = {"TO"
                                       "DO",
                                       "FIX"
                                       "ME",
                                       "XX"
                                       "X:",
                                       "HA"
                                       "CK"};
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        if (strstr(line, left[i]) != NULL)
            complain(file, number, "a leftover word");
}

/* Files are made in one place (base/new_file.h), which follows no planted link; two libraries open
 * what it made. */
static const struct {
    const char *word, *only;
} makers[] = {{"O_CREAT", "src/base/new_file."},
              {"mkstemp(", "src/base/new_file."},
              {"creat(", "src/base/new_file."},
              {"freopen(", ""},
              {"H5Fcreate(", "src/run/store_hdf5_write.c"},
              {"avio_open(", "src/media/mux_whole.c"},
              {"avio_open2(", ""},
              {"tmpfile(", ""}};

static void check_makers(const char *file, int number, const char *line)
{
    if (strncmp(file, "src/", 4) != 0 && strncmp(file, "kernels/", 8) != 0 &&
        strncmp(file, "parallel/", 9) != 0 && strncmp(file, "scheduler/", 10) != 0)
        return;
    for (size_t i = 0; i < sizeof makers / sizeof *makers; i++) {
        const char *at = strstr(line, makers[i].word);
        if (at != NULL && (at == line || !is_word(at[-1])) &&
            (makers[i].only[0] == '\0' ||
             strncmp(file, makers[i].only, strlen(makers[i].only)) != 0))
            complain(file, number, "makes a file: base/new_file.h does");
    }
    const char *at = strstr(line, "fopen("), *mode = at != NULL ? strstr(at, ", \"") : NULL;
    if (mode != NULL && (mode[3] == 'w' || mode[3] == 'a' || strchr(mode + 3, '+') != NULL))
        complain(file, number, "makes a file: base/new_file.h does");
}

/* Columns, not bytes: continuation bytes of UTF-8 do not count. */
static int columns(const char *line)
{
    int n = 0;
    for (; *line != '\0' && *line != '\n'; line++)
        n += ((unsigned char)*line & 0xc0) != 0x80;
    return n;
}

/* ---- files ---- */

static int is_code(const char *file)
{
    static const char *const suffixes[] = {".c", ".h", ".inc", ".cu", ".cuh", ".cpp"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        if (has_suffix(file, suffixes[i]))
            return 1;
    return 0;
}

static void check_code(const char *path, const char *file)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    char line[4096];
    int number = 0, began = 0, says_where = 0, in_comment = 0, functions = 0;
    const int header = has_suffix(file, ".h") || has_suffix(file, ".cuh");
    const int product = strncmp(file, "tests/", 6) != 0;
    while (fgets(line, sizeof line, f) != NULL) {
        number++;
        if (number == 1 && strncmp(line, "/* ", 3) != 0)
            complain(file, number, "begins without a head comment");
        if (columns(line) > COLUMNS)
            complain(file, number, "longer than 100 columns");
        if (strchr(line, '\t') != NULL)
            complain(file, number, "a tab");
        if (line[0] == '{')
            began = number;
        if (line[0] == '}' && began > 0) {
            if (number - began - 1 > FUNCTION_LINES)
                complain(file, began, "a function of more than 70 lines");
            began = 0;
        }
        const int began_inside = in_comment;
        if (strstr(line, "/*") != NULL)
            in_comment = 1;
        says_where |= strstr(line, "Local") != NULL || strstr(line, "Collective") != NULL ||
                      strstr(line, "Rank 0") != NULL;
        functions |= strncmp(line, "lt_status lt_", 13) == 0;
        if (!in_comment && line[0] == '#' && strstr(line, "include") != NULL)
            check_include(file, number, line);
        if (!in_comment && product)
            check_banned(file, number, line);
        if (!in_comment)
            check_asm(file, number, line);
        if (!in_comment)
            check_makers(file, number, line);
        if (!began_inside && strncmp(line, "#include", 8) != 0)
            check_names(file, number, line);
        if (strstr(line, "*/") != NULL)
            in_comment = 0;
    }
    (void)fclose(f);
    if (number > (header ? H_LINES : C_LINES))
        complain(file, number,
                 header ? "a header of more than 400 lines" : "a file of more than 600 lines");
    if (header && product && functions && !says_where && strstr(file, "_internal.h") == NULL)
        complain(file, 1, "no function says Local, Rank 0 only or Collective");
}

/* Is name in text with no letter, digit or _ on either side? */
static int has_word(const char *text, const char *name)
{
    const size_t n = strlen(name);
    for (const char *at = strstr(text, name); at != NULL; at = strstr(at + n, name))
        if ((at == text || !is_word(at[-1])) && !is_word(at[n]))
            return 1;
    return 0;
}

/* The README.md of the folder, or of the nearest folder above that has one, names the file by its
 * stem. Rooms inside a folder share its page. */
static void check_named(const char *folder, const char *file)
{
    char path[4096], name[256], text[65536];
    const char *base = strrchr(file, '/') + 1;
    FILE *f = NULL;
    for (size_t end = strlen(folder); f == NULL && end > strlen(root); end--) {
        if (folder[end] != '/' && folder[end] != '\0')
            continue;
        (void)snprintf(path, sizeof path, "%.*s/README.md", (int)end, folder);
        f = fopen(path, "r");
    }
    if (f == NULL) {
        complain(file, 1, "its folder has no README.md");
        return;
    }
    const size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    const size_t stem = strcspn(base, ".");
    (void)snprintf(name, sizeof name, "%.*s", (int)stem, base);
    if (!has_word(text, name))
        complain(file, 1, "its folder's README.md does not name it");
}

static void check_readme(const char *path, const char *file)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    int lines = 0;
    for (int c = fgetc(f); c != EOF; c = fgetc(f))
        lines += c == '\n';
    (void)fclose(f);
    if (lines > README_LINES && strchr(file, '/') != NULL)
        complain(file, lines, "a folder's README.md of more than 60 lines");
}

static void the_house_is_in_order(void **state)
{
    (void)state;
    char *paths[] = {(char *)(uintptr_t)root, NULL};
    read_retired();
    FTS *tree = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    assert_non_null(tree);
    int seen = 0;
    for (FTSENT *e = fts_read(tree); e != NULL; e = fts_read(tree)) {
        const char *file = e->fts_path + strlen(root) + 1;
        if (e->fts_info == FTS_D && e->fts_level > 0 &&
            (e->fts_name[0] == '.' || strcmp(file, "build") == 0 || strcmp(file, "out") == 0 ||
             strcmp(file, "models") == 0))
            (void)fts_set(tree, e, FTS_SKIP);
        if (e->fts_info != FTS_F)
            continue;
        if (strcmp(e->fts_name, "README.md") == 0)
            check_readme(e->fts_path, file);
        if (!is_code(file))
            continue;
        char folder[4096];
        (void)snprintf(folder, sizeof folder, "%.*s",
                       (int)(strrchr(e->fts_path, '/') - e->fts_path), e->fts_path);
        check_code(e->fts_path, file);
        if (strncmp(file, "tests/", 6) != 0)
            check_named(folder, file);
        seen++;
    }
    (void)fts_close(tree);
    assert_true(seen > 50); /* a wrong folder must not pass */
    assert_int_equal(broken, 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        root = argv[1];
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_house_is_in_order)};
    return cmocka_run_group_tests_name("tidy", tests, NULL, NULL);
}
