/* yaml.c - a job file as the same tree that JSON gives.
 * Source: YAML 1.2.2, section 10.3 (core schema). libyaml is asked for events, not for a document:
 * its document loader knows no limits, and resolves aliases.
 *
 * The tree is built on a stack of open containers, at most DEPTH_MAX of them. A mapping waits in
 * turn for a key (key == NULL) and for that key's value. */
#include "base/yaml.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/file.h"
#include "base/log.h"

enum { YAML_BYTES_MAX = 1 << 20, DEPTH_MAX = 16, NODES_MAX = 10000 };

typedef struct container {
    json_t *value; /* borrowed: its parent owns it, or builder.root */
    char *key;     /* the mapping's key that waits for a value */
} container;

typedef struct builder {
    const char *source, *text;
    size_t bytes;
    json_t *root;  /* owned */
    json_t *lines; /* owned */
    container stack[DEPTH_MAX];
    int depth, nodes, documents;
} builder;

/* What helps against most of what YAML takes for a sign of its own. */
static const char quotes[] = "a text with \": \" or \" #\" in it, or one that begins with one of "
                             "*&!%@`[{>|, needs quotes: prompt: \"He says: hello\"";

#define FAIL_AT(b, mark, ...) return fail_at((b), (mark), __LINE__, __VA_ARGS__)

