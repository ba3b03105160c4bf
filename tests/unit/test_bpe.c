/* test_bpe.c - the tokenizer against published ids, and against files that are wrong.
 * Goal: the ids of transformers' Qwen2Tokenizer for both tokenizers at hand; every damaged file is
 * refused with a place and a reason; long words end. Method: golden lists
 * (tests/parity/golden/tokens*.json, one reason a case), small tokenizers made here. Ids must be
 * equal. Ranks: 1. Needs: tests/parity/nano, models/demo; the released tokenizer beside the source
 * tree, else those cases are skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/json.h"
#include "model/text/bpe_internal.h"
#include "tests/support/check.h"

#define NANO   LT_SOURCE_DIR "/tests/parity/nano/tokenizer"
#define H3     LT_SOURCE_DIR "/../shared/h3-tokenizer"
#define GOLDEN LT_SOURCE_DIR "/tests/parity/golden/"

/* The text's ids must be wanted[0..count). */
static void want_ids(const lt_bpe *bpe, const char *text, size_t bytes, const int32_t *wanted,
                     int64_t count, const char *why)
{
    int32_t *ids = NULL;
    int64_t found = -1;
    OK(lt_bpe_encode(bpe, text, bytes, &ids, &found));
    assert_non_null(ids);
    for (int64_t i = 0; i < count && i < found; i++)
        if (ids[i] != wanted[i])
            fail_msg("%s: \"%.200s\": id %d: want %d, found %d", why, text, (int)i, wanted[i],
                     ids[i]);
    if (found != count)
        fail_msg("%s: \"%.200s\": want %d ids, found %d", why, text, (int)count, (int)found);
    free(ids);
}

static void agrees_with(const char *folder, const char *golden)
{
    lt_bpe *bpe = NULL;
    json_t *document = NULL, *one;
    size_t i;
    OK(lt_bpe_open(folder, &bpe));
    OK(lt_json_read(golden, &document));
    const json_t *cases = json_object_get(document, "cases");
    assert_true(json_array_size(cases) > 100);
    json_array_foreach (cases, i, one) {
        const json_t *text = json_object_get(one, "text"), *list = json_object_get(one, "ids");
        const size_t count = json_array_size(list);
        int32_t *ids = malloc((count + 1) * sizeof *ids);
        assert_non_null(ids);
        for (size_t k = 0; k < count; k++)
            ids[k] = (int32_t)json_integer_value(json_array_get(list, k));
        want_ids(bpe, json_string_value(text), json_string_length(text), ids, (int64_t)count,
                 json_string_value(json_object_get(one, "why")));
        free(ids);
    }
    json_decref(document);
    lt_bpe_close(&bpe);
    assert_null(bpe);
}

static void agrees_on_nano(void **state)
{
    (void)state;
    agrees_with(NANO, GOLDEN "tokens.json");
}

static void agrees_on_released(void **state)
{
    (void)state;
    if (!lt_file_is_dir(H3))
        skip();
    agrees_with(H3, GOLDEN "tokens_h3.json");
}

/* Vectors of spec/minimax-h3.md 2.1, which others published too. */
#define IDS(...)                                                                                   \
    sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t), { __VA_ARGS__ }
static const struct {
    const char *why, *text;
    int64_t count;
    int32_t ids[32];
} published[] = {
    {"plain", "A red fox walking through snow", IDS(32, 2518, 38835, 11435, 1526, 11794)},
    {"runs of space, digits one by one, line end, CJK, contraction",
     "Hello, WORLD!  2026\n中文 café's",
     IDS(9707, 11, 50891, 0, 220, 220, 17, 15, 17, 21, 198, 104811, 51950, 594)},
    {"a sign takes line ends along", "🙂a!\n", IDS(145080, 64, 4894)},
    {"a label as H3 writes it", "<Picture 1>: ", IDS(21604, 3826, 220, 16, 26818, 220)},
    {"tokens that only tokenizer_config.json has", "<d>[English] hold on</d><|cutoff|>",
     IDS(151669, 58, 22574, 60, 3331, 389, 151670, 151671)},
};

