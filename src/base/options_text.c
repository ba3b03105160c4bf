/* options_text.c - what the option table says: wants, --help, and the job file of the present
 * values.
 * A value of a list is written in YAML's flow style, one element a line.
 * Strings are quoted unless they are plain words, and escaped wherever YAML's reader would refuse
 * or fold a character. */
#include <assert.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/options_table.h"
#include "base/text.h"
#include "base/yaml.h"

enum { HELP_COLUMN = 28, HELP_WIDTH = 80 };

/* A string's limit is a length, which no user asks for. */
static int shows_limits(const lt_option *row)
{
    return (row->min != 0 || row->max != 0) && row->type != LT_OPT_STRING &&
           row->type != LT_OPT_PATH;
}

const char *lt_option_want_text(const lt_option *row, char *buffer, size_t bytes)
{
    char lo[32], hi[32];
    lt_real_text(row->min, lo);
    lt_real_text(row->max, hi);
    if (row->type == LT_OPT_INT || row->type == LT_OPT_SIZE) { /* 1e+18 is not how one counts */
        (void)snprintf(lo, sizeof lo, "%.0f", row->min);
        (void)snprintf(hi, sizeof hi, "%.0f", row->max);
    }
    const char *kind = row->type == LT_OPT_INT    ? "an integer"
                       : row->type == LT_OPT_REAL ? "a number"
                       : row->type == LT_OPT_SIZE ? "WIDTHxHEIGHT"
                       : row->type == LT_OPT_FLAG ? "true or false"
                       : row->type == LT_OPT_LIST ? "a list"
                       : row->type == LT_OPT_SEED ? "an integer from 0 to 2^64 - 1, or random"
                                                  : "a string";
    if (row->type == LT_OPT_CHOICE)
        (void)snprintf(buffer, bytes, "one of %s", row->choices);
    else if (shows_limits(row))
        (void)snprintf(buffer, bytes, "%s%s from %s to %s", kind,
                       row->type == LT_OPT_SIZE ? ", each" : "", lo, hi);
    else
        (void)snprintf(buffer, bytes, "%s", kind);
    return buffer;
}

/* Words of text, wrapped between column and HELP_WIDTH; the cursor stands at `at`. */
static void print_wrapped(FILE *to, const char *text, int at, int column)
{
    if (at > 0 && at >= column) {
        (void)fputc('\n', to);
        at = 0;
    }
    int first = 1;
    for (const char *word = text; *word != '\0';) {
        const size_t n = strcspn(word, " \n");
        if (!first && at + 1 + (int)n > HELP_WIDTH) {
            (void)fputc('\n', to);
            at = 0;
            first = 1;
        }
        if (first)
            (void)fprintf(to, "%*s", column - at, "");
        at = first ? column : at + 1;
        (void)fprintf(to, "%s%.*s", first ? "" : " ", (int)n, word);
        at += (int)n;
        first = 0;
        word += n;
        word += strspn(word, " \n");
    }
    (void)fputc('\n', to);
}

/* Where a line's text begins: behind its indent, or behind its term, which two blanks end. */
static size_t text_column(const char *line, size_t bytes)
{
    const size_t indent = strspn(line, " ");
    for (size_t i = indent; indent > 0 && i + 2 < bytes; i++)
        if (line[i] == ' ' && line[i + 1] == ' ')
            return i + strspn(line + i, " ");
    return indent;
}

/* Text of several lines, filled again to HELP_WIDTH: what stands in one column is one paragraph. */
static void print_filled(FILE *to, const char *text)
{
    char paragraph[4096];
    while (*text != '\0') {
        size_t bytes = strcspn(text, "\n"), n = 0;
        if (bytes == 0) {
            (void)fputc('\n', to);
            text++;
            continue;
        }
        const size_t column = text_column(text, bytes);
        size_t term = column;
        while (term > 0 && text[term - 1] == ' ')
            term--;
        (void)fprintf(to, "%.*s", (int)term, text);
        do {
            n += (size_t)snprintf(paragraph + n, sizeof paragraph - n, "%.*s ",
                                  (int)(bytes - column), text + column);
            assert(n < sizeof paragraph);
            text += bytes + (text[bytes] == '\n');
            bytes = strcspn(text, "\n");
        } while (bytes > 0 && strspn(text, " ") == column && text_column(text, bytes) == column);
        print_wrapped(to, paragraph, (int)term, (int)column);
    }
}

