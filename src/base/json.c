/* json.c - jansson with limits, and with the path in each error.
 * jansson's own depth limit is its recursion's; ours is checked on the text before it parses, so
 * that a hostile file costs one pass and no stack. jansson reports duplicate keys and of bad
 * UTF-8. */
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/new_file.h"
#include "base/text.h"

enum {
    JSON_BYTES_MAX = 64 << 20,
    JSON_DEPTH_MAX = 64,
    /* What jansson 2.14 takes for each, about: 3 bytes of text may become 225 of memory. A
     * tokenizer of 152,000 tokens weighs 90 MB. */
    JSON_OBJECT_BYTES = 240,
    JSON_ARRAY_BYTES = 160,
    JSON_VALUE_BYTES = 80,
    JSON_KEY_BYTES = 48,
    JSON_MEMORY_MAX = 320 << 20,
    FOUND_BYTES = 64
};

/* Set where an allocation of jansson's failed in this thread, whatever became of it. */
static _Thread_local int starved;

static void *take(size_t bytes)
{
    void *p = malloc(bytes);
    if (p == NULL)
        starved = 1;
    return p;
}

/* Before main, so that no value is older. What jansson gives is for free() as before. */
static void __attribute__((constructor)) watch_jansson(void) { json_set_alloc_funcs(take, free); }

int lt_json_starved(void)
{
    const int was = starved;
    starved = 0;
    return was;
}

/* Where byte `at` of text is, both counted from 1; columns are bytes. */
static void line_and_column(const char *text, size_t at, int *line, int *column)
{
    *line = *column = 1;
    for (size_t i = 0; i < at; i++) {
        (*column)++;
        if (text[i] == '\n') {
            (*line)++;
            *column = 1;
        }
    }
}

/* Memory that a structural character outside of strings stands for. */
static size_t weight(char c)
{
    switch (c) {
    case '{':
        return JSON_OBJECT_BYTES;
    case '[':
        return JSON_ARRAY_BYTES;
    case ',':
        return JSON_VALUE_BYTES;
    case ':':
        return JSON_KEY_BYTES;
    default:
        return 0;
    }
}

/* Refuse NUL bytes, nesting past the limit, and more values than memory is meant for. Brackets
 * inside strings do not count; a broken string is found by jansson afterwards. */
static lt_status scan(const char *text, size_t bytes, const char *source, size_t *memory)
{
    int depth = 0, in_string = 0, line, column;
    *memory = bytes;
    for (size_t i = 0; i < bytes; i++) {
        const char c = text[i];
        *memory += in_string ? 0 : weight(c);
        if (c == '\0') {
            line_and_column(text, i, &line, &column);
            LT_FAIL(LT_EDATA, "%s:%d:%d: a NUL byte", source, line, column);
        }
        if (in_string) {
            if (c == '\\' && i + 1 < bytes && text[i + 1] != '\0')
                i++;
            else if (c == '"')
                in_string = 0;
        } else if (c == '"') {
            in_string = 1;
        } else if (c == '[' || c == '{') {
            if (++depth > JSON_DEPTH_MAX) {
                line_and_column(text, i, &line, &column);
                LT_FAIL(LT_EDATA, "%s:%d:%d: nested deeper than %d", source, line, column,
                        (int)JSON_DEPTH_MAX);
            }
        } else if (c == ']' || c == '}') {
            depth--;
        }
    }
    if (*memory > JSON_MEMORY_MAX)
        LT_FAIL(LT_EDATA, "%s: want values that take at most %d MiB of memory, found about %zu",
                source, JSON_MEMORY_MAX >> 20, *memory >> 20);
    return LT_OK;
}