static void gives_published_vectors(void **state)
{
    (void)state;
    lt_bpe *bpe = NULL;
    if (!lt_file_is_dir(H3))
        skip();
    OK(lt_bpe_open(H3, &bpe));
    assert_int_equal(lt_bpe_vocab_size(bpe), 151676);
    for (size_t i = 0; i < sizeof published / sizeof *published; i++)
        want_ids(bpe, published[i].text, strlen(published[i].text), published[i].ids,
                 published[i].count, published[i].why);
    lt_bpe_close(&bpe);
}

static void opens_demo(void **state)
{
    (void)state;
    lt_bpe *bpe = NULL;
    OK(lt_bpe_open(LT_SOURCE_DIR "/models/demo/tokenizer", &bpe));
    int32_t *ids = NULL;
    int64_t count = 0;
    OK(lt_bpe_encode(bpe, "a red ball bounces", 18, &ids, &count));
    assert_true(count >= 4 && count <= 18);
    for (int64_t i = 0; i < count; i++)
        assert_in_range(ids[i], 0, lt_bpe_vocab_size(bpe) - 1);
    free(ids);
    lt_bpe_close(&bpe);
}

/* ---- words and classes, without a vocabulary ---- */

/* parts: the words, with | between. */
static const struct {
    const char *why, *parts;
} words[] = {
    {"a letter takes one space along, not more", "a| b|  | c"},
    {"contractions in any case", "it|'s| I|'LL| we|'Ve|'d"},
    {"the long s is an s", "it|'\xc5\xbf|x"},
    {"an apostrophe before other letters", "x|'abc|'qs"},
    {"one digit at a time, the space apart", "a| |1|2"},
    {"signs take a space and line ends along", "x| !?\r\n\n|y"},
    {"white space goes up to its last line end", "a| \n \n|  | b"},
    {"white space at the end stays whole", "a|   "},
    {"a sign may lead letters, two may not", "(a|((|a"},
    {"a line end may not lead letters", "\n|a"},
    {"a tab may", "\ta|\t|\tb"},
    {"U+0085 is white space, U+200B and U+180E are signs",
     "\xc2\x85|\xc2\x85z|!\xe2\x80\x8b\xe1\xa0\x8e"},
    {"a combining mark that stayed one is a sign", "q|\xcc\x81|1"},
};

static void cuts_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char text[128];
        size_t bytes = 0, at = 0;
        for (const char *p = words[i].parts; *p != '\0'; p++)
            if (*p != '|')
                text[bytes++] = *p;
        for (const char *p = words[i].parts; at < bytes;) {
            const size_t want = strcspn(p, "|");
            const size_t found = lt_bpe_word(text + at, bytes - at);
            if (found != want)
                fail_msg("%s: word at %zu: want %zu bytes, found %zu", words[i].why, at, want,
                         found);
            at += found;
            p += want + (p[want] == '|');
        }
    }
}

static const struct {
    const char *why, *from, *to;
} forms[] = {
    {"composes", "e\xcc\x81", "\xc3\xa9"},
    {"a composition that is excluded comes apart", "\xe0\xa5\x98", "\xe0\xa4\x95\xe0\xa4\xbc"},
    {"Hangul", "\xe1\x84\x80\xe1\x85\xa1\xe1\x86\xa8", "\xea\xb0\x81"},
    {"marks by class: 230 before 220 change places", "q\xcc\x87\xcc\xa3", "q\xcc\xa3\xcc\x87"},
    {"equal classes keep their order", "q\xcc\x81\xcc\x80\xcc\xa3", "q\xcc\xa3\xcc\x81\xcc\x80"},
    {"the Angstrom sign is a letter with a ring", "\xe2\x84\xab", "\xc3\x85"},
    {"a mark of Unicode 14 stays and keeps e and its accent apart", "e\xe1\xab\x81\xcc\x81",
     "e\xe1\xab\x81\xcc\x81"},
    {"Dives Akuru's letter stays one", "\xf0\x91\xa4\xb8", "\xf0\x91\xa4\xb8"},
    {"and its parts stay two", "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0",
     "\xf0\x91\xa4\xb5\xf0\x91\xa4\xb0"},
    {"compatibility stays", "\xef\xac\x81\xc2\xb2", "\xef\xac\x81\xc2\xb2"},
};