static lt_status fail_at(const builder *b, yaml_mark_t mark, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static lt_status fail_at(const builder *b, yaml_mark_t mark, int line, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return lt_fail(LT_EDATA, __FILE__, line, "%s:%zu:%zu: %s", b->source, mark.line + 1,
                   mark.column + 1, text);
}

static int is_one_of(const char *text, const char *a, const char *b, const char *c)
{
    return strcmp(text, a) == 0 || strcmp(text, b) == 0 || strcmp(text, c) == 0;
}

static size_t digits(const char *s) { return strspn(s, "0123456789"); }

/* [-+]?[0-9]+ or 0o[0-7]+ or 0x[0-9a-fA-F]+, all of the text. */
static int looks_int(const char *s, int *base)
{
    *base = 10;
    if (s[0] == '0' && (s[1] == 'o' || s[1] == 'x') && s[2] != '\0') {
        *base = s[1] == 'o' ? 8 : 16;
        return s[2 + strspn(s + 2, *base == 8 ? "01234567" : "0123456789abcdefABCDEF")] == '\0';
    }
    s += *s == '-' || *s == '+';
    return *s != '\0' && s[digits(s)] == '\0';
}

/* [-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?, all of the text. */
static int looks_real(const char *s)
{
    s += *s == '-' || *s == '+';
    const size_t whole = digits(s);
    s += whole;
    size_t part = 0;
    if (*s == '.') {
        part = digits(s + 1);
        s += 1 + part;
    }
    if (whole + part == 0)
        return 0;
    if (*s == 'e' || *s == 'E') {
        s += 1;
        s += *s == '-' || *s == '+';
        if (digits(s) == 0)
            return 0;
        s += digits(s);
    }
    return *s == '\0';
}

static int looks_special(const char *s)
{
    const char *after = s + (*s == '-' || *s == '+');
    return is_one_of(after, ".inf", ".Inf", ".INF") || is_one_of(s, ".nan", ".NaN", ".NAN");
}

static int looks_null(const char *s)
{
    return *s == '\0' || *s == '~' ? s[*s == '~'] == '\0' : is_one_of(s, "null", "Null", "NULL");
}

/* A plain scalar's value by the core schema. */
static lt_status plain_value(const builder *b, yaml_mark_t mark, const char *s, json_t **out)
{
    int base = 10;
    if (looks_null(s)) {
        *out = json_null();
    } else if (is_one_of(s, "true", "True", "TRUE") || is_one_of(s, "false", "False", "FALSE")) {
        *out = json_boolean(s[0] == 't' || s[0] == 'T');
    } else if (looks_int(s, &base)) {
        errno = 0;
        const long long value = strtoll(base == 10 ? s : s + 2, NULL, base);
        if (errno == ERANGE)
            FAIL_AT(b, mark, "%.60s: want an integer of 64 bits", s);
        *out = json_integer(value);
    } else if (looks_special(s)) {
        FAIL_AT(b, mark, "%.60s: want a finite number", s);
    } else if (looks_real(s)) {
        const double value = strtod(s, NULL);
        if (!isfinite(value))
            FAIL_AT(b, mark, "%.60s: want a number that fits f64", s);
        *out = json_real(value);
    } else {
        *out = json_string(s);
    }
    return LT_OK;
}

/* Put value (owned, taken in any case) where the innermost container waits for one. */
static lt_status place(builder *b, yaml_mark_t mark, json_t *value)
{
    if (value == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for the document, or invalid UTF-8 in it", b->source);
    if (b->depth == 0) {
        assert(b->root == NULL);
        b->root = value;
        return LT_OK;
    }
    container *c = &b->stack[b->depth - 1];
    int failed;
    if (json_is_array(c->value)) {
        failed = json_array_append_new(c->value, value);
    } else {
        failed = json_object_set_new(c->value, c->key, value);
        free(c->key);
        c->key = NULL;
    }
    if (failed)
        FAIL_AT(b, mark, "no memory for the value");
    return LT_OK;
}

static int waits_for_key(const builder *b)
{
    return b->depth > 0 && json_is_object(b->stack[b->depth - 1].value) &&
           b->stack[b->depth - 1].key == NULL;
}

static lt_status take_key(builder *b, const yaml_event_t *event, const char *text)
{
    container *c = &b->stack[b->depth - 1];
    if (json_object_get(c->value, text) != NULL)
        FAIL_AT(b, event->start_mark, "key \"%.100s\" is given twice", text);
    c->key = strdup(text);
    if (c->key == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for a key", b->source);
    if (b->depth == 1) {
        const json_int_t line = (json_int_t)event->start_mark.line + 1;
        if (json_object_set_new(b->lines, text, json_integer(line)) != 0)
            FAIL_AT(b, event->start_mark, "key \"%.100s\" cannot be kept (invalid UTF-8?)", text);
    }
    return LT_OK;
}

/* `prompt: A ball #1` is "A ball" to YAML, which few people know. A text of several words, or a '#'
 * that stands close to its word, may not have been meant so. */
static void warn_cut(const builder *b, const yaml_event_t *event, const char *value)
{
    const char *at = b->text, *end = b->text + b->bytes;
    for (size_t line = 0; line < event->end_mark.line && at < end; line++) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        at = next != NULL ? next + 1 : end;
    }
    for (size_t n = event->end_mark.column; n > 0 && at < end; n--) /* in characters */
        do
            at++;
        while (at < end && ((unsigned char)*at & 0xc0) == 0x80);
    while (at < end && (*at == ' ' || *at == '\t'))
        at++;
    if (at + 1 < end && *at == '#' && (at[1] > ' ' || strchr(value, ' ') != NULL))
        lt_warn("%s:%zu: %s: read as \"%.200s\": what follows # is a comment; in quotes it is text",
                b->source, event->end_mark.line + 1, b->stack[b->depth - 1].key, value);
}

static lt_status take_scalar(builder *b, const yaml_event_t *event)
{
    const char *text = (const char *)event->data.scalar.value;
    if (strlen(text) != event->data.scalar.length)
        FAIL_AT(b, event->start_mark, "a NUL character in a string");
    if (waits_for_key(b))
        return take_key(b, event, text);
    json_t *value = NULL;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        LT_TRY(plain_value(b, event->start_mark, text, &value));
        if (b->depth == 1 && json_is_object(b->root) && json_is_string(value))
            warn_cut(b, event, text);
    } else {
        value = json_string(text);
    }
    LT_TRY(place(b, event->start_mark, value));
    return LT_OK;
}

static lt_status open_container(builder *b, const yaml_event_t *event, json_t *value)
{
    if (waits_for_key(b)) {
        json_decref(value);
        FAIL_AT(b, event->start_mark, "want a word as key, found a list or a mapping");
    }
    if (b->depth == DEPTH_MAX) {
        json_decref(value);
        FAIL_AT(b, event->start_mark, "nested deeper than %d", (int)DEPTH_MAX);
    }
    LT_TRY(place(b, event->start_mark, value));
    b->stack[b->depth++] = (container){value, NULL};
    return LT_OK;
}

/* Anchors and tags of whatever event has them. */
static lt_status refuse_extras(const builder *b, const yaml_event_t *event)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_ALIAS_EVENT) {
        lt_hint("%s", quotes);
        FAIL_AT(b, event->start_mark, "aliases (*name) are refused");
    }
    if (anchor != NULL || tag != NULL)
        lt_hint("%s", quotes);
    if (anchor != NULL)
        FAIL_AT(b, event->start_mark, "anchors (&name) are refused");
    if (tag != NULL)
        FAIL_AT(b, event->start_mark, "tags (!name) are refused");
    return LT_OK;
}