static void print_row(FILE *to, const lt_option *row)
{
    char head[160], want[512], text[2048];
    char short_text[8] = "    ";
    if (row->short_key != 0)
        (void)snprintf(short_text, sizeof short_text, "-%c, ", (char)row->short_key);
    const char *value = row->type == LT_OPT_FLAG ? NULL : row->value_name;
    if (row->type != LT_OPT_FLAG && value == NULL)
        value = row->type == LT_OPT_SIZE ? "WxH" : "VALUE";
    const int is_list = row->type == LT_OPT_LIST;
    const int n = snprintf(head, sizeof head, "  %s%s%s%s%s", is_list ? "    " : short_text,
                           is_list ? "" : "--", row->name,
                           is_list         ? ":"
                           : value != NULL ? " "
                                           : "",
                           is_list || !value ? "" : value);
    const int shows_range =
        row->type == LT_OPT_CHOICE || row->type == LT_OPT_SEED || shows_limits(row);
    lt_option_want_text(row, want, sizeof want);
    (void)snprintf(text, sizeof text, "%s%s%s%s%s%s%s%s", row->help != NULL ? row->help : "",
                   shows_range || row->default_text ? " (" : "", shows_range ? want : "",
                   shows_range && row->default_text ? "; " : "",
                   row->default_text ? "default " : "", row->default_text ? row->default_text : "",
                   shows_range || row->default_text ? ")" : "", is_list ? " Job file only." : "");
    (void)fputs(head, to);
    print_wrapped(to, text, n < 0 ? HELP_COLUMN : n, HELP_COLUMN);
}

/* Which long options are no job keys, if the verb takes a job file at all. */
static void print_flags_only(const lt_options *opts, FILE *to)
{
    char names[2048] = "";
    size_t n = 0;
    int job_keys = 0;
    for (size_t i = 0; i < opts->count && n + 80 < sizeof names; i++) {
        const lt_option *row = &opts->table[i];
        if (!lt_option_is_here(opts, row) || (row->traits & LT_OPT_HIDDEN))
            continue;
        if (row->traits & LT_OPT_NOT_IN_JOB)
            n += (size_t)snprintf(names + n, sizeof names - n, "--%.64s ", row->name);
        else
            job_keys++;
    }
    if (job_keys == 0)
        return;
    (void)fputs("\nA long option is a job key of the same name; a flag wins over the job file.\n",
                to);
    if (n > 0) {
        (void)fputs("Flags only:\n", to);
        print_wrapped(to, names, 0, 2);
    }
}

void lt_options_help(const lt_options *opts, FILE *to, const char *usage, const char *intro,
                     const char *examples)
{
    assert(opts != NULL && to != NULL);
    if (usage != NULL)
        print_wrapped(to, usage, fprintf(to, "Usage:"), (int)sizeof "Usage:");
    if (intro != NULL) {
        (void)fputc('\n', to);
        print_filled(to, intro);
    }
    const char *group = NULL;
    for (size_t i = 0; i < opts->count; i++) {
        const lt_option *row = &opts->table[i];
        if (!lt_option_is_here(opts, row) || (row->traits & LT_OPT_HIDDEN))
            continue;
        const char *its = row->group != NULL ? row->group : "Options";
        if (group == NULL || strcmp(group, its) != 0)
            (void)fprintf(to, "\n%s:\n", its);
        group = its;
        print_row(to, row);
    }
    print_flags_only(opts, to);
    if (examples != NULL)
        (void)fprintf(to, "\nExamples:\n%s\n", examples);
}

/* Whether YAML's reader takes the character as it is inside double quotes, and does not fold it. */
static int is_safe(uint32_t c)
{
    if (c < 0xa1)
        return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
    return c != 0x2028 && c != 0x2029 && c != 0xfeff && c != 0xfffe && c != 0xffff;
}

static void write_string(FILE *to, const char *text)
{
    if (lt_yaml_is_plain(text)) {
        (void)fputs(text, to);
        return;
    }
    const size_t bytes = strlen(text);
    (void)fputc('"', to);
    for (size_t i = 0, n; i < bytes; i += n) {
        uint32_t c = 0;
        n = lt_utf8_next(text + i, bytes - i, &c);
        assert(n > 0); /* checked when it came in */
        if (is_safe(c))
            (void)fprintf(to, "%.*s", (int)n, text + i);
        else if (c == '"' || c == '\\')
            (void)fprintf(to, "\\%c", (int)c);
        else if (c == '\n')
            (void)fputs("\\n", to);
        else if (c == '\t')
            (void)fputs("\\t", to);
        else
            (void)fprintf(to, "\\u%04x", (unsigned)c); /* all that is unsafe lies below U+10000 */
    }
    (void)fputc('"', to);
}

/* A double that reads again as a real, not as an integer. */
static void write_real(FILE *to, double x)
{
    char text[32];
    lt_real_text(x, text);
    (void)fprintf(to, "%s%s", text, text[strcspn(text, ".e")] == '\0' ? ".0" : "");
}

