/* test_text.c - text from outside on its way to a terminal, and into JSON.
 * Goal: nothing that a terminal obeys gets through, and all that people write does. Method: tables
 * of texts; what JSON escapes is read back. Ranks: 1. Needs: nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/text.h"

static const struct {
    const char *reason, *text, *shown;
} cases[] = {
    {"plain words", "A red ball.", "A red ball."},
    {"letters of other scripts", "Ein Bällchen 红球 كرة", "Ein Bällchen 红球 كرة"},
    {"a family joined by U+200D", "\U0001F468\u200D\U0001F469", "\U0001F468\u200D\U0001F469"},
    {"ESC begins a command", "\033]0;title\007 \033[2J", "?]0;title? ?[2J"},
    {"one line stays one line", "a\nb\rc\td", "a?b?c?d"},
    {"DEL", "a\x7f", "a?"},
    {"U+0080 to U+009F: C1, U+009B begins a command",
     "\xc2\x80"
     "a\xc2\x9b"
     "2J\xc2\x9f",
     "?a?2J?"},
    {"U+00A0 is a blank", "a\u00a0b", "a\u00a0b"},
    {"right-to-left override shows other names", "\u202egpj.exe", "?gpj.exe"},
    {"embeddings and isolates", "\u202a\u202b\u202c\u202d\u2066\u2067\u2068\u2069", "????????"},
    {"direction marks", "\u200e\u200f\u061c", "???"},
    {"line and paragraph separators", "a\u2028b\u2029c", "a?b?c"},
    {"invisible tags", "a\U000E0041b\U000E007F", "a?b?"},
    {"a byte order mark inside", "a\ufeffb", "a?b"},
    {"bytes that are no UTF-8, each one", "\xff\xc3", "??"},
    {"a C1 byte alone",
     "\x9b"
     "2J",
     "?2J"},
    {"an overlong slash", "\xc0\xaf", "??"},
    {"a surrogate", "\xed\xa0\x80", "???"},
    {"cut in the middle", "ab\xe7\xba", "ab??"},
    {"nothing", "", ""},
};

static void shows_only_what_is_safe(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *text = strdup(cases[i].text);
        if (strcmp(lt_text_printable(text), cases[i].shown) != 0)
            fail_msg("%s: want %s, found %s", cases[i].reason, cases[i].shown, text);
        assert_string_equal(lt_text_printable(text), cases[i].shown); /* nothing is left to do */
        free(text);
    }
}

/* Every code point, by its own bytes. */
static void every_character_is_safe_or_changed(void **state)
{
    (void)state;
    for (uint32_t c = 1; c < 0x110000; c++) {
        char text[8] = "", copy[8];
        if (c < 0x80) {
            text[0] = (char)c;
        } else if (c < 0x800) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 63));
        } else if (c < 0x10000) {
            text[0] = (char)(0xe0 | c >> 12);
            text[1] = (char)(0x80 | (c >> 6 & 63));
            text[2] = (char)(0x80 | (c & 63));
        } else {
            text[0] = (char)(0xf0 | c >> 18);
            text[1] = (char)(0x80 | (c >> 12 & 63));
            text[2] = (char)(0x80 | (c >> 6 & 63));
            text[3] = (char)(0x80 | (c & 63));
        }
        if (c >= 0xd800 && c < 0xe000)
            continue;
        memcpy(copy, text, sizeof copy);
        assert_string_equal(lt_text_printable(text), lt_text_is_safe(c) ? copy : "?");
    }
}

static void json_is_escaped_and_means_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        json_t *value = json_pack("{s:s}", "text", cases[i].text), *again = NULL;
        if (value == NULL) /* no UTF-8: jansson keeps none of it */
            continue;
        char *text = lt_json_text(value, JSON_COMPACT);
        assert_non_null(text);
        char *shown = strdup(text);
        assert_string_equal(lt_text_printable(shown), text); /* nothing unsafe in it */
        assert_int_equal(lt_json_parse(text, strlen(text), "text", &again), LT_OK);
        assert_true(json_equal(value, again));
        json_decref(value);
        json_decref(again);
        free(shown);
        free(text);
    }
}

static void hints_are_words_for_a_shell(void **state)
{
    (void)state;
    char out[24];
    static const struct {
        const char *reason, *text, *word;
    } words[] = {
        {"plain", "a b.run", "'a b.run'"},
        {"a quote", "it's", "'it'\\''s'"},
        {"nothing", "", "''"},
        {"what a shell would run", "$(x)`y`", "'$(x)`y`'"},
        {"too long: cut, and closed", "0123456789012345678901234", "'012345678901234567890'"},
        {"no room for the quote", "01234567890123456789'", "'01234567890123456789'"},
    };
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        assert_string_equal(lt_text_quoted(words[i].text, out, sizeof out), words[i].word);
}

static void reports_hold_printable_strings(void **state)
{
    (void)state;
    json_t *value = json_pack("{s:[s, i], s:{s:n}}", "a\x1b", "b\xc2\x9b", 1, "c", "d\u202e"),
           *safe;
    safe = lt_json_printable(value);
    char *text = json_dumps(safe, JSON_COMPACT);
    assert_string_equal(text, "{\"a?\":[\"b?\",1],\"c\":{\"d?\":null}}");
    free(text);
    json_decref(value);
    json_decref(safe);
}

static void paths_come_back_from_json(void **state)
{
    (void)state;
    static const struct {
        const char *reason, *path, *text;
    } paths[] = {
        {"plain", "/a/b.mp4", "/a/b.mp4"},
        {"other letters", "Bällchen.mp4", "Bällchen.mp4"},
        {"a byte that is no UTF-8", "/a\xff/b c%", "file:/a%FF/b%20c%25"},
        {"controls behind it", "\xff\033\n", "file:%FF%1B%0A"},
        {"what looks encoded", "file:a%FF", "file:file%3Aa%25FF"},
        {"percent alone", "a%FF", "a%FF"},
        {"nothing", "", ""},
    };
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        json_t *object = json_pack("{s:o}", "path", lt_json_of_path(paths[i].path));
        const lt_json_at at = lt_json_root(object, "plan");
        char *back = NULL;
        assert_string_equal(json_string_value(json_object_get(object, "path")), paths[i].text);
        assert_int_equal(lt_json_path(&at, "path", &back), LT_OK);
        assert_string_equal(back, paths[i].path);
        free(back);
        json_decref(object);
    }
    static const char *const wrong[] = {"file:%", "file:%F", "file:%00", "file:%fg", "file:%G0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *object = json_pack("{s:s}", "path", wrong[i]);
        const lt_json_at at = lt_json_root(object, "plan");
        char *back = NULL;
        assert_int_equal(lt_json_path(&at, "path", &back), LT_EDATA);
        assert_null(back);
        json_decref(object);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_only_what_is_safe),
        cmocka_unit_test(every_character_is_safe_or_changed),
        cmocka_unit_test(json_is_escaped_and_means_the_same),
        cmocka_unit_test(hints_are_words_for_a_shell),
        cmocka_unit_test(reports_hold_printable_strings),
        cmocka_unit_test(paths_come_back_from_json),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