static void normalises(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        char *out = NULL;
        size_t bytes = 0;
        OK(lt_bpe_nfc(forms[i].from, strlen(forms[i].from), &out, &bytes));
        if (bytes != strlen(forms[i].to) || memcmp(out, forms[i].to, bytes) != 0)
            fail_msg("%s: found %zu bytes \"%.*s\"", forms[i].why, bytes, (int)bytes, out);
        free(out);
    }
}

static void knows_classes(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        uint32_t code;
        lt_bpe_class class;
    } cases[] = {
        {"letter", 'a', LT_BPE_LETTER},
        {"modifier letter", 0x2b0, LT_BPE_LETTER},
        {"letter number", 0x2160, LT_BPE_NUMBER},
        {"other number", 0xbd, LT_BPE_NUMBER},
        {"file separator is no space here", 0x1c, LT_BPE_OTHER},
        {"ideographic space", 0x3000, LT_BPE_SPACE},
        {"letter of Unicode 14, Toto", 0x1e290, LT_BPE_LETTER},
        {"letter of Unicode 15.1, Extension I", 0x2ebf0, LT_BPE_LETTER},
        {"letter of Unicode 16, Todhri", 0x105c0, LT_BPE_LETTER},
        {"digit of Unicode 16, Garay", 0x10d40, LT_BPE_NUMBER},
        {"never assigned", 0x10ffff, LT_BPE_OTHER},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (lt_bpe_class_of(cases[i].code) != cases[i].class)
            fail_msg("%s: U+%04X", cases[i].why, cases[i].code);
}

/* ---- texts that are refused, texts that are long ---- */

static void refuses_what_is_no_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *why, *text, *place;
    } cases[] = {
        {"lone continuation", "ab\x80", "offset 2"},
        {"overlong NUL", "\xc0\x80", "offset 0"},
        {"surrogate", "abc\xed\xa0\x80", "offset 3"},
        {"past U+10FFFF", "\xf4\x90\x80\x80", "offset 0"},
        {"cut short", "<d>\xe4\xb8", "offset 3"},
    };
    lt_bpe *bpe = NULL;
    OK(lt_bpe_open(NANO, &bpe));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int32_t *ids = NULL;
        int64_t count = 0;
        const lt_status st = lt_bpe_encode(bpe, cases[i].text, strlen(cases[i].text), &ids, &count);
        if (st != LT_EUSAGE || strstr(lt_error_text(), cases[i].place) == NULL || ids != NULL)
            fail_msg("%s: status %s, \"%s\"", cases[i].why, lt_status_name(st), lt_error_text());
    }
    lt_bpe_close(&bpe);
}

static void takes_nul_and_nothing(void **state)
{
    (void)state;
    lt_bpe *bpe = NULL;
    OK(lt_bpe_open(NANO, &bpe));
    want_ids(bpe, "", 0, NULL, 0, "no text");
    want_ids(bpe, NULL, 0, NULL, 0, "no address");
    int32_t *ids = NULL;
    int64_t count = 0;
    OK(lt_bpe_encode(bpe, "a\0b", 3, &ids, &count));
    assert_int_equal(count, 3);
    assert_int_equal(ids[1], bpe->byte_id[0]);
    free(ids);
    lt_bpe_close(&bpe);
}

/* Nothing is measured: what is quadratic in these takes many minutes, and runs into the time that a
 * test may take. */