/* The document's depth is limited where it is read, so this recursion is too. */
static void write_json(FILE *to, const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    if (json_is_object(value)) {
        const char *before = "{";
        json_object_foreach ((json_t *)value, key, member) {
            (void)fputs(before, to);
            write_string(to, key);
            (void)fputs(": ", to);
            write_json(to, member);
            before = ", ";
        }
        (void)fputs(json_object_size(value) > 0 ? "}" : "{}", to);
    } else if (json_is_array(value)) {
        (void)fputc('[', to);
        json_array_foreach (value, i, member) {
            (void)fputs(i > 0 ? ", " : "", to);
            write_json(to, member);
        }
        (void)fputc(']', to);
    } else if (json_is_string(value)) {
        write_string(to, json_string_value(value));
    } else if (json_is_integer(value)) {
        (void)fprintf(to, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        write_real(to, json_real_value(value));
    } else {
        (void)fputs(json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null", to);
    }
}

static void write_list(FILE *to, const json_t *list)
{
    size_t i;
    json_t *element;
    if (json_array_size(list) == 0)
        (void)fputs(" []", to);
    json_array_foreach (list, i, element) {
        (void)fputs("\n  - ", to);
        write_json(to, element);
    }
}

static void write_value(FILE *to, const lt_option *row, const char *at)
{
    if (row->type == LT_OPT_LIST) {
        const json_t *list;
        memcpy(&list, at, sizeof list);
        write_list(to, list);
        return;
    }
    (void)fputc(' ', to);
    if (row->type == LT_OPT_INT) {
        int64_t v;
        memcpy(&v, at, sizeof v);
        (void)fprintf(to, "%lld", (long long)v);
    } else if (row->type == LT_OPT_REAL) {
        double v;
        memcpy(&v, at, sizeof v);
        write_real(to, v);
    } else if (row->type == LT_OPT_FLAG) {
        int v;
        memcpy(&v, at, sizeof v);
        (void)fputs(v ? "true" : "false", to);
    } else if (row->type == LT_OPT_SEED) {
        lt_seed v;
        memcpy(&v, at, sizeof v);
        const char *quote = v.number > INT64_MAX ? "\"" : ""; /* past what YAML's reader counts */
        (void)fprintf(to, "%s%llu%s", quote, (unsigned long long)v.number, quote);
    } else if (row->type == LT_OPT_SIZE) {
        int64_t v[2];
        memcpy(v, at, sizeof v);
        const char *quote = v[0] == 0 ? "\"" : ""; /* 0x16 alone would be a hexadecimal */
        (void)fprintf(to, "%s%lldx%lld%s", quote, (long long)v[0], (long long)v[1], quote);
    } else {
        const char *v;
        memcpy(&v, at, sizeof v);
        write_string(to, v);
    }
}

lt_status lt_option_value_text(const lt_options *o, size_t i, char **out)
{
    size_t bytes = 0;
    *out = NULL;
    FILE *to = open_memstream(out, &bytes);
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "no memory for a value's text");
    write_value(to, &o->table[i], o->values + o->table[i].offset);
    if (fclose(to) != 0) {
        free(*out);
        *out = NULL;
        LT_FAIL(LT_ENOMEM, "no memory for a value's text");
    }
    memmove(*out, *out + strspn(*out, " "), strlen(*out + strspn(*out, " ")) + 1);
    return LT_OK;
}

/* Whether the value is all zero bits: nothing was said, or a NULL. */
static int is_zero(const lt_option *row, const char *at)
{
    static const char zeros[16];
    const size_t bytes = row->type == LT_OPT_SIZE   ? 16
                         : row->type == LT_OPT_SEED ? sizeof(lt_seed)
                         : row->type == LT_OPT_FLAG ? sizeof(int)
                                                    : sizeof(void *);
    return memcmp(at, zeros, bytes) == 0;
}

lt_status lt_options_dump_yaml(const lt_options *opts, char **out)
{
    size_t bytes = 0;
    char *text = NULL;
    *out = NULL;
    FILE *to = open_memstream(&text, &bytes);
    if (to == NULL)
        LT_FAIL(LT_ENOMEM, "no memory for the job file's text");
    for (size_t i = 0; i < opts->count; i++) {
        const lt_option *row = &opts->table[i];
        const char *at = opts->values + row->offset;
        if (!lt_option_is_here(opts, row) ||
            (row->traits & (LT_OPT_NOT_IN_JOB | LT_OPT_NOT_DUMPED)))
            continue;
        const int points = row->type == LT_OPT_STRING || row->type == LT_OPT_PATH ||
                           row->type == LT_OPT_CHOICE || row->type == LT_OPT_LIST;
        const int silent = opts->states[i] == LT_OPT_UNSET && row->default_text == NULL;
        if (is_zero(row, at) && (silent || points))
            continue;
        (void)fprintf(to, "%s:", row->name);
        write_value(to, row, at);
        (void)fputc('\n', to);
    }
    const int failed = ferror(to) != 0;
    if (fclose(to) != 0 || failed) {
        free(text);
        LT_FAIL(LT_ENOMEM, "no memory for the job file's text");
    }
    *out = text;
    return LT_OK;
}
