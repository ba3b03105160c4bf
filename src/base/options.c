/* options.c - the option table: parsing flags and job keys into a struct.
 * Here: names, and who wins; a value's text is options_value.c's. */
#include "base/options.h"

#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/options_table.h"
#include "base/text.h"
#include "base/yaml.h"

enum { WANT_BYTES = 512, WHERE_BYTES = 512 };

/* Index of the row of this name, or count. */
static size_t find(const lt_options *o, const char *name, size_t bytes)
{
    for (size_t i = 0; i < o->count; i++)
        if (lt_option_is_here(o, &o->table[i]) && strlen(o->table[i].name) == bytes &&
            memcmp(o->table[i].name, name, bytes) == 0)
            return i;
    return o->count;
}

static lt_status note(lt_options *o, size_t i, lt_option_state state, const char *where)
{
    char *copy = strdup(where);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory", where);
    free(o->where[i]);
    o->where[i] = copy;
    o->states[i] = state;
    return LT_OK;
}

/* What row i's value is before anybody gives one. */
static lt_status start(lt_options *o, size_t i)
{
    static const size_t bytes[] = {[LT_OPT_STRING] = sizeof(char *),
                                   [LT_OPT_INT] = 8,
                                   [LT_OPT_REAL] = 8,
                                   [LT_OPT_FLAG] = sizeof(int),
                                   [LT_OPT_SIZE] = 16,
                                   [LT_OPT_CHOICE] = sizeof(char *),
                                   [LT_OPT_PATH] = sizeof(char *),
                                   [LT_OPT_SEED] = sizeof(lt_seed),
                                   [LT_OPT_LIST] = sizeof(json_t *)};
    char where[WHERE_BYTES];
    const lt_option *row = &o->table[i];
    if (!lt_option_is_here(o, row))
        return LT_OK;
    memset(o->values + row->offset, 0, bytes[row->type]);
    (void)snprintf(where, sizeof where, "--%s", row->name);
    LT_TRY(note(o, i, LT_OPT_UNSET, where));
    if (row->default_text == NULL)
        return LT_OK;
    const lt_status st = lt_option_take_text(o, i, where, row->default_text);
    if (st != LT_OK && st != LT_ENOMEM)
        LT_FAIL(LT_EINTERNAL, "the table's own default is wrong: %s", lt_error_text());
    LT_TRY(st);
    return LT_OK;
}

lt_status lt_options_new(const lt_option *table, size_t count, unsigned verb_bit, void *values,
                         lt_options **out)
{
    assert(table != NULL && count > 0 && values != NULL && verb_bit != 0);
    lt_options *o = calloc(1, sizeof *o);
    *out = NULL;
    if (o == NULL)
        LT_FAIL(LT_ENOMEM, "no memory for the options");
    *o = (lt_options){.table = table, .count = count, .verb = verb_bit, .values = values};
    o->states = calloc(count, sizeof *o->states);
    o->where = calloc(count, sizeof *o->where);
    o->owned = calloc(count, sizeof *o->owned);
    lt_status st = LT_OK;
    if (o->states == NULL || o->where == NULL || o->owned == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "no memory for %zu options", count);
    for (size_t i = 0; i < count && st == LT_OK; i++)
        st = start(o, i);
    if (st != LT_OK) {
        lt_options_free(&o);
        return lt_error_trace(st, "lt_options_new", __FILE__, __LINE__);
    }
    *out = o;
    return LT_OK;
}

void lt_options_free(lt_options **opts)
{
    lt_options *o = *opts;
    if (o == NULL)
        return;
    for (size_t i = 0; i < o->count; i++) {
        if (o->owned != NULL && o->table[i].type == LT_OPT_LIST)
            json_decref(o->owned[i]);
        else if (o->owned != NULL)
            free(o->owned[i]);
        if (o->where != NULL)
            free(o->where[i]);
    }
    free(o->states);
    free(o->where);
    free(o->owned);
    free(o);
    *opts = NULL;
}

/* The known name that is nearest to a wrong one, as a hint; none if nothing is near. dashes is "--"
 * for a flag, "" for a job key. */
