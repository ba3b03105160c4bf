/* options_value.c - one value of the option table: from text, from JSON.
 *
 * Flags and job keys meet in lt_option_take_text: a scalar of the job file is checked for its YAML
 * type first (a number is no prompt) and then goes on as the text that a flag would have had. So a
 * range is checked, and a message made, in one place. */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/options_table.h"
#include "base/text.h"

enum { WANT_BYTES = 512 };

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
    if (row->type != LT_OPT_PATH && !lt_utf8_valid(text, n))
        LT_FAIL(LT_EUSAGE, "%s: want valid UTF-8, found other bytes", where);
    if (row->type == LT_OPT_CHOICE && !is_choice(row->choices, text))
        return refuse(row, where, text);
    if ((row->type == LT_OPT_STRING || row->type == LT_OPT_PATH) && row->max > 0 &&
        (double)n > row->max)
        LT_FAIL(LT_EUSAGE, "%s: want at most %.0f bytes, found %zu", where, row->max, n);
    char *copy = strdup(text);
    if (copy == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes", where, n);
    own(o, i, copy);
    return LT_OK;
}

/* 0 to 2^64 - 1, or a number that the system draws. */
static lt_status take_seed(const lt_option *row, const char *where, const char *text, lt_seed *to)
{
    lt_seed seed = {0, strcmp(text, "random") == 0};
    char *end = NULL;
    if (seed.drawn) {
        if (getrandom(&seed.number, sizeof seed.number, 0) != (ssize_t)sizeof seed.number)
            LT_FAIL(LT_EUNAVAIL, "%s: the system gives no random number: %s", where,
                    strerror(errno));
        seed.number >>= 11; /* 53 bits: a number that every reader of JSON and YAML keeps */
    } else {
        errno = 0;
        seed.number = strtoull(text, &end, 10);
        if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0' || errno != 0)
            return refuse(row, where, text);
    }
    memcpy(to, &seed, sizeof seed);
    return LT_OK;
}

lt_status lt_option_take_text(lt_options *o, size_t i, const char *where, const char *text)
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
    case LT_OPT_SIZE:
        return take_size(row, where, text, to);
    case LT_OPT_SEED:
        return take_seed(row, where, text, to);
    case LT_OPT_STRING:
    case LT_OPT_PATH:
    case LT_OPT_CHOICE:
        return take_string(o, i, where, text);
    default:
        return refuse(row, where, text);
    }
}

/* Would quotes help, or their absence? */
static void hint_of_quotes(const lt_option *row, const json_t *value)
{
    const char *text = json_string_value(value);
    const int wants_text =
        row->type == LT_OPT_STRING || row->type == LT_OPT_PATH || row->type == LT_OPT_CHOICE;
    if (wants_text && (json_is_number(value) || json_is_boolean(value)))
        lt_hint("a string that looks like a number or a truth value needs quotes");
    else if (wants_text && (json_is_array(value) || json_is_object(value)))
        lt_hint("a text that begins with [ or {, or has a colon in it, needs quotes");
    else if (text != NULL && row->type == LT_OPT_FLAG
                 ? strcmp(text, "true") == 0 || strcmp(text, "false") == 0
                 : text != NULL && text[0] != '\0' && text[strspn(text, "0123456789.+-")] == '\0')
        lt_hint("without the quotes it would be read as a number or a truth value");
}

lt_status lt_option_take_json(lt_options *o, size_t i, const char *where, json_t *value)
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
    case LT_OPT_SEED: /* also in quotes: JSON's integers end at 2^63 - 1 */
        if (json_is_integer(value))
            (void)snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        text = json_is_integer(value) ? number : json_string_value(value);
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
    default:
        text = json_string_value(value);
    }
    if (text == NULL) {
        char *shown = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        hint_of_quotes(row, value);
        const lt_status st = refuse(row, where, shown != NULL ? shown : "?");
        free(shown);
        return st;
    }
    LT_TRY(lt_option_take_text(o, i, where, text));
    return LT_OK;
}
