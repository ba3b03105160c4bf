/* options.c - the option table: parsing flags and job keys into a struct.         Level 0: base
 *
 * Flags and job keys meet in one function, take_text: a scalar of the job file is checked for its
 * YAML type first (a number is no prompt) and then goes on as the text that a flag would have had.
 * So a range is checked, and a message made, in one place. */
#include "base/options.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/options_table.h"
#include "base/text.h"
#include "base/yaml.h"

enum { WANT_BYTES = 512, WHERE_BYTES = 512 };

const char *lt_env(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

/* Index of the row of this name, or count. */
static size_t find(const lt_options *o, const char *name, size_t bytes)
{
    for (size_t i = 0; i < o->count; i++)
        if (lt_option_is_here(o, &o->table[i]) && strlen(o->table[i].name) == bytes &&
            memcmp(o->table[i].name, name, bytes) == 0)
            return i;
    return o->count;
}

static lt_status refuse(const lt_option *row, const char *where, const char *found)
{
    char want[WANT_BYTES];
    const char *quote = found[0] == '"' ? "" : "\""; /* a text from a job file has its own */
    LT_FAIL(LT_EUSAGE, "%s: want %s, found %s%.100s%s", where,
            lt_option_want_text(row, want, sizeof want), quote, found, quote);
}

static int in_range(const lt_option *row, double x)
{
    const int limited = row->min != 0 || row->max != 0;
    return !limited || (x >= row->min && x <= row->max);
}

/* Decimal digits with an optional sign, all of text[0, bytes). */
static int int_of_text(const char *text, size_t bytes, int64_t *out)
{
    char copy[24];
    const size_t sign = bytes > 0 && (text[0] == '-' || text[0] == '+');
    if (bytes == sign || bytes >= sizeof copy)
        return 0;
    memcpy(copy, text, bytes);
    copy[bytes] = '\0';
    if (copy[sign + strspn(copy + sign, "0123456789")] != '\0')
        return 0;
    errno = 0;
    *out = strtoll(copy, NULL, 10);
    return errno == 0;
}

static lt_status take_size(const lt_option *row, const char *where, const char *text, int64_t *to)
{
    int64_t size[2];
    const char *x = strchr(text, 'x');
    if (x == NULL || !int_of_text(text, (size_t)(x - text), &size[0]) ||
        !int_of_text(x + 1, strlen(x + 1), &size[1]) || size[0] < 0 || size[1] < 0 ||
        !in_range(row, (double)size[0]) || !in_range(row, (double)size[1]))
        return refuse(row, where, text);
    to[0] = size[0];
    to[1] = size[1];
    return LT_OK;
}

/* 1 if text is one of the words of "a|b|c". */
static int is_choice(const char *choices, const char *text)
{
    const size_t n = strlen(text);
    if (n == 0 || strchr(text, '|') != NULL) /* two neighbours are not one choice */
        return 0;
    for (const char *c = choices; c != NULL; c = strchr(c, '|')) {
        c += *c == '|';
        if (strncmp(c, text, n) == 0 && (c[n] == '|' || c[n] == '\0'))
            return 1;
    }
    return 0;
}

/* The value now belongs to the object; what it replaces is freed. */
static void own(lt_options *o, size_t i, void *value)
{
    if (o->table[i].type == LT_OPT_LIST)
        json_decref(o->owned[i]);
    else
        free(o->owned[i]);
    o->owned[i] = value;
    memcpy(o->values + o->table[i].offset, &value, sizeof value);
}

static lt_status take_string(lt_options *o, size_t i, const char *where, const char *text)
{
    const lt_option *row = &o->table[i];
    const size_t n = strlen(text);
    if (!lt_utf8_valid(text, n))
        LT_FAIL(LT_EUSAGE, "%s: want valid UTF-8, found other bytes", where);
    if (row->type == LT_OPT_CHOICE && !is_choice(row->choices, text))
        return refuse(row, where, text);
    if (row->type == LT_OPT_STRING && row->max > 0 && (double)n > row->max)
        LT_FAIL(LT_EUSAGE, "%s: want at most %.0f bytes, found %zu", where, row->max, n);
    char *copy = strdup(text);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes", where, n);
    own(o, i, copy);
    return LT_OK;
}

/* Check text by its row and write the value. On failure the old value stays. */
static lt_status take_text(lt_options *o, size_t i, const char *where, const char *text)
{
    const lt_option *row = &o->table[i];
    void *to = o->values + row->offset;
    char *end = NULL;
    switch (row->type) {
    case LT_OPT_INT: {
        int64_t value;
        if (!int_of_text(text, strlen(text), &value) || !in_range(row, (double)value))
            return refuse(row, where, text);
        memcpy(to, &value, sizeof value);
        return LT_OK;
    }
    case LT_OPT_REAL: {
        const double value = strtod(text, &end);
        /* strtod also knows blanks, hexadecimals, "inf" and "nan"; a user's number has none of
         * them. */
        if (text[0] == '\0' || text[strspn(text, "0123456789.eE+-")] != '\0' || *end != '\0' ||
            !isfinite(value) || !in_range(row, value))
            return refuse(row, where, text);
        memcpy(to, &value, sizeof value);
        return LT_OK;
    }
    case LT_OPT_FLAG: {
        const int value = strcmp(text, "true") == 0;
        if (!value && strcmp(text, "false") != 0)
            return refuse(row, where, text);
        memcpy(to, &value, sizeof value);
        return LT_OK;
    }
    case LT_OPT_SIZE: return take_size(row, where, text, to);
    case LT_OPT_STRING:
    case LT_OPT_CHOICE: return take_string(o, i, where, text);
    default: return refuse(row, where, text);
    }
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

static lt_status start(lt_options *o)
{
    char where[WHERE_BYTES];
    for (size_t i = 0; i < o->count; i++) {
        const lt_option *row = &o->table[i];
        static const size_t bytes[] = {
            [LT_OPT_STRING] = sizeof(char *), [LT_OPT_INT] = 8,
            [LT_OPT_REAL] = 8,                [LT_OPT_FLAG] = sizeof(int),
            [LT_OPT_SIZE] = 16,               [LT_OPT_CHOICE] = sizeof(char *),
            [LT_OPT_LIST] = sizeof(json_t *)};
        if (!lt_option_is_here(o, row))
            continue;
        memset(o->values + row->offset, 0, bytes[row->type]);
        (void)snprintf(where, sizeof where, "--%s", row->name);
        LT_TRY(note(o, i, LT_OPT_UNSET, where));
        if (row->default_text == NULL)
            continue;
        const lt_status st = take_text(o, i, where, row->default_text);
        if (st != LT_OK)
            LT_FAIL(LT_EINTERNAL, "the table's own default is wrong: %s", lt_error_text());
    }
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
    else
        st = start(o);
    if (st != LT_OK) {
        lt_options_free(&o);
        return lt_trail(st, "lt_options_new", __FILE__, __LINE__);
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

static lt_status unknown_flag(const lt_options *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->table[i].name, name) == 0)
            LT_FAIL(LT_EUSAGE, "--%.60s: not an option of this verb", name);
    hint_nearest(o, "--", name);
    LT_FAIL(LT_EUSAGE, "--%.60s: unknown option", name);
}

lt_status lt_options_set(lt_options *opts, const char *name, const char *text)
{
    char where[WHERE_BYTES];
    const size_t i = find(opts, name, strlen(name));
    if (i == opts->count)
        return unknown_flag(opts, name);
    (void)snprintf(where, sizeof where, "--%s", opts->table[i].name);
    LT_TRY(take_text(opts, i, where, text));
    LT_TRY(note(opts, i, LT_OPT_BY_FLAG, where));
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
            lt_hint("--help lists what there is");
            LT_FAIL(LT_EUSAGE, "-%.10s: unknown option", c);
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

/* One key of the job file. A flag's value stays, but the file's is checked as well. */
static lt_status take_json(lt_options *o, size_t i, const char *where, json_t *value)
{
    const lt_option *row = &o->table[i];
    char number[32];
    const char *text = NULL;
    switch (row->type) {
    case LT_OPT_INT:
        if (json_is_integer(value)) {
            (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
            text = number;
        }
        break;
    case LT_OPT_REAL:
        if (json_is_number(value))
            text = lt_real_text(json_number_value(value), number);
        break;
    case LT_OPT_FLAG:
        if (json_is_boolean(value))
            text = json_is_true(value) ? "true" : "false";
        break;
    case LT_OPT_LIST:
        if (json_is_array(value)) {
            own(o, i, json_incref(value));
            return LT_OK;
        }
        break;
    default: text = json_string_value(value);
    }
    if (text == NULL) {
        char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (json_is_number(value) || json_is_boolean(value))
            lt_hint("a string that looks like a number or a truth value needs quotes");
        const lt_status st = refuse(row, where, shown != NULL ? shown : "?");
        free(shown);
        return st;
    }
    LT_TRY(take_text(o, i, where, text));
    return LT_OK;
}

static lt_status take_key(lt_options *o, const char *source, const char *key, long long line,
                          json_t *value)
{
    char where[WHERE_BYTES];
    (void)snprintf(where, sizeof where, "%.400s:%lld: %.60s", source, line, key);
    const size_t i = find(o, key, strlen(key));
    if (i == o->count || (o->table[i].traits & LT_OPT_NOT_IN_JOB)) {
        if (i == o->count)
            hint_nearest(o, "", key);
        else
            lt_hint("it is a flag: --%s", o->table[i].name);
        LT_FAIL(LT_EUSAGE, "%s: unknown job key", where);
    }
    if (json_is_null(value)) /* `key:` with nothing: as if the line were not there */
        return LT_OK;
    if (o->states[i] == LT_OPT_BY_FLAG) { /* check it on a row of its own; the flag's value stays */
        const lt_option row = o->table[i];
        void *scratch[4] = {NULL}, *owned = NULL;
        lt_option_state state = LT_OPT_UNSET;
        char *place = NULL;
        lt_option alone = row;
        alone.offset = 0;
        lt_options o2 = {&alone, 1, o->verb, (char *)scratch, &state, &place, &owned};
        const lt_status st = take_json(&o2, 0, where, value);
        if (row.type == LT_OPT_LIST)
            json_decref(owned);
        else
            free(owned);
        if (st != LT_OK)
            return lt_trail(st, "take_json", __FILE__, __LINE__);
        return LT_OK;
    }
    LT_TRY(take_json(o, i, where, value));
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
    json_object_foreach(document, key, value)
    {
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
        return lt_trail(st, "take_document", __FILE__, __LINE__);
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
        return lt_trail(st, "take_document", __FILE__, __LINE__);
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