static void long_words_end(void **state)
{
    (void)state;
    enum { TIMES = 100000 };
    static const char *const units[] = {
        "the", "a", "    ", "!", "<|im_", "q\xcc\x87\xcc\xa3", "\xcc\x87\xcc\xa3"};
    lt_bpe *bpe = NULL;
    OK(lt_bpe_open(NANO, &bpe));
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        const size_t n = strlen(units[i]);
        char *text = malloc(n * TIMES + 1);
        int32_t *ids = NULL;
        int64_t count = 0;
        assert_non_null(text);
        for (size_t k = 0; k < TIMES; k++)
            memcpy(text + k * n, units[i], n);
        OK(lt_bpe_encode(bpe, text, n * TIMES, &ids, &count));
        assert_in_range(count, TIMES / 4, n * TIMES); /* nano's longest token of these has 4 */
        free(ids);
        free(text);
    }
    lt_bpe_close(&bpe);
}

/* ---- files ---- */

/* vocab.json with a token for each byte and then `more` (", "-led members). The caller frees. */
static char *vocab_with(const char *more)
{
    char *text = malloc(65536);
    assert_non_null(text);
    size_t at = 0;
    unsigned next = 0x100;
    text[at++] = '{';
    for (unsigned byte = 0; byte < 256; byte++) {
        const int prints =
            (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        at += (size_t)snprintf(text + at, 65536 - at, "%s\"\\u%04x\": %u", byte ? ", " : "",
                               prints ? byte : next++, byte);
    }
    (void)snprintf(text + at, 65536 - at, "%s}", more);
    return text;
}

static lt_status parse(const char *vocab_more, const char *merges, const char *config, lt_bpe **out)
{
    char *vocab = vocab_with(vocab_more);
    const lt_bpe_source v = {vocab, "vocab.json", strlen(vocab)};
    const lt_bpe_source m = {merges, "merges.txt", strlen(merges)};
    const lt_bpe_source c = {config, "config.json", strlen(config)};
    const lt_status st = lt_bpe_parse(&v, &m, &c, out);
    free(vocab);
    return st;
}

static void special_tokens_get_the_next_ids(void **state)
{
    (void)state;
    lt_bpe *bpe = NULL;
    OK(parse(", \"ab\": 300, \"abc\": 301", "#version: 0.2\na b\r\nab c\n",
             "{\"added_tokens_decoder\": {\"302\": {\"content\": \"<x>\"}}, \"eos_token\": "
             "{\"content\": \"<e>\"}, \"pad_token\": \"<x>\", \"unk_token\": null, "
             "\"additional_special_tokens\": [\"<x>\", \"<xy>\", \"ab\", \"<x\", \"<xy>\"]}",
             &bpe));
    /* <e> 303, <xy> 304, <x 305; "ab" keeps 300 and is now cut out before merging. */
    assert_int_equal(lt_bpe_vocab_size(bpe), 306);
    want_ids(bpe, "<x><xy><xz<e>", 13, (int32_t[]){302, 304, 305, 'z', 303}, 5, "longest first");
    want_ids(bpe, "abc", 3, (int32_t[]){300, 'c'}, 2, "added before merged");
    lt_bpe_close(&bpe);
    OK(parse(", \"ab\": 300, \"bc\": 302, \"abc\": 301", "b c\na b\na bc\n", "{}", &bpe));
    want_ids(bpe, "abcab", 5, (int32_t[]){301, 300}, 2, "lowest rank first");
    lt_bpe_close(&bpe);
}

static const struct {
    const char *why, *vocab, *merges, *config, *place;
} damaged[] = {
    {"vocab is cut", ", \"x", "", "{}", "vocab.json:"},
    {"id is no number", ", \"ab\": \"1\"", "", "{}", "vocab.json: token \"ab\""},
    {"id is negative", ", \"ab\": -1", "", "{}", "token \"ab\""},
    {"id is past the limit", ", \"ab\": 2097152", "", "{}", "token \"ab\""},
    {"id twice", ", \"ab\": 7", "", "{}", "found 7 again"},
    {"token twice", ", \"ab\": 300, \"ab\": 301", "", "{}", "vocab.json:"},
    {"left is unknown", "", "a b\n", "{}", "merges.txt:1: merged token \"ab\""},
    {"right is unknown", ", \"ab\": 300", "a b\na xyz\n", "{}", "merges.txt:2: token \"xyz\""},
    {"one token", ", \"ab\": 300", "a b\nab\n", "{}", "merges.txt:2: want two tokens"},
    {"three tokens", ", \"ab\": 300", "a b c\n", "{}", "merges.txt:1: want two tokens"},
    {"nothing before the space", "", " b\n", "{}", "merges.txt:1"},
    {"config is a list", "", "", "[]", "config.json: want an object"},
    {"a prefix space is wanted", "", "", "{\"add_prefix_space\": true}", "add_prefix_space"},
    {"another class", "", "", "{\"tokenizer_class\": \"LlamaTokenizer\"}", "tokenizer_class"},
    {"an id is no number", "", "", "{\"added_tokens_decoder\": {\"x\": {\"content\": \"<\"}}}",
     "added_tokens_decoder.x"},
    {"an id is taken", "", "", "{\"added_tokens_decoder\": {\"65\": {\"content\": \"<x>\"}}}",
     "share a name or the id 65"},
    {"a token has another id", ", \"ab\": 300", "",
     "{\"added_tokens_decoder\": {\"301\": {\"content\": \"ab\"}}}", "share a name"},
    {"content is missing", "", "", "{\"added_tokens_decoder\": {\"300\": {}}}", "content"},
    {"content is empty", "", "", "{\"added_tokens_decoder\": {\"300\": {\"content\": \"\"}}}",
     "want 1 to"},
    {"stripping", "", "",
     "{\"added_tokens_decoder\": {\"300\": {\"content\": \"<\", \"lstrip\": true}}}", "lstrip"},
    {"a list holds a number", "", "", "{\"additional_special_tokens\": [\"<x>\", 3]}",
     "additional_special_tokens[1]"},
};

static void refuses_damaged_files(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damaged / sizeof *damaged; i++) {
        lt_bpe *bpe = NULL;
        const lt_status st = parse(damaged[i].vocab, damaged[i].merges, damaged[i].config, &bpe);
        if (st != LT_EDATA || bpe != NULL || strstr(lt_error_text(), damaged[i].place) == NULL)
            fail_msg("%s: status %s, \"%s\"", damaged[i].why, lt_status_name(st), lt_error_text());
    }
    lt_bpe *bpe = NULL;
    const lt_bpe_source v = {"{\"a\": 0}", "vocab.json", 8}, m = {"", "merges.txt", 0};
    assert_int_equal(lt_bpe_parse(&v, &m, &m, &bpe), LT_EDATA);
    assert_non_null(strstr(lt_error_text(), "a token for each byte"));
}

static void says_which_file_is_missing(void **state)
{
    (void)state;
    lt_bpe *bpe = NULL;
    assert_int_equal(lt_bpe_open(LT_SOURCE_DIR "/tests/unit", &bpe), LT_ENOINPUT);
    assert_non_null(strstr(lt_error_text(), "vocab.json"));
    assert_null(bpe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_on_nano),
        cmocka_unit_test(agrees_on_released),
        cmocka_unit_test(gives_published_vectors),
        cmocka_unit_test(opens_demo),
        cmocka_unit_test(cuts_words),
        cmocka_unit_test(normalises),
        cmocka_unit_test(knows_classes),
        cmocka_unit_test(refuses_what_is_no_utf8),
        cmocka_unit_test(takes_nul_and_nothing),
        cmocka_unit_test(long_words_end),
        cmocka_unit_test(special_tokens_get_the_next_ids),
        cmocka_unit_test(refuses_damaged_files),
        cmocka_unit_test(says_which_file_is_missing),
    };
    return cmocka_run_group_tests_name("bpe", tests, NULL, NULL);
}