lt_status lt_json_parse(const char *text, size_t bytes, const char *source, json_t **out)
{
    assert(source != NULL && (text != NULL || bytes == 0));
    *out = NULL;
    if (bytes > JSON_BYTES_MAX)
        LT_FAIL(LT_EDATA, "%s: want at most %d bytes of JSON, found %zu", source,
                (int)JSON_BYTES_MAX, bytes);
    size_t memory;
    LT_TRY(scan(text, bytes, source, &memory));
    /* jansson's lexer goes on where its buffer cannot grow, past the buffer's end: whether there is
     * memory for a text of such a size is found out before, and not by it. */
    void *room = malloc(memory + 1);
    if (room == NULL)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes of JSON", source, bytes);
    free(room);
    json_error_t error;
    memset(&error, 0, sizeof error);
    const int before = lt_json_starved();
    json_t *value = json_loadb(text != NULL ? text : "", bytes,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    const int no_memory = lt_json_starved() || json_error_code(&error) == json_error_out_of_memory;
    starved = before;
    if (value == NULL && no_memory)
        LT_FAIL(LT_ENOMEM, "%s: no memory for %zu bytes of JSON", source, bytes);
    if (value == NULL)
        LT_FAIL(LT_EDATA, "%s:%d:%d: not JSON: %s", source, error.line, error.column, error.text);
    *out = value;
    return LT_OK;
}

lt_status lt_json_read(const char *path, json_t **out)
{
    char *text = NULL;
    size_t bytes = 0;
    *out = NULL;
    LT_TRY(lt_file_read_regular(path, JSON_BYTES_MAX, &text, &bytes));
    const lt_status st = lt_json_parse(text, bytes, path, out);
    free(text);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_json_read", __FILE__, __LINE__);
    return LT_OK;
}

lt_json_at lt_json_root(const json_t *value, const char *source)
{
    assert(source != NULL);
    lt_json_at at = {.value = value, .source = source};
    return at;
}

/* What a value is, in words for a message; scalars are shown. */
static const char *found(const json_t *value, char *buffer, size_t bytes)
{
    switch (value != NULL ? json_typeof(value) : JSON_NULL) {
    case JSON_OBJECT:
        (void)snprintf(buffer, bytes, "an object");
        break;
    case JSON_ARRAY:
        (void)snprintf(buffer, bytes, "an array of %zu", json_array_size(value));
        break;
    case JSON_STRING:
        (void)snprintf(buffer, bytes, "\"%.40s\"", json_string_value(value));
        break;
    case JSON_INTEGER:
        (void)snprintf(buffer, bytes, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        (void)snprintf(buffer, bytes, "%.17g", json_real_value(value));
        break;
    case JSON_TRUE:
        (void)snprintf(buffer, bytes, "true");
        break;
    case JSON_FALSE:
        (void)snprintf(buffer, bytes, "false");
        break;
    default:
        (void)snprintf(buffer, bytes, "null");
        break;
    }
    return buffer;
}

static const char *path_of(const lt_json_at *at)
{
    return at->path[0] != '\0' ? at->path : "the root";
}

/* A path too long for its buffer keeps its beginning and ends in "...". */
static void path_set(lt_json_at *to, const lt_json_at *from, const char *format, const char *key,
                     size_t index)
{
    char path[sizeof to->path];
    const char *dot = from->path[0] != '\0' ? "." : "";
    const int n = format[0] == '[' ? snprintf(path, sizeof path, "%s[%zu]", from->path, index)
                                   : snprintf(path, sizeof path, "%s%s%s", from->path, dot, key);
    if (n < 0 || (size_t)n >= sizeof path)
        memcpy(path + sizeof path - 4, "...", 4);
    memcpy(to->path, path, sizeof path);
}

lt_status lt_json_member(const lt_json_at *at, const char *key, lt_json_at *out)
{
    char text[FOUND_BYTES];
    if (!json_is_object(at->value))
        LT_FAIL(LT_EDATA, "%s: %s: want an object with \"%s\", found %s", at->source, path_of(at),
                key, found(at->value, text, sizeof text));
    lt_json_at next = {.value = json_object_get(at->value, key), .source = at->source};
    path_set(&next, at, ".", key, 0);
    if (next.value == NULL)
        LT_FAIL(LT_EDATA, "%s: %s: missing", at->source, next.path);
    *out = next;
    return LT_OK;
}

lt_status lt_json_element(const lt_json_at *at, size_t index, lt_json_at *out)
{
    char text[FOUND_BYTES];
    if (!json_is_array(at->value) || index >= json_array_size(at->value))
        LT_FAIL(LT_EDATA, "%s: %s: want an array with an element %zu, found %s", at->source,
                path_of(at), index, found(at->value, text, sizeof text));
    lt_json_at next = {.value = json_array_get(at->value, index), .source = at->source};
    path_set(&next, at, "[", "", index);
    *out = next;
    return LT_OK;
}

int lt_json_has(const lt_json_at *at, const char *key)
{
    const json_t *value = json_object_get(at->value, key);
    return value != NULL && !json_is_null(value);
}

static lt_status int_of(const lt_json_at *at, int64_t lo, int64_t hi, int64_t *out)
{
    char text[FOUND_BYTES];
    if (!json_is_integer(at->value) || json_integer_value(at->value) < lo ||
        json_integer_value(at->value) > hi)
        LT_FAIL(LT_EDATA, "%s: %s: want an integer from %lld to %lld, found %s", at->source,
                path_of(at), (long long)lo, (long long)hi, found(at->value, text, sizeof text));
    *out = json_integer_value(at->value);
    return LT_OK;
}

lt_status lt_json_int(const lt_json_at *at, const char *key, int64_t lo, int64_t hi, int64_t *out)
{
    lt_json_at member;
    LT_TRY(lt_json_member(at, key, &member));
    LT_TRY(int_of(&member, lo, hi, out));
    return LT_OK;
}

lt_status lt_json_real(const lt_json_at *at, const char *key, double lo, double hi, double *out)
{
    lt_json_at member;
    char text[FOUND_BYTES];
    LT_TRY(lt_json_member(at, key, &member));
    const double x = json_number_value(member.value);
    if (!json_is_number(member.value) || !(x >= lo && x <= hi))
        LT_FAIL(LT_EDATA, "%s: %s: want a number from %g to %g, found %s", member.source,
                member.path, lo, hi, found(member.value, text, sizeof text));
    *out = x;
    return LT_OK;
}

lt_status lt_json_bool(const lt_json_at *at, const char *key, int *out)
{
    lt_json_at member;
    char text[FOUND_BYTES];
    LT_TRY(lt_json_member(at, key, &member));
    if (!json_is_boolean(member.value))
        LT_FAIL(LT_EDATA, "%s: %s: want true or false, found %s", member.source, member.path,
                found(member.value, text, sizeof text));
    *out = json_is_true(member.value);
    return LT_OK;
}

lt_status lt_json_string(const lt_json_at *at, const char *key, const char **out)
{
    lt_json_at member;
    char text[FOUND_BYTES];
    LT_TRY(lt_json_member(at, key, &member));
    if (!json_is_string(member.value))
        LT_FAIL(LT_EDATA, "%s: %s: want a string, found %s", member.source, member.path,
                found(member.value, text, sizeof text));
    *out = json_string_value(member.value);
    return LT_OK;
}

/* An array of exactly wanted values, or of at most max where wanted is 0. */
static lt_status array_of(const lt_json_at *at, const char *key, size_t wanted, size_t max,
                          lt_json_at *out)
{
    char text[FOUND_BYTES];
    assert(wanted <= max);
    LT_TRY(lt_json_member(at, key, out));
    const size_t n = json_array_size(out->value);
    if (!json_is_array(out->value) || (wanted > 0 ? n != wanted : n > max))
        LT_FAIL(LT_EDATA, "%s: %s: want an array of %s%zu, found %s", out->source, out->path,
                wanted > 0 ? "" : "at most ", wanted > 0 ? wanted : max,
                found(out->value, text, sizeof text));
    return LT_OK;
}

lt_status lt_json_u64(const lt_json_at *at, const char *key, uint64_t *out)
{
    lt_json_at member;
    char text[FOUND_BYTES];
    LT_TRY(lt_json_member(at, key, &member));
    const char *digits = json_string_value(member.value);
    const json_int_t whole = json_integer_value(member.value);
    char *end = NULL;
    errno = 0;
    *out = digits != NULL ? strtoull(digits, &end, 10) : (uint64_t)whole;
    if (digits != NULL ? digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0' || errno
                       : !json_is_integer(member.value) || whole < 0)
        LT_FAIL(LT_EDATA, "%s: %s: want an integer from 0 to 2^64 - 1, found %s", member.source,
                member.path, found(member.value, text, sizeof text));
    return LT_OK;
}

json_t *lt_json_of_u64(uint64_t x)
{
    char digits[24];
    (void)snprintf(digits, sizeof digits, "%llu", (unsigned long long)x);
    return x <= INT64_MAX ? json_integer((json_int_t)x) : json_string(digits);
}

static const char path_scheme[] = "file:";

json_t *lt_json_of_path(const char *path)
{
    const size_t scheme = sizeof path_scheme - 1, bytes = strlen(path);
    if (lt_utf8_valid(path, bytes) && strncmp(path, path_scheme, scheme) != 0)
        return json_string(path);
    char *text = malloc(scheme + 3 * bytes + 1);
    if (text == NULL)
        return NULL;
    size_t n = scheme;
    memcpy(text, path_scheme, scheme);
    for (size_t i = 0; i < bytes; i++) {
        const unsigned char c = (unsigned char)path[i];
        const int plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') ||
                          (c >= 'a' && c <= 'z') || (c != '\0' && strchr("-._~/", c) != NULL);
        n += (size_t)snprintf(text + n, 4, plain ? "%c" : "%%%02X", c);
    }
    json_t *value = json_string(text);
    free(text);
    return value;
}

lt_status lt_json_path(const lt_json_at *at, const char *key, char **out)
{
    const char *text = NULL;
    LT_TRY(lt_json_string(at, key, &text));
    *out = strdup(text);
    if (*out == NULL)
        LT_FAIL(LT_ENOMEM, "%s: %s: no memory", at->source, key);
    if (strncmp(text, path_scheme, sizeof path_scheme - 1) != 0)
        return LT_OK;
    char *to = *out;
    for (const char *c = text + sizeof path_scheme - 1; *c != '\0'; c++) {
        static const char digits[] = "0123456789ABCDEF";
        const char *high = *c == '%' && c[1] != '\0' ? strchr(digits, c[1]) : NULL;
        const char *low = high != NULL && c[2] != '\0' ? strchr(digits, c[2]) : NULL;
        const long byte = low != NULL ? 16 * (high - digits) + (low - digits) : 0;
        if (*c == '%' && byte == 0) {
            free(*out);
            *out = NULL;
            LT_FAIL(LT_EDATA,
                    "%s: %s: want two digits of 0-9 and A-F after %%, not 00, found %.40s",
                    at->source, key, c);
        }
        *to++ = *c == '%' ? (char)byte : *c;
        c += *c == '%' ? 2 : 0;
    }
    *to = '\0';
    return LT_OK;
}

lt_status lt_json_ints(const lt_json_at *at, const char *key, int64_t lo, int64_t hi, int64_t *out,
                       size_t max, size_t *count)
{
    lt_json_at array, element;
    LT_TRY(array_of(at, key, *count, max, &array));
    const size_t n = json_array_size(array.value);
    for (size_t i = 0; i < n; i++) {
        LT_TRY(lt_json_element(&array, i, &element));
        LT_TRY(int_of(&element, lo, hi, &out[i]));
    }
    *count = n;
    return LT_OK;
}

lt_status lt_json_reals(const lt_json_at *at, const char *key, float *out, size_t max,
                        size_t *count)
{
    lt_json_at array, element;
    char text[FOUND_BYTES];
    LT_TRY(array_of(at, key, *count, max, &array));
    const size_t n = json_array_size(array.value);
    for (size_t i = 0; i < n; i++) {
        LT_TRY(lt_json_element(&array, i, &element));
        const double x = json_number_value(element.value);
        if (!json_is_number(element.value) || !(x >= -3.4e38 && x <= 3.4e38))
            LT_FAIL(LT_EDATA, "%s: %s: want a number that fits f32, found %s", element.source,
                    element.path, found(element.value, text, sizeof text));
        out[i] = (float)x;
    }
    *count = n;
    return LT_OK;
}

/* Unsafe characters stand inside strings only, where \uXXXX means the same; newlines between the
 * members are jansson's own. */
static void write_escaped(FILE *to, const char *text)
{
    for (size_t i = 0, bytes = strlen(text), n; i < bytes; i += n) {
        uint32_t code = 0;
        n = lt_utf8_next(text + i, bytes - i, &code);
        assert(n > 0); /* jansson holds valid UTF-8 only */
        if (code == '\n' || lt_text_is_safe(code))
            (void)fwrite(text + i, 1, n, to);
        else if (code < 0x10000)
            (void)fprintf(to, "\\u%04x", (unsigned)code);
        else
            (void)fprintf(to, "\\u%04x\\u%04x", 0xd7c0 + (unsigned)(code >> 10),
                          0xdc00 + (unsigned)(code & 0x3ff));
    }
}

/* LT_ENOMEM, or LT_EINTERNAL where the value has no form as JSON. */
static lt_status text_of(const json_t *value, size_t flags, char **out)
{
    char *plain = json_dumps(value, flags), *text = NULL;
    size_t bytes = 0;
    const int no_memory = lt_json_starved();
    *out = NULL;
    if (plain == NULL || no_memory) {
        free(plain);
        return no_memory ? LT_ENOMEM : LT_EINTERNAL;
    }
    FILE *to = open_memstream(&text, &bytes);
    if (to != NULL)
        write_escaped(to, plain);
    free(plain);
    const int failed = to == NULL || ferror(to) != 0;
    if ((to != NULL && fclose(to) != 0) || failed) {
        free(text);
        return LT_ENOMEM;
    }
    *out = text;
    return LT_OK;
}

char *lt_json_text(const json_t *value, size_t flags)
{
    char *text = NULL;
    return text_of(value, flags, &text) == LT_OK ? text : NULL;
}

static json_t *printable_string(const char *from)
{
    char *text = strdup(from);
    json_t *value = text != NULL ? json_string(lt_text_printable(text)) : NULL;
    free(text);
    return value;
}

/* The document's depth is limited where it is read, so this recursion is too. */
json_t *lt_json_printable(const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    int failed = 0;
    if (json_is_string(value))
        return printable_string(json_string_value(value));
    if (!json_is_object(value) && !json_is_array(value))
        return json_deep_copy(value);
    json_t *copy = json_is_object(value) ? json_object() : json_array();
    json_object_foreach ((json_t *)(uintptr_t)value, key, member) {
        char *name = strdup(key);
        failed |= name == NULL || json_object_set_new(copy, lt_text_printable(name),
                                                      lt_json_printable(member)) != 0;
        free(name);
    }
    json_array_foreach (value, i, member)
        failed |= json_array_append_new(copy, lt_json_printable(member)) != 0;
    if (failed) {
        json_decref(copy);
        return NULL;
    }
    return copy;
}

lt_status lt_json_write(const char *path, const json_t *value)
{
    char *text = NULL;
    const lt_status made = text_of(value, JSON_INDENT(2) | JSON_ENCODE_ANY, &text);
    if (made != LT_OK)
        LT_FAIL(made, "%s: %s", path,
                made == LT_ENOMEM ? "no memory for its text"
                                  : "the value cannot be written as JSON (NaN or Inf in it)");
    const size_t n = strlen(text);
    text[n] = '\n'; /* in the final NUL's place: lengths are passed on, not ends */
    const lt_status st = lt_new_file_write(path, text, n + 1, LT_REPLACE);
    free(text);
    if (st != LT_OK)
        return lt_error_trace(st, "lt_json_write", __FILE__, __LINE__);
    return LT_OK;
}