static void hint_nearest(const lt_options *o, const char *dashes, const char *name)
{
    const size_t n = strlen(name);
    const char *best = NULL;
    int best_distance = n >= 9 ? 4 : n >= 3 ? 3 : 2; /* more than this is another word */
    for (size_t i = 0; i < o->count; i++) {
        const lt_option *row = &o->table[i];
        if (!lt_option_is_here(o, row) || (row->traits & LT_OPT_HIDDEN) ||
            (dashes[0] == '\0' ? (row->traits & LT_OPT_NOT_IN_JOB) != 0 : row->type == LT_OPT_LIST))
            continue;
        const int begins = n >= 3 && strncmp(row->name, name, n) == 0;
        const int distance = begins ? 1 : lt_edit_distance(name, row->name);
        if (distance < best_distance) {
            best_distance = distance;
            best = row->name;
        }
    }
    if (best != NULL)
        lt_hint("did you mean %s%s?", dashes, best);
    else
        lt_hint("--help lists what there is");
}

void lt_options_others(lt_options *opts, const lt_option_other *table, size_t count)
{
    opts->others = table;
    opts->other_count = count;
}

/* Whether a is b but for '_' in place of '-'. */
static int is_spelled(const char *a, const char *b)
{
    while (*a != '\0' && (*a == *b || (*a == '_' && *b == '-')))
        a++, b++;
    return *a == *b;
}

static const lt_option_other *find_other(const lt_options *o, const char *name)
{
    for (size_t i = 0; i < o->other_count; i++)
        if (is_spelled(name, o->others[i].name))
            return &o->others[i];
    return NULL;
}

/* A name that is not in the table; where is its place ("--width", "job.yaml:3: width"), dashes "--"
 * for a flag, "" for a job key, "-" for a short key. */
static lt_status unknown(const lt_options *o, const char *dashes, const char *name,
                         const char *where, const char *what)
{
    const char key[3] = {'-', name[0], '\0'};
    const int is_short = strcmp(dashes, "-") == 0;
    const lt_option_other *other = find_other(o, is_short ? key : name);
    if (other != NULL && other->hint != NULL)
        lt_hint("%s", other->hint);
    if (other != NULL && other->later)
        LT_FAIL(LT_EUNAVAIL, "%s: this version does not have it; it comes later", where);
    if (is_short)
        lt_hint("--help lists what there is");
    else
        hint_nearest(o, dashes, name);
    LT_FAIL(LT_EUSAGE, "%s: %s", where, what);
}

static lt_status unknown_flag(const lt_options *o, const char *name)
{
    char where[80];
    (void)snprintf(where, sizeof where, "--%.60s", name);
    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->table[i].name, name) == 0) {
            const lt_option_other *other = find_other(o, name);
            if (other != NULL && other->hint != NULL)
                lt_hint("%s", other->hint);
            LT_FAIL(LT_EUSAGE, "%s: not an option of this verb", where);
        }
    return unknown(o, "--", name, where, "unknown option");
}

/* A row that says the same as row i in another way and was set by this source; count: none. */
static size_t rival(const lt_options *o, size_t i, lt_option_state source)
{
    const char *same = o->table[i].same;
    for (size_t k = 0; k < o->count && same != NULL; k++)
        if (k != i && lt_option_is_here(o, &o->table[k]) && o->table[k].same != NULL &&
            strcmp(o->table[k].same, same) == 0 && o->states[k] == source)
            return k;
    return o->count;
}

lt_status lt_options_set(lt_options *opts, const char *name, const char *text)
{
    char where[WHERE_BYTES];
    const size_t i = find(opts, name, strlen(name));
    if (i == opts->count)
        return unknown_flag(opts, name);
    (void)snprintf(where, sizeof where, "--%s", opts->table[i].name);
    const size_t other = rival(opts, i, LT_OPT_BY_FLAG);
    if (other < opts->count) {
        char *given = NULL;
        LT_TRY(lt_option_value_text(opts, other, &given));
        (void)lt_fail(LT_EUSAGE, __FILE__, __LINE__, "%s %s and %s %.100s: want one of them",
                      opts->where[other], given, where, text);
        free(given);
        return LT_EUSAGE;
    }
    LT_TRY(lt_option_take_text(opts, i, where, text));
    LT_TRY(note(opts, i, LT_OPT_BY_FLAG, where));
    const size_t loser = rival(opts, i, LT_OPT_BY_FILE);
    if (loser < opts->count)
        LT_TRY(start(opts, loser));
    return LT_OK;
}

/* The state of a walk along argv. */
typedef struct words {
    int argc, at;
    char *const *argv;
    int stopped;
} words;