static lt_status take(builder *b, const yaml_event_t *event)
{
    LT_TRY(refuse_extras(b, event));
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (b->documents++ > 0)
            FAIL_AT(b, event->start_mark, "want one document, found a second one");
        return LT_OK;
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        if (++b->nodes > NODES_MAX)
            FAIL_AT(b, event->start_mark, "more than %d values", (int)NODES_MAX);
        break;
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        assert(b->depth > 0 && b->stack[b->depth - 1].key == NULL);
        b->depth--;
        return LT_OK;
    default:
        return LT_OK;
    }
    if (event->type == YAML_SCALAR_EVENT)
        LT_TRY(take_scalar(b, event));
    else if (event->type == YAML_SEQUENCE_START_EVENT)
        LT_TRY(open_container(b, event, json_array()));
    else
        LT_TRY(open_container(b, event, json_object()));
    return LT_OK;
}

static lt_status parser_error(const builder *b, const yaml_parser_t *parser)
{
    const char *problem = parser->problem != NULL ? parser->problem : "cannot be read";
    if (parser->error == YAML_MEMORY_ERROR)
        LT_FAIL(LT_ENOMEM, "%s: no memory for the document", b->source);
    if (parser->error == YAML_READER_ERROR)
        LT_FAIL(LT_EDATA, "%s: byte %zu: not YAML: %s", b->source, parser->problem_offset, problem);
    if (strstr(problem, "mapping values") != NULL || strstr(problem, "cannot start any token") ||
        strstr(problem, "did not find expected") != NULL)
        lt_hint("%s", quotes);
    FAIL_AT(b, parser->problem_mark, "not YAML: %s%s%s", problem, parser->context ? ", " : "",
            parser->context ? parser->context : "");
}

static lt_status run(builder *b, yaml_parser_t *parser)
{
    for (int done = 0; !done;) {
        yaml_event_t event;
        if (!yaml_parser_parse(parser, &event))
            return parser_error(b, parser);
        done = event.type == YAML_STREAM_END_EVENT;
        const lt_status st = take(b, &event);
        yaml_event_delete(&event);
        if (st != LT_OK)
            return lt_error_trace(st, "take", __FILE__, __LINE__);
    }
    return LT_OK;
}

lt_status lt_yaml_parse(const char *text, size_t bytes, const char *source, json_t **out,
                        json_t **lines)
{
    assert(source != NULL && (text != NULL || bytes == 0));
    *out = NULL;
    if (lines != NULL)
        *lines = NULL;
    if (bytes > YAML_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d bytes of YAML, found %zu", source,
                (int)YAML_BYTES_MAX, bytes);
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        LT_FAIL(LT_ENOMEM, "%s: no memory to read YAML", source);
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING); /* never UTF-16 by a guess */
    yaml_parser_set_input_string(&parser, (const unsigned char *)(text != NULL ? text : ""), bytes);
    builder b = {
        .source = source, .text = text != NULL ? text : "", .bytes = bytes, .lines = json_object()};
    lt_status st = b.lines == NULL ? lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory", source)
                                   : run(&b, &parser);
    yaml_parser_delete(&parser);
    for (int i = 0; i < b.depth; i++)
        free(b.stack[i].key);
    if (st == LT_OK && (b.root == NULL || json_is_null(b.root))) { /* nothing but comments */
        json_decref(b.root);
        b.root = json_object();
    }
    if (st == LT_OK && b.root == NULL)
        st = lt_fail(LT_ENOMEM, __FILE__, __LINE__, "%s: no memory", source);
    if (st != LT_OK) {
        json_decref(b.root);
        json_decref(b.lines);
        return lt_error_trace(st, "lt_yaml_parse", __FILE__, __LINE__);
    }
    *out = b.root;
    if (lines != NULL)
        *lines = b.lines;
    else
        json_decref(b.lines);
    return LT_OK;
}

lt_status lt_yaml_read(const char *path, json_t **out, json_t **lines)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    if (lines != NULL)
        *lines = NULL;
    LT_TRY(lt_file_read(path, YAML_BYTES_MAX, &text, &bytes));
    const lt_status st = lt_yaml_parse(text, bytes, path, out, lines);
    free(text);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_yaml_read", __FILE__, __LINE__);
    return LT_OK;
}

int lt_yaml_is_plain(const char *text)
{
    /* Narrow on purpose: letters first, then letters, digits and a few signs that never mean
     * anything to YAML inside a word. A comma does, between braces: it ends the word. */
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static const char others[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=";
    if (text[0] == '\0' || strspn(text, letters) == 0 || text[strspn(text, others)] != '\0')
        return 0;
    return !looks_null(text) && !is_one_of(text, "true", "True", "TRUE") &&
           !is_one_of(text, "false", "False", "FALSE") && !is_one_of(text, "y", "n", "Y") &&
           !is_one_of(text, "yes", "no", "on") && !is_one_of(text, "off", "N", "Yes") &&
           !is_one_of(text, "No", "YES", "NO") && !is_one_of(text, "On", "ON", "Off") &&
           strcmp(text, "OFF") != 0;
}