/* A flag without text. */
static lt_status take_flag(lt_options *o, size_t i, words *w)
{
    const lt_option *row = &o->table[i];
    int *value = (int *)(void *)(o->values + row->offset);
    const int before = o->states[i] == LT_OPT_BY_FLAG ? *value : 0;
    LT_TRY(lt_options_set(o, row->name, "true"));
    if (row->traits & LT_OPT_COUNTED)
        *value = before + 1;
    w->stopped = (row->traits & LT_OPT_STOPS) != 0;
    return LT_OK;
}

/* The next word as an option's value. A known option in its place is a forgotten value. */
static lt_status take_next(lt_options *o, size_t i, words *w)
{
    const lt_option *row = &o->table[i];
    char want[WANT_BYTES];
    const char *next = w->at + 1 < w->argc ? w->argv[w->at + 1] : NULL;
    const size_t name_bytes = next != NULL ? strcspn(next, "=") : 0;
    if (next == NULL || (name_bytes > 2 && strncmp(next, "--", 2) == 0 &&
                         find(o, next + 2, name_bytes - 2) < o->count)) {
        lt_option_want_text(row, want, sizeof want);
        LT_FAIL(LT_EUSAGE, "--%s: want %s, found %s", row->name, want,
                next != NULL ? next : "nothing");
    }
    w->at++;
    LT_TRY(lt_options_set(o, row->name, next));
    return LT_OK;
}

/* --name, --name VALUE, --name=VALUE, --no-name; word is what follows the dashes. */
static lt_status take_long(lt_options *o, const char *word, words *w)
{
    const size_t n = strcspn(word, "=");
    const char *text = word[n] == '=' ? word + n + 1 : NULL;
    const int no = strncmp(word, "no-", 3) == 0;
    char name[64];
    size_t i = find(o, word, n);
    if (i == o->count && no && text == NULL) {
        i = find(o, word + 3, n - 3);
        if (i < o->count && o->table[i].type == LT_OPT_FLAG) {
            LT_TRY(lt_options_set(o, o->table[i].name, "false"));
            return LT_OK;
        }
        i = o->count;
    }
    if (i == o->count) {
        (void)snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name), word);
        return unknown_flag(o, name);
    }
    const lt_option *row = &o->table[i];
    if (row->type == LT_OPT_LIST)
        LT_FAIL(LT_EUSAGE, "--%s: only a job file can hold this list", row->name);
    if (text != NULL)
        LT_TRY(lt_options_set(o, row->name, text));
    else if (row->type == LT_OPT_FLAG)
        LT_TRY(take_flag(o, i, w));
    else
        LT_TRY(take_next(o, i, w));
    return LT_OK;
}

/* -v, -vv, -o OUT, -oOUT; word is what follows the dash. */
static lt_status take_short(lt_options *o, const char *word, words *w)
{
    for (const char *c = word; *c != '\0' && !w->stopped; c++) {
        size_t i = 0;
        while (i < o->count &&
               !(lt_option_is_here(o, &o->table[i]) && o->table[i].short_key == (unsigned char)*c))
            i++;
        if (i == o->count) {
            char where[16];
            (void)snprintf(where, sizeof where, "-%.10s", c);
            return unknown(o, "-", c, where, "unknown option");
        }
        if (o->table[i].type == LT_OPT_FLAG) {
            LT_TRY(take_flag(o, i, w));
        } else if (c[1] != '\0') {
            LT_TRY(lt_options_set(o, o->table[i].name, c + 1));
            return LT_OK;
        } else {
            LT_TRY(take_next(o, i, w));
            return LT_OK;
        }
    }
    return LT_OK;
}

lt_status lt_options_parse_args(lt_options *opts, int argc, char *const argv[],
                                const char *positional[], size_t positional_max, size_t *count)
{
    assert(opts != NULL && argc >= 1 && (positional != NULL || positional_max == 0));
    words w = {.argc = argc, .argv = argv};
    int only_words = 0;
    *count = 0;
    for (w.at = 1; w.at < argc && !w.stopped; w.at++) {
        const char *word = argv[w.at];
        if (!only_words && strcmp(word, "--") == 0) {
            only_words = 1;
        } else if (!only_words && word[0] == '-' && word[1] == '-') {
            LT_TRY(take_long(opts, word + 2, &w));
        } else if (!only_words && word[0] == '-' && word[1] != '\0') {
            LT_TRY(take_short(opts, word + 1, &w));
        } else {
            if (*count == positional_max)
                LT_FAIL(LT_EUSAGE, "\"%.100s\": want at most %zu words beside the options", word,
                        positional_max);
            positional[(*count)++] = word;
        }
    }
    return LT_OK;
}

/* The value of a key that a flag beats: on a row of its own; the flag's value stays. */
static lt_status check_only(const lt_options *o, size_t i, const char *where, json_t *value)
{
    void *scratch[4] = {NULL}, *owned = NULL;
    lt_option_state state = LT_OPT_UNSET;
    char *place = NULL;
    lt_option alone = o->table[i];
    alone.offset = 0;
    lt_options o2 = {.table = &alone,
                     .count = 1,
                     .verb = o->verb,
                     .values = (char *)scratch,
                     .states = &state,
                     .where = &place,
                     .owned = &owned};
    const lt_status st = lt_option_take_json(&o2, 0, where, value);
    if (alone.type == LT_OPT_LIST)
        json_decref(owned);
    else
        free(owned);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_option_take_json", __FILE__, __LINE__);
    return LT_OK;
}

static lt_status take_key(lt_options *o, const char *source, const char *key, long long line,
                          json_t *value)
{
    char where[WHERE_BYTES];
    (void)snprintf(where, sizeof where, "%.400s:%lld: %.60s", source, line, key);
    const size_t i = find(o, key, strlen(key));
    if (i == o->count)
        return unknown(o, "", key, where, "unknown job key");
    if (o->table[i].traits & LT_OPT_NOT_IN_JOB) {
        lt_hint("it is a flag: --%s", o->table[i].name);
        LT_FAIL(LT_EUSAGE, "%s: unknown job key", where);
    }
    if (json_is_null(value)) /* `key:` with nothing: as if the line were not there */
        return LT_OK;
    if (o->states[i] == LT_OPT_BY_FLAG || rival(o, i, LT_OPT_BY_FLAG) < o->count)
        return check_only(o, i, where, value);
    const size_t other = rival(o, i, LT_OPT_BY_FILE);
    if (other < o->count)
        LT_FAIL(LT_EUSAGE, "%s and %s: want one of them", o->where[other], where);
    LT_TRY(lt_option_take_json(o, i, where, value));
    LT_TRY(note(o, i, LT_OPT_BY_FILE, where));
    return LT_OK;
}

static lt_status take_document(lt_options *o, const char *source, json_t *document,
                               const json_t *lines)
{
    const char *key;
    json_t *value;
    if (!json_is_object(document))
        LT_FAIL(LT_EUSAGE, "%s: want lines of \"key: value\", found something else", source);
    json_object_foreach (document, key, value) {
        const long long line = (long long)json_integer_value(json_object_get(lines, key));
        LT_TRY(take_key(o, source, key, line, value));
    }
    return LT_OK;
}

lt_status lt_options_parse_yaml_text(lt_options *opts, const char *text, size_t bytes,
                                     const char *source)
{
    json_t *document = NULL, *lines = NULL;
    LT_TRY(lt_yaml_parse(text, bytes, source, &document, &lines));
    const lt_status st = take_document(opts, source, document, lines);
    json_decref(document);
    json_decref(lines);
    if (st != LT_OK)
        return lt_error_trace(st, "take_document", __FILE__, __LINE__);
    return LT_OK;
}

lt_status lt_options_parse_yaml(lt_options *opts, const char *path)
{
    json_t *document = NULL, *lines = NULL;
    LT_TRY(lt_yaml_read(path, &document, &lines));
    const lt_status st = take_document(opts, path, document, lines);
    json_decref(document);
    json_decref(lines);
    if (st != LT_OK)
        return lt_error_trace(st, "take_document", __FILE__, __LINE__);
    return LT_OK;
}

/* The row of a name that the program itself asks for. */
static size_t known(const lt_options *o, const char *name)
{
    const size_t i = find(o, name, strlen(name));
    assert(i < o->count);
    return i;
}

lt_option_state lt_options_was_set(const lt_options *opts, const char *name)
{
    return opts->states[known(opts, name)];
}

const char *lt_options_where(const lt_options *opts, const char *name)
{
    return opts->where[known(opts, name)];
}
